"""What can be searched for: a moment of the catalog, a file, a text or a vector."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from toomuchtv.errors import SearchError
from toomuchtv.search.hits import Hit, Modality
from toomuchtv.search.query_files import QueryFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A moment of the catalog, whose embeddings are in the index.

    Attributes:
        item_id: Number of the item.
        seconds: Time on the item's timeline.
    """

    item_id: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryText:
    """A description in words, for encoders with a text tower.

    Attributes:
        text: The words.
    """

    text: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QueryVector:
    """An embedding that was computed elsewhere.

    Attributes:
        vector: A vector of any length, `[D]`.
        modality: What it is an embedding of.
        encoder: Name of its encoder in the index.
    """

    vector: Tensor
    modality: Modality
    encoder: str


Query = Moment | QueryFile | QueryText | QueryVector

_SECONDS = re.compile(r"\d+(?:\.\d+)?$")
_CLOCK = re.compile(r"(?:(\d{1,6}):)?([0-5]?\d):([0-5]?\d(?:\.\d+)?)$")


def parse_seconds(text: str) -> float:
    """Return the seconds of `72`, `72.5`, `1:12`, `01:12.5` or `1:01:12`.

    Raises:
        ValueError: The text is no time.
    """
    text = text.strip()
    if _SECONDS.match(text) and math.isfinite(float(text)):
        return float(text)
    match = _CLOCK.match(text)
    if not match:
        raise ValueError(f"{text!r} is no time: write seconds, mm:ss or hh:mm:ss, such as 01:12.5")
    hours, minutes, seconds = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds)


def moment_of(hit: Hit) -> Moment:
    """Return the moment of a hit, to search for more like it."""
    return Moment(item_id=hit.item_id, seconds=hit.center_seconds)


def read_vector(path: Path, encoder: str, modality: Modality) -> QueryVector:
    """Read a vector from a `.npy` file.

    Raises:
        SearchError: The file is not an array of numbers with one dimension.
    """
    try:
        values = np.load(path, allow_pickle=False)
        vector = torch.from_numpy(np.asarray(values, np.float32))
    except (ValueError, TypeError, EOFError) as error:
        raise SearchError(f"{os.fspath(path)!r} is no .npy file of numbers: {error}") from error
    return QueryVector(vector=vector, modality=modality, encoder=encoder)


def as_unit(vector: Tensor) -> Tensor:
    """Return a vector of unit length, float32 `[D]`.

    Raises:
        SearchError: It is zero, not finite, or no vector.
    """
    values = torch.as_tensor(vector).detach().cpu().double()
    length = values.norm()
    if values.dim() != 1 or not (length.isfinite() and length > 1e-8):
        raise SearchError(
            f"a query must be a finite vector that is not zero, got shape {list(values.shape)} and "
            f"length {float(length):g}"
        )
    unit: Tensor = (values / length).float()
    return unit
