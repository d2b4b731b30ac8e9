"""What this machine has, and whether it is enough."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import av
import torch

from toomuchtv.training.device import cpu_has_bfloat16

_DECODERS = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg2video", "mpeg4", "prores")
_SOUND_DECODERS = ("aac", "mp3", "ac3", "eac3", "opus", "vorbis", "flac", "pcm_s16le")
# Proxies are MPEG-4 and FLAC; the studio renders in H.264.
_NEEDED = {"mpeg4": "w", "flac": "w", "libx264": "w", "h264": "r"}
_LIBRARIES = ("torch", "av", "numpy", "scikit-learn", "guessit", "safetensors", "pydantic")


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineReport:
    """What was found. `missing` is what toomuchtv cannot do without."""

    facts: dict[str, str]
    libraries: dict[str, str]
    missing: tuple[str, ...]


def inspect_machine(folder: Path) -> MachineReport:
    """Look at the machine, and at the disk that `folder` lies on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    gpus = [
        f"{torch.cuda.get_device_name(index)}, "
        f"{torch.cuda.get_device_properties(index).total_memory / 2**30:.0f} GiB"
        for index in range(torch.cuda.device_count())
    ]
    facts = {
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "cpu": f"{_usable_cores()} cores"
        + (", computes in bfloat16" if cpu_has_bfloat16() else ", no native bfloat16"),
        "memory": f"{memory / 2**30:.0f} GiB",
        "gpu": "; ".join(gpus) or "none: training runs on the CPU",
        "free disk": f"{shutil.disk_usage(folder).free / 1e9:.0f} GB at {folder.resolve()}",
        "ffmpeg": ", ".join(
            f"{name} {'.'.join(map(str, version))}"
            for name, version in sorted(av.library_versions.items())
            if name in {"libavcodec", "libavformat"}
        ),
        "video decoders": _list(_DECODERS),
        "sound decoders": _list(_SOUND_DECODERS),
    }
    missing = tuple(
        f"FFmpeg's {name} {'encoder' if mode == 'w' else 'decoder'}"
        for name, mode in _NEEDED.items()
        if not _has_codec(name, mode)
    )
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return MachineReport(facts=facts, libraries=libraries, missing=missing)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _has_codec(name: str, mode: str) -> bool:
    try:
        av.Codec(name, "w" if mode == "w" else "r")
    except ValueError:  # PyAV's UnknownCodecError is one
        return False
    return True


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(name if _has_codec(name, "r") else f"no {name}" for name in names)
