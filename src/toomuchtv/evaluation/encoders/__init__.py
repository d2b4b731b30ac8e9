"""Encoders to evaluate: runs, baselines, torchvision weights, transformers, and custom ones."""

from __future__ import annotations

import os
from pathlib import Path

from toomuchtv.errors import CheckpointError
from toomuchtv.evaluation.encoders.baselines import BASELINES, baseline_encoder
from toomuchtv.evaluation.encoders.custom import custom_encoder
from toomuchtv.evaluation.encoders.interface import (
    AudioEncoder,
    AudioInput,
    Encoder,
    TextEncoder,
    VideoEncoder,
    VideoInput,
)
from toomuchtv.evaluation.encoders.pretrained import encoder_of, run_encoder, torchvision_encoder
from toomuchtv.evaluation.encoders.transformers_inputs import read_object
from toomuchtv.evaluation.encoders.transformers_models import (
    TRANSFORMERS_MODELS,
    transformers_encoder,
)
from toomuchtv.evaluation.errors import EncoderError

__all__ = [
    "BASELINES",
    "AudioEncoder",
    "AudioInput",
    "Encoder",
    "TextEncoder",
    "VideoEncoder",
    "VideoInput",
    "choose_encoder",
    "encoder_of",
    "run_encoder",
]

_TORCHVISION = ("r2plus1d_18", "r3d_18")


def choose_encoder(source: str | os.PathLike[str]) -> Encoder:
    """Return the encoder that a string names: the value of `--encoder`, or what an index is of.

    Args:
        source: The folder of a run, or any other that `toomuchtv.load` reads; a folder of a
            supported model of `transformers`, also as `transformers:FOLDER`; `module:function`;
            `r2plus1d_18:FILE.safetensors` or `r3d_18:FILE.safetensors`; or a baseline's name,
            which comes before a folder of this name.

    Raises:
        EncoderError: The encoder cannot be loaded.
        ValueError: The string is none of these.
    """
    spec = os.fspath(source)
    if spec in BASELINES:
        return baseline_encoder(spec)
    if Path(spec).is_dir():
        return _folder_encoder(Path(spec))
    kind, colon, rest = spec.partition(":")
    if not colon or not rest:
        raise ValueError(
            f"{spec!r} is neither a folder nor the name of an encoder: give the folder of a run or "
            f"of a transformers model, one of {', '.join(BASELINES)}, r2plus1d_18:FILE.safetensors "
            "or module:function"
        )
    if kind in _TORCHVISION:
        return torchvision_encoder(Path(rest), name=kind)
    if kind == "transformers":
        return transformers_encoder(Path(rest))
    return custom_encoder(spec)


def _folder_encoder(folder: Path) -> Encoder:
    """Load a run, an exported model or a model of `transformers`, whichever the folder has."""
    config = folder / "config.json"
    kind = read_object(config).get("model_type") if config.is_file() else None
    if kind in TRANSFORMERS_MODELS:
        return transformers_encoder(folder)
    try:
        return run_encoder(folder, untrained=False, seed=0)
    except CheckpointError as error:
        if kind is None:
            raise EncoderError(str(error)) from error
        raise EncoderError(
            f"{str(folder)!r} has a model of the type {kind!r}; of transformers, these are "
            f"supported: {', '.join(TRANSFORMERS_MODELS)}"
        ) from error
