"""A trained pair of encoders: media files or tensors in, unit vectors out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from toomuchtv._internal.files import write_text
from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv._internal.tensor_files import write_tensors
from toomuchtv.data.augmentation import draw_augmentation
from toomuchtv.data.clip_transform import ClipTransform, TransformConfig, normalize_rgb
from toomuchtv.errors import MediaError
from toomuchtv.inference.windows import (
    WindowEmbeddings,
    WindowGrid,
    audio_windows,
    video_windows,
)
from toomuchtv.media.clip import ClipFormat, VideoArray, WaveformArray
from toomuchtv.media.clip_reader import iterate_audio, iterate_frames, read_audio, read_clip
from toomuchtv.media.file_content import FileContent, inspect_file
from toomuchtv.media.timestamps import read_timeline
from toomuchtv.models import ModelConfig, TwoTower
from toomuchtv.models.model_folder import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    find_model_folder,
    load_weights,
    parse_config,
)

_WINDOWS_PER_BATCH = 32


class PretrainedConfig(BaseModel):
    """The content of `model/config.json`: everything that is needed to prepare input.

    Attributes:
        format: Version of this file format.
        clip: Number and rate of frames and samples.
        transform: Size of the frames and parameters of the spectrogram.
        model: Architecture of the two towers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[1] = 1
    clip: ClipFormat = ClipFormat()
    transform: TransformConfig = TransformConfig()
    model: ModelConfig = ModelConfig()


