"""NaN dump: the state that is written when the loss or its gradient is not finite."""

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
from toomuchtv.training.step import StepResult


class NotFiniteError(ToomuchtvError):
    """The loss or its gradient is not finite. The message names the NaN dump."""


def write_nan_dump(
    folder: Path,
    batch: ClipBatch,
    result: StepResult,
    item_names: Sequence[str],
    modules: Mapping[str, nn.Module],
) -> NotFiniteError:
    """Write `not_finite_step_N_rank_R.json`: the clips of the batch and the norms of parameters.

    The `seed` of a clip is the seed of its augmentation. Values that JSON cannot represent are
    strings: "nan", "inf".

    Args:
        folder: Folder of the run.
        batch: This process's part of the batch.
        result: Result of the step.
        item_names: Display name of each row of the snapshot.
        modules: Trained modules.

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
        "loss": _json_number(result.loss),
        "gradient_norm": _json_number(result.gradient_norm),
        "learning_rate": result.learning_rate,
        "clips": _clips(batch, item_names),
        "could_not_be_decoded": list(batch.failures),
        "parameters": {
            name: {
                "norm": _norm(value),
                "gradient_norm": _norm(result.parameter_norms.get(value)),
            }
            for name, value in names.items()
        },
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return NotFiniteError(
        f"the loss of step {batch.step} is {result.loss} and its gradient norm is "
        f"{result.gradient_norm}; {str(path)!r} lists the clips of the batch and the gradient norm "
        "of every parameter. Start a new run with a lower optimizer.learning_rate, or with "
        "training.precision=float32"
    )


def _clips(batch: ClipBatch, item_names: Sequence[str]) -> list[dict[str, Any]]:
    waveform = batch.waveform.flatten(1)
    return [
        {
            "name": item_names[item],
            "timecode": _timecode(start),
            "title": title,
            "item": item,
            "start_seconds": start,
            "valid": valid,
            "seed": seed,
            "loudest_sample": _json_number(peak),
        }
        for title, item, start, valid, seed, peak in zip(
            batch.specs.title.tolist(),
            batch.specs.item.tolist(),
            batch.specs.start_seconds.tolist(),
            batch.valid.tolist(),
            batch.specs.seed.tolist(),
            waveform.abs().amax(dim=1).tolist(),
            strict=True,
        )
    ]


def _timecode(seconds: float) -> str:
    """Format a time as `h:mm:ss.mmm`."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _norm(value: Tensor | None) -> float | str | None:
    """Return the norm; None if there is no gradient."""
    return None if value is None else _json_number(torch.linalg.vector_norm(value.detach()).item())


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
