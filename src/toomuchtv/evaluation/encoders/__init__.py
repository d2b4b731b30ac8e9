"""Encoders to evaluate: runs, baselines, torchvision weights, transformers, and custom ones."""

from __future__ import annotations

from pathlib import Path

from toomuchtv.evaluation.encoders.baselines import BASELINES, baseline_encoder
from toomuchtv.evaluation.encoders.custom import custom_encoder
from toomuchtv.evaluation.encoders.interface import (
    AudioEncoder,
    AudioInput,
    Encoder,
    VideoEncoder,
    VideoInput,
)
from toomuchtv.evaluation.encoders.pretrained import encoder_of, run_encoder, torchvision_encoder

__all__ = [
    "BASELINES",
    "AudioEncoder",
    "AudioInput",
    "Encoder",
    "VideoEncoder",
    "VideoInput",
    "choose_encoder",
    "encoder_of",
    "run_encoder",
]

_TORCHVISION = ("r2plus1d_18", "r3d_18")


def choose_encoder(spec: str) -> Encoder:
    """Return the encoder that `--encoder` names.

    Args:
        spec: A baseline's name; `r2plus1d_18:FILE.safetensors` or `r3d_18:FILE.safetensors`;
            `transformers:FOLDER`; or `module:function`.

    Raises:
        EncoderError: The encoder cannot be loaded.
        ValueError: The name is none of these.
    """
    if spec in BASELINES:
        return baseline_encoder(spec)
    kind, colon, rest = spec.partition(":")
    if not colon or not rest:
        raise ValueError(
            f"unknown encoder {spec!r}: give one of {', '.join(BASELINES)}, "
            "r2plus1d_18:FILE.safetensors, transformers:FOLDER, or module:function"
        )
    if kind in _TORCHVISION:
        return torchvision_encoder(Path(rest), name=kind)
    if kind == "transformers":
        from toomuchtv.evaluation.encoders.transformers_models import transformers_encoder

        return transformers_encoder(Path(rest))
    return custom_encoder(spec)
