"""What is put on disk when a loss or its gradient stops being finite."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from toomuchtv._internal import distributed
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.errors import ToomuchtvError


class NotFiniteError(ToomuchtvError):
    """The loss or its gradient stopped being finite; what is known of it is on disk."""


def write_nan_dump(
    folder: Path,
    batch: ClipBatch,
    *,
    loss: float,
    gradient_norm: float,
    learning_rate: float,
    item_names: Sequence[str],
    modules: Mapping[str, nn.Module],
) -> NotFiniteError:
    """Write `not_finite_step_N_rank_R.json`: figures, the batch's clips, norms a parameter.

    A clip's `seed` is what its augmentation was drawn from. Numbers that JSON has no word for are
    strings: "nan", "inf".

    Args:
        folder: The run's.
        batch: This process's part of the batch.
        loss: Of the whole batch.
        gradient_norm: Of all parameters.
        learning_rate: Of the step.
        item_names: What a person calls each row of the snapshot.
        modules: Those that were trained, their gradients of this step still in place.

    Returns:
        The error to raise.
    """
    path = folder / f"not_finite_step_{batch.step:08d}_rank_{distributed.rank()}.json"
    names = {
        f"{part}.{name}": value
        for part, module in modules.items()
        for name, value in module.named_parameters()
    }
    content = {
        "step": batch.step,
        "rank": distributed.rank(),
        "world_size": distributed.world_size(),
        "loss": _number(loss),
        "gradient_norm": _number(gradient_norm),
        "learning_rate": learning_rate,
        "clips": _clips(batch, item_names),
        "could_not_be_decoded": list(batch.failures),
        "parameters": {
            name: {"norm": _norm(value), "gradient_norm": _norm(value.grad)}
            for name, value in names.items()
        },
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return NotFiniteError(
        f"the loss of step {batch.step} is {loss}, the norm of its gradient {gradient_norm}; the "
        f"batch's clips and the gradient of every parameter are in {str(path)!r}. Resume from the "
        "last checkpoint with a lower optimizer.learning_rate, or with training.precision=float32"
    )


def _clips(batch: ClipBatch, item_names: Sequence[str]) -> list[dict[str, Any]]:
    sound = batch.waveform.flatten(1)
    return [
        {
            "name": item_names[item],
            "timecode": timecode(start),
            "title": title,
            "item": item,
            "start_seconds": start,
            "valid": valid,
            "seed": seed,
            "loudest_sample": _number(loudest),
        }
        for title, item, start, valid, seed, loudest in zip(
            batch.specs.title.tolist(),
            batch.specs.item.tolist(),
            batch.specs.start_seconds.tolist(),
            batch.valid.tolist(),
            batch.specs.seed.tolist(),
            sound.abs().amax(dim=1).tolist(),
            strict=True,
        )
    ]


def timecode(seconds: float) -> str:
    """A moment as people write it: `h:mm:ss.mmm`."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _norm(value: Tensor | None) -> float | str | None:
    """None where there is no gradient: none was computed."""
    return None if value is None else _number(torch.linalg.vector_norm(value.detach()).item())


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
