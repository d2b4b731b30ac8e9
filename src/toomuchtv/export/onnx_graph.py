"""The encoders as modules from raw input to unit vectors, made of operations that ONNX has.

Frames and waveforms come in as they are decoded, so that a user of the files cannot prepare them
in another way than the training did.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toomuchtv.data.clip_transform import RGB_MEAN, RGB_STD, resize_matrix
from toomuchtv.data.log_mel import LogMelConfig, mel_filters
from toomuchtv.inference.pretrained import PretrainedEncoder


class VideoGraph(nn.Module):
    """A module from frames, uint8 RGB `[N, T, H, W, 3]` of any height and width, to `[N, D]`.

    It computes what `PretrainedEncoder.embed_video` does, with sizes that are known only at run
    time. Frames that have the encoder's size already are not changed by resizing.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: PretrainedEncoder) -> None:
        super().__init__()
        self.encoder, self.head = encoder.model.video_encoder, encoder.model.video_head
        self.size = encoder.config.transform.size
        self.register_buffer("mean", torch.tensor(RGB_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(RGB_STD)[:, None, None])

    def forward(self, frames: Tensor) -> Tensor:
        """Map frames to unit vectors, float32 `[N, D]`."""
        num_clips, num_frames, height, width = frames.shape[:4]
        side: int = torch.sym_min(height, width)  # type: ignore[no-untyped-call]
        top, left = (height - side) // 2, (width - side) // 2
        square = frames[:, :, top : top + side, left : left + side].flatten(0, 1)
        matrix = resize_matrix(torch.zeros(1), torch.ones(1), side, self.size)[0]
        rows = (matrix @ square.float().flatten(2)).reshape(
            num_clips * num_frames, self.size, side, 3
        )
        values = rows.permute(0, 3, 1, 2) @ matrix.T
        normalized = (values / 255.0 - self.mean) / self.std
        pixels = normalized.reshape(num_clips, num_frames, 3, self.size, self.size)
        return torch.as_tensor(self.head(self.encoder(pixels.transpose(1, 2))))


class AudioGraph(nn.Module):
    """A module from waveforms, float32 mono `[N, S]`, to `[N, D]`, like `embed_audio`."""

    def __init__(self, encoder: PretrainedEncoder) -> None:
        super().__init__()
        self.encoder, self.head = encoder.model.audio_encoder, encoder.model.audio_head
        self.log_mel = ConvolutionLogMel(encoder.config.transform.log_mel)

    def forward(self, waveform: Tensor) -> Tensor:
        """Map waveforms to unit vectors, float32 `[N, D]`."""
        return torch.as_tensor(self.head(self.encoder(self.log_mel(waveform))))


class ConvolutionLogMel(nn.Module):
    """`LogMel` with the Fourier transform as a convolution, which every runtime has.

    ONNX has an operator STFT, but few runtimes besides the CPU have a kernel for it.
    """

    basis: Tensor
    filters: Tensor

    def __init__(self, config: LogMelConfig) -> None:
        super().__init__()
        self.config = config
        length = config.num_fft
        window = torch.hann_window(config.window_samples, periodic=True, dtype=torch.float64)
        before = (length - config.window_samples) // 2
        window = F.pad(window, (before, length - config.window_samples - before))
        # Whole turns are taken off as integers, because cos and sin are less exact of large angles.
        turns = torch.arange(length // 2 + 1)[:, None] * torch.arange(length) % length
        angles = turns.double() * (2 * math.pi / length)
        basis = torch.cat([angles.cos(), angles.sin()]) * window
        self.register_buffer("basis", basis[:, None].float())
        self.register_buffer("filters", mel_filters(config).float())

    def forward(self, waveform: Tensor) -> Tensor:
        """Map float32 `[N, S]` to normalized log-mel `[N, 1, bands, 1 + S // hop]`."""
        spectrum = F.conv1d(
            waveform.unsqueeze(1),
            self.basis,
            stride=self.config.hop_samples,
            padding=self.config.num_fft // 2,
        )
        real, imaginary = spectrum.chunk(2, dim=1)
        mel = self.filters @ (real.square() + imaginary.square())
        values = torch.log(mel + self.config.offset)
        return ((values - self.config.mean) / self.config.std).unsqueeze(1)
