"""The device, the precision and the compiler to train with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

#: CPU flags of native bfloat16 products: the first two on x86-64, the last on 64-bit Arm.
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def choose_device(name: str) -> torch.device:
    """Turn "auto", "cpu" or "cuda" into a device; under torchrun, into this process's own GPU.

    Raises:
        ValueError: `name` is "cuda" and PyTorch finds no GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("training.device=cuda, but PyTorch finds no GPU on this machine")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Turn "auto", "bfloat16" or "float32" into the dtype of autocast.

    "auto" chooses bfloat16 if the device multiplies it natively. Other devices emulate bfloat16,
    which is slower than float32.
    """
    if name == "auto":
        native = torch.cuda.is_bf16_supported() if device.type == "cuda" else cpu_has_bfloat16()
        return torch.bfloat16 if native else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def cpu_has_bfloat16() -> bool:
    """Return True if the CPU multiplies bfloat16 natively; False where that is unknown."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    for line in text.splitlines():
        key, _, flags = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            return not _BFLOAT16_FLAGS.isdisjoint(flags.split())
    return False


@contextmanager
def cuda_arithmetic(device: torch.device) -> Iterator[None]:
    """Choose how a GPU computes what is not in bfloat16, and restore the settings at the end.

    float32 is float32, also in convolutions, where PyTorch would round to TF32: who sets
    `training.precision=float32` looks for an error or compares with a CPU. cuDNN chooses its
    algorithms by rules and not by trial: trials gained nothing on an H200, and their outcome
    changes from start to start.
    """
    if device.type != "cuda":
        yield
        return
    cudnn: Any = torch.backends.cudnn
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    before = [backend.fp32_precision for backend in backends]
    benchmark = cudnn.benchmark
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        cudnn.benchmark = False
        yield
    finally:
        cudnn.benchmark = benchmark
        for backend, value in zip(backends, before, strict=True):
            backend.fp32_precision = value


def keep_compiled_code() -> None:
    """Let `torch.compile` keep its results in the user's cache, where later runs find them.

    PyTorch's own default is below /tmp, which does not survive a restart of the machine. The folder
    of a run would be the wrong place: compiled code is executed, and runs are given to others. The
    environment variable TORCHINDUCTOR_CACHE_DIR overrides this.
    """
    if "TORCHINDUCTOR_CACHE_DIR" in os.environ:
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    folder = cache / "toomuchtv" / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that cannot be written: PyTorch's default then
        return
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)


def check_compiler(device: torch.device) -> None:
    """Compile one small kernel with `torch.compile`.

    The first call on a machine compiles PyTorch's headers, which a run needs as well and then
    finds in the cache.

    Raises:
        ValueError: The kernel cannot be compiled, because there is no C++ compiler for example.
    """
    try:
        torch.compile(_small_kernel, fullgraph=True)(torch.zeros(8, device=device))
    except (RuntimeError, OSError) as error:  # PyTorch's compiler errors are RuntimeErrors
        # The first line says that the backend failed, the second one says why.
        reason = " ".join(str(error).split("\n", maxsplit=2)[:2])
        raise ValueError(
            f"training.compile=true, but torch.compile cannot build a kernel here ({reason}): "
            "install a C++ compiler, such as g++, or name one in the environment variable CXX; or "
            "set training.compile=false"
        ) from error


def _small_kernel(x: Tensor) -> Tensor:
    return x.sin() + 1
