"""Encoders applied to the windows of a proxy, and to queries.

All encoders read proxies, which are small, seek-friendly and made by this program. A window starts
at a frame of the proxy, `times[i]`, and lasts `window_seconds`:

- Video: as many frames as the encoder takes, spread evenly over the window. Frame j is the frame
  displayed at `times[i] + j * window_seconds / frames`.
- Audio: as long as the encoder takes, centered on the middle of the window, zeros outside.

An item that is shorter than a window has one window, whose last frame is held.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from toomuchtv._internal.random_numbers import FloatArray, IntArray
from toomuchtv.catalog.proxies import open_proxy
from toomuchtv.catalog.records import Proxy
from toomuchtv.evaluation.encoders import Encoder, choose_encoder
from toomuchtv.evaluation.encoders.pretrained import RunVideoEncoder
from toomuchtv.inference.pretrained import PretrainedEncoder
from toomuchtv.media.clip import VideoArray, WaveformArray
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.models.folding import fold_batch_norm
from toomuchtv.search.index_folder import IndexedEncoder
from toomuchtv.search.vector_files import ItemVectors
from toomuchtv.training.device import choose_device

_WINDOWS_PER_BATCH = 32


class WindowEncoder(ABC):
    """An encoder of windows.

    Attributes:
        encoder: The encoder, as evaluation uses it.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    @property
    def default_window_seconds(self) -> float:
        """Duration of a window in training: that of the frames, or of the audio without video."""
        if self.encoder.video is not None:
            return self.encoder.video.input.frames / self.encoder.video.input.frame_rate
        assert self.encoder.audio is not None
        return self.encoder.audio.input.seconds

    def describe(
        self, *, name: str, source: str, window_seconds: float, stride_seconds: float
    ) -> IndexedEncoder:
        """Return the record of this encoder in an index. The sizes are measured."""
        video, audio = self.encoder.video, self.encoder.audio
        video_dim = audio_dim = None
        if video is not None:
            size, frames = video.input.size, video.input.frames
            video_dim = self.embed_video(np.zeros((1, frames, size, size, 3), np.uint8)).shape[1]
        if audio is not None:
            samples = round(audio.input.seconds * audio.input.sample_rate_hz)
            noise = np.random.default_rng(0).normal(0, 0.1, (1, samples)).astype(np.float32)
            audio_dim = self.embed_audio(noise, audio.input.sample_rate_hz).shape[1]
        return IndexedEncoder(
            name=name,
            source=source,
            fingerprint=self.encoder.fingerprint,
            window_seconds=window_seconds,
            stride_seconds=stride_seconds,
            video_dim=video_dim,
            audio_dim=audio_dim,
            shares_space=self.encoder.shares_space,
            text_modalities=() if self.encoder.text is None else self.encoder.text.modalities,
        )

    def embed_video(self, video: VideoArray) -> Tensor:
        """Embed windows of RGB frames, uint8 `[N, T, H, W, 3]`: float32 `[N, D]`."""
        assert self.encoder.video is not None
        return self.encoder.video.embed(torch.from_numpy(video)).float().cpu()

    def embed_audio(self, waveforms: WaveformArray, sample_rate_hz: int) -> Tensor:
        """Embed windows of audio, float32 `[N, S]`, after resampling: float32 `[N, D]`."""
        assert self.encoder.audio is not None
        rate = self.encoder.audio.input.sample_rate_hz
        if rate != sample_rate_hz:
            from scipy.signal import resample_poly

            divisor = np.gcd(rate, sample_rate_hz)
            waveforms = resample_poly(
                waveforms, rate // divisor, sample_rate_hz // divisor, axis=1
            ).astype(np.float32)
        return self.encoder.audio.embed(torch.from_numpy(waveforms)).float().cpu()

    def embed_proxy(
        self,
        folder: Path,
        proxy: Proxy,
        *,
        window_seconds: float,
        stride_seconds: float,
        report: Callable[[float], None],
    ) -> ItemVectors:
        """Embed all windows of an item.

        Args:
            folder: The catalog's folder.
            proxy: The proxy of the item.
            window_seconds: Duration of a window.
            stride_seconds: Time between the starts of two windows.
            report: Receives the seconds that are done.

        Raises:
            MediaError: The proxy is missing or damaged.
            ValueError: The encoder gives vectors that are not finite.
        """
        rate = proxy.frame_rate
        starts = window_starts(proxy, window_seconds, stride_seconds)
        times = torch.from_numpy(starts / rate)
        reader = open_proxy(folder, proxy)
        video = audio = None
        try:
            if self.encoder.video is not None:
                offsets = self._frame_offsets(window_seconds, rate)
                indexes = np.minimum(starts[:, None] + offsets, proxy.num_frames - 1)
                parts = []
                for number, part in enumerate(self._video_parts(reader, indexes), start=1):
                    parts.append(part)
                    report(min(number * _WINDOWS_PER_BATCH, len(starts)) * stride_seconds / 2)
                video = torch.cat(parts)
            if self.encoder.audio is not None and proxy.audio_files:
                audio = torch.cat(
                    list(self._audio_parts(reader, proxy, starts / rate + window_seconds / 2))
                )
        finally:
            reader.close()
        return ItemVectors.from_float(times, video, audio)

    def _frame_offsets(self, window_seconds: float, rate: float) -> IntArray:
        """Return the proxy frames of a window, counted from its first one."""
        assert self.encoder.video is not None
        frames = self.encoder.video.input.frames
        # The small term undoes rounding errors where a frame is displayed exactly at the time.
        offsets = np.arange(frames) * (window_seconds / frames) * rate + 1e-6
        return np.asarray(np.floor(offsets), np.int64)

    @abstractmethod
    def _video_parts(self, reader: ProxyReader, indexes: IntArray) -> Iterator[Tensor]:
        """Yield the embeddings of a few windows at a time, given their proxy frames `[N, T]`."""

    def _audio_parts(
        self, reader: ProxyReader, proxy: Proxy, centers: FloatArray
    ) -> Iterator[Tensor]:
        assert self.encoder.audio is not None
        rate = proxy.sample_rate_hz
        length = round(self.encoder.audio.input.seconds * rate)
        firsts = np.round(centers * rate).astype(np.int64) - length // 2
        for start in range(0, len(firsts), _WINDOWS_PER_BATCH):
            part = firsts[start : start + _WINDOWS_PER_BATCH]
            samples = reader.read_waveform(
                first_sample=int(part[0]), num_samples=int(part[-1] - part[0]) + length
            )
            windows = samples[(part - part[0])[:, None] + np.arange(length)]
            yield self.embed_audio(windows, rate)


