"""The two-tower model: a video encoder and an audio encoder, each with a projection head."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from torch import Tensor, nn

from toomuchtv._internal.random_numbers import UInt64Array
from toomuchtv.models.audio import AudioEncoderConfig, AudioResNet
from toomuchtv.models.video import VideoEncoderConfig, VideoResNet
from toomuchtv.models.vit import (
    AudioVit,
    AudioVitConfig,
    VideoVit,
    VideoVitConfig,
    VisionTransformer,
)


def _name(default: str) -> Callable[[Any], Any]:
    """Return a function from a config, or what shall become one, to the name that selects it."""

    def name_of(value: Any) -> Any:
        if isinstance(value, Mapping):
            return value.get("name", default)
        return getattr(value, "name", None)

    return name_of


#: Settings of one video encoder. The key `name` selects it; without a name it is R(2+1)D.
VideoConfig = Annotated[
    Annotated[VideoEncoderConfig, Tag("r2plus1d")]
    | Annotated[VideoEncoderConfig, Tag("r3d")]
    | Annotated[VideoVitConfig, Tag("vit")],
    Discriminator(_name("r2plus1d")),
]
#: Settings of one audio encoder. The key `name` selects it; without a name it is a ResNet.
AudioConfig = Annotated[
    Annotated[AudioEncoderConfig, Tag("resnet")] | Annotated[AudioVitConfig, Tag("vit")],
    Discriminator(_name("resnet")),
]


class ModelConfig(BaseModel):
    """Architecture of the two towers.

    Attributes:
        video: The video encoder.
        audio: The audio encoder.
        embedding_dim: Size D of the embedding space that the towers share.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    video: VideoConfig = VideoEncoderConfig()
    audio: AudioConfig = AudioEncoderConfig()
    embedding_dim: int = Field(default=256, ge=2, le=8192)

    def without_init(self) -> ModelConfig:
        """Return the architecture alone: a trained model needs no folder of published weights."""
        encoders = {
            key: encoder.model_copy(update={"init": ""})
            for key, encoder in (("video", self.video), ("audio", self.audio))
            if "init" in type(encoder).model_fields
        }
        return self.model_copy(update=encoders)


#: The models of the presets of `toomuchtv pretrain`.
MODEL_PRESETS = {
    "tiny": ModelConfig(
        video=VideoEncoderConfig(depth=10, width=0.25),
        audio=AudioEncoderConfig(depth=9, width=0.25),
    ),
    "small": ModelConfig(
        video=VideoEncoderConfig(width=0.5, channel_multiple=64),
        audio=AudioEncoderConfig(width=0.5),
    ),
    "base": ModelConfig(video=VideoEncoderConfig(channel_multiple=64)),
    "vit-small": ModelConfig(video=VideoVitConfig(), audio=AudioVitConfig()),
    "vit-base": ModelConfig(video=VideoVitConfig(size="base"), audio=AudioVitConfig(size="base")),
}


class Embeddings(NamedTuple):
    """Unit vectors of N clips, float32 `[N, D]`. Row i of both is of the same clip."""

    video: Tensor
    audio: Tensor


