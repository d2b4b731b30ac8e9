"""Published weights of VideoMAE and AST, from folders in the layout of `transformers`.

A folder has `config.json` and `model.safetensors`, as `save_pretrained` writes them. Nothing is
downloaded, and the library itself is not needed. Weights of torchvision's video networks are a
`model.safetensors` alone.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from toomuchtv.errors import CheckpointError
from toomuchtv.models.video import VideoResNet, load_torchvision_weights
from toomuchtv.models.vit import (
    VIT_SIZES,
    AudioVit,
    AudioVitConfig,
    VideoVit,
    VideoVitConfig,
    VisionTransformer,
    VitConfig,
    VitSize,
)

ConfigT = TypeVar("ConfigT", bound=VitConfig)
EncoderT = TypeVar("EncoderT", bound=VisionTransformer)

_VIDEO, _AUDIO = "videomae", "audio-spectrogram-transformer"
_PREFIXES = ("videomae.", "audio_spectrogram_transformer.")
#: Settings of a transformer that its weights do not depend on.
_FREE_SETTINGS = {"patch_dropout", "init"}


def load_published_weights(encoder: nn.Module, folder: str | os.PathLike[str]) -> None:
    """Load published weights into an encoder whose architecture is theirs.

    Args:
        encoder: A `VideoVit` for a folder of VideoMAE, an `AudioVit` for one of AST, or a
            `VideoResNet` for a folder whose `model.safetensors` has the tensors of torchvision's
            `r2plus1d_18` or `r3d_18`.
        folder: The folder.

    Raises:
        CheckpointError: The folder cannot be read, or its weights have another architecture. The
            message lists the settings that differ.
        ValueError: There are no published weights of such an encoder.
    """
    if isinstance(encoder, VideoVit):
        _load_same(encoder, video_vit_of(folder), "model.video", folder)
    elif isinstance(encoder, AudioVit):
        _load_same(encoder, audio_vit_of(folder), "model.audio", folder)
    elif isinstance(encoder, VideoResNet):
        path = Path(folder) / "model.safetensors"
        try:
            load_torchvision_weights(encoder, _read_tensors(path))
        except ValueError as error:
            raise CheckpointError(
                f"{str(path)!r} does not fit: {error}. Set model.video.name=r2plus1d or r3d as in "
                "the weights, model.video.depth=18, model.video.width=1 and "
                "model.video.channel_multiple=1"
            ) from error
    else:
        raise ValueError(f"no published weights load into a {type(encoder).__name__}")


def _load_same(
    encoder: VisionTransformer,
    published: VisionTransformer,
    section: str,
    folder: str | os.PathLike[str],
) -> None:
    ours, theirs = encoder.config.model_dump(), published.config.model_dump()
    differing = [key for key in ours.keys() - _FREE_SETTINGS if ours[key] != theirs[key]]
    differing.sort()
    if differing:
        found = ", ".join(f"{key} is {ours[key]!r} and not {theirs[key]!r}" for key in differing)
        wanted = " ".join(
            f"{section}.{key}={json.dumps(theirs[key]).replace(' ', '')}" for key in differing
        )
        raise CheckpointError(
            f"the weights in {os.fspath(folder)!r} do not fit {section}: {found}. Set {wanted}"
        )
    encoder.load_state_dict(published.state_dict())


def video_vit_of(folder: str | os.PathLike[str]) -> VideoVit:
    """Build the video transformer of a VideoMAE folder, with its weights.

    Raises:
        CheckpointError: The folder cannot be read, is of another model, or its size is not one of
            `VIT_SIZES`.
    """
    values, state = _read(Path(folder), _VIDEO)
    frames, pixels = int(values["tubelet_size"]), int(values["patch_size"])
    grid = (
        int(values["num_frames"]) // frames,
        int(values["image_size"]) // pixels,
        int(values["image_size"]) // pixels,
    )
    config = _validated(
        VideoVitConfig,
        folder,
        size=_size_of(values, folder),
        positions="table",
        position_grid=grid,
        patch_frames=frames,
        patch_pixels=pixels,
    )
    encoder = VideoVit(config)
    converted = _blocks(state, folder, len(encoder.blocks))
    # The positions are not stored: they are computed, flat over all patches.
    converted["position_table"] = _flat_sines(grid, encoder.num_features)
    converted["prefix"] = torch.zeros(0, encoder.num_features)
    for norm in ("fc_norm", "layernorm"):
        if f"{norm}.weight" in state:
            converted |= {f"norm.{kind}": state[f"{norm}.{kind}"] for kind in ("weight", "bias")}
    return _loaded(encoder, converted, folder)


def audio_vit_of(folder: str | os.PathLike[str]) -> AudioVit:
    """Build the audio transformer of an AST folder, with its weights.

    Raises:
        CheckpointError: As for `video_vit_of`.
    """
    values, state = _read(Path(folder), _AUDIO)
    patch = int(values["patch_size"])
    strides = int(values["frequency_stride"]), int(values["time_stride"])
    extents = int(values["num_mel_bins"]), int(values["max_length"])
    grid = tuple((size - patch) // step + 1 for size, step in zip(extents, strides, strict=True))
    config = _validated(
        AudioVitConfig,
        folder,
        size=_size_of(values, folder),
        positions="table",
        position_grid=grid,
        prefix_tokens=2,
        patch_bands=patch,
        patch_frames=patch,
        stride_bands=strides[0],
        stride_frames=strides[1],
    )
    encoder = AudioVit(config)
    converted = _blocks(state, folder, len(encoder.blocks))
    positions = _entry(state, "embeddings.position_embeddings", folder)[0]
    tokens = [
        _entry(state, f"embeddings.{name}", folder)[0, 0]
        for name in ("cls_token", "distillation_token")
    ]
    converted["prefix"] = torch.stack(tokens) + positions[:2]
    converted["position_table"] = positions[2:].T.reshape(-1, *grid)
    converted |= {
        f"norm.{kind}": _entry(state, f"layernorm.{kind}", folder) for kind in ("weight", "bias")
    }
    return _loaded(encoder, converted, folder)


def _read(folder: Path, model_type: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        values = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"cannot read {str(folder / 'config.json')!r}: {error}. Give a folder in the layout of "
            "transformers, with config.json and model.safetensors"
        ) from error
    state = _read_tensors(folder / "model.safetensors")
    found = values.get("model_type") if isinstance(values, dict) else None
    if found != model_type:
        raise CheckpointError(f"{str(folder)!r} has a model of type {found!r}, not {model_type!r}")
    defaults = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
                "intermediate_size": 3072, "patch_size": 16, "tubelet_size": 2, "num_frames": 16,
                "image_size": 224, "frequency_stride": 10, "time_stride": 10, "num_mel_bins": 128,
                "max_length": 1024}  # fmt: skip
    values = defaults | values
    for key in defaults:
        if not isinstance(values[key], int) or not 1 <= values[key] <= 65_536:
            raise CheckpointError(
                f"{str(folder / 'config.json')!r}: {key} must be a whole number from 1 to 65536, "
                f"got {values[key]!r}"
            )
    # A model with a classifier or a decoder has the encoder's weights under a prefix.
    for prefix in _PREFIXES:
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return values, {name: value.float() for name, value in state.items()}


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        state = load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot read the weights {str(path)!r}: {error}. Pickled weights are never read: "
            "convert them with safetensors.torch.save_file"
        ) from error
    for name, value in state.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise CheckpointError(f"the weights {name} in {str(path)!r} are not finite")
    return state


def _size_of(values: Mapping[str, Any], folder: str | os.PathLike[str]) -> VitSize:
    found = tuple(
        values[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads")
    )
    for size, shape in VIT_SIZES.items():
        if found == shape and values["intermediate_size"] == 4 * shape[0]:
            return size
    known = ", ".join(f"{size} {shape}" for size, shape in VIT_SIZES.items())
    raise CheckpointError(
        f"{os.fspath(folder)!r}: width, layers and heads {found} with an MLP of "
        f"{values['intermediate_size']} are none of the known sizes: {known}, with an MLP of four "
        "times the width"
    )


def _validated(kind: type[ConfigT], folder: str | os.PathLike[str], **values: object) -> ConfigT:
    try:
        return kind.model_validate(values)
    except ValueError as error:
        raise CheckpointError(f"{os.fspath(folder)!r}: {error}") from error


def _entry(state: Mapping[str, Tensor], name: str, folder: str | os.PathLike[str]) -> Tensor:
    if name not in state:
        raise CheckpointError(f"the weights in {os.fspath(folder)!r} have no {name!r}")
    return state[name]


def _blocks(
    state: Mapping[str, Tensor], folder: str | os.PathLike[str], num_blocks: int
) -> dict[str, Tensor]:
    """Return the patch embedding and the blocks under our names."""
    projection = "embeddings.patch_embeddings.projection"
    converted = {
        "embed_patches.weight": _entry(state, f"{projection}.weight", folder).flatten(1),
        "embed_patches.bias": _entry(state, f"{projection}.bias", folder),
    }
    for index in range(num_blocks):
        theirs, ours = f"encoder.layer.{index}", f"blocks.{index}"
        attention = f"{theirs}.attention.attention"
        weights = [
            _entry(state, f"{attention}.{part}.weight", folder)
            for part in ("query", "key", "value")
        ]
        zeros = torch.zeros(len(weights[0]))
        biases = [
            # VideoMAE has no bias of the keys, and other names for the two that it has.
            next((state[name] for name in names if name in state), zeros)
            for names in (
                (f"{attention}.query.bias", f"{attention}.q_bias"),
                (f"{attention}.key.bias",),
                (f"{attention}.value.bias", f"{attention}.v_bias"),
            )
        ]
        converted[f"{ours}.attention.qkv.weight"] = torch.cat(weights)
        converted[f"{ours}.attention.qkv.bias"] = torch.cat(biases)
        for our_name, their_name in (
            ("norm1", "layernorm_before"),
            ("attention.out", "attention.output.dense"),
            ("norm2", "layernorm_after"),
            ("mlp.0", "intermediate.dense"),
            ("mlp.2", "output.dense"),
        ):
            for kind in ("weight", "bias"):
                converted[f"{ours}.{our_name}.{kind}"] = _entry(
                    state, f"{theirs}.{their_name}.{kind}", folder
                )
    return converted


def _flat_sines(grid: tuple[int, ...], dim: int) -> Tensor:
    """Return VideoMAE's positions as a table `[dim, *grid]`.

    They are the sines and cosines of Vaswani et al. (2017), section 3.5, of the number of a patch,
    counted over all patches.
    """
    numbers = torch.arange(math.prod(grid), dtype=torch.float64)
    waves = 10_000.0 ** (-2.0 * torch.arange(dim // 2, dtype=torch.float64) / dim)
    angles = numbers[:, None] * waves
    table = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1).float()
    return table.T.reshape(dim, *grid)


def _loaded(
    encoder: EncoderT, converted: Mapping[str, Tensor], folder: str | os.PathLike[str]
) -> EncoderT:
    state = {**encoder.state_dict(), **converted}  # `norm` stays if the folder has none
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights in {os.fspath(folder)!r} do not fit: {error}"
        ) from error
    return encoder
