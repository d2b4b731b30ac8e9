"""Whether `torch.compile` works on this machine, found out before a run begins."""

from __future__ import annotations

import torch
from torch import Tensor


def check_compiler(device: torch.device) -> None:
    """Have `torch.compile` make one small kernel.

    The first time on a machine this takes as long as the compiler needs for PyTorch's headers,
    which the run needs as well and then finds ready.

    Raises:
        ValueError: It cannot; without a compiler, for example.
    """
    try:
        torch.compile(_two_operations, fullgraph=True)(torch.zeros(8, device=device))
    except (RuntimeError, OSError) as error:  # PyTorch's own errors of compiling are RuntimeErrors
        reason = " ".join(str(error).split("\n", maxsplit=2)[:2])  # "backend raised:", and what
        raise ValueError(
            f"training.compile=true, but torch.compile makes no kernel here ({reason}): install a "
            "C++ compiler, such as g++, or name one in the environment variable CXX; or set "
            "training.compile=false"
        ) from error


def _two_operations(x: Tensor) -> Tensor:
    return x.sin() + 1
