"""Features that are too large for memory, read from the shards of the cache where they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from toomuchtv.evaluation.benchmark import FeatureArray

_VALUES_PER_BLOCK = 4_000_000  # 16 MB
# Prepared blocks are kept if they have at most this many values (256 MB) together.
_MAX_VALUES_KEPT = 64_000_000


class StoredFeatures:
    """Features `[clips, views, F]` in files. Indexing reads nothing; `np.asarray` reads.

    `features[rows]` are the features of some clips, `features[:, :n]` those of the first n views.

    Args:
        places: File of each clip, and the number of the clip in the file's tensor `values`.
        shape: Number of views, and F.
    """

    def __init__(self, places: Sequence[tuple[Path, int]], shape: tuple[int, int]) -> None:
        self._places = list(places)
        self.shape = (len(self._places), *shape)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape))

    def __getitem__(self, index: Any) -> StoredFeatures:
        rows, views = index if isinstance(index, tuple) else (index, slice(None))
        num_views = len(range(*views.indices(self.shape[1])))
        picked = (
            self._places[rows] if isinstance(rows, slice) else [self._places[row] for row in rows]
        )
        return StoredFeatures(picked, (num_views, self.shape[2]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read the features, one file at a time."""
        out = np.empty(self.shape, np.float32)
        by_file: dict[Path, list[int]] = {}
        for row, (path, _) in enumerate(self._places):
            by_file.setdefault(path, []).append(row)
        for path, rows in by_file.items():
            with safe_open(path, framework="numpy") as file:
                values = file.get_slice("values")
                for row in rows:
                    number = self._places[row][1]
                    out[row] = values[number : number + 1, : self.shape[1]][0]
        return out if dtype is None else out.astype(dtype)


class SampleBlocks:
    """The views of clips as samples `[n, F]`, in blocks that are read and prepared in each pass.

    Args:
        features: Features `[clips, views, F]`, in memory or stored.
        prepare: Preprocessing of a block `[m, F]`.
    """

    def __init__(
        self,
        features: FeatureArray,
        prepare: Callable[[FeatureArray], FeatureArray] = lambda values: values,
    ) -> None:
        self._features, self._prepare = features, prepare
        self._kept: list[tuple[slice, FeatureArray]] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of samples, and F."""
        clips, views, width = self._features.shape
        return clips * views, width

    def prepared(self, prepare: Callable[[FeatureArray], FeatureArray]) -> SampleBlocks:
        """Return the same samples with a preprocessing."""
        return SampleBlocks(self._features, prepare)

    def __iter__(self) -> Iterator[tuple[slice, FeatureArray]]:
        """Yield the place of each block among the samples, and the block."""
        if self._kept is None and self._features.size <= _MAX_VALUES_KEPT:
            self._kept = list(self._read())
        return iter(self._kept) if self._kept is not None else self._read()

    def _read(self) -> Iterator[tuple[slice, FeatureArray]]:
        views, width = self._features.shape[1:]
        for clips in clip_blocks(self._features):
            block = np.asarray(self._features[clips], np.float32).reshape(-1, width)
            yield slice(clips.start * views, clips.stop * views), self._prepare(block)


def clip_blocks(features: FeatureArray) -> Iterator[slice]:
    """Yield slices of clips whose features fit into a block."""
    num, views, width = features.shape
    step = max(1, _VALUES_PER_BLOCK // (views * width))
    return (slice(start, min(start + step, num)) for start in range(0, num, step))
