"""Checks of a benchmark's files before an evaluation: missing, unreadable and duplicate files."""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.errors import MediaError
from toomuchtv.evaluation.benchmark import Benchmark, LabeledClip, Modality, relative_name
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.media.containers import find_audio_stream, find_video_stream, open_media
from toomuchtv.media.extent import measure_extent

_NUM_LISTED = 5
# Labels are rounded, and encoders cut: an interval may end this much after its file does.
_MAX_OVERHANG_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Problems with the files of a benchmark; all paths are relative to its folder.

    Attributes:
        missing: Files that the lists name and that do not exist.
        unreadable: Clips whose file cannot be opened, lacks the modality or does not contain the
            clip, each with the reason.
        duplicates: Pairs of a test file and a training file of the same fold with equal bytes.
        gaps: See `Benchmark.gaps`.
    """

    missing: tuple[str, ...]
    unreadable: tuple[str, ...]
    duplicates: tuple[tuple[str, str], ...]
    gaps: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether the benchmark is whole: no file is missing, unreadable or left aside."""
        return not (self.missing or self.unreadable or self.gaps)

    def notes(self) -> tuple[str, ...]:
        """Return the remarks that a result must contain."""
        notes = list(self.gaps)
        if self.missing:
            notes.append(
                f"{len(self.missing)} of the files that its lists name are missing, such as "
                f"{self.missing[0]}"
            )
        if self.unreadable:
            notes.append(
                f"{len(self.unreadable)} clips were skipped: {_first(self.unreadable, '; ')}"
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

    Of several files with the name of a clip, the first one that has the modality is chosen.

    Args:
        benchmark: Benchmark whose lists were read.
        modality: Modality to evaluate. Files that lack it are unreadable. None requires both.
        allow_missing: Continue without missing and unreadable files.
        progress: Called with the number of clips checked.

    Returns:
        The benchmark without the clips that cannot be used, and the problems.

    Raises:
        BenchmarkError: Files are missing or unreadable and `allow_missing` is not set, or a fold
            has no clip left to train or test on.
    """
    needed: tuple[Modality, ...] = ("video", "audio") if modality is None else (modality,)
    clips: list[LabeledClip] = []
    reasons: dict[int, str] = {}
    for row, clip in enumerate(benchmark.clips):
        chosen, reason = _choose_file(clip, needed)
        clips.append(chosen)
        if reason is not None:
            place = relative_name(clip.path, benchmark.root)
            listed = f" ({clip.listed_at})" if clip.listed_at not in ("", place) else ""
            reasons[row] = f"{place}{listed}: {benchmark.without_paths(reason, row)}"
        progress(row + 1, len(benchmark.clips), "checking files")
    benchmark = replace(benchmark, clips=tuple(clips))
    usable = {clip.path for row, clip in enumerate(clips) if row not in reasons}
    check = Check(
        missing=benchmark.missing,
        unreadable=tuple(reasons.values()),
        duplicates=_duplicates(benchmark, usable),
        gaps=benchmark.gaps,
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
                f"has {len(check.unreadable)} unusable clips: {_first(check.unreadable, '; ')}"
            )
        hint = ""
        if modality == "video" and "audio" in benchmark.modalities:
            num = sum(_is_sound(benchmark.clips[row].path) for row in reasons)
            hint = (
                f"{num} of them are sounds: evaluate those with --modality audio. " if num else ""
            )
        raise BenchmarkError(
            f"{benchmark.name} {' and '.join(problems)}. {hint}Complete the folder, or pass "
            "--allow-missing to continue with the other files; the result will report it"
        )
    return without(benchmark, reasons.keys()), check


def without(benchmark: Benchmark, rows: Collection[int]) -> Benchmark:
    """Return the benchmark without these clips, and without classes that have no clip left.

    Raises:
        BenchmarkError: A fold has no clip left to train or test on, or none with a class.
    """
    kept = benchmark.keep([row for row in range(len(benchmark.clips)) if row not in rows])
    notes = list(kept.notes)
    for fold in kept.folds:
        if not fold.test or (not fold.train and kept.task != "pairs"):
            side = "train" if fold.test else "test"
            raise BenchmarkError(
                f"{benchmark.name}, {fold.name}, has no clip left to {side} on: "
                f"{len(benchmark.missing)} files are missing, {len(rows)} clips are unusable"
            )
        trained = {label for row in fold.train for label in kept.clips[row].labels}
        if kept.task == "single_label" and len(trained) < 2:
            raise BenchmarkError(
                f"{benchmark.name}, {fold.name}, has clips of one class alone to train on, "
                f"{', '.join(trained)}: at least two classes are needed"
            )
        tested = {label for row in fold.test for label in kept.clips[row].labels}
        if kept.task == "multi_label" and not (trained and tested):
            side = "train" if tested else "test"
            raise BenchmarkError(
                f"{benchmark.name}, {fold.name}, has no clip with a class to {side} on: at least "
                "one is needed"
            )
        untrained = sorted(tested - trained)
        if untrained and kept.task == "single_label":
            notes.append(
                f"{len(untrained)} classes are tested in {fold.name} and have no clip left to "
                f"train on: {_first(untrained, ', ')}"
            )
    present = {label for clip in kept.clips for label in clip.labels}
    classes = tuple(name for name in kept.classes if name in present)
    if len(classes) < len(kept.classes):
        num_removed = len(kept.classes) - len(classes)
        notes.append(
            f"{num_removed} of its {len(kept.classes)} classes have no clip left and do not count"
        )
    return replace(kept, classes=classes, notes=tuple(dict.fromkeys(notes)))


def _first(names: Sequence[str], separator: str) -> str:
    more = f"{separator}..." if len(names) > _NUM_LISTED else ""
    return separator.join(names[:_NUM_LISTED]) + more


def _choose_file(clip: LabeledClip, needed: Sequence[Modality]) -> tuple[LabeledClip, str | None]:
    """Return the clip with the first of its files that can be used, or why the first cannot."""
    first_reason = None
    for path in (clip.path, *clip.other_paths):
        found = replace(clip, path=path, other_paths=())
        try:
            return _checked(found, needed), None
        except MediaError as error:
            first_reason = first_reason or str(error)
    return clip, first_reason


def _is_sound(path: Path) -> bool:
    try:
        with open_media(path) as container:
            find_audio_stream(container)
            with contextlib.suppress(MediaError):
                return find_video_stream(container) is None
    except MediaError:
        return False
    return True


def _checked(clip: LabeledClip, needed: Sequence[Modality]) -> LabeledClip:
    """Return a clip whose file can be opened; a file that is already cut becomes the whole clip.

    Raises:
        MediaError: The file cannot be opened, lacks a modality, or does not contain the clip.
    """
    with open_media(clip.path) as container:
        if "video" in needed:
            find_video_stream(container)
        if "audio" in needed:
            find_audio_stream(container)
    if clip.stop_seconds is None and clip.start_seconds == 0:
        return clip
    end, modality = min((measure_extent(clip.path, one)[1], one) for one in needed)
    start = clip.start_seconds
    if clip.may_be_cut:
        assert clip.stop_seconds is not None
        if end <= clip.stop_seconds - start + _MAX_OVERHANG_SECONDS:
            return replace(clip, start_seconds=0.0, stop_seconds=None)
    stop = end if clip.stop_seconds is None else clip.stop_seconds
    if start >= end or stop > end + _MAX_OVERHANG_SECONDS:
        raise MediaError(
            f"the clip is listed from {start:g} to {stop:g} s, but the {modality} of its file "
            f"ends at {end:.1f} s"
        )
    return clip


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
                pair = (relative_name(path, benchmark.root), relative_name(other, benchmark.root))
                found[pair] = None
    return tuple(found)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
