"""The verb `doctor`: what this machine has, and whether it is enough."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import typer

from toomuchtv.cli.options import DONE_IN_PART, Json, verb_output

_VIDEO_DECODERS = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg2video", "mpeg4", "prores")
_AUDIO_DECODERS = ("aac", "mp3", "ac3", "eac3", "opus", "vorbis", "flac", "pcm_s16le")
# Proxies are MPEG-4 and FLAC. The demo and the study render H.264. "w" encodes, "r" decodes.
_REQUIRED_CODECS: dict[str, Literal["r", "w"]] = {
    "mpeg4": "w", "flac": "w", "libx264": "w", "h264": "r",
}  # fmt: skip
_PACKAGES = ("torch", "av", "numpy", "scikit-learn", "guessit", "safetensors", "pydantic")


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineReport:
    """What a machine has.

    Attributes:
        facts: Hardware and codecs, by name, as text.
        libraries: Versions of the most important Python packages.
        missing: What toomuchtv cannot work without and this machine does not have.
        warnings: What works badly on this machine, and what to do.
    """

    facts: dict[str, str]
    libraries: dict[str, str]
    missing: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def doctor(*, as_json: Json = False) -> None:
    """Show what this machine has: codecs, GPUs, memory, free disk space and library versions.

    The exit code is 1 if something that toomuchtv needs is missing.

    For example:

        toomuchtv doctor
    """
    with verb_output(as_json=as_json) as output:
        report = inspect_machine(Path.cwd())
        output.print_values("This machine", report.facts)
        output.print_values("Libraries", report.libraries)
        output.print_json(asdict(report))
        for text in report.warnings:
            output.warning(text)
        for name in report.missing:
            output.error(f"{name} is missing. The wheel of the `av` package contains it.")
        if report.missing:
            raise typer.Exit(DONE_IN_PART)


def inspect_machine(folder: Path) -> MachineReport:
    """Return what this machine has, and how much space is free on the disk of `folder`."""
    import av
    import torch

    from toomuchtv.training.device import cpu_has_bfloat16

    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    gpus = [
        f"{torch.cuda.get_device_name(index)}, "
        f"{torch.cuda.get_device_properties(index).total_memory / 2**30:.0f} GiB"
        for index in range(torch.cuda.device_count())
    ]
    cudnn: int | None = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    bfloat16 = "native bfloat16" if cpu_has_bfloat16() else "no native bfloat16"
    facts = {
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "cpu": f"{_num_usable_cores()} cores, {bfloat16}",
        "memory": f"{memory_bytes / 2**30:.0f} GiB",
        "gpu": "; ".join(gpus) or "none (training runs on the CPU)",
        "cuda": f"CUDA {torch.version.cuda}, cuDNN {cudnn}" if torch.version.cuda else "none",
        "free disk": f"{shutil.disk_usage(folder).free / 1e9:.0f} GB at {folder.resolve()}",
        "ffmpeg": ", ".join(
            f"{name} {'.'.join(map(str, version))}"
            for name, version in sorted(av.library_versions.items())
            if name in {"libavcodec", "libavformat"}
        ),
        "video decoders": _list_decoders(_VIDEO_DECODERS),
        "sound decoders": _list_decoders(_AUDIO_DECODERS),
    }
    missing = tuple(
        f"FFmpeg's {name} {'encoder' if mode == 'w' else 'decoder'}"
        for name, mode in _REQUIRED_CODECS.items()
        if not _has_codec(name, mode)
    )
    libraries = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return MachineReport(
        facts=facts,
        libraries=libraries,
        missing=missing,
        warnings=warnings_about(torch.__version__, cudnn, num_gpus=len(gpus)),
    )


def warnings_about(
    torch_version: str, cudnn_version: int | None, *, num_gpus: int
) -> tuple[str, ...]:
    """Return what is known to work badly with versions of PyTorch and cuDNN.

    Args:
        torch_version: Such as "2.9.0+cu128".
        cudnn_version: 10,000 times the major plus 100 times the minor version; None without cuDNN.
        num_gpus: Number of GPUs.
    """
    # https://github.com/pytorch/pytorch/issues/166643
    if num_gpus and torch_version.startswith("2.9.") and (cudnn_version or 0) < 91_500:
        return (
            f"3-D convolutions in bfloat16 need several times the memory with PyTorch "
            f"{torch_version} and cuDNN below 9.15: install PyTorch 2.10 or later",
        )
    return ()


def _num_usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _has_codec(name: str, mode: Literal["r", "w"]) -> bool:
    import av

    try:
        av.Codec(name, mode)
    except ValueError:  # PyAV's UnknownCodecError is a ValueError.
        return False
    return True


def _list_decoders(names: tuple[str, ...]) -> str:
    return ", ".join(name if _has_codec(name, "r") else f"no {name}" for name in names)
