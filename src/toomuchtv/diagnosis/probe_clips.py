"""The moments that probes are fitted to and scored on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from toomuchtv.catalog.store import Catalog
from toomuchtv.diagnosis.events import label_moments, read_events
from toomuchtv.diagnosis.results import Missing
from toomuchtv.diagnosis.source import FloatArray, IntArray, Source

_MOST_TITLES = 32
_FEWEST_A_FOLD, _MOST_A_FOLD = 4, 16
# Moments of the first and of the last two fifths of every item: never nearer than a fifth of it.
_PART = 0.4
_EVENT_FOLDS = 4
_FEWEST_EVENT_TITLES = 3
_FEWEST_OF_A_KIND = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeMoments:
    """Labeled moments `[M]`, and the fold that each is scored in."""

    row: IntArray
    start: FloatArray
    label: NDArray[np.str_]
    fold: IntArray

    def __len__(self) -> int:
        return len(self.row)

    def where(self, keep: NDArray[np.bool_]) -> ProbeMoments:
        """Those that are kept."""
        return ProbeMoments(
            row=self.row[keep], start=self.start[keep], label=self.label[keep], fold=self.fold[keep]
        )


def title_moments(source: Source, *, num_clips: int, seed: int) -> ProbeMoments | Missing:
    """Draw moments of titles: fold 0 from the beginnings of their items, fold 1 from the ends.

    As many of a title in both folds, and equally many of each title as far as there are; none
    overlaps another.
    """
    rng = np.random.default_rng([seed, 1])
    groups = source.groups
    most = min(_MOST_TITLES, num_clips // (2 * _FEWEST_A_FOLD))
    a_fold = min(_MOST_A_FOLD, num_clips // (2 * max(1, min(most, groups.num_groups))))
    rows: list[tuple[int, float, str, int]] = []
    titles = 0
    # Twice as many as needed are looked at: a library of very short titles is not read through.
    for title in rng.permutation(groups.num_groups)[: 2 * most].tolist():
        folds = [_part_of_title(source, title, part, rng) for part in (0, 1)]
        room = min(len(folds[0]), len(folds[1]), a_fold)
        if room < _FEWEST_A_FOLD or titles == most:
            continue
        titles += 1
        rows += [
            (row, start, str(title), fold)
            for fold in (0, 1)
            for row, start in folds[fold][:room]
        ]  # fmt: skip
    if titles < 2:
        return Missing(
            reason=f"{titles} of the {groups.num_groups} titles looked at have {_FEWEST_A_FOLD} "
            "moments in the first two fifths and in the last two fifths of their items; a probe "
            "of the title needs two such titles"
        )
    return _columns(rows)


def _part_of_title(
    source: Source, title: int, part: int, rng: Generator
) -> list[tuple[int, float]]:
    """Moments (row, start) of one end of a title's items, in random order, none overlapping."""
    groups, clip = source.groups, source.clip_format
    apart = max(clip.span_seconds, clip.audio_seconds)
    found: list[tuple[int, float]] = []
    first, stop = int(groups.offsets[title]), int(groups.offsets[title + 1])
    # Some items of a long series are enough.
    for place in rng.permutation(np.arange(first, stop))[:_MOST_A_FOLD].tolist():
        rate = float(groups.frame_rate[place])
        starts, step = int(groups.starts.count[place]), int(np.ceil(apart * rate))
        low, high = 0, int(_PART * starts)
        if part == 1:  # of a short item, a fifth may be less than a clip
            low, high = max(int((1 - _PART) * starts), high + step), starts
        offset = int(rng.integers(step))
        index = np.arange(low + offset, high, step)
        frames = groups.starts.frame_at(np.full_like(index, place), index)
        found += [(int(groups.rows[place]), frame / rate) for frame in frames.tolist()]
    return [found[index] for index in rng.permutation(len(found)).tolist()]


def event_moments(
    source: Source, catalog: Catalog, truth: Path | None, *, num_clips: int, seed: int
) -> ProbeMoments | Missing:
    """Draw moments of known events; a fold holds whole titles, so that no title is in two."""
    if truth is None or not truth.is_dir():
        return Missing(
            reason="nobody says what happens when: there is no folder of events "
            "(`truth` beside the library, or --truth)"
        )
    rng = np.random.default_rng([seed, 2])
    found: list[tuple[int, float, str, int]] = []
    # In random order, so that a large library need not be read through.
    for place in rng.permutation(len(source.groups.rows)).tolist():
        row, rate = int(source.groups.rows[place]), float(source.groups.frame_rate[place])
        item = catalog.item(int(source.snapshot.item_id[row]))
        moments = label_moments(
            read_events(truth, item.path),
            span_seconds=source.clip_format.span_seconds,
            last_start_seconds=(int(source.groups.starts.num_frames[place]) - 1) / rate,
            frame_rate=rate,
        )
        title = int(source.groups.group_of[place])
        found += [(row, moment.start_seconds, moment.kind, title) for moment in moments]
        if len(found) >= 4 * num_clips:
            break
    return _event_folds(found, num_clips, rng)


def _event_folds(
    found: list[tuple[int, float, str, int]], num_clips: int, rng: Generator
) -> ProbeMoments | Missing:
    chosen = [found[index] for index in rng.permutation(len(found))[:num_clips].tolist()]
    titles_of: dict[str, list[int]] = {}
    for _, _, kind, title in chosen:
        titles_of.setdefault(kind, []).append(title)
    # Of a kind that one title alone has, nothing can be learned in the others.
    known = {
        kind
        for kind, titles in titles_of.items()
        if len(titles) >= _FEWEST_OF_A_KIND and len(set(titles)) > 1
    }
    chosen = [entry for entry in chosen if entry[2] in known]
    titles = sorted({entry[3] for entry in chosen})
    if len(titles) < _FEWEST_EVENT_TITLES or len(known) < 2:
        return Missing(
            reason=f"{len(chosen)} moments of {len(titles)} titles have a known event that other "
            f"titles have too; a probe of the event needs {_FEWEST_EVENT_TITLES} titles and 2 "
            "kinds of events"
        )
    fold_of = {title: index % _EVENT_FOLDS for index, title in enumerate(titles)}
    return _columns([(row, start, kind, fold_of[title]) for row, start, kind, title in chosen])


def _columns(rows: list[tuple[int, float, str, int]]) -> ProbeMoments:
    row, start, label, fold = zip(*rows, strict=True)
    return ProbeMoments(
        row=np.array(row, np.int64),
        start=np.array(start, np.float64),
        label=np.array(label),
        fold=np.array(fold, np.int64),
    )