class RunWindowEncoder(WindowEncoder):
    """The encoders of a run, which read the planes of proxies as in training."""

    def __init__(self, encoder: Encoder, pretrained: PretrainedEncoder) -> None:
        super().__init__(encoder)
        self._pretrained = pretrained

    def _video_parts(self, reader: ProxyReader, indexes: IntArray) -> Iterator[Tensor]:
        prepared: dict[int, Tensor] = {}
        for wanted in _batches(indexes):
            new = sorted(set(wanted.ravel().tolist()).difference(prepared))
            if new:
                # Clips of training are cropped at random, and those of evaluation in the middle.
                planes = torch.from_numpy(reader.read_frame_planes(new))
                frames = self._pretrained.frames_from_planes(planes)
                prepared.update(zip(new, frames, strict=True))
            yield self._pretrained.embed_frames(
                torch.stack([torch.stack([prepared[i] for i in row]) for row in wanted.tolist()])
            )
            first = int(wanted[-1, 0])
            prepared = {index: frame for index, frame in prepared.items() if index > first}


class ForeignWindowEncoder(WindowEncoder):
    """Any other encoder, which reads whole RGB frames."""

    def _video_parts(self, reader: ProxyReader, indexes: IntArray) -> Iterator[Tensor]:
        for wanted in _batches(indexes):
            unique, inverse = np.unique(wanted, return_inverse=True)
            frames = reader.read_frames_rgb(unique.tolist())
            yield self.embed_video(frames[inverse.reshape(wanted.shape)])


def _batches(indexes: IntArray) -> Iterator[IntArray]:
    for start in range(0, len(indexes), _WINDOWS_PER_BATCH):
        yield indexes[start : start + _WINDOWS_PER_BATCH]


def window_starts(proxy: Proxy, window_seconds: float, stride_seconds: float) -> IntArray:
    """Return the proxy frames at which windows start, int64 `[N]`, N at least 1.

    Windows lie entirely within the item. They start at multiples of the stride, rounded to frames.
    """
    rate = proxy.frame_rate
    last = proxy.num_frames - window_seconds * rate + 1e-6
    num = max(1, int(np.floor(last / (stride_seconds * rate))) + 2)
    starts = np.unique(np.round(np.arange(num) * stride_seconds * rate).astype(np.int64))
    return np.asarray(starts[(starts <= last) | (starts == 0)])


def load_window_encoder(source: str, *, device: str = "auto") -> WindowEncoder:
    """Load an encoder by its source.

    Args:
        source: What `evaluate --encoder` takes: the folder of a run, of an exported model or of a
            model of `transformers`, `module:function`, and others; see `choose_encoder`.
        device: "auto", "cpu" or "cuda", for the encoders of a run. Others choose for themselves.

    Raises:
        EncoderError: The encoder cannot be loaded.
        ValueError: The source is neither a folder nor a known encoder.
    """
    encoder = choose_encoder(source)
    if isinstance(encoder.video, RunVideoEncoder):
        # The fingerprint is that of the weights before this.
        fold_batch_norm(encoder.video.pretrained.model)
        encoder.video.pretrained.to(choose_device(device))
        return RunWindowEncoder(encoder, encoder.video.pretrained)
    return ForeignWindowEncoder(encoder)
