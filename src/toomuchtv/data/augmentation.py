"""What augmentation draws for each clip: numbers only, from the clip's own seed.

The same clip with the same seed is changed the same way whoever decodes it. Recipe of AVID
(Morgado et al., CVPR 2021): random resized crop, flip, color jitter; gain on the sound; time and
frequency masks of SpecAugment (Park et al., Interspeech 2019). Gaussian blur, as in SimCLR (Chen et
al., ICML 2020), is off unless asked for: proxies are small and soft as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from toomuchtv._internal.random_numbers import FloatArray, UInt64Array, uniforms


class AugmentationConfig(BaseModel):
    """How strongly clips are changed. All off: `AugmentationConfig.none()`.

    `blur` is the probability of a Gaussian blur, whose sigma is drawn evenly between
    `min_blur_sigma` and `max_blur_sigma`, in pixels of the encoder's input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
        """No change at all: what evaluation uses."""
        return cls(
            min_crop_area=1.0, max_crop_aspect=1.0, flip=0.0, brightness=0.0, contrast=0.0,
            saturation=0.0, hue=0.0, grayscale=0.0, blur=0.0, gain_db=0.0, time_masks=0,
            band_masks=0,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipAugmentation:
    """What is done to each of N clips, float32 on the CPU.

    `box` `[N, 4]`: left, top, width, height of the crop as shares of the square, the width
    negative where the picture is flipped. `color` `[N, 3, 3]` and `color_bias` `[N, 3]` act on RGB
    in 0..1. `blur_sigma` `[N]` is in pixels of the output, 0 for no blur. `gain` `[N]` multiplies
    the waveform. `time_masks` and `band_masks` `[N, M, 2]` are [start, stop) as shares of the
    spectrogram.
    """

    box: Tensor
    color: Tensor
    color_bias: Tensor
    blur_sigma: Tensor
    gain: Tensor
    time_masks: Tensor
    band_masks: Tensor


def draw_augmentation(config: AugmentationConfig, seeds: UInt64Array) -> ClipAugmentation:
    """Draw what is done to each clip; a pure function of its seed.

    Args:
        config: How strong.
        seeds: uint64 `[N]`.
    """

    def draw(number: int) -> FloatArray:
        return uniforms(seeds, number)

    color, bias = _color_change(
        config, [torch.from_numpy(draw(number)) for number in range(10, 15)]
    )
    return ClipAugmentation(
        box=_crop_box(config, [torch.from_numpy(draw(number)) for number in range(5)]),
        color=color.float(),
        color_bias=bias.float(),
        blur_sigma=_blur_sigma(config, *(torch.from_numpy(draw(number)) for number in (15, 16))),
        gain=(10.0 ** (torch.from_numpy(2 * draw(20) - 1) * config.gain_db / 20)).float(),
        time_masks=_masks(config.time_masks, config.time_mask_share, seeds, 30),
        band_masks=_masks(config.band_masks, config.band_mask_share, seeds, 70),
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
# RGB to YIQ, in which a turn of hue is a rotation of the last two axes.
_TO_YIQ = torch.tensor(
    [[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], dtype=torch.float64
)


def _color_change(config: AugmentationConfig, draws: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Compose brightness, contrast, saturation, hue and grayscale to one affine map of RGB.

    Contrast turns about mid-gray rather than about each picture's mean, and nothing is clamped
    between the steps: so all of them together are one matrix, applied with the conversion from
    YUV. These are the departures from torchvision's ColorJitter.
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


def _blur_sigma(config: AugmentationConfig, whether: Tensor, strength: Tensor) -> Tensor:
    sigma = config.min_blur_sigma + (config.max_blur_sigma - config.min_blur_sigma) * strength
    return torch.where(whether < config.blur, sigma, 0.0).float()


def _masks(count: int, max_share: float, seeds: UInt64Array, first_number: int) -> Tensor:
    masks = torch.zeros(len(seeds), count, 2)
    for index in range(count):
        length = torch.from_numpy(uniforms(seeds, first_number + 2 * index)) * max_share
        start = torch.from_numpy(uniforms(seeds, first_number + 2 * index + 1)) * (1 - length)
        masks[:, index, 0], masks[:, index, 1] = start, start + length
    return masks
