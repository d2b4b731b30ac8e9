"""Linear probes: do the embeddings encode the title, and do they encode what happens?

Events are read from a folder that has one JSON file per file of the library. For `LIBRARY/a/b.mkv`
it is `TRUTH/a/b.json`: an object whose `events` are objects with `start_seconds`, `stop_seconds`
and `kind`. The renderer in `experiments/rendered_tv` writes such files, and so may anybody.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor

from toomuchtv._internal.random_numbers import IntArray
from toomuchtv.catalog.store import Catalog
from toomuchtv.data.clip_specs import ClipSpec, ClipSpecs
from toomuchtv.diagnosis.content_ablation import CONTENTS
from toomuchtv.diagnosis.embedding import ClipSource, Embedder, ProgressCounter
from toomuchtv.diagnosis.results import ProbeResult, Unavailable
from toomuchtv.evaluation.benchmark import Modality
from toomuchtv.evaluation.errors import BenchmarkError

_MAX_TITLES = 32
_MIN_CLIPS_PER_FOLD, _MAX_CLIPS_PER_FOLD = 4, 16
# The folds of the title probe are the first and the last two fifths of every item. Clips of
# different folds are therefore at least a fifth of the item apart.
_FOLD_SHARE = 0.4
_NUM_EVENT_FOLDS = 4
_MIN_EVENT_TITLES = 3
_MIN_CLIPS_PER_KIND = 4
_RIDGE_STRENGTHS = tuple(10.0**power for power in range(-1, 6))

#: The progress that fitting one probe counts for, in clips.
FIT_COST = 20


class Event(BaseModel):
    """An event of a known kind during `[start_seconds, stop_seconds)` of a file."""

    start_seconds: float
    stop_seconds: float
    kind: str


class _EventFile(BaseModel):
    events: list[Event]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeClips:
    """Clips with the label to predict, `[M]`, and the fold in which each is tested."""

    clips: ClipSpecs
    label: NDArray[np.str_]
    fold: IntArray

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, keep: NDArray[np.bool_]) -> ProbeClips:
        return ProbeClips(clips=self.clips[keep], label=self.label[keep], fold=self.fold[keep])

    @classmethod
    def collect(cls, rows: Iterable[tuple[ClipSpec, str, int]]) -> ProbeClips:
        """Collect clips, labels and folds into arrays. There must be at least one."""
        clips, labels, folds = zip(*rows, strict=True)
        return cls(
            clips=ClipSpecs.from_clips(clips),
            label=np.array(labels),
            fold=np.array(folds, np.int64),
        )


def read_events(truth: Path, item_path: Path) -> list[Event]:
    """Read the events of one file. Return no events if it has no JSON file.

    Args:
        truth: Folder of the JSON files.
        item_path: Path of the file, relative to its library.

    Raises:
        BenchmarkError: The JSON file has another structure than described above.
    """
    path = truth / item_path.with_suffix(".json")
    try:
        return _EventFile.model_validate(json.loads(path.read_text("utf-8"))).events
    except FileNotFoundError:
        return []
    except (OSError, ValueError, ValidationError) as error:
        raise BenchmarkError(f"{str(path)!r} is not a list of events: {error}") from error


def clips_of_events(
    events: list[Event], *, span_seconds: float, last_start_seconds: float, frame_rate: float
) -> list[tuple[float, str]]:
    """Choose one clip around the middle of each event that can be seen without another one.

    Args:
        events: The events of one file.
        span_seconds: Length of a clip.
        last_start_seconds: The latest start of a clip.
        frame_rate: Frame rate of the grid that start times lie on.

    Returns:
        Start time and kind of at most one clip per event. The event fills at least half of the
        clip, and no event of another kind overlaps the clip.
    """
    chosen = []
    for event in events:
        middle = (event.start_seconds + event.stop_seconds) / 2
        start = min(max(middle - span_seconds / 2, 0.0), last_start_seconds)
        start = int(start * frame_rate + 1e-6) / frame_rate
        stop = start + span_seconds
        overlap = min(stop, event.stop_seconds) - max(start, event.start_seconds)
        is_alone = all(
            other.kind == event.kind or other.stop_seconds <= start or other.start_seconds >= stop
            for other in events
        )
        if is_alone and overlap >= span_seconds / 2:
            chosen.append((start, event.kind))
    return chosen


def draw_title_clips(source: ClipSource, *, num_clips: int, seed: int) -> ProbeClips | Unavailable:
    """Draw clips for the title probe. Fold 0 is the beginning of every item, fold 1 is its end.

    Each title has the same number of clips in both folds, and all titles have the same number if
    they are long enough. Clips do not overlap.
    """
    rng = np.random.default_rng([seed, 1])
    num_groups = source.groups.num_groups
    max_titles = min(_MAX_TITLES, num_clips // (2 * _MIN_CLIPS_PER_FOLD))
    per_fold = min(_MAX_CLIPS_PER_FOLD, num_clips // (2 * max(1, min(max_titles, num_groups))))
    rows: list[tuple[ClipSpec, str, int]] = []
    num_titles = 0
    # A library of very short titles is not searched to its end.
    for title in rng.permutation(num_groups)[: 2 * max_titles].tolist():
        folds = [_draw_clips_of_fold(source, title, fold, rng) for fold in (0, 1)]
        usable = min(len(folds[0]), len(folds[1]), per_fold)
        if usable >= _MIN_CLIPS_PER_FOLD and num_titles < max_titles:
            num_titles += 1
            rows += [(clip, str(title), fold) for fold in (0, 1) for clip in folds[fold][:usable]]
    if num_titles < 2:
        return Unavailable(
            reason=f"{num_titles} of {num_groups} titles are long enough for {_MIN_CLIPS_PER_FOLD} "
            "clips in the first and in the last two fifths of their items, and a probe of the "
            "title needs two such titles"
        )
    return ProbeClips.collect(rows)


def _draw_clips_of_fold(
    source: ClipSource, title: int, fold: int, rng: Generator
) -> list[ClipSpec]:
    """Draw clips from one end of a title's items, in random order. They do not overlap."""
    groups, clip_format = source.groups, source.clip_format
    gap_seconds = max(clip_format.span_seconds, clip_format.audio_seconds)
    clips: list[ClipSpec] = []
    first, stop = int(groups.offsets[title]), int(groups.offsets[title + 1])
    # Some items of a long series are enough.
    for index in rng.permutation(np.arange(first, stop))[:_MAX_CLIPS_PER_FOLD].tolist():
        frame_rate = float(groups.frame_rate[index])
        num_starts, stride = int(groups.starts.count[index]), int(np.ceil(gap_seconds * frame_rate))
        low, high = 0, int(_FOLD_SHARE * num_starts)
        if fold == 1:
            # A fifth of a short item may be shorter than a clip, so keep a clip's length as well.
            low, high = max(int((1 - _FOLD_SHARE) * num_starts), high + stride), num_starts
        positions = np.arange(low + int(rng.integers(stride)), high, stride)
        frames = groups.starts.frame_at(np.full_like(positions, index), positions)
        item = int(groups.rows[index])
        clips += [
            ClipSpec(item=item, title=title, start_seconds=frame / frame_rate)
            for frame in frames.tolist()
        ]
    return [clips[index] for index in rng.permutation(len(clips)).tolist()]


