"""Which device to train on, and in which precision."""

from __future__ import annotations

import os
from pathlib import Path

import torch

_NATIVE_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # x86-64, x86-64, 64-bit Arm


def choose_device(name: str) -> torch.device:
    """Turn `auto`, `cpu` or `cuda` into a device; under torchrun, this process's own GPU.

    Raises:
        ValueError: A GPU is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("training.device=cuda, but PyTorch finds no GPU here")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Turn `auto`, `bfloat16` or `float32` into a dtype for autocast.

    `auto` takes bfloat16 where the device multiplies it natively; elsewhere it is emulated, and
    slower than float32.
    """
    if name == "auto":
        native = torch.cuda.is_bf16_supported() if device.type == "cuda" else cpu_has_bfloat16()
        return torch.bfloat16 if native else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def cpu_has_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16 products; False where Linux does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    for line in text.splitlines():
        key, _, flags = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            return not _NATIVE_BFLOAT16.isdisjoint(flags.split())
    return False
