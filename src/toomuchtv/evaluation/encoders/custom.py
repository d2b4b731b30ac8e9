"""Encoders of the user: any object with `embed_video` or `embed_audio`.

`--encoder module:function` calls a function without arguments, which returns an object with

- `embed_video(video)`, which maps RGB frames, uint8 `[N, T, H, W, 3]`, to vectors `[N, D]`, and the
  attributes `frames`, `frame_rate` and `size`; or
- `embed_audio(waveform)`, which maps mono waveforms, float32 `[N, S]`, to vectors `[N, D]`, and the
  attributes `audio_seconds` and `sample_rate_hz`; or both.

It also needs `version`, a string that changes with the weights, or `state_dict()`, as every torch
module has it: they identify the cached features. Optional are the strings `name` and
`pretraining`, and `shares_space = True` if the vectors of both methods share a space.
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
    tensor_bytes,
)
from toomuchtv.evaluation.errors import EncoderError


@runtime_checkable
class EmbedsVideo(Protocol):
    """An object with an `embed_video` method; see the module's docstring."""

    frames: int
    frame_rate: float
    size: int

    def embed_video(self, video: Tensor) -> Tensor:
        """Map uint8 `[N, T, H, W, 3]` to vectors `[N, D]`."""


@runtime_checkable
class EmbedsAudio(Protocol):
    """An object with an `embed_audio` method; see the module's docstring."""

    audio_seconds: float
    sample_rate_hz: int

    def embed_audio(self, waveform: Tensor) -> Tensor:
        """Map float32 `[N, S]` to vectors `[N, D]`."""


@runtime_checkable
class _HasState(Protocol):
    def state_dict(self) -> Mapping[str, Any]: ...


class CustomVideoEncoder(VideoEncoder):
    """A video encoder that calls `embed_video` and checks the shape of the result."""

    def __init__(self, model: EmbedsVideo) -> None:
        self._model = model
        self.input = VideoInput(
            frames=int(model.frames), frame_rate=float(model.frame_rate), size=int(model.size)
        )

    @torch.inference_mode()
    def features(self, video: Tensor) -> Tensor:
        """Return the vectors of `embed_video`."""
        return _checked(self._model.embed_video(video), len(video), "embed_video")


class CustomAudioEncoder(AudioEncoder):
    """An audio encoder that calls `embed_audio` and checks the shape of the result."""

    def __init__(self, model: EmbedsAudio) -> None:
        self._model = model
        self.input = AudioInput(
            seconds=float(model.audio_seconds), sample_rate_hz=int(model.sample_rate_hz)
        )

    @torch.inference_mode()
    def features(self, waveform: Tensor) -> Tensor:
        """Return the vectors of `embed_audio`."""
        return _checked(self._model.embed_audio(waveform), len(waveform), "embed_audio")


def _checked(vectors: object, num: int, method: str) -> Tensor:
    if not isinstance(vectors, Tensor) or vectors.dim() != 2 or len(vectors) != num:
        got = list(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__
        raise EncoderError(f"{method} must return a tensor [{num}, D] for {num} clips, got {got}")
    return vectors.float().cpu()


def custom_encoder(reference: str) -> Encoder:
    """Call `module:function` and wrap the object that it returns.

    Raises:
        EncoderError: There is no such function, or its object is not an encoder.
    """
    module_name, _, function_name = reference.partition(":")
    # As with `python -m`, modules in the current folder can be imported.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise EncoderError(
            f"--encoder {reference}: {error}; give module:function of a module that can be "
            "imported, for example from the current folder"
        ) from error
    return wrap_encoder(function(), name=reference)


def wrap_encoder(model: object, *, name: str) -> Encoder:
    """Wrap an object that has `embed_video` or `embed_audio`.

    Args:
        model: The object; see the module's docstring.
        name: Name for tables, if the object has no name.

    Raises:
        EncoderError: The object has neither method with its attributes, or nothing identifies its
            weights.
    """
    if not isinstance(model, (EmbedsVideo, EmbedsAudio)):
        raise EncoderError(
            f"{name} returns a {type(model).__name__}, not an encoder: it needs embed_video "
            "with frames, frame_rate and size, or embed_audio with audio_seconds and "
            "sample_rate_hz; see toomuchtv.evaluation.encoders.custom"
        )
    version = str(getattr(model, "version", ""))
    if not version and not isinstance(model, _HasState):
        raise EncoderError(
            f"{name} must have `version` (a string that changes with the weights) or "
            "`state_dict()`, which identify the cached features"
        )
    digest = hashlib.sha256(f"{name} {version}".encode())
    if isinstance(model, _HasState):
        for key, value in sorted(model.state_dict().items()):
            digest.update(key.encode())
            if isinstance(value, Tensor):
                digest.update(tensor_bytes(value))
    return Encoder(
        name=str(getattr(model, "name", name)),
        fingerprint=digest.hexdigest(),
        pretraining=str(getattr(model, "pretraining", "not stated")),
        video=CustomVideoEncoder(model) if isinstance(model, EmbedsVideo) else None,
        audio=CustomAudioEncoder(model) if isinstance(model, EmbedsAudio) else None,
        shares_space=bool(getattr(model, "shares_space", False)),
    )
