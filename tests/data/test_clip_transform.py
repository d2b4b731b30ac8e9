"""Laws of the way from decoded clips to the encoders' input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from toomuchtv.data.augmentation import AugmentationConfig, ClipAugmentation, draw_augmentation
from toomuchtv.data.clip_transform import (
    RGB_MEAN,
    RGB_STD,
    ClipTransform,
    TransformConfig,
    blur_matrix,
    normalize_rgb,
    resize_matrix,
)
from toomuchtv.data.log_mel import LogMelConfig

MEAN, STD = np.array(RGB_MEAN), np.array(RGB_STD)
SEEDS = np.arange(6, dtype=np.uint64)


def line(start: float, length: float, side: int, size: int) -> Tensor:
    return resize_matrix(torch.tensor([start]), torch.tensor([length]), side, size)[0]


def smooth_picture(side: int, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(("side", "size"), [(128, 112), (128, 32), (64, 112), (100, 100), (37, 8)])
@pytest.mark.parametrize(
    "box", [(0.0, 0.0, 1.0, 1.0), (0.25, 0.125, 0.5, 0.75), (0.1, 0.3, 0.61, 0.7)]
)
def test_resizing_is_pils(side: int, size: int, box: tuple[float, float, float, float]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (side, side), dtype=np.uint8)
    left, top, width, height = box
    pil = Image.fromarray(noise).resize(
        (size, size), Image.Resampling.BILINEAR,
        box=(left * side, top * side, (left + width) * side, (top + height) * side),
    )  # fmt: skip
    rows, columns = line(top, height, side, size), line(left, width, side, size)
    mine = rows @ torch.from_numpy(noise).float() @ columns.T
    # PIL rounds after each of its two passes.
    np.testing.assert_allclose(mine.numpy(), np.asarray(pil, np.float32), atol=1.1)


@settings(max_examples=60, deadline=None)
@given(
    side=st.integers(2, 200), size=st.integers(1, 200),
    start=st.floats(0.0, 0.9), length=st.floats(0.05, 1.0),
)  # fmt: skip
def test_rows_sum_to_one_and_backwards_mirrors(
    side: int, size: int, start: float, length: float
) -> None:
    length = min(length, 1.0 - start)
    forward = line(start, length, side, size)
    assert forward.shape == (size, side)
    assert forward.dtype == torch.float32
    assert float(forward.min()) >= 0.0
    torch.testing.assert_close(forward.sum(dim=1), torch.ones(size))
    backward = line(start + length, -length, side, size)
    torch.testing.assert_close(backward, forward.flip(0), atol=2e-3, rtol=0)


def test_the_same_size_changes_nothing() -> None:
    torch.testing.assert_close(line(0.0, 1.0, 64, 64), torch.eye(64))


def normalized(rgb: NDArray[np.float64]) -> Tensor:
    """`[..., 3]` in 0..1 to `[3, ...]`, by the plain formula."""
    return torch.from_numpy(np.moveaxis((rgb - MEAN) / STD, -1, 0)).float()


def test_rgb_of_the_right_size_is_only_normalized() -> None:
    video = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16, 3), dtype=np.uint8)
    out = normalize_rgb(torch.from_numpy(video), 16)
    assert out.shape == (2, 3, 3, 16, 16)
    assert out.is_contiguous(memory_format=torch.channels_last_3d)
    expected = torch.stack([normalized(clip / 255.0) for clip in video])
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(48, 96), (96, 48), (49, 64)])
def test_rgb_is_cut_to_the_middle_square(height: int, width: int) -> None:
    video = np.random.default_rng(0).integers(0, 256, (1, 1, height, width, 3), dtype=np.uint8)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(video[0, 0, top : top + side, left : left + side])
    small = np.asarray(square.resize((24, 24), Image.Resampling.BILINEAR)) / 255.0
    out = normalize_rgb(torch.from_numpy(video), 24)[0, :, 0]
    torch.testing.assert_close(out, normalized(small), atol=1.1 / 255 / STD.min(), rtol=0)


def planes_of(y: int, u: int, v: int, side: int = 8) -> Tensor:
    planes = torch.empty(1, 1, side * 3 // 2, side, dtype=torch.uint8)
    planes[..., :side, :] = y
    planes[..., side : side + side // 4, :] = u
    planes[..., side + side // 4 :, :] = v
    return planes


def bt601(y: int, u: int, v: int) -> NDArray[np.float64]:
    """ITU-R BT.601, limited range, read from the recommendation's luma weights."""
    luma, blue, red = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    r, b = luma + 2 * (1 - 0.299) * red, luma + 2 * (1 - 0.114) * blue
    rgb = np.array([r, (luma - 0.299 * r - 0.114 * b) / 0.587, b], np.float64)
    return np.asarray(rgb.clip(0.0, 1.0))