def draw_event_clips(
    source: ClipSource, catalog: Catalog, truth: Path, *, num_clips: int, seed: int
) -> ProbeClips | Unavailable:
    """Draw clips of known events. A fold has whole titles, so no title is in two folds."""
    if not truth.is_dir():
        return Unavailable(
            reason="the events are not known: no folder of events is beside the library, and none "
            "was passed as --truth"
        )
    rng = np.random.default_rng([seed, 2])
    groups = source.groups
    labeled: list[tuple[ClipSpec, str]] = []
    # The order is random, so that a large library need not be read to its end.
    for index in rng.permutation(len(groups.rows)).tolist():
        row, frame_rate = int(groups.rows[index]), float(groups.frame_rate[index])
        chosen = clips_of_events(
            read_events(truth, catalog.item(int(source.snapshot.item_id[row])).path),
            span_seconds=source.clip_format.span_seconds,
            last_start_seconds=(int(groups.starts.num_frames[index]) - 1) / frame_rate,
            frame_rate=frame_rate,
        )
        title = int(groups.group_of[index])
        labeled += [
            (ClipSpec(item=row, title=title, start_seconds=start), kind) for start, kind in chosen
        ]
        if len(labeled) >= 4 * num_clips:
            break
    labeled = [labeled[index] for index in rng.permutation(len(labeled))[:num_clips].tolist()]
    titles_of: dict[str, list[int]] = defaultdict(list)
    for clip, kind in labeled:
        titles_of[kind].append(clip.title)
    # A kind that only one title has cannot be learned from the other titles.
    kinds = {
        kind
        for kind, titles in titles_of.items()
        if len(titles) >= _MIN_CLIPS_PER_KIND and len(set(titles)) > 1
    }
    labeled = [(clip, kind) for clip, kind in labeled if kind in kinds]
    titles = sorted({clip.title for clip, _ in labeled})
    if len(titles) < _MIN_EVENT_TITLES or len(kinds) < 2:
        return Unavailable(
            reason=f"{len(labeled)} clips of {len(titles)} titles have an event of a kind that "
            f"other titles have too, and a probe of the event needs {_MIN_EVENT_TITLES} titles "
            "and 2 kinds"
        )
    fold_of = {title: index % _NUM_EVENT_FOLDS for index, title in enumerate(titles)}
    return ProbeClips.collect((clip, kind, fold_of[clip.title]) for clip, kind in labeled)


