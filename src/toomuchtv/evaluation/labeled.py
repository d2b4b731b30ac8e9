"""Labeled files, and labeled features of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FeatureArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledClip:
    """One labeled file of a benchmark.

    `group` names what must not lie on both sides of a split: a fold, a source video.
    """

    path: Path
    label: str
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Labeled:
    """Features `[n, F]` with their labels and groups."""

    features: FeatureArray
    labels: Sequence[str]
    groups: Sequence[str]

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Labeled:
        """The same, of some rows."""
        return Labeled(
            features=self.features[rows],
            labels=[self.labels[row] for row in rows],
            groups=[self.groups[row] for row in rows],
        )
