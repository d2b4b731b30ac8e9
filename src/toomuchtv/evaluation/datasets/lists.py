"""What all dataset readers share: `make_benchmark` with its checks, and the search for files."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from toomuchtv.evaluation.benchmark import (
    Benchmark,
    Fold,
    LabeledClip,
    Modality,
    Task,
    relative_name,
)
from toomuchtv.evaluation.datasets.official import Official, Sizes
from toomuchtv.evaluation.datasets.tables import Problems, spelling_key
from toomuchtv.evaluation.errors import BenchmarkError

#: Suffixes of files with video, and of files that have only audio.
VIDEO_SUFFIXES = frozenset(
    {
        ".3g2", ".3gp", ".asf", ".avi", ".divx", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4",
        ".mpeg", ".mpg", ".mts", ".mxf", ".ogm", ".ogv", ".rm", ".rmvb", ".ts", ".vob", ".webm",
        ".wmv",
    }
)  # fmt: skip
AUDIO_SUFFIXES = frozenset(
    {
        ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".caf", ".dts", ".flac",
        ".m4a", ".m4b", ".mka", ".mp2", ".mp3", ".oga", ".ogg", ".opus", ".ra", ".snd", ".spx",
        ".tta", ".w64", ".wav", ".wave", ".weba", ".wma", ".wv",
    }
)  # fmt: skip
MEDIA_SUFFIXES = VIDEO_SUFFIXES | AUDIO_SUFFIXES
# Files that lie beside media and are never meant as clips.
_SIDECAR_SUFFIXES = frozenset(
    {
        ".cfg", ".csv", ".db", ".htm", ".html", ".ini", ".json", ".jsonl", ".lab", ".log", ".md",
        ".nfo", ".pdf", ".py", ".rttm", ".sh", ".srt", ".textgrid", ".toml", ".tsv", ".txt",
        ".vtt", ".xml", ".yaml", ".yml",
    }
)  # fmt: skip
_NUM_EXAMPLES = 3
_SIDES = ("train", "validation", "test")

#: Clips of a list, each with its side of the fold (`train`, `validation` or `test`) or with the
#: name of the fold that tests it.
Listing = Sequence[tuple[str, LabeledClip]]


def make_benchmark(
    name: str,
    root: Path,
    folds: Mapping[str, Listing],
    problems: Problems,
    *,
    classes: Iterable[str] | None = None,
    rows: Iterable[LabeledClip] = (),
    task: Task = "single_label",
    modalities: tuple[Modality, ...] = ("video", "audio"),
    official: Official | None = None,
    notes: Iterable[str] = (),
    gaps: Iterable[str] = (),
    end_seconds: Mapping[str, float] | None = None,
) -> Benchmark:
    """Check the listed clips, and return a benchmark of those whose files exist, each once.

    Args:
        name: See `Benchmark`, also for the arguments that are not described here.
        root: See `Benchmark`.
        folds: The clips of each fold with their sides.
        problems: What was wrong with the rows; what is wrong with the clips is added.
        classes: Names of the classes. None takes the labels of all listed clips.
        rows: Clips in the order of their rows. By default they have the order of `folds`.
        task: See `Benchmark`.
        modalities: See `Benchmark`.
        official: What the official lists contain, if that is known.
        notes: See `Benchmark`.
        gaps: See `Benchmark`.
        end_seconds: See `Benchmark`.

    Raises:
        BenchmarkError: There are problems, such as labels that contradict each other or a clip on
            both sides of a fold.
    """
    all_notes = dict.fromkeys(notes)
    unique: dict[str, Listing] = {}
    for fold, listed in folds.items():
        unique[fold], found = unique_clips(listed, problems)
        all_notes |= dict.fromkeys(found + _check_classes(fold, unique[fold], task, problems))
    _check_spellings([clip for listed in unique.values() for _, clip in listed], problems)
    problems.check()

    row_of: dict[str, int] = {}
    clips: list[LabeledClip] = []
    missing: dict[Path, str] = {}

    def add(listed: Iterable[LabeledClip]) -> tuple[int, ...]:
        used = []
        for clip in listed:
            if clip.key not in row_of:
                if clip.path in missing:
                    continue
                if not clip.path.is_file():
                    missing[clip.path] = relative_name(clip.path, root)
                    continue
                row_of[clip.key] = len(clips)
                clips.append(clip)
            used.append(row_of[clip.key])
        return tuple(used)

    add(rows)
    sides = {
        fold: {side: [clip for of, clip in listed if of == side] for side in _SIDES}
        for fold, listed in unique.items()
    }
    built = [
        Fold(name=fold, **{side: add(listed) for side, listed in of_fold.items()})
        for fold, of_fold in sides.items()
    ]
    labels = {label for listed in unique.values() for _, clip in listed for label in clip.labels}
    all_classes = tuple(sorted(labels if classes is None else set(classes)))
    official_gaps = []
    if official is not None:
        sizes: dict[str, Sizes] = {
            fold: (len(of_fold["train"]), len(of_fold["validation"]), len(of_fold["test"]))
            for fold, of_fold in sides.items()
        }
        official_gaps = official.gaps(all_classes, sizes)
    return Benchmark(
        name=name,
        root=root,
        task=task,
        modalities=modalities,
        clips=tuple(clips),
        folds=tuple(built),
        classes=all_classes,
        missing=tuple(missing.values()),
        notes=tuple(all_notes),
        gaps=(*gaps, *official_gaps),
        end_seconds=end_seconds or {},
    )


def cross_validation(
    listed: Listing, problems: Problems
) -> tuple[dict[str, Listing], list[LabeledClip], list[str]]:
    """Return folds that each test on their own clips and train on all others.

    Args:
        listed: Clips with the name of the fold in which they are tested.
        problems: Receives clips that are in several folds or have contradicting labels.

    Returns:
        The arguments `folds`, `rows` and `notes` of `make_benchmark`.
    """
    unique, notes = unique_clips(listed, problems)
    names = sorted({fold for fold, _ in unique}, key=lambda name: (len(name), name))
    sizes = sorted(Counter(fold for fold, _ in unique).values())
    if sizes and 4 * sizes[0] < sizes[len(sizes) // 2]:
        notes.append(f"the folds are of very different size: {sizes[0]} to {sizes[-1]} clips")
    if len(names) == 1:
        problems.add("", f"all clips are in one fold, {names[0]}; at least two are needed")
    folds: dict[str, Listing] = {
        name: [("test" if fold == name else "train", clip) for fold, clip in unique]
        for name in names
    }
    return folds, [clip for _, clip in unique], notes


def unique_clips(listed: Listing, problems: Problems) -> tuple[Listing, list[str]]:
    """Return each clip once, with notes about the rows that repeat others.

    Args:
        listed: Clips with their side or fold.
        problems: Receives clips on several sides, or with labels that contradict each other.
    """
    first: dict[str, tuple[str, LabeledClip]] = {}
    repeated = []
    by_path: dict[Path, list[tuple[str, LabeledClip]]] = defaultdict(list)
    for side, clip in listed:
        if clip.key not in first:
            first[clip.key] = (side, clip)
            by_path[clip.path].append((side, clip))
            continue
        other_side, other = first[clip.key]
        what = f"{clip.path.name} is listed in {other.listed_at}, too,"
        if {*clip.labels} != {*other.labels} or clip.value != other.value:
            labels = [";".join(one.labels) or one.value for one in (clip, other)]
            problems.add(clip.listed_at, f"{what} as {labels[1]!r} and here as {labels[0]!r}")
        elif side != other_side:
            problems.add(clip.listed_at, f"{what} in {other_side} and here in {side}")
        else:
            repeated.append(clip.listed_at)
    notes = []
    if repeated:
        notes.append(f"{len(repeated)} rows repeat others and do not count: {examples(repeated)}")
    shared = [path for path, clips in by_path.items() if len({side for side, _ in clips}) > 1]
    for path in shared:
        _check_overlaps(by_path[path], problems)
    if shared:
        names = examples([path.name for path in shared])
        notes.append(f"{len(shared)} files have clips on several sides of a split: {names}")
    return list(first.values()), notes


def _check_overlaps(clips: Listing, problems: Problems) -> None:
    """Add a problem for every clip that overlaps an earlier clip of its file on another side."""
    reached: dict[str, tuple[float, LabeledClip]] = {}
    for side, clip in sorted(clips, key=lambda entry: entry[1].start_seconds):
        for other_side, (stop, other) in reached.items():
            if other_side != side and clip.start_seconds < stop:
                problems.add(
                    clip.listed_at,
                    f"{clip.path.name} from {clip.start_seconds:g} s overlaps, in {side}, with "
                    f"{other.listed_at} in {other_side}",
                )
        stop = float("inf") if clip.stop_seconds is None else clip.stop_seconds
        if side not in reached or stop > reached[side][0]:
            reached[side] = (stop, clip)


def _check_classes(fold: str, listed: Listing, task: Task, problems: Problems) -> list[str]:
    """Compare the classes to train on with those to test on; return notes."""
    if task not in ("single_label", "multi_label") or not any(
        side == "train" for side, _ in listed
    ):
        return []
    where: dict[str, dict[str, str]] = {side: {} for side in _SIDES}
    for side, clip in listed:
        for label in clip.labels:
            where[side].setdefault(label, clip.listed_at)
    notes = []
    for label in sorted(where["test"].keys() - where["train"].keys()):
        text = f"the class {label!r} is tested in {fold} and has no clip to train on"
        if task == "single_label":
            problems.add(where["test"][label], text)
        else:
            notes.append(text)
    untested = sorted(where["train"].keys() - where["test"].keys())
    if untested and where["test"]:
        notes.append(f"{len(untested)} classes have no clip to test on: {examples(untested)}")
    return notes


def _check_spellings(clips: Iterable[LabeledClip], problems: Problems) -> None:
    """Add a problem for classes whose names differ only by case, blanks, underscores, hyphens."""
    spellings: dict[str, dict[str, str]] = defaultdict(dict)
    for clip in clips:
        for label in clip.labels:
            spellings[spelling_key(label)].setdefault(label, clip.listed_at)
    for places in spellings.values():
        if len(places) > 1:
            names = " and ".join(f"{label!r} ({place})" for label, place in places.items())
            problems.add("", f"one class has several spellings: {names}; choose one of them")


def examples(names: Sequence[str], separator: str = ", ") -> str:
    """Return the first names of a list."""
    more = f"{separator}..." if len(names) > _NUM_EXAMPLES else ""
    return separator.join(names[:_NUM_EXAMPLES]) + more


def media_index(*folders: Path) -> dict[str, list[Path]]:
    """Return the paths of the media files below the folders, by their names without suffixes."""
    index: dict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        for path in _files_below(folder):
            if path.suffix.lower() in MEDIA_SUFFIXES:
                index[path.stem].append(path)
    return dict(index)


def indexed_paths(
    index: Mapping[str, Sequence[Path]], names: Iterable[str], fallback: Path
) -> tuple[Path, tuple[Path, ...]]:
    """Return the first file with one of several names and the others; the fallback without one."""
    paths = [path for name in dict.fromkeys(names) for path in index.get(name, ())]
    return (paths[0], tuple(paths[1:])) if paths else (fallback, ())


def media_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the media files at any depth below a folder, and the files with unknown suffixes.

    Hidden files, and texts and tables that lie beside media, are in neither list.
    """
    media, unknown = [], []
    for path in _files_below(folder):
        if path.suffix.lower() in MEDIA_SUFFIXES:
            media.append(path)
        elif not is_sidecar(path):
            unknown.append(path)
    return media, unknown


def is_sidecar(path: Path) -> bool:
    """Return whether a file is hidden, or a text or a table as it lies beside media."""
    return path.name.startswith(".") or path.suffix.lower() in _SIDECAR_SUFFIXES


def unused_gap(unused: Sequence[Path], root: Path) -> list[str]:
    """Return the gap of a benchmark that files in its folder were not used, or an empty list."""
    if not unused:
        return []
    names = examples([relative_name(path, root) for path in unused])
    return [f"{len(unused)} files in its folder are not used: {names}"]


def _files_below(folder: Path) -> Iterator[Path]:
    entered: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if real in entered:  # a link to a folder above
            folders[:] = []
            continue
        entered.add(real)
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(place, name)


def first_folder(root: Path, names: Sequence[str], *, benchmark: str) -> Path:
    """Return the first of several folders that exists.

    Raises:
        BenchmarkError: None exists.
    """
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise BenchmarkError(
        f"there is no {benchmark} at {str(root)!r}: none of the folders {', '.join(names)} exists"
    )
