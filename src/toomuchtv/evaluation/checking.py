"""Checks of a benchmark's files before an evaluation: missing, unreadable and duplicate files."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.errors import MediaError
from toomuchtv.evaluation.benchmark import Benchmark, Modality
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.media.containers import open_media

_NUM_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Problems with the files of a benchmark.

    Attributes:
        missing: Files that the lists name and that do not exist.
        unreadable: Files that cannot be opened or lack the modality, each with the reason.
        duplicates: Pairs of a test file and a training file of the same fold with equal bytes.
    """

    missing: tuple[str, ...]
    unreadable: tuple[str, ...]
    duplicates: tuple[tuple[str, str], ...]

    def notes(self) -> tuple[str, ...]:
        """Return the remarks that a result must contain."""
        notes = []
        if self.missing:
            notes.append(f"{len(self.missing)} of the files that its lists name are missing")
        if self.unreadable:
            notes.append(
                f"{len(self.unreadable)} files were skipped: {_first(self.unreadable, '; ')}"
            )
        if self.duplicates:
            notes.append(
                f"{len(self.duplicates)} test files are byte for byte equal to training files, the "
                f"first {' and '.join(self.duplicates[0])}"
            )
        return tuple(notes)


def check_benchmark(
    benchmark: Benchmark,
    modality: Modality | None,
    *,
    allow_missing: bool,
    progress: ProgressCallback = no_progress,
) -> tuple[Benchmark, Check]:
    """Open every file, and compare the content of files of equal size.

    Args:
        benchmark: Benchmark whose lists were read.
        modality: Modality to evaluate. Files that lack it are unreadable. None requires both.
        allow_missing: Continue without missing and unreadable files.
        progress: Called with the number of files checked.

    Returns:
        The benchmark without the clips that cannot be used, and the problems.

    Raises:
        BenchmarkError: Files are missing or unreadable and `allow_missing` is not set, or a fold
            has no clip left to train or test on.
    """
    paths = sorted({clip.path for clip in benchmark.clips})
    reasons: dict[Path, str] = {}
    for done, path in enumerate(paths, start=1):
        reason = _why_unreadable(path, modality)
        if reason is not None:
            reasons[path] = reason
        progress(done, len(paths), "checking files")
    check = Check(
        missing=benchmark.missing,
        unreadable=tuple(f"{path}: {reason}" for path, reason in reasons.items()),
        duplicates=_duplicates(benchmark, set(paths) - reasons.keys()),
    )
    if (check.missing or check.unreadable) and not allow_missing:
        problems = []
        if check.missing:
            problems.append(
                f"names {len(check.missing)} files that are not in {str(benchmark.root)!r}, such "
                f"as {_first(check.missing, ', ')}"
            )
        if check.unreadable:
            problems.append(
                f"has {len(check.unreadable)} unusable files: {_first(check.unreadable, '; ')}"
            )
        raise BenchmarkError(
            f"{benchmark.name} {' and '.join(problems)}. Complete the folder, or pass "
            "--allow-missing to continue with the other files; the result will report it"
        )
    unusable = {row for row, clip in enumerate(benchmark.clips) if clip.path in reasons}
    return without(benchmark, unusable), check


def without(benchmark: Benchmark, rows: Collection[int]) -> Benchmark:
    """Return the benchmark without these clips, and without classes that have no clip left.

    Raises:
        BenchmarkError: A fold has no clip left to train or test on.
    """
    kept = benchmark.keep([row for row in range(len(benchmark.clips)) if row not in rows])
    for fold in kept.folds:
        if not fold.test or (not fold.train and kept.task != "pairs"):
            side = "train" if fold.test else "test"
            raise BenchmarkError(
                f"{benchmark.name}, {fold.name}, has no clip left to {side} on: "
                f"{len(benchmark.missing)} files are missing, {len(rows)} clips are unusable"
            )
    present = {label for clip in kept.clips for label in clip.labels}
    classes = tuple(name for name in kept.classes if name in present)
    if len(classes) == len(kept.classes):
        return kept
    num_removed = len(kept.classes) - len(classes)
    note = f"{num_removed} of its {len(kept.classes)} classes have no clip left and do not count"
    return replace(kept, classes=classes, notes=(*kept.notes, note))


def _first(names: Sequence[str], separator: str) -> str:
    more = f"{separator}..." if len(names) > _NUM_LISTED else ""
    return separator.join(names[:_NUM_LISTED]) + more


def _why_unreadable(path: Path, modality: Modality | None) -> str | None:
    """Return the reason why a file cannot be used, or None if it can."""
    if path.stat().st_size == 0:
        return "it is empty"
    try:
        with open_media(path) as container:
            has_video, has_audio = bool(container.streams.video), bool(container.streams.audio)
    except MediaError as error:
        return str(error)
    if modality != "audio" and not has_video:
        return "it has no video"
    if modality != "video" and not has_audio:
        return "it has no audio"
    return None


def _duplicates(benchmark: Benchmark, paths: Collection[Path]) -> tuple[tuple[str, str], ...]:
    """Return pairs of a test file and a training file of the same fold with equal content."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in paths:
        by_size[path.stat().st_size].append(path)
    digest_of = {
        path: _digest(path) for group in by_size.values() if len(group) > 1 for path in group
    }
    found: dict[tuple[str, str], None] = {}
    for fold in benchmark.folds:
        train = {}
        for row in reversed(fold.train):
            path = benchmark.clips[row].path
            if path in digest_of:
                train[digest_of[path]] = path
        for row in fold.test:
            path = benchmark.clips[row].path
            other = train.get(digest_of.get(path, ""))
            if other is not None and other != path:
                found[(str(path), str(other))] = None
    return tuple(found)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
