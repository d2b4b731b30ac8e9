"""Is a benchmark what its lists say? Looked at before a run, so that no hour is spent in vain."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.errors import MediaError
from toomuchtv.evaluation.benchmark import Benchmark, Modality
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.media.containers import open_media

_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What is wrong with a benchmark's files.

    Attributes:
        missing: Files that lists name and that are not there.
        unreadable: Files that cannot be opened, or lack the modality, each with the reason.
        twins: Pairs of files with the very same bytes, one to train and one to test on.
    """

    missing: tuple[str, ...]
    unreadable: tuple[str, ...]
    twins: tuple[tuple[str, str], ...]

    def notes(self) -> tuple[str, ...]:
        """What a result must say about it."""
        notes = []
        if self.missing:
            notes.append(f"{len(self.missing)} of the files that its lists name are missing")
        if self.unreadable:
            notes.append(
                f"{len(self.unreadable)} files were left out: {_some(self.unreadable, '; ')}"
            )
        if self.twins:
            pair = " and ".join(self.twins[0])
            notes.append(
                f"{len(self.twins)} files to test on are byte for byte ones trained on, "
                f"the first {pair}"
            )
        return tuple(notes)


def check_benchmark(
    benchmark: Benchmark,
    modality: Modality | None,
    *,
    allow_missing: bool,
    progress: ProgressCallback = no_progress,
) -> tuple[Benchmark, Check]:
    """Open every file and compare those of equal size.

    Args:
        benchmark: As its layout was read.
        modality: What is to be scored: files that lack it count as unreadable. None wants both.
        allow_missing: Go on without what is missing or unreadable.
        progress: Told the files looked at.

    Returns:
        The benchmark without what cannot be used, and what was wrong.

    Raises:
        BenchmarkError: Files are missing or unreadable and `allow_missing` is not set, or a fold
            has nothing left to train or test on.
    """
    paths = sorted({clip.path for clip in benchmark.clips})
    reasons: dict[Path, str] = {}
    for done, path in enumerate(paths, start=1):
        reason = _why_unusable(path, modality)
        if reason is not None:
            reasons[path] = reason
        progress(done, len(paths), "checking files")
    check = Check(
        missing=benchmark.missing,
        unreadable=tuple(f"{path}: {reason}" for path, reason in reasons.items()),
        twins=_twins(benchmark),
    )
    if (check.missing or check.unreadable) and not allow_missing:
        raise BenchmarkError(_refusal(benchmark, check))
    unusable = {row for row, clip in enumerate(benchmark.clips) if clip.path in reasons}
    return without(benchmark, unusable), check


def without(benchmark: Benchmark, rows: Collection[int]) -> Benchmark:
    """Leave clips out, and then classes that no clip is left of.

    Raises:
        BenchmarkError: A fold has nothing left to train or test on.
    """
    kept = benchmark.keep([row for row in range(len(benchmark.clips)) if row not in rows])
    for fold in kept.folds:
        if not fold.test or (not fold.train and kept.task != "pairs"):
            side = "test" if not fold.test else "train"
            raise BenchmarkError(
                f"{benchmark.name}, {fold.name}, has no clip left to {side} on: "
                f"{len(benchmark.missing)} files are missing, {len(rows)} clips are unusable"
            )
    present = {label for clip in kept.clips for label in clip.labels}
    gone = [name for name in kept.classes if name not in present]
    if not gone:
        return kept
    note = f"{len(gone)} of its {len(kept.classes)} classes have no clip left and do not count"
    classes = tuple(name for name in kept.classes if name in present)
    return replace(kept, classes=classes, notes=(*kept.notes, note))


def _refusal(benchmark: Benchmark, check: Check) -> str:
    parts = []
    if check.missing:
        parts.append(
            f"names {len(check.missing)} files that are not in {str(benchmark.root)!r}, "
            f"as {_some(check.missing, ', ')}"
        )
    if check.unreadable:
        parts.append(f"has {len(check.unreadable)} unusable files: {_some(check.unreadable, '; ')}")
    return (
        f"{benchmark.name} {' and '.join(parts)}. Complete the folder, or pass --allow-missing to "
        "go on with what is there; the result will say so"
    )


def _some(names: tuple[str, ...], between: str) -> str:
    more = f"{between}..." if len(names) > _SHOWN else ""
    return between.join(names[:_SHOWN]) + more


def _why_unusable(path: Path, modality: Modality | None) -> str | None:
    """Why a file cannot be used, in words; None if it can."""
    if path.stat().st_size == 0:
        return "it is empty"
    try:
        with open_media(path) as container:
            has_video, has_audio = bool(container.streams.video), bool(container.streams.audio)
    except MediaError as error:
        return str(error)
    if modality != "audio" and not has_video:
        return "it has no picture"
    if modality != "video" and not has_audio:
        return "it has no sound"
    return None


def _twins(benchmark: Benchmark) -> tuple[tuple[str, str], ...]:
    """Files of equal content on both sides of a fold."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in sorted({clip.path for clip in benchmark.clips}):
        by_size[path.stat().st_size].append(path)
    digest_of = {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for paths in by_size.values()
        if len(paths) > 1
        for path in paths
    }
    found: dict[tuple[str, str], None] = {}
    for fold in benchmark.folds:
        trained: dict[str, Path] = {}
        for row in fold.train:
            path = benchmark.clips[row].path
            if path in digest_of:
                trained.setdefault(digest_of[path], path)
        for row in fold.test:
            path = benchmark.clips[row].path
            other = trained.get(digest_of.get(path, ""))
            if other is not None and other != path:
                found[(str(path), str(other))] = None
    return tuple(found)
