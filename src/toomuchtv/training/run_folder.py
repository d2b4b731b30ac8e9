"""The folder of a run: made once, checked on resume."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch

from toomuchtv._internal import distributed
from toomuchtv.errors import CheckpointError
from toomuchtv.training.checkpoint import Checkpoints
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.run_config import Config

_PARTIAL_CONFIG = "config.partial"


def open_run_folder(
    path: Path, config: Config, checkpoints: Checkpoints, *, resume: bool, device: torch.device
) -> int:
    """Make or check the run's folder. Rank 0 does, and all ranks go by what it found.

    Args:
        path: The folder.
        config: What the run is started, or resumed, with.
        checkpoints: Those of the run.
        resume: Whether to go on with a run that is there; where none is, it begins all the same.
        device: That processes talk to each other from.

    Returns:
        The step to go on from; 0 for a new run.

    Raises:
        CheckpointError: The folder holds a run and `resume` is not set, a run of another config,
            or something else; or all of its checkpoints are damaged.
    """
    found = ""
    if distributed.rank() == 0:
        try:
            found = str(_open(path, config.to_toml(), checkpoints, resume=resume))
        except CheckpointError as error:
            if distributed.world_size() == 1:
                raise
            found = str(error)
    found = distributed.text_of_first_rank(found, device)
    if not found.isdigit():
        raise CheckpointError(found)
    return int(found)


def _open(path: Path, config: str, checkpoints: Checkpoints, *, resume: bool) -> int:
    config_path = path / "config.toml"
    if config_path.exists():
        if not resume:
            raise CheckpointError(
                f"{str(path)!r} holds a run already: give --resume to go on with it, or another "
                "folder"
            )
        if config_path.read_text() != config:
            raise CheckpointError(
                f"the config differs from that of the run in {str(path)!r}: resume with the same "
                "settings, or start another run"
            )
    elif path.exists() and any(entry.name != _PARTIAL_CONFIG for entry in path.iterdir()):
        raise CheckpointError(f"{str(path)!r} is not empty and holds no run: give another folder")
    else:
        path.mkdir(parents=True, exist_ok=True)
        partial = path / _PARTIAL_CONFIG
        partial.write_text(config)
        os.replace(partial, config_path)
    return checkpoints.newest_good_step()


def last_loss(path: Path) -> float:
    """The last loss that was logged; NaN if there is none."""
    losses = [line["loss"] for line in read_metrics(path) if "loss" in line]
    return losses[-1] if losses else math.nan
