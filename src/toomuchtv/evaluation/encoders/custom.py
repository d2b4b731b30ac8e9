"""Anybody's encoder: whatever has `embed_video` or `embed_audio`, as `--encoder module:function`.

The function takes nothing and returns an object. It may have

- `embed_video(video)`: RGB uint8 tensor `[N, T, H, W, 3]` to a tensor `[N, D]`, with the attributes
  `frames`, `frame_rate` and `size` that it was made for;
- `embed_audio(waveform)`: mono float32 tensor `[N, S]` to a tensor `[N, D]`, with the attributes
  `audio_seconds` and `sample_rate_hz`;
- `name`, `pretraining`, `version`: text. `version` marks cached features: change it with the
  weights.
- `state_dict()`, as every torch module has: then the weights themselves mark the cached features.

If it has both and they give vectors of one space, set `shares_space = True`.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from toomuchtv.evaluation.encoders.interface import (
    AudioEncoder,
    AudioInput,
    Encoder,
    VideoEncoder,
    VideoInput,
)
from toomuchtv.evaluation.encoders.pretrained import tensor_bytes
from toomuchtv.evaluation.errors import EncoderError


@runtime_checkable
class EmbedsVideo(Protocol):
    """Has eyes."""

    frames: int
    frame_rate: float
    size: int

    def embed_video(self, video: Tensor) -> Tensor:
        """Frames to vectors."""


@runtime_checkable
class EmbedsAudio(Protocol):
    """Has ears."""

    audio_seconds: float
    sample_rate_hz: int

    def embed_audio(self, waveform: Tensor) -> Tensor:
        """Waveforms to vectors."""


@runtime_checkable
class _HasState(Protocol):
    def state_dict(self) -> Mapping[str, Any]: ...


class CustomVideoEncoder(VideoEncoder):
    """Calls `embed_video`, and checks what comes."""

    def __init__(self, made: EmbedsVideo) -> None:
        self._made = made
        self.input = VideoInput(
            frames=int(made.frames), frame_rate=float(made.frame_rate), size=int(made.size)
        )

    @torch.inference_mode()
    def features(self, video: Tensor) -> Tensor:
        """Embed."""
        return _checked(self._made.embed_video(video), len(video), "embed_video")


class CustomAudioEncoder(AudioEncoder):
    """Calls `embed_audio`, and checks what comes."""

    def __init__(self, made: EmbedsAudio) -> None:
        self._made = made
        self.input = AudioInput(
            seconds=float(made.audio_seconds), sample_rate_hz=int(made.sample_rate_hz)
        )

    @torch.inference_mode()
    def features(self, waveform: Tensor) -> Tensor:
        """Embed."""
        return _checked(self._made.embed_audio(waveform), len(waveform), "embed_audio")


def _checked(vectors: object, num: int, method: str) -> Tensor:
    if not isinstance(vectors, Tensor) or vectors.dim() != 2 or len(vectors) != num:
        got = list(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__
        raise EncoderError(f"{method} must give a tensor [{num}, D] for {num} clips, got {got}")
    return vectors.float().cpu()


def custom_encoder(reference: str) -> Encoder:
    """Call `module:function` and take what it returns.

    Raises:
        EncoderError: There is no such function, or what it returns has neither method.
    """
    module_name, _, function_name = reference.partition(":")
    # As `python -m` has it: people's own module lies where they stand.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise EncoderError(
            f"--encoder {reference}: {error}; give module:function of an importable module (the "
            "folder you are in counts)"
        ) from error
    return wrapped(function(), name=reference)


def wrapped(made: object, *, name: str) -> Encoder:
    """Wrap an object that embeds.

    Raises:
        EncoderError: It has neither `embed_video` nor `embed_audio` with their attributes.
    """
    if not isinstance(made, (EmbedsVideo, EmbedsAudio)):
        raise EncoderError(
            f"{name} gives a {type(made).__name__} that cannot be evaluated: it needs embed_video "
            "with frames, frame_rate and size, or embed_audio with audio_seconds and "
            "sample_rate_hz; see toomuchtv.evaluation.encoders.custom"
        )
    described: Any = made
    version = str(getattr(described, "version", ""))
    if not version and not isinstance(made, _HasState):
        raise EncoderError(
            f"{name} must have `version` (text that changes with the weights) or `state_dict()`: "
            "features are cached, and something must mark whose they are"
        )
    digest = hashlib.sha256(f"{name} {version}".encode())
    if isinstance(made, _HasState):
        for key, value in sorted(made.state_dict().items()):
            digest.update(key.encode())
            if isinstance(value, Tensor):
                digest.update(tensor_bytes(value))
    return Encoder(
        name=str(getattr(described, "name", name)),
        fingerprint=digest.hexdigest(),
        pretraining=str(getattr(described, "pretraining", "not said")),
        video=CustomVideoEncoder(made) if isinstance(made, EmbedsVideo) else None,
        audio=CustomAudioEncoder(made) if isinstance(made, EmbedsAudio) else None,
        shares_space=bool(getattr(described, "shares_space", False)),
    )
