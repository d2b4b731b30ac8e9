"""The transform from a decoded batch to the input of the encoders, on the device, in one pass.

Crop, flip and resize are two small matrices for each clip, one for rows and one for columns, so
that matrix products resample any box with antialiasing. Blur is folded into them. Conversion from
YUV, color jitter and normalization are one 3x3 matrix and a bias for each clip, applied at the
size of the output.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from toomuchtv._internal.random_numbers import UInt64Array
from toomuchtv.data.augmentation import AugmentationConfig, ClipAugmentation, draw_augmentation
from toomuchtv.data.log_mel import LogMel, LogMelConfig

# Mean and standard deviation of Kinetics-400, those of torchvision's video weights.
RGB_MEAN = (0.43216, 0.394666, 0.37645)
RGB_STD = (0.22803, 0.22145, 0.216989)

# BT.601, limited range 16..235 and 16..240, to RGB in 0..1; input in 0..255.
_YUV_TO_RGB = torch.tensor(
    [
        [1.0 / 219, 0.0, 1.402 / 224],
        [1.0 / 219, -0.344136 / 224, -0.714136 / 224],
        [1.0 / 219, 1.772 / 224, 0.0],
    ],
    dtype=torch.float64,
)
# Chroma sample j of a proxy is at the position of the left one of its two luma samples (since
# MPEG-2). That is a quarter of a chroma pixel left of the middle of the pixel.
_CHROMA_SHIFT = 0.25
_YUV_ZERO = torch.tensor([16.0, 128.0, 128.0], dtype=torch.float64)


class TransformConfig(BaseModel):
    """What the encoders receive.

    Attributes:
        size: Height and width of the frames, in pixels.
        log_mel: Settings of the spectrogram.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size: int = Field(default=112, ge=8, le=1024)
    log_mel: LogMelConfig = LogMelConfig()


