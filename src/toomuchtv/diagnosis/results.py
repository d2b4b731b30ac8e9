"""What a diagnosis came to: values only, for the page and for `--json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from toomuchtv.media.clip import VideoArray

Sense = Literal["video", "audio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """In place of a figure that cannot be given, and why, in words for a person."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A figure over several batches; `std` is that of a sample (n - 1), 0 for a single one."""

    mean: float
    std: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of the values that are numbers; NaN if none is."""
        numbers = [value for value in values if not math.isnan(value)]
        if not numbers:
            return cls(mean=math.nan, std=math.nan, lowest=math.nan, highest=math.nan)
        std = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else 0.0
        return cls(mean=float(np.mean(numbers)), std=std, lowest=min(numbers), highest=max(numbers))


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFigures:
    """How hard the negatives of one policy's batches are.

    Attributes:
        policy: `uniform` or `hierarchical`.
        trained_with: Whether the run was trained with it.
        batch: What a batch is made of, in words.
        clips: Clips of a batch.
        batches: How many were drawn.
        figures: Those of `NegativeFigures`, by name.
        even: The same of the same batches if all embeddings were equal.
    """

    policy: str
    trained_with: bool
    batch: str
    clips: int
    batches: int
    figures: Mapping[str, Spread]
    even: Mapping[str, Spread]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationFigures:
    """Similarity of the pairs of one relation.

    Attributes:
        relation: `positives`, `same item`, `same title` (another item of it) or `other titles`.
        pairs: How many; a video and an audio make one.
        mean: Of the similarities.
        std: Of the similarities.
        nearer_than_own: Share of the pairs that are nearer to the video than its own audio, or
            to the audio than its own video: the mean of the two.
        histogram: Pairs in equal bins over -1..1.
    """

    relation: str
    pairs: int
    mean: float
    std: float
    nearer_than_own: float
    histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentPicture:
    """A moment to look at: uint8 RGB `[3, H, W, 3]`, and log-mel float32 `[bands, frames]`."""

    frames: VideoArray
    log_mel: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Where a clip is: `title`, `episode` ("S01E02", or "" for a film), and the time in it."""

    title: str
    episode: str
    start_seconds: float
    timecode: str
    picture: MomentPicture | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A negative pair worth a look.

    Attributes:
        video: The moment whose picture it is.
        audio: The moment whose sound it is.
        relation: As in `RelationFigures`.
        similarity: Of the picture of the one and the sound of the other.
        own_similarity: Of the picture and its own sound.
        alike: How alike the two pictures and the two sounds are: the lesser of both.
    """

    video: Moment
    audio: Moment
    relation: str
    similarity: float
    own_similarity: float
    alike: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """How much of the softmax mass of one title's moments lies on another's.

    Attributes:
        titles: Names, `[T]`.
        lift: float64 `[T, T]`: mass on negatives of the column's title, as a multiple of what an
            even split gives it; NaN where there are no negatives.
        pairs: The most confusable, most first: two names and the mean lift both ways.
    """

    titles: tuple[str, ...]
    lift: NDArray[np.float64]
    pairs: tuple[tuple[str, str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What all pairs of one pool of moments show."""

    clips: int
    relations: tuple[RelationFigures, ...]
    hardest: tuple[Pair, ...]
    likely_false: tuple[Pair, ...]
    confusion: Confusion | Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFigures:
    """Accuracy of a linear classifier on what one encoder makes of clips.

    Attributes:
        target: `title` or `event`.
        sense: `video` or `audio`.
        content: What was left in the clips: see `removal.CONTENTS`.
        layer: `embedding`, or `features` before the projection head.
        trained: False for the same architecture with fresh weights.
        accuracy: Mean over the folds.
        folds: Of each fold.
        chance: Always naming the most frequent.
        classes: How many there are to name.
        clips: Clips in all folds.
    """

    target: str
    sense: Sense
    content: str
    layer: str
    trained: bool
    accuracy: float
    folds: tuple[float, ...]
    chance: float
    classes: int
    clips: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All figures of one run on one catalog.

    Attributes:
        run: The run's folder.
        catalog: The catalog's folder.
        split: Which titles were looked at: `held_out`, `train` or `all`.
        titles: How many.
        items: How many.
        temperature: What similarities were divided by.
        seed: What all that is random follows from.
        policies: The policy trained with first, then the other.
        survey: Of one pool of moments.
        title_probes: Is the title in the embedding?
        event_probes: Is what happens in it?
        notes: Reservations.
    """

    run: Path
    catalog: Path
    split: str
    titles: int
    items: int
    temperature: float
    seed: int
    policies: tuple[PolicyFigures | Missing, ...]
    survey: Survey | Missing
    title_probes: tuple[ProbeFigures, ...] | Missing
    event_probes: tuple[ProbeFigures, ...] | Missing
    notes: tuple[str, ...]

    def figures(self) -> dict[str, Any]:
        """All of it as plain values, without the pictures; what is not a number is None."""
        plain = _plain(asdict(self))
        assert isinstance(plain, dict)
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if key != "picture"}
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
