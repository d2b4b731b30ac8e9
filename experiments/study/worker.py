"""The process that the study starts for each condition.

    python -m experiments.study.worker OUT NAME

NAME is the name of a condition in OUT/design.json.
"""

from __future__ import annotations

import fcntl
import sys
from pathlib import Path

import torch

from experiments.study.conditions import Design
from experiments.study.run_condition import run_condition
from experiments.study.scores import condition_path, read_scores
from toomuchtv._internal.interrupts import exit_on_signals
from toomuchtv.cli.options import describe_error
from toomuchtv.errors import ToomuchtvError

_STOPPED = 130


def main() -> int:
    """Run the condition that the command line names."""
    exit_on_signals()
    out, name = Path(sys.argv[1]), sys.argv[2]
    design = Design.model_validate_json((out / "design.json").read_text("utf-8"))
    condition = next(one for one in design.conditions if one.name == name)
    torch.set_num_threads(design.size.threads)
    with (condition_path(out, condition) / "lock").open("w") as lock:
        # The processes of a study that was killed end with it. Wait for the last moment of one.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if read_scores(out, condition) is not None:
            return 0
        try:
            scores = run_condition(out, design.size, condition)
        except (ToomuchtvError, ValueError, OSError) as error:
            print(f"error: {describe_error(error)}", file=sys.stderr)
            return 1
    return _STOPPED if scores is None else 0


if __name__ == "__main__":
    sys.exit(main())
