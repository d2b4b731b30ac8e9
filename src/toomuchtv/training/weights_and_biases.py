"""Metrics for Weights & Biases, for those who install and ask for it: `toomuchtv[wandb]`."""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType


class WandbLog:
    """Sends the figures of each logged step. `WANDB_MODE=offline` keeps them on this machine.

    A resumed run goes on in the same W&B run, whose id lies in the run's folder.

    Args:
        project: Of W&B.
        run_path: The run's folder; W&B's own files go there too.

    Raises:
        ValueError: The library is not installed.
    """

    def __init__(self, project: str, run_path: Path) -> None:
        wandb = _library()
        id_path = run_path / "wandb_id.txt"
        if not id_path.exists():
            id_path.write_text(secrets.token_hex(4) + "\n")
        self._run = wandb.init(
            project=project,
            id=id_path.read_text().strip(),
            name=run_path.name,
            dir=str(run_path),
            resume="allow",
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Send the figures of the state after `step` steps."""
        self._run.log({**values, "step": step}, step=step)

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()


def _library() -> ModuleType:
    try:
        return importlib.import_module("wandb")
    except ImportError as error:
        raise ValueError(
            "training.wandb_project is set and the library wandb is not installed: "
            "pip install 'toomuchtv[wandb]', or leave the setting empty"
        ) from error
