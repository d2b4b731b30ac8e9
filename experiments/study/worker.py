"""The processes that the study starts.

    python -m experiments.study.worker OUT condition NAME
    python -m experiments.study.worker OUT library NAME WORKERS
    python -m experiments.study.worker OUT transfer SEED WORKERS

NAME is the name of a condition, or of a library, in OUT/design.json.
"""

from __future__ import annotations

import fcntl
import sys
from pathlib import Path

import torch

from experiments.study.conditions import Design, read_design
from experiments.study.libraries import make_library, make_transfer
from experiments.study.run_condition import run_condition
from experiments.study.scores import condition_path, read_scores
from toomuchtv._internal.interrupts import exit_on_signals
from toomuchtv.cli.options import describe_error
from toomuchtv.errors import ToomuchtvError

_STOPPED = 130


def main() -> int:
    """Do what the command line says."""
    exit_on_signals()
    out, kind, name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    try:
        design = read_design(out)
        torch.set_num_threads(design.size.threads)
        if kind == "condition":
            return _run(out, design, name)
        num_workers = int(sys.argv[4])
        if kind == "transfer":
            make_transfer(out, design.size, int(name), num_workers=num_workers)
        else:
            library = next(one for one in design.libraries if one.name == name)
            make_library(out, design.size, library, num_workers=num_workers)
    except (ToomuchtvError, ValueError, OSError) as error:
        print(f"error: {describe_error(error)}", file=sys.stderr)
        return 1
    return 0


def _run(out: Path, design: Design, name: str) -> int:
    condition = next(one for one in design.conditions if one.name == name)
    with (condition_path(out, condition) / "lock").open("w") as lock:
        # The processes of a study that was killed end with it. Wait for the last moment of one.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if read_scores(out, design, condition) is not None:
            return 0
        return _STOPPED if run_condition(out, design, condition) is None else 0


if __name__ == "__main__":
    sys.exit(main())