class ProjectionHead(nn.Module):
    """A two-layer MLP to the embedding space, as in SimCLR (Chen et al., ICML 2020)."""

    def __init__(self, num_features: int, embedding_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(num_features, num_features, bias=False)
        self.norm = nn.BatchNorm1d(num_features)
        self.out = nn.Linear(num_features, embedding_dim)

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[N, F]` to unit vectors `[N, D]`, float32 or wider."""
        hidden = F.relu(self.norm(self.hidden(features)))
        out = self.out(hidden)
        # In bfloat16 the norm would be wrong by up to 0.4%, and dividing by the temperature
        # magnifies this error.
        return F.normalize(out.to(torch.promote_types(out.dtype, torch.float32)), dim=-1)


class TwoTower(nn.Module):
    """A video tower and an audio tower that are trained to embed a clip at the same point.

    Attributes:
        video_encoder: A `VideoResNet` or a `VideoVit`.
        audio_encoder: An `AudioResNet` or an `AudioVit`.
        video_head: Projection of the video features.
        audio_head: Projection of the audio features.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.video_encoder = build_video_encoder(config.video)
        self.audio_encoder = build_audio_encoder(config.audio)
        self.video_head = ProjectionHead(self.video_encoder.num_features, config.embedding_dim)
        self.audio_head = ProjectionHead(self.audio_encoder.num_features, config.embedding_dim)

    @classmethod
    def from_config(
        cls, config: str | ModelConfig | Mapping[str, object], *, seed: int | None = None
    ) -> TwoTower:
        """Build a model with random weights.

        Args:
            config: The name of a preset (see `MODEL_PRESETS`), a `ModelConfig`, or a mapping with
                the fields of one.
            seed: Seed of the weights, which leaves PyTorch's global generator unchanged. None: use
                the global generator.

        Raises:
            ValueError: There is no such preset, or a value is not allowed.
        """
        if isinstance(config, str):
            if config not in MODEL_PRESETS:
                raise ValueError(f"unknown preset {config!r}: use one of {sorted(MODEL_PRESETS)}")
            config = MODEL_PRESETS[config]
        resolved = ModelConfig.model_validate(config)
        if seed is None:
            return cls(resolved)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(resolved)

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str]) -> TwoTower:
        """Load trained towers as a plain module, in evaluation mode and on the CPU.

        It takes normalized tensors; see `forward`. `toomuchtv.load` returns an encoder that takes
        files, frames and waveforms.

        Args:
            path: A folder with `config.json` and `model.safetensors`, such as one that `toomuchtv
                export` has written, or the folder of a run. Nothing is downloaded.

        Raises:
            CheckpointError: There is no model, it cannot be read, it was damaged or edited, or its
                weights are not finite.
        """
        from toomuchtv.models.model_folder import load_two_tower

        return load_two_tower(path)

    def forward(
        self,
        video: Tensor,
        log_mel: Tensor,
        kept: tuple[Tensor | None, Tensor | None] = (None, None),
    ) -> Embeddings:
        """Embed a batch of clips.

        Args:
            video: Normalized RGB `[N, 3, T, H, W]`.
            log_mel: Normalized log-mel `[N, 1, bands, frames]`.
            kept: Which patches of each modality the transformers keep; see `draw_patches`.
        """
        kept_video, kept_audio = kept
        return Embeddings(
            video=self.video_head(_features(self.video_encoder, video, kept_video)),
            audio=self.audio_head(_features(self.audio_encoder, log_mel, kept_audio)),
        )

    def draw_patches(
        self, video: Tensor, log_mel: Tensor, seeds: UInt64Array
    ) -> tuple[Tensor | None, Tensor | None]:
        """Draw the patches that a training step keeps, a function of the clips' seeds.

        Args:
            video: As for `forward`; only the shape counts, so it may be on the meta device.
            log_mel: The same.
            seeds: Seed of each clip `[N]`.

        Returns:
            The argument `kept` of `forward`, on the CPU. An entry is None if the encoder keeps all
            patches or has none.
        """
        first, second = (
            encoder.draw_patches(x, seeds) if isinstance(encoder, VisionTransformer) else None
            for encoder, x in ((self.video_encoder, video), (self.audio_encoder, log_mel))
        )
        return first, second


def build_video_encoder(config: VideoEncoderConfig | VideoVitConfig) -> VideoResNet | VideoVit:
    """Build the video encoder of a config, with random weights."""
    return VideoVit(config) if isinstance(config, VideoVitConfig) else VideoResNet(config)


def build_audio_encoder(config: AudioEncoderConfig | AudioVitConfig) -> AudioResNet | AudioVit:
    """Build the audio encoder of a config, with random weights."""
    return AudioVit(config) if isinstance(config, AudioVitConfig) else AudioResNet(config)


def _features(encoder: nn.Module, x: Tensor, kept: Tensor | None) -> Tensor:
    return torch.as_tensor(encoder(x) if kept is None else encoder(x, kept))
