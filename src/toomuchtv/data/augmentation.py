"""The random parameters of augmentation, drawn for each clip from the clip's own seed.

A clip with a given seed is augmented in the same way, whatever process decodes it and whatever else
is in its batch. The recipe is that of AVID (Morgado et al., CVPR 2021): random resized crop, flip
and color jitter on video, gain on audio; and time and frequency masks of SpecAugment (Park et al.,
Interspeech 2019). Gaussian blur, as in SimCLR (Chen et al., ICML 2020), is off by default, because
proxies are small and soft already.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from toomuchtv._internal.random_numbers import UInt64Array, uniforms


class AugmentationConfig(BaseModel):
    """The strength of augmentation. `AugmentationConfig.none()` turns all of it off.

    Attributes:
        min_crop_area: Smallest area of the crop, as a share of the square; at most 1.
        max_crop_aspect: Largest ratio of the longer to the shorter side of the crop.
        flip: Probability of a horizontal flip.
        brightness: Brightness is multiplied by a factor of 1 +- this.
        contrast: Contrast about mid-gray is multiplied by a factor of 1 +- this.
        saturation: Saturation is multiplied by a factor of 1 +- this.
        hue: Hue is turned by up to this share of a full turn, either way.
        grayscale: Probability that a clip is gray.
        blur: Probability of a Gaussian blur.
        min_blur_sigma: Smallest standard deviation of the blur, in pixels of the output.
        max_blur_sigma: Largest standard deviation of the blur.
        audio_shift_seconds: The audio of a clip is read up to this much earlier or later than its
            frames, but from inside the item. It may then touch a skipped segment. `ClipReader`
            does this, and only for trainings.
        gain_db: Audio is amplified by up to this many decibels, either way.
        time_masks: Number of masks over time in the spectrogram.
        time_mask_share: Largest length of a time mask, as a share of the spectrogram.
        band_masks: Number of masks over frequency bands.
        band_mask_share: Largest width of a band mask, as a share of the bands.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_crop_area: float = Field(default=0.3, gt=0.0, le=1.0)
    max_crop_aspect: float = Field(default=4 / 3, ge=1.0, le=4.0)
    flip: float = Field(default=0.5, ge=0.0, le=1.0)
    brightness: float = Field(default=0.4, ge=0.0, lt=1.0)
    contrast: float = Field(default=0.4, ge=0.0, lt=1.0)
    saturation: float = Field(default=0.4, ge=0.0, le=1.0)
    hue: float = Field(default=0.1, ge=0.0, le=0.5)
    grayscale: float = Field(default=0.2, ge=0.0, le=1.0)
    blur: float = Field(default=0.0, ge=0.0, le=1.0)
    min_blur_sigma: float = Field(default=0.1, ge=0.0, le=64.0)
    max_blur_sigma: float = Field(default=1.0, ge=0.0, le=64.0)
    audio_shift_seconds: float = Field(default=0.0, ge=0.0, le=600.0)
    gain_db: float = Field(default=6.0, ge=0.0, le=60.0)
    time_masks: int = Field(default=1, ge=0, le=16)
    time_mask_share: float = Field(default=0.1, ge=0.0, lt=1.0)
    band_masks: int = Field(default=1, ge=0, le=16)
    band_mask_share: float = Field(default=0.15, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _check_blur(self) -> Self:
        if self.min_blur_sigma > self.max_blur_sigma:
            raise ValueError(
                f"min_blur_sigma must be at most max_blur_sigma, got {self.min_blur_sigma} and "
                f"{self.max_blur_sigma}"
            )
        return self

    @classmethod
    def none(cls) -> AugmentationConfig:
        """Return a config that changes nothing, as evaluation needs it."""
        return cls(
            min_crop_area=1.0, max_crop_aspect=1.0, flip=0.0, brightness=0.0, contrast=0.0,
            saturation=0.0, hue=0.0, grayscale=0.0, blur=0.0, gain_db=0.0, time_masks=0,
            band_masks=0,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipAugmentation:
    """The parameters of the augmentation of N clips, float32.

    Attributes:
        box: `[N, 4]`, left, top, width and height of the crop as shares of the square. The width
            is negative if the frames are flipped.
        color: `[N, 3, 3]`, matrix that multiplies RGB in [0, 1].
        color_bias: `[N, 3]`, added to the product.
        blur_sigma: `[N]`, standard deviation in pixels of the output; 0 for no blur. None if no
            clip is blurred.
        gain: `[N]`, factor of the waveform.
        time_masks: `[N, M, 2]`, masked intervals [start, stop) as shares of the spectrogram.
        band_masks: `[N, M, 2]`, the same for frequency bands.
    """

    box: Tensor
    color: Tensor
    color_bias: Tensor
    blur_sigma: Tensor | None
    gain: Tensor
    time_masks: Tensor
    band_masks: Tensor

    def __getitem__(self, part: slice) -> ClipAugmentation:
        """Return the parameters of some of the clips."""
        return self.map(lambda value: value[part])

    def map(self, function: Callable[[Tensor], Tensor]) -> ClipAugmentation:
        """Apply a function to every tensor, such as one that copies it to a device."""
        return ClipAugmentation(
            box=function(self.box),
            color=function(self.color),
            color_bias=function(self.color_bias),
            blur_sigma=None if self.blur_sigma is None else function(self.blur_sigma),
            gain=function(self.gain),
            time_masks=function(self.time_masks),
            band_masks=function(self.band_masks),
        )


def draw_augmentation(config: AugmentationConfig, seeds: UInt64Array) -> ClipAugmentation:
    """Draw the augmentation of each clip on the CPU, a pure function of its seed.

    Args:
        config: The strength.
        seeds: uint64 `[N]`.
    """

    def draw(number: int) -> Tensor:
        return torch.from_numpy(uniforms(seeds, number))

    def masks(count: int, max_share: float, first_number: int) -> Tensor:
        edges = torch.zeros(len(seeds), count, 2)
        for index in range(count):
            length = draw(first_number + 2 * index) * max_share
            start = draw(first_number + 2 * index + 1) * (1 - length)
            edges[:, index, 0], edges[:, index, 1] = start, start + length
        return edges

    color, bias = _color_change(config, [draw(number) for number in range(10, 15)])
    sigma = config.min_blur_sigma + (config.max_blur_sigma - config.min_blur_sigma) * draw(16)
    return ClipAugmentation(
        box=_crop_box(config, [draw(number) for number in range(5)]),
        color=color.float(),
        color_bias=bias.float(),
        blur_sigma=(
            torch.where(draw(15) < config.blur, sigma, 0.0).float() if config.blur else None
        ),
        gain=(10.0 ** ((2 * draw(20) - 1) * config.gain_db / 20)).float(),
        time_masks=masks(config.time_masks, config.time_mask_share, 30),
        band_masks=masks(config.band_masks, config.band_mask_share, 70),
    )


def _crop_box(config: AugmentationConfig, draws: list[Tensor]) -> Tensor:
    area = config.min_crop_area + (1 - config.min_crop_area) * draws[0]
    stretch = torch.exp((draws[1] - 0.5) * math.log(config.max_crop_aspect))
    width = (area.sqrt() * stretch).clamp(max=1.0)
    height = (area.sqrt() / stretch).clamp(max=1.0)
    left, top = draws[2] * (1 - width), draws[3] * (1 - height)
    flipped = draws[4] < config.flip
    # A flipped crop is read from its right edge towards the left.
    left = torch.where(flipped, left + width, left)
    width = torch.where(flipped, -width, width)
    return torch.stack([left, top, width, height], dim=-1).float()


_LUMA = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
# RGB to YIQ, where changing the hue is a rotation of the last two axes.
_TO_YIQ = torch.tensor(
    [[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], dtype=torch.float64
)


def _color_change(config: AugmentationConfig, draws: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Compose brightness, contrast, saturation, hue and grayscale to one affine map of RGB.

    Unlike torchvision's ColorJitter, contrast is about mid-gray and not about the mean of each
    frame, and nothing is clamped between the steps. Therefore all steps together are one matrix,
    which is applied with the conversion from YUV.
    """
    brightness = 1 + config.brightness * (2 * draws[0] - 1)
    contrast = 1 + config.contrast * (2 * draws[1] - 1)
    saturation = 1 + config.saturation * (2 * draws[2] - 1)
    saturation = torch.where(draws[4] < config.grayscale, 0.0, saturation)
    angle = 2 * math.pi * config.hue * (2 * draws[3] - 1)
    eye = torch.eye(3, dtype=torch.float64)
    gray = _LUMA.expand(3, 3)
    saturate = saturation[:, None, None] * eye + (1 - saturation)[:, None, None] * gray
    cos, sin, one, zero = angle.cos(), angle.sin(), torch.ones_like(angle), torch.zeros_like(angle)
    rotation = torch.stack(
        [one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=-1
    ).reshape(-1, 3, 3)  # fmt: skip
    turn = torch.linalg.inv(_TO_YIQ) @ rotation @ _TO_YIQ
    color = (brightness * contrast)[:, None, None] * (saturate @ turn)
    bias = (0.5 * (1 - contrast))[:, None].expand(-1, 3)
    return color, bias