@pytest.mark.parametrize(
    "yuv", [(16, 128, 128), (235, 128, 128), (81, 90, 240), (145, 54, 34), (41, 240, 110),
            (99, 77, 166), (255, 0, 255)]
)  # fmt: skip
def test_colors_are_bt601(yuv: tuple[int, int, int]) -> None:
    to_input = ClipTransform(TransformConfig(size=8))
    out = to_input.video(planes_of(*yuv), draw_augmentation(AugmentationConfig.none(), SEEDS[:1]))
    expected = (bt601(*yuv) - MEAN) / STD
    np.testing.assert_allclose(
        out[0, :, 0].numpy(), np.broadcast_to(expected[:, None, None], (3, 8, 8)), atol=2e-4
    )
    assert out.is_contiguous(memory_format=torch.channels_last_3d)


def test_color_changes_act_on_rgb() -> None:
    """Each step done by itself on an RGB triple gives what the composed matrix gives."""
    config = AugmentationConfig(
        min_crop_area=1.0, max_crop_aspect=1.0, flip=0.0, hue=0.0, grayscale=0.5
    )
    seeds = np.arange(40, dtype=np.uint64)
    changes = draw_augmentation(config, seeds)
    yuv = (99, 120, 136)
    rgb = bt601(*yuv)
    planes = planes_of(*yuv).expand(40, 1, 12, 8)
    out = (
        ClipTransform(TransformConfig(size=8), config)
        .video(planes, changes)[:, :, 0, 0, 0]
        .double()
        .numpy()
    )
    mapped = changes.color.double().numpy() @ rgb + changes.color_bias.double().numpy()
    np.testing.assert_allclose(out * STD + MEAN, np.clip(mapped, 0, 1), atol=1e-4)
    gray = rgb @ [0.299, 0.587, 0.114]
    num_gray = 0
    for row, bias in zip(mapped, changes.color_bias.double().numpy(), strict=True):
        contrast = 1 - 2 * bias[0]
        assert 0.6 <= contrast <= 1.4
        brightness = ((row - bias) @ [0.299, 0.587, 0.114]) / (contrast * gray)
        assert 0.6 - 1e-6 <= brightness <= 1.4 + 1e-6
        saturation = ((row - bias) / (brightness * contrast) - gray) / (rgb - gray)
        np.testing.assert_allclose(saturation, saturation[0], atol=1e-4)
        num_gray += bool(abs(saturation[0]) < 1e-4)
        assert abs(saturation[0]) < 1e-4 or 0.6 - 1e-4 <= saturation[0] <= 1.4 + 1e-4
    assert 10 <= num_gray <= 30


def test_a_turn_of_hue_keeps_luma_and_gray() -> None:
    config = replace_none(hue=0.5)
    changes = draw_augmentation(config, np.arange(30, dtype=np.uint64))
    luma = torch.tensor([0.299, 0.587, 0.114])
    torch.testing.assert_close(luma @ changes.color, luma.expand(30, 3), atol=2e-3, rtol=0)
    gray = torch.full((3,), 0.5)
    torch.testing.assert_close(changes.color @ gray, gray.expand(30, 3), atol=1e-4, rtol=0)


def replace_none(**values: float) -> AugmentationConfig:
    return AugmentationConfig.none().model_copy(update=values)


def test_none_is_no_change() -> None:
    changes = draw_augmentation(AugmentationConfig.none(), SEEDS)
    torch.testing.assert_close(changes.box, torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(6, 4))
    torch.testing.assert_close(changes.color, torch.eye(3).expand(6, 3, 3))
    assert not changes.color_bias.any()
    assert changes.blur_sigma is None
    torch.testing.assert_close(changes.gain, torch.ones(6), rtol=0, atol=0)
    assert changes.time_masks.shape == changes.band_masks.shape == (6, 0, 2)


def fields(changes: ClipAugmentation, row: int) -> list[Tensor]:
    return [
        getattr(changes, name)[row]
        for name in ("box", "color", "color_bias", "blur_sigma", "gain", "time_masks", "band_masks")
    ]


