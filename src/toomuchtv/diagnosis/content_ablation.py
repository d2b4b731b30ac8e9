"""Ablations of a clip's content: what remains from which the title could be recognized?

No ablation removes one kind of content and leaves the others intact. This is what each keeps and
what it removes:

| content | keeps | removes |
| --- | --- | --- |
| palette | the colors of each frame and how often they occur | position, shape, motion |
| structure | shapes and motion, as ranks of brightness | colors, exposure, contrast, grading |
| theme | the lasting spectrum: sounds of half of the clip or longer | onsets, melody, rhythm |
| events | what changes: onsets, glides, rhythm | the lasting spectrum and the loudness |

An accuracy on "theme" is therefore a lower bound of what a musical theme gives away, because its
melody is removed; a droning event is kept. "structure" still has a film's sets and letterbox bars.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from toomuchtv._internal.random_numbers import hashed
from toomuchtv.data.clip_transform import RGB_MEAN, RGB_STD
from toomuchtv.evaluation.benchmark import Modality

_LUMA = (0.299, 0.587, 0.114)


def palette(pixels: Tensor) -> Tensor:
    """Shuffle the pixels of each frame, with a different permutation for each frame.

    Args:
        pixels: Normalized RGB `[N, 3, T, H, W]`.

    Returns:
        The same shape. Each frame has the pixels that it had, in other positions.
    """
    flat = pixels.flatten(3)
    num_clips, _, num_frames, size = flat.shape
    keys = hashed(np.arange(num_frames)[:, None], np.arange(size)[None, :])
    order = torch.from_numpy(np.argsort(keys, axis=1)).to(pixels.device)
    return flat.gather(3, order.expand(num_clips, 3, num_frames, size)).reshape(pixels.shape)


def structure(pixels: Tensor) -> Tensor:
    """Convert clips to gray and equalize their histograms: each luma becomes its rank.

    Equal pixels share the middle of their ranks, so that a flat area stays flat.

    Args:
        pixels: Normalized RGB `[N, 3, T, H, W]`.

    Returns:
        The same shape: gray in [0, 1], normalized.
    """
    mean, std, weights = (
        torch.tensor(values, device=pixels.device)[None, :, None, None, None]
        for values in (RGB_MEAN, RGB_STD, _LUMA)
    )
    # The ranks are those of 8-bit values, because finer differences come from resizing.
    luma = (((pixels * std + mean) * weights).sum(dim=1) * 255).round().long().clamp(0, 255)
    flat = luma.flatten(1)
    counts = torch.zeros(len(flat), 256, device=pixels.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat, dtype=counts.dtype))
    ranks = (counts.cumsum(dim=1) - 0.5 * counts) / flat.shape[1]
    gray = ranks.gather(1, flat).reshape(luma.shape).unsqueeze(1)
    return ((gray - mean) / std).expand_as(pixels).contiguous()


def theme(log_mel: Tensor) -> Tensor:
    """Replace each band by its median over the clip: `[N, 1, bands, frames]` to the same."""
    return log_mel.median(dim=3, keepdim=True).values.expand_as(log_mel).contiguous()


def events(log_mel: Tensor) -> Tensor:
    """Subtract from each band its median over the clip: `[N, 1, bands, frames]` to the same."""
    return log_mel - log_mel.median(dim=3, keepdim=True).values


def everything(values: Tensor) -> Tensor:
    """Return the clips unchanged."""
    return values


#: What remains of a clip, by modality and name.
CONTENTS: dict[Modality, dict[str, Callable[[Tensor], Tensor]]] = {
    "video": {"everything": everything, "palette": palette, "structure": structure},
    "audio": {"everything": everything, "theme": theme, "events": events},
}
