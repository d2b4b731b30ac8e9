"""What the study starts for each arm, in a process of its own.

    python -m experiments.study OUT NAME

The arm is the one of that name in OUT/design.json.
"""

from __future__ import annotations

import fcntl
import sys
from pathlib import Path

import torch

from experiments.study.design import Design
from experiments.study.run_condition import DESIGN, condition_path, run_condition
from experiments.study.scores import read_scores
from toomuchtv.errors import ToomuchtvError

STOPPED = 130


def main() -> int:
    """Run the arm that the command line names."""
    out, name = Path(sys.argv[1]), sys.argv[2]
    design = Design.model_validate_json((out / DESIGN).read_text("utf-8"))
    arm = next(arm for arm in design.arms if arm.name == name)
    torch.set_num_threads(design.scale.threads)
    with (condition_path(out, arm) / "lock").open("w") as lock:
        # A study that was killed may have left this arm running: let it end first.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if read_scores(condition_path(out, arm), arm) is not None:
            return 0
        try:
            done = run_condition(out, design.scale, arm)
        except (ToomuchtvError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return STOPPED if done is None else 0


if __name__ == "__main__":
    sys.exit(main())
