"""A trained pair of encoders, ready to use: files or tensors in, vectors out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from toomuchtv.data.clip_transform import ClipTransform, TransformConfig, normalize_rgb
from toomuchtv.errors import CheckpointError
from toomuchtv.media.clip import ClipFormat
from toomuchtv.media.clip_reader import read_clip
from toomuchtv.models import ModelConfig, TwoTower


class PretrainedConfig(BaseModel):
    """All that is needed to feed the encoders: `model/config.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    clip: ClipFormat = ClipFormat()
    transform: TransformConfig = TransformConfig()
    model: ModelConfig = ModelConfig()


class PretrainedEncoder:
    """A video and an audio encoder that embed a moment at the same place.

    Args:
        model: The two towers; put in evaluation mode.
        config: What they were trained on.
    """

    def __init__(self, model: TwoTower, config: PretrainedConfig) -> None:
        self.model = model.eval()
        self.config = config
        self._to_input = ClipTransform(config.transform)

    def to(self, device: torch.device | str) -> PretrainedEncoder:
        """Move to a device; returns itself."""
        self.model.to(device)
        self._to_input.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.model.parameters()).device

    def embed_video(
        self, source: str | os.PathLike[str] | Tensor, start_seconds: float = 0.0
    ) -> Tensor:
        """Embed how a moment looks.

        A file is read in this process: see `read_clip` about files of strangers.

        Args:
            source: A media file, or frames: uint8 RGB `[T, H, W, 3]` or `[N, T, H, W, 3]`.
            start_seconds: Of a file: when the first frame is shown.

        Returns:
            Unit vectors, float32: `[D]` for a file or one clip, `[N, D]` for N clips.

        Raises:
            MediaError: The file cannot be read there.
            ValueError: The tensor's type or shape is not as above.
        """
        if not isinstance(source, Tensor):
            source = torch.from_numpy(self._read(source, start_seconds)[0])
        video = _batched(source, dims=5, dtype=torch.uint8, name="video [N, T, H, W, 3]")
        if video.shape[-1] != 3:
            raise ValueError(f"expected RGB in the last dimension, got {list(source.shape)}")
        embedding: Tensor = self._run_video(video, head=True)
        return embedding[0] if source.dim() == 4 else embedding

    def embed_audio(
        self, source: str | os.PathLike[str] | Tensor, start_seconds: float = 0.0
    ) -> Tensor:
        """Embed how a moment sounds.

        A file is read in this process: see `read_clip` about files of strangers.

        Args:
            source: A media file, or waveforms: float32 `[S]` or `[N, S]`, mono, -1..1.
            start_seconds: Of a file: the moment whose frames start here; its sound is centered on
                the middle of the frames' span.

        Returns:
            Unit vectors, float32: `[D]` for a file or one waveform, `[N, D]` for N.

        Raises:
            MediaError: The file cannot be read there.
            ValueError: The tensor's type or shape is not as above.
        """
        if not isinstance(source, Tensor):
            source = torch.from_numpy(self._read(source, start_seconds)[1])
        waveform = _batched(source, dims=2, dtype=torch.float32, name="waveform [N, S]")
        embedding = self._run_audio(waveform, head=True)
        return embedding[0] if source.dim() == 1 else embedding

    def video_features(self, video: Tensor) -> Tensor:
        """Features before the head, for transfer: uint8 `[N, T, H, W, 3]` to float32 `[N, F]`."""
        return self._run_video(video, head=False)

    def audio_features(self, waveform: Tensor) -> Tensor:
        """Features before the head, for transfer: float32 `[N, S]` to float32 `[N, F]`."""
        return self._run_audio(waveform, head=False)

    @torch.no_grad()
    def log_mel(self, waveform: Tensor) -> Tensor:
        """What the audio encoder takes: float32 `[N, S]` to normalized `[N, 1, bands, frames]`."""
        spectrogram: Tensor = self._to_input.log_mel(waveform.to(self.device))
        return spectrogram

    @torch.inference_mode()
    def audio_feature_map(self, waveform: Tensor) -> Tensor:
        """The last map before pooling: float32 `[N, S]` to float32 `[N, F, bands, frames]`."""
        with self._eval_mode():
            log_mel = self._to_input.log_mel(waveform.to(self.device))
            return self.model.audio_encoder.feature_map(log_mel).float()

    @torch.inference_mode()
    def embed_planes(self, planes: Tensor, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Embed clips read from proxies: both `[N, D]`, float32, video first."""
        seeds = np.zeros(len(planes), np.uint64)
        with self._eval_mode():
            video, log_mel = self._to_input(planes.to(self.device), waveform.to(self.device), seeds)
            embeddings = self.model(video, log_mel)
        return embeddings.video.float(), embeddings.audio.float()

    @torch.inference_mode()
    def _run_video(self, video: Tensor, *, head: bool) -> Tensor:
        with self._eval_mode():
            pixels = normalize_rgb(video.to(self.device), self.config.transform.size)
            features: Tensor = self.model.video_encoder(pixels)
            return (self.model.video_head(features) if head else features).float()

    @torch.inference_mode()
    def _run_audio(self, waveform: Tensor, *, head: bool) -> Tensor:
        with self._eval_mode():
            log_mel = self._to_input.log_mel(waveform.to(self.device))
            features: Tensor = self.model.audio_encoder(log_mel)
            return (self.model.audio_head(features) if head else features).float()

    @contextmanager
    def _eval_mode(self) -> Iterator[None]:
        """Statistics of batch norm stay as trained, whatever mode the caller left the model in."""
        was_training = self.model.training
        self.model.eval()
        try:
            yield
        finally:
            self.model.train(was_training)

    def _read(
        self, path: str | os.PathLike[str], start_seconds: float
    ) -> tuple[
        np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
        np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    ]:
        clip_format = self.config.clip
        clip = read_clip(
            path,
            start_seconds=start_seconds,
            frames=clip_format.frames,
            frame_rate=clip_format.frame_rate,
            audio_seconds=clip_format.audio_seconds,
            sample_rate_hz=clip_format.sample_rate_hz,
        )
        return clip.video, clip.waveform

    def save(self, folder: Path) -> None:
        """Write `config.json` and `model.safetensors`, each whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.contiguous() for name, value in self.model.state_dict().items()}
        weights = folder / "model.safetensors"
        partial = weights.with_suffix(".partial")
        save_file(state, partial)
        os.replace(partial, weights)
        partial.write_text(self.config.model_dump_json(indent=2) + "\n")
        os.replace(partial, folder / "config.json")


def _batched(values: Tensor, *, dims: int, dtype: torch.dtype, name: str) -> Tensor:
    if values.dtype != dtype or values.dim() not in {dims, dims - 1}:
        raise ValueError(
            f"expected {dtype} {name}, or one of them without N; "
            f"got {values.dtype} {list(values.shape)}"
        )
    return values if values.dim() == dims else values.unsqueeze(0)


def load(
    path: str | os.PathLike[str], *, untrained: bool = False, seed: int = 0
) -> PretrainedEncoder:
    """Load the encoders of a run.

    Args:
        path: A run's folder, or a model folder with `config.json` and `model.safetensors`.
        untrained: Give the same architecture with fresh weights instead: the floor of any score.
        seed: What fresh weights are drawn from.

    Raises:
        CheckpointError: There is no model, or it cannot be read.
    """
    folder = Path(path)
    if not (folder / "config.json").exists():
        folder = folder / "model"
    try:
        config = PretrainedConfig.model_validate(json.loads((folder / "config.json").read_text()))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(
            f"no model in {str(path)!r}: give a run's folder whose training has finished, or one "
            "with config.json and model.safetensors"
        ) from error
    except (ValidationError, ValueError) as error:
        raise CheckpointError(f"{str(folder / 'config.json')!r} is damaged: {error}") from error
    if untrained:
        return PretrainedEncoder(TwoTower.from_config(config.model, seed=seed), config)
    model = TwoTower(config.model)
    try:
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"cannot load the weights in {str(folder)!r}: {error}") from error
    return PretrainedEncoder(model, config)