class ClipTransform(nn.Module):
    """A module that turns a batch of decoded clips into the input of the encoders.

    It crops, resizes, converts and normalizes the video, computes log-mel spectrograms, and
    augments both. It works on the device of its inputs, a whole batch at a time:

        transform = ClipTransform(size=112, augmentation=AugmentationConfig())
        video, log_mel = transform(batch.video.cuda(), batch.waveform.cuda(), batch.specs.seed)

    Args:
        config: Frame size and spectrogram; the defaults if omitted.
        augmentation: Strength of random augmentation; none if omitted.
        size: Height and width of the frames, in place of `config.size`.
        log_mel: Settings of the spectrogram, in place of `config.log_mel`.
    """

    yuv_to_rgb: Tensor
    yuv_zero: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        config: TransformConfig | None = None,
        augmentation: AugmentationConfig | None = None,
        *,
        size: int | None = None,
        log_mel: LogMelConfig | None = None,
    ) -> None:
        super().__init__()
        config = config or TransformConfig()
        self.config = TransformConfig(size=size or config.size, log_mel=log_mel or config.log_mel)
        self.augmentation = augmentation or AugmentationConfig.none()
        self.log_mel = LogMel(self.config.log_mel)
        # In float64, and on the device, so that no step copies constants there.
        for name, values in (
            ("yuv_to_rgb", _YUV_TO_RGB),
            ("yuv_zero", _YUV_ZERO),
            ("mean", torch.tensor(RGB_MEAN, dtype=torch.float64)),
            ("std", torch.tensor(RGB_STD, dtype=torch.float64)),
        ):
            self.register_buffer(name, values.clone(), persistent=False)

    def draw(self, seeds: UInt64Array) -> ClipAugmentation:
        """Draw the augmentation of each clip from its seed, uint64 `[N]`, on the CPU."""
        return draw_augmentation(self.augmentation, seeds)

    def output_shapes(
        self, planes: Tensor, waveform: Tensor
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of what `forward` returns for a batch."""
        size, log_mel = self.config.size, self.config.log_mel
        return (
            (len(planes), 3, planes.shape[1], size, size),
            (len(planes), 1, log_mel.num_bands, log_mel.num_frames(waveform.shape[1])),
        )

    def forward(
        self,
        planes: Tensor,
        waveform: Tensor,
        seeds: UInt64Array | ClipAugmentation | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Transform a batch.

        Args:
            planes: uint8 `[N, T, S * 3 / 2, S]`, square frames as YUV 4:2:0 planes (BT.601, limited
                range): `S` rows of luma, then `S / 2` rows that hold the U plane `[S / 2, S / 2]`
                and the V plane. This is the `video` of `ClipBatch`, and a third of the bytes of
                RGB in float16.
            waveform: float32 `[N, num_samples]`, in [-1, 1].
            seeds: uint64 `[N]`, from which the augmentation of each clip is drawn, so that it does
                not depend on the other clips of the batch; or what `draw` returned for them, on the
                device of the batch, so that nothing is copied there. If omitted, PyTorch's global
                random generator draws the seeds.

        Returns:
            Normalized RGB `[N, 3, T, size, size]`, channels last, and log-mel
            `[N, 1, bands, frames]`, both float32.
        """
        if seeds is None:
            seeds = torch.randint(2**63 - 1, (len(planes),)).numpy().astype(np.uint64)
        changes = (
            seeds
            if isinstance(seeds, ClipAugmentation)
            else self.draw(seeds).map(lambda value: value.to(planes.device))
        )
        return self.video(planes, changes), self.audio(waveform, changes)

    def video(self, planes: Tensor, changes: ClipAugmentation) -> Tensor:
        """Crop, resize, convert and normalize planes; shapes as in `forward`."""
        side = planes.shape[-1]
        half = side // 2
        box, size = changes.box, self.config.size
        blur: Tensor | None = None
        if changes.blur_sigma is not None:
            blur = blur_matrix(changes.blur_sigma, size)
        luma = _resampled(planes[..., :side, :], box, size, blur=blur)
        chroma = planes[..., side:, :].reshape(len(planes), -1, half, half)  # U, V, U, V, ...
        chroma = _resampled(chroma, box, size, shift=_CHROMA_SHIFT, blur=blur)
        chroma = chroma.reshape(len(planes), -1, 2, *chroma.shape[-2:])
        yuv = torch.cat([luma.unsqueeze(2), chroma], dim=2)  # [N, T, 3, h, w]
        matrix, bias, low, high = self._color_map(changes)
        yuv = yuv.permute(0, 1, 3, 4, 2)  # [N, T, h, w, 3]: encoders are fastest with channels last
        flat = torch.baddbmm(bias[:, None, :], yuv.flatten(1, 3), matrix.transpose(1, 2))
        flat = torch.minimum(torch.maximum(flat, low), high)
        return flat.reshape(yuv.shape).permute(0, 4, 1, 2, 3)

    def _color_map(self, changes: ClipAugmentation) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, std = self.mean, self.std
        color = changes.color.double() @ self.yuv_to_rgb
        bias = changes.color_bias.double() - color @ self.yuv_zero
        low, high = (0.0 - mean) / std, (1.0 - mean) / std
        return (
            (color / std[:, None]).float(),
            ((bias - mean) / std).float(),
            low.float(),
            high.float(),
        )

    def audio(self, waveform: Tensor, changes: ClipAugmentation) -> Tensor:
        """Change the gain, make the spectrogram, mask it; shapes as in `forward`."""
        spectrogram: Tensor = self.log_mel(waveform * changes.gain[:, None])
        for masks, dim in ((changes.band_masks, 2), (changes.time_masks, 3)):
            size = spectrogram.shape[dim]
            position = (torch.arange(size, device=spectrogram.device) + 0.5) / size
            edges = masks[..., None]  # [N, M, 2, 1]
            hidden = ((position >= edges[:, :, 0]) & (position < edges[:, :, 1])).any(dim=1)
            shape = [len(spectrogram), 1, 1, 1]
            shape[dim] = size
            spectrogram = spectrogram.masked_fill(hidden.view(shape), 0.0)
        return spectrogram


def _resampled(
    planes: Tensor, box: Tensor, size: int, *, shift: float = 0.0, blur: Tensor | None = None
) -> Tensor:
    """Crop a box of uint8 `[N, K, side, side]` and resize it to float `[N, K, size, size]`.

    Args:
        planes: The planes.
        box: `[N, 4]`, see `ClipAugmentation`.
        size: Height and width of the result.
        shift: Pixels by which the samples are left of the middle of their pixels.
        blur: `[N, size, size]`, a matrix for each clip that multiplies rows and columns.
    """
    side = planes.shape[-1]
    columns = resize_matrix(box[:, 0], box[:, 2], side, size, shift=shift)  # [N, size, side]
    rows = resize_matrix(box[:, 1], box[:, 3], side, size)
    if blur is not None:
        columns, rows = blur @ columns, blur @ rows
    values = planes.to(rows.dtype)
    return rows[:, None] @ (values @ columns[:, None].transpose(-1, -2))


def resize_matrix(
    start: Tensor, length: Tensor, side: int, size: int, *, shift: float = 0.0
) -> Tensor:
    """Return the weights that resample `[start, start + length)` of a line of pixels.

    The filter is a triangle as wide as one output pixel, but at least one input pixel. So it is
    bilinear when enlarging and antialiased when reducing, like antialias=True in PIL and
    torchvision.

    Args:
        start: Start of the interval as a share of the line, `[N]`.
        length: Its length as a share of the line, `[N]`; a negative length mirrors.
        side: Number of pixels of the line.
        size: Number of pixels of the result.
        shift: Pixels by which the line's samples are left of the middle of their pixels.

    Returns:
        float32 `[N, size, side]`; every row sums to 1.
    """
    share = (torch.arange(size, device=start.device) + 0.5) / size
    center = (start[:, None] + length[:, None] * share) * side + shift
    reach = (length.abs() * side / size).clamp(min=1.0)[:, None, None]
    pixel = torch.arange(side, device=start.device) + 0.5
    weights = (1 - (pixel - center[:, :, None]).abs() / reach).clamp(min=0.0)
    return weights / weights.sum(dim=-1, keepdim=True)


def blur_matrix(sigma: Tensor, size: int) -> Tensor:
    """Return the weights of a Gaussian blur of a line; they are renormalized at its ends.

    Args:
        sigma: Standard deviation in pixels, `[N]`; 0 is no blur.
        size: Number of pixels of the line.

    Returns:
        float32 `[N, size, size]`; every row sums to 1.
    """
    pixel = torch.arange(size, device=sigma.device)
    distance = (pixel[:, None] - pixel) / sigma.clamp(min=1e-3)[:, None, None]
    weights = torch.exp(-0.5 * distance.square())
    return weights / weights.sum(dim=-1, keepdim=True)


def normalize_rgb(video: Tensor, size: int) -> Tensor:
    """Crop the centered square of RGB clips, resize it and normalize it.

    Args:
        video: uint8 `[N, T, H, W, 3]`.
        size: Height and width of the output, in pixels.

    Returns:
        Normalized RGB float32 `[N, 3, T, size, size]`, channels last.
    """
    height, width = video.shape[2:4]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = video[:, :, top : top + side, left : left + side].flatten(0, 1)
    whole = torch.zeros(1, device=video.device), torch.ones(1, device=video.device)
    matrix = resize_matrix(*whole, side, size)[0]
    columns = matrix.T.contiguous()
    # Rows come first, while the colors of a pixel are adjacent. On a CPU, one frame at a time stays
    # in the cache, which is up to three times as fast as all frames at once.
    at_once = 1 if video.device.type == "cpu" else len(square)
    resized = []
    for part in torch.split(square, at_once):
        rows = (matrix @ part.float().flatten(2)).reshape(len(part), size, side, 3)
        resized.append(rows.permute(0, 3, 1, 2).contiguous() @ columns)
    values = torch.cat(resized).reshape(*video.shape[:2], 3, size, size)
    mean = torch.tensor(RGB_MEAN, device=video.device)[:, None, None]
    std = torch.tensor(RGB_STD, device=video.device)[:, None, None]
    normalized = (values / 255.0 - mean) / std
    return normalized.transpose(1, 2).contiguous(memory_format=torch.channels_last_3d)
