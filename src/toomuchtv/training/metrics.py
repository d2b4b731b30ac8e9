"""What a run writes down as it goes: `metrics.jsonl` and TensorBoard events."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from toomuchtv.training.weights_and_biases import WandbLog


class MetricsLog:
    """Appends one JSON object a logged step; a resumed run takes back what it will do again.

    Args:
        run_path: The run's folder.
        resume_step: Lines of steps after this one are dropped.
        wandb_project: Weights & Biases is told as well; empty: it is not.

    Raises:
        ValueError: Weights & Biases is asked for and not installed.
    """

    def __init__(self, run_path: Path, *, resume_step: int = 0, wandb_project: str = "") -> None:
        self._wandb = WandbLog(wandb_project, run_path) if wandb_project else None
        self._path = run_path / "metrics.jsonl"
        lines = [line for line in read_metrics(run_path) if line["step"] <= resume_step]
        partial = self._path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in lines))
        os.replace(partial, self._path)
        self._file = self._path.open("a")
        self._board = SummaryWriter(str(run_path / "tensorboard"), purge_step=resume_step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the figures of the state after `step` steps; those that are not finite as null."""
        finite = {key: value if math.isfinite(value) else None for key, value in values.items()}
        self._file.write(json.dumps({"step": step, **finite}) + "\n")
        self._file.flush()
        for key, value in values.items():
            self._board.add_scalar(key, value, step)
        if self._wandb is not None:
            self._wandb.write(step, values)

    def close(self) -> None:
        """Flush and close."""
        self._file.close()
        self._board.close()
        if self._wandb is not None:
            self._wandb.close()


def read_metrics(run_path: Path) -> list[dict[str, float]]:
    """Read `metrics.jsonl`; a last line that was cut off by a kill is left out."""
    path = run_path / "metrics.jsonl"
    if not path.exists():
        return []
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines
