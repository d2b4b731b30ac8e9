"""The figures of a diagnosis, as plain values for the page and for `--json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toomuchtv.evaluation.benchmark import Modality
from toomuchtv.media.clip import VideoArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """Stands for a figure that cannot be measured. `reason` says why, in words for a person."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Summary statistics of one figure over several batches.

    `std` is the standard deviation of a sample (n - 1), and 0 for a single batch.
    """

    mean: float
    std: float
    lowest: float
    highest: float

    @classmethod
    def from_values(cls, values: Sequence[float]) -> Summary:
        """Summarize the values that are not NaN. If there are none, all statistics are NaN."""
        finite = [value for value in values if not math.isnan(value)]
        if not finite:
            return cls(mean=math.nan, std=math.nan, lowest=math.nan, highest=math.nan)
        std = float(np.std(finite, ddof=1)) if len(finite) > 1 else 0.0
        return cls(mean=float(np.mean(finite)), std=std, lowest=min(finite), highest=max(finite))


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyNegatives:
    """How hard the negatives are in batches of one sampling policy.

    Attributes:
        policy: `uniform` or `hierarchical`.
        trained_with: Whether the run was trained with this policy.
        batch: Composition of a batch, in words.
        num_clips: Number of clips in a batch.
        num_batches: Number of batches that were drawn.
        figures: The figures of `NegativeFigures`, by name.
        equal_embeddings: The same figures of the same batches if all embeddings were equal. They
            depend only on how many pairs of each relation there are.
    """

    policy: str
    trained_with: bool
    batch: str
    num_clips: int
    num_batches: int
    figures: Mapping[str, Summary]
    equal_embeddings: Mapping[str, Summary]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationSimilarity:
    """Similarity of the pairs of one relation. A pair is the video of a clip and an audio.

    Attributes:
        relation: `positives`, `same item`, `same title` (of another item) or `other titles`.
        num_pairs: Number of pairs.
        mean: Mean similarity.
        std: Standard deviation of the similarity.
        nearer_than_own: Probability that the pair is more similar than the video and its own audio,
            averaged with the probability that it is more similar than the audio and its own video.
        histogram: Numbers of pairs in bins of equal width over [-1, 1].
    """

    relation: str
    num_pairs: int
    mean: float
    std: float
    nearer_than_own: float
    histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPreview:
    """Frames of a clip, uint8 RGB `[3, H, W, 3]`, and its log-mel, float32 `[bands, frames]`."""

    frames: VideoArray
    log_mel: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipDescription:
    """Names the source of a clip. `episode` is for example "S01E02", or "" for a film."""

    title: str
    episode: str
    start_seconds: float
    timecode: str
    preview: ClipPreview | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NegativePair:
    """A negative pair that is worth a look.

    Attributes:
        video: The clip whose video takes part in the pair.
        audio: The clip whose audio takes part in the pair.
        relation: See `RelationSimilarity`.
        similarity: Similarity of that video and that audio.
        own_similarity: Similarity of the video and its own audio.
        agreement: The smaller of the video-video and the audio-audio similarity of the two clips.
    """

    video: ClipDescription
    audio: ClipDescription
    relation: str
    similarity: float
    own_similarity: float
    agreement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleConfusion:
    """How much of the softmax mass of one title's clips lies on negatives of another title.

    Attributes:
        titles: Names, `[T]`.
        lift: float64 `[T, T]`: the mass that clips of the row's title put on negatives of the
            column's title, as a multiple of its share of the negatives. NaN without negatives.
        pairs: The most confusable pairs of titles, the highest lift first: two names and the mean
            of the lift in both directions.
    """

    titles: tuple[str, ...]
    lift: NDArray[np.float64]
    pairs: tuple[tuple[str, str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatistics:
    """Statistics of all pairs in one pool of clips."""

    num_clips: int
    relations: tuple[RelationSimilarity, ...]
    hardest_negatives: tuple[NegativePair, ...]
    likely_false_negatives: tuple[NegativePair, ...]
    confusion: TitleConfusion | Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """Accuracy of a linear probe.

    Attributes:
        target: `title` or `event`.
        modality: `video` or `audio`.
        content: What the clips kept, a key of `content_ablation.CONTENTS`.
        layer: `embedding`, or `features` for the output of the encoder before its head.
        trained: False for fresh weights of the same architecture.
        accuracy: Mean accuracy over the folds.
        fold_accuracies: Accuracy of each fold.
        chance: Accuracy of always predicting the most frequent class.
        num_classes: Number of classes.
        num_clips: Number of clips in all folds.
    """

    target: str
    modality: Modality
    content: str
    layer: str
    trained: bool
    accuracy: float
    fold_accuracies: tuple[float, ...]
    chance: float
    num_classes: int
    num_clips: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All figures of one run on one catalog.

    Attributes:
        run: Folder of the run.
        catalog: Folder of the catalog.
        split: Titles that were used: `held_out`, `train` or `all`.
        num_titles: Number of titles, at the level that the run counts as one title.
        num_items: Number of items.
        temperature: Temperature of the loss, by which similarities are divided.
        seed: Seed of everything that was drawn.
        policies: The policy of the run first, then the other one.
        pool: Statistics of all pairs of one pool of clips.
        title_probes: Linear probes of the title.
        event_probes: Linear probes of the event.
        notes: Warnings about these figures, such as clips that could not be read.
    """

    run: Path
    catalog: Path
    split: str
    num_titles: int
    num_items: int
    temperature: float
    seed: int
    policies: tuple[PolicyNegatives | Unavailable, ...]
    pool: PoolStatistics | Unavailable
    title_probes: tuple[ProbeResult, ...] | Unavailable
    event_probes: tuple[ProbeResult, ...] | Unavailable
    notes: tuple[str, ...]

    def figures(self) -> dict[str, Any]:
        """Return all figures as JSON values, without previews. NaN and infinity become None.

        Run and catalog are their names, because people share these figures.
        """
        values = {
            **asdict(self),
            "run": self.run.resolve().name,
            "catalog": self.catalog.resolve().name,
        }
        return {_json_key(name): _json_value(value) for name, value in values.items()}


#: Keys of the JSON output that differ from the attribute's name without its prefix `num_`.
_JSON_KEYS = {
    "pool": "survey",
    "equal_embeddings": "even",
    "hardest_negatives": "hardest",
    "likely_false_negatives": "likely_false",
    "agreement": "alike",
    "modality": "sense",
    "fold_accuracies": "folds",
}


def _json_key(name: str) -> str:
    return _JSON_KEYS.get(name, name.removeprefix("num_"))


def _json_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            _json_key(key): _json_value(part) for key, part in value.items() if key != "preview"
        }
    if isinstance(value, (tuple, list)):
        return [_json_value(part) for part in value]
    if isinstance(value, np.ndarray):
        return _json_value(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
