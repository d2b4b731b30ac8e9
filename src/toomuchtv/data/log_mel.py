"""Log-mel spectrograms of a batch of waveforms, computed on their device.

The result equals `librosa.feature.melspectrogram` (Slaney's mel scale and area normalization,
power, centered frames, zero padding) followed by a natural logarithm, within float32 error.
"""

from __future__ import annotations

import math

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn


class LogMelConfig(BaseModel):
    """Settings of the spectrogram. The defaults are 16 kHz, 25 ms windows every 10 ms, 80 bands.

    Attributes:
        sample_rate_hz: Sample rate of the waveform.
        num_fft: Length of the Fourier transform, in samples.
        window_samples: Length of the Hann window; at most `num_fft`.
        hop_samples: Samples between the centers of two frames.
        num_bands: Number of mel bands.
        low_hz: Lower edge of the first band.
        high_hz: Upper edge of the last band; half the sample rate if unset.
        offset: Added to the power before the logarithm.
        mean: Subtracted from the logarithm.
        std: The difference is divided by this.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sample_rate_hz: int = Field(default=16_000, ge=2_000, le=192_000)
    num_fft: int = Field(default=512, ge=32, le=16_384, multiple_of=2)
    window_samples: int = Field(default=400, ge=16, le=16_384)
    hop_samples: int = Field(default=160, ge=1, le=192_000)
    num_bands: int = Field(default=80, ge=1, le=1024)
    low_hz: float = Field(default=0.0, ge=0.0, le=96_000.0)
    high_hz: float | None = Field(default=None, gt=0.0, le=96_000.0)
    offset: float = Field(default=1e-6, gt=0.0, le=1.0)
    # Speech, music and effects of films have log-mel values of about -6 +- 4. Networks need 0 +- 1.
    mean: float = Field(default=-6.0, ge=-1000.0, le=1000.0)
    std: float = Field(default=4.0, gt=0.0, le=1000.0)

    @model_validator(mode="after")
    def _check_ranges(self) -> LogMelConfig:
        if self.window_samples > self.num_fft:
            raise ValueError(
                f"window_samples ({self.window_samples}) must not exceed num_fft ({self.num_fft})"
            )
        high = self.high_hz if self.high_hz is not None else self.sample_rate_hz / 2
        if not self.low_hz < high <= self.sample_rate_hz / 2:
            raise ValueError(
                f"the bands must satisfy low_hz < high_hz <= {self.sample_rate_hz / 2} Hz, "
                f"got {self.low_hz} to {high}"
            )
        return self

    def num_frames(self, num_samples: int) -> int:
        """Return the number of frames; frame f is centered on sample `f * hop_samples`."""
        return 1 + num_samples // self.hop_samples


class LogMel(nn.Module):
    """A module that maps waveforms `[N, S]` to normalized log-mel `[N, 1, bands, frames]`."""

    window: Tensor
    filters: Tensor

    def __init__(self, config: LogMelConfig) -> None:
        super().__init__()
        self.config = config
        window = torch.hann_window(config.window_samples, periodic=True, dtype=torch.float64)
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("filters", mel_filters(config).float(), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Map float32 `[N, S]` in -1..1 to `(log(mel + offset) - mean) / std`, float32."""
        values = torch.log(self.mel(waveform) + self.config.offset)
        return ((values - self.config.mean) / self.config.std).unsqueeze(1)

    def mel(self, waveform: Tensor) -> Tensor:
        """Map float32 `[N, S]` to the mel power spectrogram `[N, bands, 1 + S // hop]`."""
        # Half precision would lose the quiet bands before the logarithm amplifies them.
        with torch.autocast(waveform.device.type, enabled=False):
            spectrum = torch.stft(
                waveform.float(),
                n_fft=self.config.num_fft,
                hop_length=self.config.hop_samples,
                win_length=self.config.window_samples,
                window=self.window,
                center=True,
                pad_mode="constant",
                return_complex=True,
            )
            power = spectrum.real.square() + spectrum.imag.square()
            return self.filters @ power


def mel_filters(config: LogMelConfig) -> Tensor:
    """Return triangular filters on Slaney's mel scale, each of unit area, float64 `[bands, bins]`.

    Source: M. Slaney, "Auditory Toolbox", technical report 1998-010, Interval Research, 1998.
    """
    high = config.high_hz if config.high_hz is not None else config.sample_rate_hz / 2
    mels = torch.linspace(
        _hz_to_mel(config.low_hz), _hz_to_mel(high), config.num_bands + 2, dtype=torch.float64
    )
    edges = _mel_to_hz(mels)
    bins = torch.linspace(
        0.0, config.sample_rate_hz / 2, config.num_fft // 2 + 1, dtype=torch.float64
    )
    lower, center, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - lower) / (center - lower)
    falling = (upper - bins) / (upper - center)
    triangles = torch.minimum(rising, falling).clamp(min=0.0)
    return triangles * (2.0 / (upper - lower))


# Slaney's scale: linear below 1 kHz (15 mels), logarithmic above (27 mels for a factor of 6.4).
_LINEAR_HZ_PER_MEL = 200.0 / 3
_LOG_START_HZ = 1000.0
_LOG_START_MEL = _LOG_START_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    if hz < _LOG_START_HZ:
        return hz / _LINEAR_HZ_PER_MEL
    return _LOG_START_MEL + math.log(hz / _LOG_START_HZ) / _LOG_STEP


def _mel_to_hz(mels: Tensor) -> Tensor:
    above = _LOG_START_HZ * torch.exp(_LOG_STEP * (mels - _LOG_START_MEL))
    return torch.where(mels < _LOG_START_MEL, mels * _LINEAR_HZ_PER_MEL, above)