def probe_settings(*, trained: bool) -> list[tuple[Modality, str, str]]:
    """List what is probed: modality, content and layer. Fresh weights are only a baseline."""
    modalities: tuple[Modality, ...] = ("video", "audio")
    if not trained:
        return [(modality, "everything", "embedding") for modality in modalities]
    return [
        (modality, content, "embedding")
        for modality in modalities
        for content in CONTENTS[modality]
    ] + [(modality, "everything", "features") for modality in modalities]


def fit_probes(
    probe_clips: ProbeClips | Unavailable,
    target: str,
    *,
    trained: Embedder,
    fresh: Embedder,
    counter: ProgressCounter,
) -> tuple[ProbeResult, ...] | Unavailable:
    """Fit linear probes to the outputs of the encoders, and test them.

    Args:
        probe_clips: The clips, their labels and folds, or why there are none.
        target: `title` or `event`.
        trained: The encoders of the run. They are probed with every content and layer.
        fresh: The same architecture with fresh weights. It is probed with unchanged clips.
        counter: Receives the progress.
    """
    if isinstance(probe_clips, Unavailable):
        return probe_clips
    results: list[ProbeResult] = []
    for embedder, is_trained in ((trained, True), (fresh, False)):
        name = f"{target} probe" if is_trained else f"{target} probe, fresh weights"
        embeddings = embedder.embed(probe_clips.clips, name, ablations=is_trained)
        kept = probe_clips[embeddings.readable]
        classes = set(kept.label.tolist())
        if len(classes) < 2 or len(set(kept.fold.tolist())) < 2:
            return Unavailable(reason=f"only {len(kept)} clips of the probe could be read")
        for modality, content, layer in probe_settings(trained=is_trained):
            outputs = embeddings.embedding if layer == "embedding" else embeddings.features
            accuracies, chance = cross_validate(outputs[modality, content], kept)
            if not accuracies:
                return Unavailable(reason="in no fold do the other folds have two classes")
            counter.advance(FIT_COST, f"{target} probe, {modality}, {content}")
            results.append(
                ProbeResult(
                    target=target,
                    modality=modality,
                    content=content,
                    layer=layer,
                    trained=is_trained,
                    accuracy=float(np.mean(accuracies)),
                    fold_accuracies=accuracies,
                    chance=chance,
                    num_classes=len(classes),
                    num_clips=len(kept),
                )
            )
    return tuple(results)


def cross_validate(values: Tensor, probe_clips: ProbeClips) -> tuple[tuple[float, ...], float]:
    """Fit a linear classifier to all folds but one, and test it on that one, for every fold.

    The features are standardized. The classifier is a ridge regression with one output per class,
    whose strength is chosen by leave-one-out on the training clips. A fold is skipped if its
    training clips have only one class.

    Args:
        values: float32 `[M, D]`.
        probe_clips: The labels and folds of these M clips.

    Returns:
        The accuracy of each fold, and the accuracy of always predicting the most frequent class of
        the training clips.
    """
    inputs = values.double().numpy()
    accuracies, chances = [], []
    # The matrices are so small that more threads would make this slower.
    with threadpool_limits(1):
        for fold in sorted(set(probe_clips.fold.tolist())):
            test = probe_clips.fold == fold
            train_labels, test_labels = probe_clips.label[~test], probe_clips.label[test]
            classes, counts = np.unique(train_labels, return_counts=True)
            if len(classes) < 2:
                continue
            classifier = make_pipeline(StandardScaler(), RidgeClassifierCV(_RIDGE_STRENGTHS))
            classifier.fit(inputs[~test], train_labels)
            accuracies.append(float(classifier.score(inputs[test], test_labels)))
            chances.append(float(np.mean(test_labels == classes[np.argmax(counts)])))
    return tuple(accuracies), float(np.mean(chances)) if chances else 0.0
