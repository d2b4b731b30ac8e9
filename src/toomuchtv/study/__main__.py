"""What the study starts for each arm, in a process of its own.

    python -m toomuchtv.study OUT NAME

The arm is the one of that name in OUT/design.json.
"""

from __future__ import annotations

import fcntl
import sys
from pathlib import Path

import torch

from toomuchtv.errors import ToomuchtvError
from toomuchtv.study.arms import DESIGN, arm_path, run_arm
from toomuchtv.study.design import Design
from toomuchtv.study.scores import read_scores

STOPPED = 130


def main() -> int:
    """Run the arm that the command line names."""
    out, name = Path(sys.argv[1]), sys.argv[2]
    design = Design.model_validate_json((out / DESIGN).read_text("utf-8"))
    arm = next(arm for arm in design.arms if arm.name == name)
    torch.set_num_threads(design.scale.threads)
    with (arm_path(out, arm) / "lock").open("w") as lock:
        # A study that was killed may have left this arm running: let it end first.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if read_scores(arm_path(out, arm), arm) is not None:
            return 0
        try:
            done = run_arm(out, design.scale, arm)
        except (ToomuchtvError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return STOPPED if done is None else 0


if __name__ == "__main__":
    sys.exit(main())
