"""Baselines without learning: statistics of color, motion and spectrum."""

from __future__ import annotations

import hashlib
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from toomuchtv.data.log_mel import LogMel, LogMelConfig
from toomuchtv.evaluation.encoders.interface import (
    AudioEncoder,
    AudioInput,
    Encoder,
    VideoEncoder,
    VideoInput,
)

_VERSION = "1"
_HISTOGRAM_LEVELS = 4
_MOTION_CELLS = 8
_NUM_CEPSTRA = 20
_FLOOR = 1e-10


class ColorHistogram(VideoEncoder):
    """The share of pixels in each of 4 x 4 x 4 cells of RGB, over all frames: `[N, 64]`."""

    input = VideoInput(frames=8, frame_rate=4.0, size=112)

    def features(self, video: Tensor) -> Tensor:
        """Return the color histogram."""
        counts = self._counts(video).sum(dim=1).float()
        return counts / counts.sum(dim=1, keepdim=True)

    def tokens(self, video: Tensor) -> Tensor:
        """Return the color histogram of each frame, `[N, T, 64]`."""
        counts = self._counts(video).float()
        return counts / counts.sum(dim=2, keepdim=True)

    def _counts(self, video: Tensor) -> Tensor:
        """Return the number of pixels in each cell of each frame, int64 `[N, T, 64]`."""
        level = video // (256 // _HISTOGRAM_LEVELS)
        cell = (level[..., 0] * _HISTOGRAM_LEVELS + level[..., 1]) * _HISTOGRAM_LEVELS
        cell = (cell + level[..., 2]).flatten(2)  # bytes: a view of 32 frames has millions
        counts = [
            torch.bincount(frame, minlength=_HISTOGRAM_LEVELS**3) for frame in cell.flatten(0, 1)
        ]
        return torch.stack(counts).reshape(*cell.shape[:2], -1)


class FrameDifference(VideoEncoder):
    """The change between frames in 8 x 8 cells: `[N, 128]`.

    The features are mean and standard deviation over time of the absolute difference of luma.
    """

    input = VideoInput(frames=16, frame_rate=12.5, size=112)

    def features(self, video: Tensor) -> Tensor:
        """Return the statistics of the differences."""
        cells = self.tokens(video)
        return torch.cat([cells.mean(dim=1), cells.std(dim=1, correction=0)], dim=1)

    def tokens(self, video: Tensor) -> Tensor:
        """Return the change from each frame to the next one, `[N, T - 1, 64]`; 0 for one frame."""
        weights = torch.tensor([0.299, 0.587, 0.114])
        luma = (video.float() @ weights) / 255.0
        if luma.shape[1] < 2:
            return torch.zeros(len(video), 1, _MOTION_CELLS**2)
        change = (luma[:, 1:] - luma[:, :-1]).abs()
        return F.adaptive_avg_pool2d(change, _MOTION_CELLS).flatten(2)


class MeanLogMel(AudioEncoder):
    """Mean and standard deviation over time of 80 log-mel bands: `[N, 160]`."""

    input = AudioInput(seconds=2.0, sample_rate_hz=16_000)

    def __init__(self) -> None:
        self._log_mel = LogMel(LogMelConfig())

    def features(self, waveform: Tensor) -> Tensor:
        """Return the statistics of the spectrogram."""
        bands = self._log_mel(waveform)[:, 0]
        return torch.cat([bands.mean(dim=2), bands.std(dim=2, correction=0)], dim=1)

    def tokens(self, waveform: Tensor) -> Tensor:
        """Return the frames of the spectrogram, `[N, frames, 80]`."""
        bands: Tensor = self._log_mel(waveform)[:, 0]
        return bands.transpose(1, 2)


class Mfcc(AudioEncoder):
    """Mean and standard deviation over time of 20 mel-frequency cepstra: `[N, 40]`.

    Davis and Mermelstein, IEEE ASSP 1980. The cepstra equal `librosa.feature.mfcc` within float
    error: decibels from 80 below the maximum, and an orthonormal DCT-II.
    """

    input = AudioInput(seconds=2.0, sample_rate_hz=16_000)

    def __init__(self) -> None:
        config = LogMelConfig(num_fft=512, window_samples=512, hop_samples=160, num_bands=40)
        self._log_mel = LogMel(config)
        self._dct = _dct_matrix(_NUM_CEPSTRA, config.num_bands)

    def cepstra(self, waveform: Tensor) -> Tensor:
        """Return the cepstra `[N, 20, frames]` of waveforms, float32 `[N, S]`."""
        power = self._log_mel.mel(waveform)
        decibels = 10.0 * torch.log10(power.clamp(min=_FLOOR))
        loudest = decibels.amax(dim=(1, 2), keepdim=True)
        return self._dct @ torch.maximum(decibels, loudest - 80.0)

    def features(self, waveform: Tensor) -> Tensor:
        """Return the statistics of the cepstra."""
        cepstra = self.cepstra(waveform)
        return torch.cat([cepstra.mean(dim=2), cepstra.std(dim=2, correction=0)], dim=1)

    def tokens(self, waveform: Tensor) -> Tensor:
        """Return the cepstra of each frame, `[N, frames, 20]`."""
        return self.cepstra(waveform).transpose(1, 2)


def _dct_matrix(num_out: int, num_in: int) -> Tensor:
    """Return the first rows of the orthonormal DCT-II, float32 `[num_out, num_in]`."""
    k = torch.arange(num_out, dtype=torch.float64)[:, None]
    n = torch.arange(num_in, dtype=torch.float64)[None, :]
    matrix = torch.cos(math.pi * k * (2 * n + 1) / (2 * num_in)) * math.sqrt(2.0 / num_in)
    matrix[0] /= math.sqrt(2.0)
    return matrix.float()


#: Baselines by name; each has one modality.
BASELINES: dict[str, type[VideoEncoder] | type[AudioEncoder]] = {
    "color-histogram": ColorHistogram,
    "frame-difference": FrameDifference,
    "log-mel": MeanLogMel,
    "mfcc": Mfcc,
}


def baseline_encoder(name: str) -> Encoder:
    """Return one of `BASELINES`."""
    made = BASELINES[name]()
    return Encoder(
        name=name,
        fingerprint=hashlib.sha256(f"baseline {name} {_VERSION}".encode()).hexdigest(),
        pretraining="nothing: no learning",
        weights="no training",
        video=made if isinstance(made, VideoEncoder) else None,
        audio=made if isinstance(made, AudioEncoder) else None,
    )
