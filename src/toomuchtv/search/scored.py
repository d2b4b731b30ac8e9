"""The similarities of a query to the windows of an encoder, in one direction."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toomuchtv._internal.random_numbers import IntArray
from toomuchtv.search.calibration import DirectionCalibration
from toomuchtv.search.encoder_index import Candidates, EncoderIndex, ScoreArray, top_windows
from toomuchtv.search.hits import Match, Modality, QueryModality
from toomuchtv.search.scoring import HALF_ERROR

# Without pairs of different titles, as for text, a hit must stand out of all windows.
_CONFIDENT_Z = 4.0
_NO_SCORES: ScoreArray = np.empty(0, np.float32)


def score(
    encoder: EncoderIndex,
    query: Tensor,
    query_modality: QueryModality,
    modality: Modality,
    *,
    allowed: NDArray[np.bool_] | None,
    mean: Tensor | None,
    num_candidates: int,
    is_refined: bool = False,
) -> Scored:
    """Compare a query with the windows of an encoder.

    Args:
        encoder: The encoder with its windows.
        query: A unit vector, float32 `[D]`.
        query_modality: What the query is an embedding of.
        modality: What of the windows to compare.
        allowed: Windows that may be returned, bool `[N]`; None for all.
        mean: Mean vector of the query's title, if the mean of its own title is subtracted from the
            query and every window; see `EncoderIndex.centered_scores`.
        num_candidates: How many windows are enough where not all are compared.
        is_refined: Whether only `top` and `match` are used, which compute exact similarities.
    """
    direction = query
    if mean is not None:
        direction = (query - mean) / (query - mean).norm().clamp(min=1e-6)
    found = encoder.candidates(direction, modality, allowed, num_candidates)
    if found is not None:
        return _scored_candidates(
            encoder, found, query, direction, query_modality, modality, mean is not None
        )
    if mean is None:
        known = encoder.calibration
        # Without a calibration, mean and standard deviation are those of the scores.
        is_calibrated = known is not None and known.of(query_modality, modality) is not None
        together = is_refined and is_calibrated
        scores = encoder.scores(query, modality, allowed, together=together)
    else:
        scores = encoder.centered_scores(query, mean, modality, allowed)
    return Scored(
        encoder=encoder, query_modality=query_modality, modality=modality, query=query,
        scores=scores, is_centered=mean is not None,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """The similarities of one query to all windows of an encoder, in one direction.

    Attributes:
        encoder: The encoder with its windows.
        query_modality: What of the query was compared.
        modality: What of the windows was compared.
        query: The query's unit vector, float32 `[D]`.
        scores: float32 `[N]`; -inf for windows that may not be returned.
        is_centered: Whether the scores are other than the cosine.
    """

    encoder: EncoderIndex
    query_modality: QueryModality
    modality: Modality
    query: Tensor
    scores: ScoreArray
    is_centered: bool

    def calibration(self) -> DirectionCalibration | None:
        """Return the calibration of this direction, or None if it was not measured."""
        known = self.encoder.calibration
        return None if known is None else known.of(self.query_modality, self.modality)

    def top(self, count: int) -> IntArray:
        """Return the best windows in exact order, int64, at most `count`."""
        if self.is_centered:
            return top_windows(self.scores, count)
        best = top_windows(self.scores, count)
        if not len(best):
            return best
        # Rounding can move a window by the error, and the last of the best ones as well.
        bound = self.scores[best[-1]] - 2 * HALF_ERROR
        candidates = np.flatnonzero(self.scores >= bound)
        exact = self.encoder.exact(candidates, self.query, self.modality)
        return np.asarray(candidates[np.argsort(-exact, kind="stable")[:count]], np.int64)

    def z_scores(self) -> ScoreArray:
        """Return the z-score of every window, float32 `[N]`; -inf as in `scores`."""
        mean, std = self._mean_and_std
        return np.asarray((self.scores - mean) / std, np.float32)

    def has(self, window: int) -> bool:
        """Return whether a window was compared with the query."""
        return bool(np.isfinite(self.scores[window]))

    def similarity(self, window: int) -> float:
        """Return the cosine of the query and a window that was compared with it."""
        return float(self.encoder.exact(np.array([window]), self.query, self.modality)[0])

    def match(self, window: int, rank: int) -> Match:
        """Return how this direction found a window."""
        # Vectors in half precision can be longer than 1 by a rounding error.
        similarity = min(1.0, max(-1.0, self.similarity(window)))
        mean, std = self._mean_and_std
        z_score = (similarity - mean) / std
        return Match(
            encoder=self.encoder.record.name,
            query_modality=self.query_modality,
            modality=self.modality,
            similarity=similarity,
            z_score=z_score,
            is_confident=self._is_confident(window, similarity, z_score),
            rank=rank,
        )

    def _is_confident(self, window: int, similarity: float, z_score: float) -> bool:
        calibration = self.calibration()
        if calibration is None:
            return z_score >= _CONFIDENT_Z
        if self.is_centered and calibration.centered_threshold is not None:
            return self.order_of(window) >= calibration.centered_threshold
        return similarity >= calibration.threshold

    def order_of(self, window: int) -> float:
        """Return what a window that was compared is ordered by."""
        return float(self.scores[window])

    @functools.cached_property
    def _mean_and_std(self) -> tuple[float, float]:
        calibration = self.calibration()
        if calibration is not None:
            return calibration.mean, calibration.std
        finite = self.scores[np.isfinite(self.scores)].astype(np.float64)
        if len(finite) < 2:
            return math.nan, math.nan
        return float(finite.mean()), max(float(finite.std()), 1e-6)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoredCandidates(Scored):
    """The exact similarities of one query to the windows that an approximate search has found.

    Attributes:
        windows: The windows, best first, int64 `[M]`.
        order: What they are ordered by, float32 `[M]`, descending.
        similarities: Their cosines, by window.
    """

    windows: IntArray
    order: ScoreArray
    similarities: dict[int, float]

    def top(self, count: int) -> IntArray:
        """Return the best windows, int64, at most `count`."""
        return self.windows[:count]

    def z_scores(self) -> ScoreArray:
        """Return the z-score of every candidate, float32 `[N]`; -inf for other windows.

        Without a calibration, as for text, they are z-scores among the candidates, which say
        nothing about confidence but order sequences.
        """
        mean, std = self._mean_and_std
        if math.isnan(mean) and len(self.order):
            mean, std = float(self.order.mean()), max(float(self.order.std()), 1e-6)
        out = np.full(len(self.encoder), -np.inf, np.float32)
        out[self.windows] = (self.order - mean) / std
        return out

    def has(self, window: int) -> bool:
        """Return whether a window is a candidate."""
        return window in self.similarities

    def similarity(self, window: int) -> float:
        """Return the cosine of the query and a candidate."""
        return self.similarities[window]

    def order_of(self, window: int) -> float:
        """Return what a candidate is ordered by."""
        return float(self.order[int(np.flatnonzero(self.windows == window)[0])])


def _scored_candidates(
    encoder: EncoderIndex,
    found: Candidates,
    query: Tensor,
    direction: Tensor,
    query_modality: QueryModality,
    modality: Modality,
    is_centered: bool,
) -> ScoredCandidates:
    """Order candidates by their exact scores."""
    similarities = (found.vectors @ query).numpy()
    order = similarities
    if is_centered:
        means = encoder.title_means(modality)
        rows = np.searchsorted(encoder.starts, found.windows, side="right") - 1
        own = torch.stack([means[encoder.items[row].title.id] for row in rows.tolist()])
        rest = found.vectors - own
        order = ((rest @ direction) / rest.norm(dim=1).clamp(min=1e-3)).numpy()
    best = np.lexsort((found.windows, -order))
    return ScoredCandidates(
        encoder=encoder, query_modality=query_modality, modality=modality, query=query,
        scores=_NO_SCORES, is_centered=is_centered, windows=found.windows[best],
        order=np.asarray(order[best], np.float32),
        similarities=dict(zip(found.windows.tolist(), similarities.tolist(), strict=True)),
    )  # fmt: skip
