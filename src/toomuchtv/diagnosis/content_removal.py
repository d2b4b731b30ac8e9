"""Clips with a part of their content taken away: what is left to know the title by?

Nothing takes one part away and leaves the other whole. What each way keeps and loses:

| content | keeps | loses |
| --- | --- | --- |
| palette | the colors of every frame, how much there is of each | place, shape, motion |
| structure | shapes and motion, as ranks of gray | colors, exposure, contrast, grade |
| theme | the lasting spectrum: what sounds for half of the clip or more | onsets, melody, rhythm |
| events | what changes: onsets, glides, rhythm | the lasting spectrum, and the loudness |

So an accuracy on "theme" is a lower bound for what a theme tells (its melody is gone), and a
droning event is in it too; "structure" still holds a film's sets and its black bars.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from toomuchtv._internal.random_numbers import hashed
from toomuchtv.data.clip_transform import RGB_MEAN, RGB_STD

_LUMA = (0.299, 0.587, 0.114)


def palette(pixels: Tensor) -> Tensor:
    """Shuffle the pixels of every frame, each frame in another way.

    Args:
        pixels: Normalized RGB `[N, 3, T, H, W]`.

    Returns:
        The same shape; each frame's pixels are those it had, elsewhere.
    """
    flat = pixels.flatten(3)
    num, _, frames, size = flat.shape
    keys = hashed(np.arange(frames)[:, None], np.arange(size)[None, :])
    order = torch.from_numpy(np.argsort(keys, axis=1)).to(pixels.device)
    shuffled = flat.gather(3, order.expand(num, 3, frames, size))
    return shuffled.reshape(pixels.shape)


def structure(pixels: Tensor) -> Tensor:
    """Make clips gray, with the same even histogram of gray in each: ranks in place of luma.

    Pixels that are equal share the middle of their ranks, so that a flat area stays flat.

    Args:
        pixels: Normalized RGB `[N, 3, T, H, W]`.

    Returns:
        The same shape: gray from 0 to 1, normalized.
    """
    mean, std = (
        torch.tensor(values, device=pixels.device)[None, :, None, None, None]
        for values in (RGB_MEAN, RGB_STD)
    )
    weights = torch.tensor(_LUMA, device=pixels.device)[None, :, None, None, None]
    # In steps of an 8-bit picture: finer differences are of the resizing, not of the film.
    luma = (((pixels * std + mean) * weights).sum(dim=1) * 255).round().long().clamp(0, 255)
    flat = luma.flatten(1)
    counts = torch.zeros(len(flat), 256, device=pixels.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat, dtype=counts.dtype))
    ranks = (counts.cumsum(dim=1) - 0.5 * counts) / flat.shape[1]
    gray = ranks.gather(1, flat).reshape(luma.shape).unsqueeze(1)
    return ((gray - mean) / std).expand_as(pixels).contiguous()


def theme(log_mel: Tensor) -> Tensor:
    """Hold the median of every band over the whole clip: `[N, 1, bands, frames]` to the same."""
    return log_mel.median(dim=3, keepdim=True).values.expand_as(log_mel).contiguous()


def events(log_mel: Tensor) -> Tensor:
    """Take the median of every band away: `[N, 1, bands, frames]` to the same."""
    return log_mel - log_mel.median(dim=3, keepdim=True).values


def _whole(values: Tensor) -> Tensor:
    return values


#: What is left of a clip, by sense and name.
CONTENTS: dict[str, dict[str, Callable[[Tensor], Tensor]]] = {
    "video": {"everything": _whole, "palette": palette, "structure": structure},
    "audio": {"everything": _whole, "theme": theme, "events": events},
}
