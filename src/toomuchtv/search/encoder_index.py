"""The embeddings of all items by one encoder, and the similarities of a query to them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toomuchtv._internal.random_numbers import FloatArray, IntArray
from toomuchtv.catalog.records import Item, Title
from toomuchtv.search.calibration import Calibration
from toomuchtv.search.hits import Modality
from toomuchtv.search.index_folder import IndexedEncoder
from toomuchtv.search.scoring import SharedScan, coarse_similarities, similarities
from toomuchtv.search.vector_files import ItemVectors

ScoreArray = NDArray[np.float32]
#: From the id of an item and the middles of its windows to which of them may be returned.
WindowMask = Callable[[int, FloatArray], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IndexedItem:
    """One item with its embeddings.

    Attributes:
        item: The item.
        title: Its title.
        vectors: Its embeddings, mapped into memory.
    """

    item: Item
    title: Title
    vectors: ItemVectors


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidates:
    """The windows that an approximate search has found.

    Attributes:
        windows: Their numbers, int64 `[M]`.
        vectors: Their unit vectors, float32 `[M, D]`.
    """

    windows: IntArray
    vectors: Tensor


class EncoderIndex:
    """All windows of one encoder, numbered item by item.

    Args:
        record: The encoder.
        items: The items with their embeddings.
        calibration: Similarities of random moments, or None if there is none.

    Attributes:
        record: See above.
        items: See above.
        calibration: See above.
        starts: Number of the first window of each item, and the number of all windows, `[I + 1]`.
    """

    def __init__(
        self,
        record: IndexedEncoder,
        items: Sequence[IndexedItem],
        calibration: Calibration | None,
    ) -> None:
        self.record = record
        self.items = items
        self.calibration = calibration
        counts = [len(entry.vectors) for entry in items]
        self.starts: IntArray = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._row_of = {entry.item.id: row for row, entry in enumerate(items)}
        self._title_means: dict[Modality, dict[int, Tensor]] = {}
        self._num_threads = torch.get_num_threads()
        self._scans: dict[Modality, SharedScan] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self.starts[-1])

    def row_of(self, item_id: int) -> int | None:
        """Return the row of an item in `items`, or None if it is not embedded."""
        return self._row_of.get(item_id)

    def centers(self, row: int) -> FloatArray:
        """Return the middles of an item's windows in seconds, `[N]`."""
        times = self.items[row].vectors.times.double().numpy()
        return np.asarray(times + self.record.window_seconds / 2)

    def locate(self, window: int) -> tuple[int, int]:
        """Return the row of the item of a window, and the window's number in it."""
        row = int(np.searchsorted(self.starts, window, side="right")) - 1
        return row, window - int(self.starts[row])

    def window_at(self, item_id: int, seconds: float) -> tuple[float, float]:
        """Return the window whose middle is nearest to a time; a guess if there are none."""
        row = self.row_of(item_id)
        center = seconds
        if row is not None:
            centers = self.centers(row)
            center = float(centers[np.abs(centers - seconds).argmin()])
        half = self.record.window_seconds / 2
        return center - half, center + half

    def vector_at(self, item_id: int, seconds: float, modality: Modality) -> Tensor | None:
        """Return the vector of the window whose middle is nearest to a time, float32 `[D]`."""
        row = self.row_of(item_id)
        values = None if row is None else self.items[row].vectors.of(modality)
        if row is None or values is None:
            return None
        return values[int(np.abs(self.centers(row) - seconds).argmin())].float()

    def allowed(
        self, accepts: Callable[[IndexedItem], bool], mask: WindowMask | None
    ) -> NDArray[np.bool_] | None:
        """Return which windows may be returned, bool `[N]`; None if all may."""
        accepted = [accepts(entry) for entry in self.items]
        if all(accepted) and mask is None:
            return None
        found = np.repeat(accepted, np.diff(self.starts))
        if mask is not None:
            for row, is_accepted in enumerate(accepted):
                if is_accepted:
                    part = slice(self.starts[row], self.starts[row + 1])
                    found[part] = mask(self.items[row].item.id, self.centers(row))
        return found

    def candidates(
        self, query: Tensor, modality: Modality, allowed: NDArray[np.bool_] | None, count: int
    ) -> Candidates | None:
        """Return the windows that need to be compared with a query; None if all do.

        An index that is too large to be compared as a whole overrides this.

        Args:
            query: A unit vector, float32 `[D]`.
            modality: Which vectors of the windows to compare.
            allowed: As for `scores`.
            count: How many candidates are enough.
        """
        return None

    def scores(
        self,
        query: Tensor,
        modality: Modality,
        allowed: NDArray[np.bool_] | None,
        *,
        together: bool = False,
    ) -> ScoreArray:
        """Return the similarity of a query to every window.

        Args:
            query: A unit vector, float32 `[D]`.
            modality: Which vectors of the windows to compare.
            allowed: Windows that may be returned, bool `[N]`; None for all.
            together: Whether queries of several threads may be compared in one pass. That is
                faster, and the errors depend on what other threads do.

        Returns:
            float32 `[N]`, wrong by less than `scoring.HALF_ERROR`; -inf for windows that are not
            allowed or lack the modality.
        """
        out = np.full(len(self), -np.inf, np.float32)
        rows = [
            row
            for row, entry in enumerate(self.items)
            if entry.vectors.has(modality)
            and (allowed is None or allowed[self.starts[row] : self.starts[row + 1]].any())
        ]
        if together and allowed is None:
            found = self._scan(modality).similarities(query).numpy()
        else:
            arrays = [self._values(row, modality) for row in rows]
            found = coarse_similarities(arrays, query, self._num_threads).numpy()
        if len(rows) == len(self.items) and allowed is None:
            return np.asarray(found)
        position = 0
        for row in rows:
            part = slice(self.starts[row], self.starts[row + 1])
            count = part.stop - part.start
            out[part] = found[position : position + count]
            position += count
        if allowed is not None:
            out[~allowed] = -np.inf
        return out

    def _scan(self, modality: Modality) -> SharedScan:
        with self._lock:
            if modality not in self._scans:
                found = [entry.vectors.of(modality) for entry in self.items]
                arrays = [values for values in found if values is not None]
                self._scans[modality] = SharedScan(arrays, self._num_threads)
            return self._scans[modality]

    def exact(self, windows: IntArray, query: Tensor, modality: Modality) -> ScoreArray:
        """Return the similarities of some windows, computed in float32, `[len(windows)]`."""
        out = np.empty(len(windows), np.float32)
        rows = np.searchsorted(self.starts, windows, side="right") - 1
        for row in np.unique(rows).tolist():
            here = np.flatnonzero(rows == row)
            numbers = torch.from_numpy(windows[here] - self.starts[row])
            out[here] = (self._values(row, modality)[numbers].float() @ query).numpy()
        return out

    def centered_scores(
        self,
        query: Tensor,
        query_mean: Tensor,
        modality: Modality,
        allowed: NDArray[np.bool_] | None,
    ) -> ScoreArray:
        """Return similarities after the mean of its title was subtracted from every vector.

        What all moments of a title share (palette, sets, theme music) identifies the title and not
        the event. With the mean m of a window's title, and q' the query without the mean of its
        own title, the score of a window x is the cosine of x - m and q'.

        Args:
            query: As for `scores`.
            query_mean: Mean of the query's title and modality, `[D]`.
            modality: As for `scores`.
            allowed: As for `scores`.
        """
        rest = query - query_mean
        rest = rest / rest.norm().clamp(min=1e-6)
        out = self.scores(rest, modality, allowed)
        means = self.title_means(modality)
        for row, entry in enumerate(self.items):
            part = slice(self.starts[row], self.starts[row + 1])
            if not np.isfinite(out[part]).any():
                continue
            mean = means[entry.title.id]
            # |x - m|^2 of a unit vector x
            products = (self._values(row, modality) @ mean.half()).float()
            squared = 1 - 2 * products + mean.square().sum()
            out[part] = (out[part] - float(mean @ rest)) / squared.clamp(min=1e-6).sqrt().numpy()
        return out

    def best_elsewhere(self, modality: Modality, max_references: int, seed: int) -> ScoreArray:
        """Return the best similarity of each window to a window of another item.

        Args:
            modality: Which vectors to compare.
            max_references: An index with more windows is compared with so many random ones.
            seed: Seed of the random windows.

        Returns:
            float32 `[N]`; -inf for windows without the modality.
        """
        rows = [row for row, entry in enumerate(self.items) if entry.vectors.has(modality)]
        out = np.full(len(self), -np.inf, np.float32)
        if not rows:
            return out
        counts = [len(self._values(row, modality)) for row in rows]
        share = min(1.0, max_references / sum(counts))
        rng = np.random.default_rng(seed)
        references = [
            self._values(row, modality)[torch.from_numpy(rng.random(count) < share)].float()
            for row, count in zip(rows, counts, strict=True)
        ]
        owner = torch.tensor(rows).repeat_interleave(torch.tensor([len(r) for r in references]))
        joined = torch.cat(references)
        for row in rows:
            others = joined[owner != row]
            if len(others):
                best = similarities(self._values(row, modality), others).amax(dim=1)
                out[self.starts[row] : self.starts[row + 1]] = best.numpy()
        return out

    def title_means(self, modality: Modality) -> dict[int, Tensor]:
        """Return the mean vector of each title, float32 `[D]`, by title id."""
        if modality not in self._title_means:
            sums: dict[int, Tensor] = {}
            counts: dict[int, int] = {}
            for entry in self.items:
                mean = entry.vectors.mean_of(modality)
                if mean is not None:
                    title, count = entry.title.id, len(entry.vectors)
                    sums[title] = sums.get(title, torch.zeros(len(mean))) + mean * count
                    counts[title] = counts.get(title, 0) + count
            self._title_means[modality] = {t: total / counts[t] for t, total in sums.items()}
        return self._title_means[modality]

    def _values(self, row: int, modality: Modality) -> Tensor:
        values = self.items[row].vectors.of(modality)
        assert values is not None
        return values


def top_windows(scores: ScoreArray, count: int) -> IntArray:
    """Return the windows with the highest scores, best first; never one of -inf.

    Args:
        scores: float32 `[N]`.
        count: How many to return at most.

    Returns:
        int64, at most `count`. Of equal scores, the first window comes first.
    """
    if count < len(scores):
        # Of all scores that equal the last one, the first ones are kept.
        bound = np.partition(scores, len(scores) - count)[len(scores) - count]
        candidates = np.flatnonzero(scores >= bound)
    else:
        candidates = np.arange(len(scores))
    candidates = candidates[np.isfinite(scores[candidates])]
    order = np.argsort(-scores[candidates], kind="stable")[:count]
    return np.asarray(candidates[order], np.int64)
