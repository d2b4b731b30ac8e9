"""How similar random moments of different titles are: what gives a similarity its meaning.

A cosine says little by itself. Between two encoders, and between two directions of one encoder (a
picture finds a picture, a picture finds a sound), equal values mean different things. So an index
stores two distributions for each encoder and direction:

- Similarities of random pairs of moments of different titles. Their mean and standard deviation
  turn a similarity into a z-score.
- For random moments, the best similarity to any moment of another title. Only one of ten reaches
  the `threshold`. A query that has nothing to do with the catalog resembles it about as much as two
  titles resemble each other, so such a query has a confident hit in about one of ten searches.
  Moments that nothing resembles (`outliers`) are below what nineteen of twenty reach.
- The same after the mean of its title was subtracted from every vector, as in a search of other
  titles.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from toomuchtv._internal.files import read_json, write_json
from toomuchtv._internal.random_numbers import FloatArray, IntArray
from toomuchtv.errors import CheckpointError
from toomuchtv.search.hits import Modality, QueryModality
from toomuchtv.search.index_folder import IndexedEncoder
from toomuchtv.search.scoring import similarities
from toomuchtv.search.vector_files import ItemVectors

_NUM_PAIRS, _NUM_QUERIES = 20_000, 200
# On rendered films, hits in other titles above this quantile were right in 42% to 78% of the cases,
# and above the 5% quantile in 18% to 36% (docs/experiments/2026-11-search.md).
_CONFIDENT_QUANTILE = 0.9
_OUTLIER_QUANTILE = 0.05
# The distributions change slowly. While at most this share of the windows was added or removed,
# they are kept, so that an update of one item does not cost a pass over the whole index.
_MAX_CHANGE = 0.1


class DirectionCalibration(BaseModel):
    """Similarities of random moments in one direction.

    Attributes:
        query_modality: Modality of the query.
        modality: Modality of the moments that it is compared with.
        mean: Mean similarity of random pairs of different titles.
        std: Standard deviation of these similarities.
        threshold: The similarity that 10% of the moments find, or exceed, in another title.
        centered_threshold: The same after the mean of its title was subtracted from every vector;
            None in an index of one title, and between look and sound.
        outlier_threshold: The similarity that 95% of the moments find, or exceed.
        quantiles: Similarities of the random pairs at 0%, 1%, ... 100%.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    query_modality: QueryModality
    modality: Modality
    mean: float
    std: float
    threshold: float
    centered_threshold: float | None
    outlier_threshold: float
    quantiles: tuple[float, ...]

    def z_score(self, similarity: float) -> float:
        """Return by how many standard deviations a similarity exceeds the mean."""
        return (similarity - self.mean) / self.std


@dataclass(frozen=True, slots=True)
class Calibration:
    """The calibration of one encoder of an index.

    Attributes:
        num_windows: Number of windows of the index when it was measured.
        group: What random moments differed in: "title", or "item" in an index of one title.
        directions: One entry for each direction that has enough moments.
        contents: Names of the vector files that it was measured on.
    """

    num_windows: int
    group: str
    directions: tuple[DirectionCalibration, ...]
    contents: tuple[str, ...] = ()

    def of(self, query_modality: QueryModality, modality: Modality) -> DirectionCalibration | None:
        """Return the calibration of a direction, or None if there were too few moments."""
        for entry in self.directions:
            if (entry.query_modality, entry.modality) == (query_modality, modality):
                return entry
        return None

    def is_current(self, num_windows_of: Mapping[str, int], title_ids: IntArray) -> bool:
        """Return whether an index is about what it was when this was measured.

        Args:
            num_windows_of: Number of windows of each vector file, by its name.
            title_ids: The title of each item.
        """
        num_kept = sum(num_windows_of.get(content, 0) for content in self.contents)
        num_changed = self.num_windows + sum(num_windows_of.values()) - 2 * num_kept
        is_similar = num_changed <= _MAX_CHANGE * self.num_windows
        return is_similar and self.group == _group_of(title_ids)


def _group_of(title_ids: IntArray) -> str:
    return "title" if len(np.unique(title_ids)) > 1 else "item"


def calibrate(
    encoder: IndexedEncoder,
    vectors: Mapping[str, ItemVectors],
    title_ids: IntArray,
    *,
    seed: int = 0,
) -> Calibration:
    """Measure the similarities of random moments.

    Args:
        encoder: The encoder.
        vectors: The embeddings of each item, by the names of their files.
        title_ids: The title of each item, int64 `[items]`. If there is only one title, moments of
            different items are compared.
        seed: Seed of the random moments.
    """
    group = _group_of(title_ids)
    groups = title_ids if group == "title" else np.arange(len(vectors))
    rng = np.random.default_rng(seed)
    directions = []
    for query_modality, modality in directions_of(encoder):
        found = _direction(
            list(vectors.values()),
            groups,
            query_modality,
            modality,
            rng,
            is_centered=group == "title" and query_modality == modality,
        )
        if found is not None:
            directions.append(found)
    return Calibration(
        num_windows=sum(map(len, vectors.values())),
        group=group,
        directions=tuple(directions),
        contents=tuple(vectors),
    )


def directions_of(encoder: IndexedEncoder) -> list[tuple[Modality, Modality]]:
    """Return the directions in which moments of an index can be compared, query first."""
    modalities: list[Modality] = []
    if encoder.video_dim is not None:
        modalities.append("video")
    if encoder.audio_dim is not None:
        modalities.append("audio")
    return [
        (query, found)
        for query in modalities
        for found in modalities
        if query == found or encoder.shares_space
    ]