@settings(max_examples=20, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=6),
    order=st.randoms(use_true_random=False),
)
def test_changes_are_a_function_of_the_seed(seeds: list[int], order: object) -> None:
    config = AugmentationConfig(time_masks=2, band_masks=3, blur=0.5)
    whole = draw_augmentation(config, np.array(seeds, np.uint64))
    for row, seed in enumerate(seeds):
        alone = draw_augmentation(config, np.array([seed], np.uint64))
        for one, other in zip(fields(whole, row), fields(alone, 0), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_changes_keep_to_their_ranges_and_differ() -> None:
    config = AugmentationConfig(time_masks=2)
    changes = draw_augmentation(config, np.arange(500, dtype=np.uint64))
    left, top, width, height = changes.box.unbind(dim=1)
    low, high = torch.minimum(left, left + width), torch.maximum(left, left + width)
    assert low.min() >= -1e-6
    assert high.max() <= 1 + 1e-6
    assert top.min() >= 0
    assert (top + height).max() <= 1 + 1e-6
    area = (width * height).abs()
    assert float(area.min()) >= 0.2
    assert 0.4 <= float((width < 0).float().mean()) <= 0.6
    db = 20 * torch.log10(changes.gain)
    assert -6.001 <= float(db.min()) < -5
    assert 5 < float(db.max()) <= 6.001
    for masks, share in ((changes.time_masks, 0.1), (changes.band_masks, 0.15)):
        assert masks.min() >= 0
        assert masks.max() <= 1
        length = masks[..., 1] - masks[..., 0]
        assert length.min() >= 0
        assert length.max() <= share + 1e-6
    assert len(torch.unique(changes.box, dim=0)) == 500


def test_a_flipped_crop_is_the_mirror_of_the_crop() -> None:
    side = 32
    planes = torch.from_numpy(
        np.random.default_rng(0).integers(16, 236, (1, 2, side * 3 // 2, side), dtype=np.uint8)
    )
    to_input = ClipTransform(TransformConfig(size=16))
    plain = draw_augmentation(AugmentationConfig.none(), SEEDS[:1])
    straight = replace(plain, box=torch.tensor([[0.25, 0.125, 0.5, 0.75]]))
    flipped = replace(plain, box=torch.tensor([[0.75, 0.125, -0.5, 0.75]]))
    torch.testing.assert_close(
        to_input.video(planes, flipped), to_input.video(planes, straight).flip(-1)
    )


def blurred(changes: ClipAugmentation, *sigmas: float) -> ClipAugmentation:
    return replace(changes, blur_sigma=torch.tensor(sigmas))


def test_blur_is_a_gaussian_of_the_input() -> None:
    """The result equals filtering the frame afterwards with another library."""
    from scipy.ndimage import gaussian_filter1d

    planes = torch.from_numpy(
        np.random.default_rng(0).integers(110, 146, (3, 2, 48, 32), dtype=np.uint8)
    )
    to_input = ClipTransform(TransformConfig(size=40))
    plain = draw_augmentation(replace_none(min_crop_area=0.5), SEEDS[:3])
    sharp = to_input.video(planes, plain)
    soft = to_input.video(planes, blurred(plain, 0.0, 0.7, 2.0))
    torch.testing.assert_close(soft[0], sharp[0], atol=1e-6, rtol=0)
    for row, sigma in ((1, 0.7), (2, 2.0)):
        wanted = sharp[row].double().numpy()
        for axis in (-1, -2):
            # At the edges of what is there: divided by the weight inside.
            weight = gaussian_filter1d(np.ones(40), sigma, mode="constant", truncate=9)
            wanted = gaussian_filter1d(wanted, sigma, axis=axis, mode="constant", truncate=9)
            wanted = wanted / (weight if axis == -1 else weight[:, None])
        np.testing.assert_allclose(soft[row].numpy(), wanted, atol=2e-3)


@settings(max_examples=40, deadline=None)
@given(sigma=st.floats(0.0, 64.0), size=st.integers(1, 60))
def test_blur_keeps_levels(sigma: float, size: int) -> None:
    matrix = blur_matrix(torch.tensor([sigma]), size)[0]
    assert float(matrix.min()) >= 0.0
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(size))
    torch.testing.assert_close(matrix.flip(0, 1), matrix)
    assert sigma > 0.05 or torch.equal(matrix, torch.eye(size))


def test_blur_is_drawn_as_often_and_as_strong_as_asked() -> None:
    config = replace_none(blur=0.3, min_blur_sigma=0.5, max_blur_sigma=2.0)
    sigma = draw_augmentation(config, np.arange(2000, dtype=np.uint64)).blur_sigma
    assert sigma is not None
    drawn = sigma[sigma > 0]
    assert len(drawn) / 2000 == pytest.approx(0.3, abs=0.04)
    assert 0.5 <= float(drawn.min()) < 0.55
    assert 1.95 < float(drawn.max()) <= 2.0
    with pytest.raises(ValueError, match=r"min_blur_sigma must be at most .* got 3.0 and 1.0"):
        AugmentationConfig(min_blur_sigma=3.0)


def test_chroma_is_read_where_it_lies() -> None:
    """A ramp of chroma, sampled at the left pixels, comes out in step with luma's columns."""
    side = 32
    planes = torch.full((1, 1, side * 3 // 2, side), 100, dtype=torch.uint8)
    ramp = 60 + 4 * torch.arange(side // 2)  # 2 a pixel of luma, 60 at pixel 0
    planes[..., side:, :] = ramp.repeat(2).to(torch.uint8)
    out = ClipTransform(TransformConfig(size=side)).video(
        planes, draw_augmentation(AugmentationConfig.none(), SEEDS[:1])
    )
    blue = out[0, 2, 0, 5].double().numpy() * STD[2] + MEAN[2]
    wanted = (100 - 16) / 219 + 1.772 / 224 * (60 + 2 * np.arange(side) - 128)
    np.testing.assert_allclose(blue[1:-2], wanted.clip(0, 1)[1:-2], atol=1e-4)


def test_sound_is_louder_by_the_gain_and_hidden_in_the_masks() -> None:
    to_input = ClipTransform(TransformConfig())
    plain = draw_augmentation(AugmentationConfig.none(), SEEDS[:2])
    wave = torch.rand(2, 16_000, generator=torch.Generator().manual_seed(0)) - 0.5
    config = to_input.config.log_mel
    quiet = to_input.audio(wave, plain)
    torch.testing.assert_close(quiet, to_input.log_mel(wave))
    loud = to_input.audio(wave, replace(plain, gain=torch.tensor([1.0, 2.0])))
    torch.testing.assert_close(loud[0], quiet[0])
    rise = (loud[1] - quiet[1]) * config.std  # log of power: 4 times
    torch.testing.assert_close(rise, torch.full_like(rise, np.log(4.0)), atol=1e-2, rtol=0)
    masked = to_input.audio(
        wave,
        replace(
            plain,
            time_masks=torch.tensor([[[0.0, 0.25]], [[0.5, 0.5]]]),
            band_masks=torch.tensor([[[0.5, 1.0]], [[0.0, 0.0]]]),
        ),
    )
    frames = quiet.shape[-1]
    hidden = (np.arange(frames) + 0.5) / frames < 0.25
    assert not masked[0, :, :, hidden].any()
    assert not masked[0, :, 40:].any()
    torch.testing.assert_close(masked[0, :, :40, ~hidden], quiet[0, :, :40, ~hidden])
    torch.testing.assert_close(masked[1], quiet[1])


def test_forward_gives_both_shapes() -> None:
    to_input = ClipTransform(TransformConfig(size=24), AugmentationConfig())
    planes = torch.randint(16, 236, (2, 4, 48, 32), dtype=torch.uint8)
    video, audio = to_input(planes, torch.zeros(2, 8000), SEEDS[:2])
    assert video.shape == (2, 3, 4, 24, 24)
    assert audio.shape == (2, 1, 80, 51)
    assert video.dtype == audio.dtype == torch.float32


def test_the_transform_takes_keywords_and_needs_no_seeds() -> None:
    planes = torch.randint(16, 235, (3, 2, 48, 32), dtype=torch.uint8)
    waveform = torch.rand(3, 8000) - 0.5
    plain = ClipTransform(size=24)
    video, log_mel = plain(planes, waveform)
    assert video.shape == (3, 3, 2, 24, 24)
    assert log_mel.shape == (3, 1, 80, 51)
    by_config = ClipTransform(TransformConfig(size=24))
    assert torch.equal(by_config(planes, waveform)[0], video)
    assert ClipTransform(size=24, log_mel=LogMelConfig(num_bands=40)).config.log_mel.num_bands == 40
    augmented = ClipTransform(size=24, augmentation=AugmentationConfig())
    torch.manual_seed(1)
    first = augmented(planes, waveform)
    second = augmented(planes, waveform)
    torch.manual_seed(1)
    again = augmented(planes, waveform)
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