class PretrainedEncoder:
    """A video encoder and an audio encoder that share an embedding space.

    Files are decoded in this process; see `read_clip` about untrusted files.

    Args:
        model: The two towers, which are put in evaluation mode.
        config: The format of the clips that they were trained on.
    """

    def __init__(self, model: TwoTower, config: PretrainedConfig) -> None:
        self.model = model.eval()
        self.config = config
        self._to_input = ClipTransform(config.transform)

    def to(self, device: torch.device | str) -> PretrainedEncoder:
        """Move the model to a device and return this object."""
        self.model.to(device)
        self._to_input.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.model.parameters()).device

    def embed_video(
        self, source: str | os.PathLike[str] | Tensor, start_seconds: float = 0.0
    ) -> Tensor:
        """Embed the video of one clip, or of a batch of clips.

        Args:
            source: A media file, or frames: uint8 RGB `[T, H, W, 3]` or `[N, T, H, W, 3]`.
            start_seconds: Time of the first frame, if the source is a file.

        Returns:
            Unit vectors, float32: `[D]` for a file or one clip, `[N, D]` for N clips.

        Raises:
            MediaError: The file cannot be read at this time.
            ValueError: The type or shape of the tensor is wrong.
        """
        if not isinstance(source, Tensor):
            source = torch.from_numpy(self._read_video(source, start_seconds))
        video = _batched(source, dims=5, dtype=torch.uint8, name="video [N, T, H, W, 3]")
        if video.shape[-1] != 3:
            raise ValueError(f"expected RGB in the last dimension, got {list(source.shape)}")
        embedding: Tensor = self._run_video(video, head=True)
        return embedding[0] if source.dim() == 4 else embedding

    def embed_audio(
        self, source: str | os.PathLike[str] | Tensor, start_seconds: float = 0.0
    ) -> Tensor:
        """Embed the audio of one clip, or of a batch of clips.

        Args:
            source: A media file, with or without video, or waveforms: float32 `[S]` or `[N, S]`,
                mono, in -1..1.
            start_seconds: Time of the clip's first frame, if the source is a file. The audio is
                centered on the middle of the frames' span. In a file without video, time zero is
                its first sound.

        Returns:
            Unit vectors, float32: `[D]` for a file or one waveform, `[N, D]` for N.

        Raises:
            MediaError: The file cannot be read.
            ValueError: The type or shape of the tensor is wrong.
        """
        if not isinstance(source, Tensor):
            source = torch.from_numpy(self._read_audio(source, start_seconds))
        waveform = _batched(source, dims=2, dtype=torch.float32, name="waveform [N, S]")
        embedding = self._run_audio(waveform, head=True)
        return embedding[0] if source.dim() == 1 else embedding

    @torch.inference_mode()
    def embed(
        self,
        path: str | os.PathLike[str],
        *,
        window_seconds: float = 2.0,
        stride_seconds: float = 1.0,
        progress: ProgressCallback = no_progress,
    ) -> WindowEmbeddings:
        """Embed a whole file, window by window. Every stream is decoded once.

        See `toomuchtv.inference.windows` for what a window is. Memory does not grow with the
        duration, except for the result.

        Args:
            path: A media file with video, audio or both.
            window_seconds: Duration of a window.
            stride_seconds: Time between the starts of two windows.
            progress: Called with the seconds done, the duration (0 if unknown) and the modality.

        Raises:
            MediaError: The file cannot be read.
            ValueError: A duration is out of range.
        """
        grid = WindowGrid.for_clips(
            self.config.clip, window_seconds=window_seconds, stride_seconds=stride_seconds
        )
        content, timeline = inspect_file(path), read_timeline(path)
        num_windows: int | None = None
        video: Tensor | None = None
        audio: Tensor | None = None
        with self._eval_mode():
            if content.has_video:
                rate = grid.clip.frame_rate
                # Each frame is resized once, although overlapping windows contain it many times.
                frames = (
                    self._normalized(frame)
                    for frame in iterate_frames(path, timeline=timeline, frame_rate=rate)
                )
                batches = _batches(video_windows(frames, grid), grid, content, progress, "video")
                video = torch.cat([self._video_tower(batch) for batch in batches])
                num_windows = len(video)
            if content.has_audio:
                blocks = iterate_audio(
                    path, timeline=timeline, sample_rate_hz=grid.clip.sample_rate_hz
                )
                windows = map(torch.from_numpy, audio_windows(blocks, grid, num_windows))
                batches = _batches(windows, grid, content, progress, "audio")
                audio = torch.cat([self._audio_tower(batch) for batch in batches])
                num_windows = len(audio)
        times = [grid.start_seconds(index) for index in range(num_windows or 0)]
        return WindowEmbeddings(
            times=torch.tensor(times, dtype=torch.float64), video=video, audio=audio
        )

    def _normalized(self, frame: VideoArray) -> Tensor:
        """Return one normalized frame, `[3, size, size]`."""
        clip = torch.from_numpy(frame)[None, None].to(self.device)
        return normalize_rgb(clip, self.config.transform.size)[0, :, 0]

    def _video_tower(self, windows: Tensor) -> Tensor:
        """Embed normalized frames `[N, T, 3, H, W]`."""
        pixels = windows.transpose(1, 2).contiguous(memory_format=torch.channels_last_3d)
        embedding: Tensor = self.model.video_head(self.model.video_encoder(pixels))
        return embedding.float().cpu()

    def _audio_tower(self, waveforms: Tensor) -> Tensor:
        return self._run_audio(waveforms, head=True).cpu()

    def video_features(self, video: Tensor) -> Tensor:
        """Return the features before the head: uint8 `[N, T, H, W, 3]` to float32 `[N, F]`."""
        return self._run_video(video, head=False)

    def audio_features(self, waveform: Tensor) -> Tensor:
        """Return the features before the head: float32 `[N, S]` to float32 `[N, F]`."""
        return self._run_audio(waveform, head=False)

    @torch.no_grad()
    def log_mel(self, waveform: Tensor) -> Tensor:
        """Return the input of the audio encoder: `[N, S]` to normalized `[N, 1, bands, frames]`."""
        spectrogram: Tensor = self._to_input.log_mel(waveform.to(self.device))
        return spectrogram

    @torch.inference_mode()
    def video_feature_map(self, video: Tensor) -> Tensor:
        """Return the last map before pooling: uint8 `[N, T, H, W, 3]` to float32 `[N, F, t, h, w]`.

        The map has the time and place of each feature, which `video_features` averages away.
        """
        with self._eval_mode():
            pixels = normalize_rgb(video.to(self.device), self.config.transform.size)
            return self.model.video_encoder.feature_map(pixels).float()

    @torch.inference_mode()
    def audio_feature_map(self, waveform: Tensor) -> Tensor:
        """Return the last map before pooling: `[N, S]` to float32 `[N, F, bands, frames]`."""
        with self._eval_mode():
            log_mel = self._to_input.log_mel(waveform.to(self.device))
            return self.model.audio_encoder.feature_map(log_mel).float()

    @torch.inference_mode()
    def frames_from_planes(self, planes: Tensor) -> Tensor:
        """Prepare single frames read from proxies, for `embed_frames`.

        Overlapping windows share frames, which are prepared once.

        Args:
            planes: uint8 `[N, S * 3 / 2, S]`; see `media.proxy_reader`.

        Returns:
            Normalized RGB, float32 `[N, 3, size, size]`, on the device of the model.
        """
        # As one long clip, whose frames share the matrices that crop and resize.
        changes = draw_augmentation(self._to_input.augmentation, np.zeros(1, np.uint64))
        return self._to_input.video(planes[None].to(self.device), changes)[0].transpose(0, 1)

    @torch.inference_mode()
    def embed_frames(self, windows: Tensor) -> Tensor:
        """Embed windows of prepared frames `[N, T, 3, size, size]`: float32 `[N, D]` on the CPU."""
        with self._eval_mode():
            return self._video_tower(windows)

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
        """Use the trained statistics of batch norm, whatever mode the caller left the model in."""
        was_training = self.model.training
        self.model.eval()
        try:
            yield
        finally:
            self.model.train(was_training)

    def _read_video(self, path: str | os.PathLike[str], start_seconds: float) -> VideoArray:
        clip = read_clip(path, start_seconds=start_seconds, **self.config.clip.model_dump())
        return clip.video

    def _read_audio(self, path: str | os.PathLike[str], start_seconds: float) -> WaveformArray:
        clip = self.config.clip
        return read_audio(
            path,
            timeline=read_timeline(path),
            first_sample=clip.audio_start_sample(start_seconds),
            num_samples=clip.num_samples,
            sample_rate_hz=clip.sample_rate_hz,
        )

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write `config.json` and `model.safetensors`, each atomically.

        The header of the weights has a checksum of both files.

        Raises:
            OSError: A file cannot be written.
        """
        folder = Path(folder)
        config = self.config.model_dump_json(indent=2) + "\n"
        state = {name: value.contiguous() for name, value in self.model.state_dict().items()}
        write_tensors(folder / WEIGHTS_NAME, state, config)
        # The config comes last: a folder with a config has everything.
        write_text(folder / CONFIG_NAME, config)


def _batches(
    windows: Iterable[Tensor],
    grid: WindowGrid,
    content: FileContent,
    progress: ProgressCallback,
    modality: str,
) -> Iterator[Tensor]:
    """Stack windows to batches and report after each one."""
    remaining, done = iter(windows), 0
    while batch := list(islice(remaining, _WINDOWS_PER_BATCH)):
        yield torch.stack(batch)
        done += len(batch)
        progress(grid.start_seconds(done), content.duration_seconds, modality)
    if not done:
        raise MediaError(f"the file has no {modality} that can be decoded")


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
        untrained: Return the same architecture with random weights, whose score is a baseline.
        seed: Seed of the random weights.

    Raises:
        CheckpointError: There is no model, it cannot be read, it was damaged or edited, or its
            weights are not finite.
    """
    folder, text = find_model_folder(path)
    config = parse_config(folder / CONFIG_NAME, text, PretrainedConfig)
    if untrained:
        return PretrainedEncoder(TwoTower.from_config(config.model, seed=seed), config)
    return PretrainedEncoder(load_weights(folder / WEIGHTS_NAME, config.model, text), config)