def _direction(
    vectors: Sequence[ItemVectors],
    groups: IntArray,
    query_modality: Modality,
    modality: Modality,
    rng: np.random.Generator,
    *,
    is_centered: bool,
) -> DirectionCalibration | None:
    queries = _Moments(vectors, groups, query_modality)
    targets = _Moments(vectors, groups, modality)
    if len(np.union1d(queries.groups, targets.groups)) < 2 or not (len(queries) and len(targets)):
        return None
    left, right = queries.draw(_NUM_PAIRS, rng), targets.draw(_NUM_PAIRS, rng)
    differ = queries.group(left) != targets.group(right)
    if not differ.any():
        return None
    pairs = (queries.take(left[differ]) * targets.take(right[differ])).sum(dim=1).double().numpy()
    drawn = queries.draw(_NUM_QUERIES, rng)
    best = targets.best_of_other_groups(queries.take(drawn), queries.group(drawn))
    centered = np.array([])
    if is_centered:
        centered = targets.best_of_other_groups(
            queries.take_centered(drawn), queries.group(drawn), is_centered=True
        )
    return DirectionCalibration(
        query_modality=query_modality,
        modality=modality,
        mean=float(pairs.mean()),
        # Of a constant encoder all similarities are equal.
        std=max(float(pairs.std()), 1e-6),
        threshold=_quantile(best, _CONFIDENT_QUANTILE),
        centered_threshold=_quantile(centered, _CONFIDENT_QUANTILE) if is_centered else None,
        outlier_threshold=_quantile(best, _OUTLIER_QUANTILE),
        quantiles=tuple(np.quantile(pairs, np.linspace(0, 1, 101)).tolist()),
    )


def _quantile(best: FloatArray, share: float) -> float:
    """Return a quantile of best similarities; there may be none, -inf."""
    return float(np.quantile(best[np.isfinite(best)], share))


class _Moments:
    """The moments of one modality, of all items that have it."""

    def __init__(
        self, vectors: Sequence[ItemVectors], groups: IntArray, modality: Modality
    ) -> None:
        having = [
            (values, group)
            for item, group in zip(vectors, groups.tolist(), strict=True)
            if (values := item.of(modality)) is not None
        ]
        self._arrays = [values for values, _ in having]
        self.groups = np.array([group for _, group in having], np.int64)
        self._stops = np.cumsum([len(values) for values in self._arrays], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._stops[-1]) if len(self._stops) else 0

    def draw(self, count: int, rng: np.random.Generator) -> IntArray:
        """Draw moments with replacement: their numbers, int64 `[count]`."""
        return rng.integers(len(self), size=count)

    def group(self, numbers: IntArray) -> IntArray:
        """Return the group of each moment."""
        return np.asarray(self.groups[np.searchsorted(self._stops, numbers, side="right")])

    def take(self, numbers: IntArray) -> Tensor:
        """Return the vectors of moments, float32 `[count, D]`."""
        rows = np.searchsorted(self._stops, numbers, side="right")
        starts = np.concatenate([[0], self._stops])
        out = torch.empty(len(numbers), self._arrays[0].shape[1])
        for row in np.unique(rows).tolist():
            here = np.flatnonzero(rows == row)
            index = torch.from_numpy(numbers[here] - starts[row])
            out[torch.from_numpy(here)] = self._arrays[row][index].float()
        return out

    def take_centered(self, numbers: IntArray) -> Tensor:
        """Return unit vectors from which the mean of their group was subtracted."""
        means = torch.stack([self._means[group] for group in self.group(numbers).tolist()])
        return torch.nn.functional.normalize(self.take(numbers) - means, dim=1)

    def best_of_other_groups(
        self, queries: Tensor, groups: IntArray, *, is_centered: bool = False
    ) -> FloatArray:
        """Return the best similarity of each query to a moment of another group; -inf if none."""
        best = torch.full((len(queries),), -torch.inf)
        own = torch.from_numpy(groups)
        for values, group in zip(self._arrays, self.groups.tolist(), strict=True):
            found = similarities(values, queries)
            if is_centered:
                # See `EncoderIndex.centered_scores`: |x - m|^2 of a unit vector x.
                mean = self._means[group]
                squared = 1 - 2 * (values @ mean.half()).float() + mean.square().sum()
                found = (found - queries @ mean) / squared.clamp(min=1e-6).sqrt().unsqueeze(1)
            best = torch.where(own == group, best, torch.maximum(best, found.amax(dim=0)))
        return best.double().numpy()

    @functools.cached_property
    def _means(self) -> dict[int, Tensor]:
        """Mean vector of each group, float32 `[D]`."""
        sums: dict[int, Tensor] = {}
        counts: dict[int, int] = {}
        for values, group in zip(self._arrays, self.groups.tolist(), strict=True):
            sums[group] = sums.get(group, 0.0) + values.double().sum(dim=0)
            counts[group] = counts.get(group, 0) + len(values)
        return {group: (total / counts[group]).float() for group, total in sums.items()}


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write a calibration as JSON with a checksum."""
    write_json(path, json.loads(_ADAPTER.dump_json(calibration)))


def read_calibration(path: Path) -> Calibration | None:
    """Read a calibration; None if there is none that can be used, so that it must be measured."""
    try:
        return _ADAPTER.validate_python(read_json(path))
    except (OSError, CheckpointError, ValidationError):
        return None


_ADAPTER = TypeAdapter(Calibration)
