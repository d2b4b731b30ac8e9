"""Vision transformers: patches, positions, patch dropout, and gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from toomuchtv.models import (
    AudioVit,
    AudioVitConfig,
    ModelConfig,
    TwoTower,
    VideoVit,
    VideoVitConfig,
)
from toomuchtv.models.vit import sine_positions

MICRO = ModelConfig(
    video=VideoVitConfig(size="micro"), audio=AudioVitConfig(size="micro"), embedding_dim=12
)


def video(clips: int = 2) -> Tensor:
    return torch.randn(clips, 3, 4, 32, 48, generator=torch.Generator().manual_seed(clips))


def log_mel(clips: int = 2) -> Tensor:
    return torch.randn(clips, 1, 40, 50, generator=torch.Generator().manual_seed(clips))


def test_patches_are_what_a_strided_convolution_sees() -> None:
    network = VideoVit(VideoVitConfig(size="micro"))
    conv = nn.Conv3d(3, 64, (2, 16, 16), stride=(2, 16, 16))
    conv.weight.data.copy_(network.embed_patches.weight.reshape(conv.weight.shape))
    conv.bias.data.copy_(network.embed_patches.bias)  # type: ignore[union-attr]
    found = network.embed_patches(network.patches(video()))
    torch.testing.assert_close(found, conv(video()).permute(0, 2, 3, 4, 1), rtol=1e-4, atol=1e-5)

    overlapping = AudioVit(AudioVitConfig(size="micro", stride_bands=10, stride_frames=12))
    flat = nn.Conv2d(1, 64, 16, stride=(10, 12))
    flat.weight.data.copy_(overlapping.embed_patches.weight.reshape(flat.weight.shape))
    flat.bias.data.copy_(overlapping.embed_patches.bias)  # type: ignore[union-attr]
    found = overlapping.embed_patches(overlapping.patches(log_mel()))
    torch.testing.assert_close(found, flat(log_mel()).permute(0, 2, 3, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 3, 3, 32, 32), (2, 3, 4, 30, 32)])
def test_a_clip_that_is_no_multiple_of_the_patch_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiples"):
        VideoVit(VideoVitConfig(size="micro"))(torch.zeros(shape))
    with pytest.raises(ValueError, match="at least"):
        AudioVit(AudioVitConfig(size="micro"))(torch.zeros(2, 1, 80, 15))


def test_features_and_map_have_their_shapes() -> None:
    network = VideoVit(VideoVitConfig(size="micro"))
    assert network(video()).shape == (2, network.num_features) == (2, 64)
    assert network.feature_map(video()).shape == (2, 64, 2, 2, 3)
    audio = AudioVit(AudioVitConfig(size="micro", prefix_tokens=2))
    assert audio(log_mel()).shape == (2, 64)
    assert audio.feature_map(log_mel()).shape == (2, 64, 2, 3)


@pytest.mark.parametrize("grid", [(2, 3, 4), (1, 1, 1), (5, 12)])
@pytest.mark.parametrize("dim", [64, 192, 384])
def test_positions_are_factorized_sines(grid: tuple[int, ...], dim: int) -> None:
    """Against plain loops over every patch and every value."""
    shares = [dim // 2] * 2 if len(grid) == 2 else [dim // 4, dim * 3 // 8, dim * 3 // 8]
    expected = []
    for index in np.ndindex(*grid):
        vector: list[float] = []
        for place, size, share in zip(index, grid, shares, strict=True):
            half = share // 2
            angles = [16 * (place + 0.5) / size / 10_000 ** (wave / half) for wave in range(half)]
            vector += [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
        expected.append(vector)
    found = sine_positions(grid, dim).numpy()
    np.testing.assert_allclose(found, np.array(expected), atol=1e-6)
    assert len(np.unique(found.round(4), axis=0)) == math.prod(grid)


def test_positions_of_a_finer_grid_lie_between_those_of_a_coarse_one() -> None:
    """The center of a patch is the mean of the centers of the two that it is cut into."""
    coarse = sine_positions((1, 3, 3), 64).reshape(3, 3, 64)
    fine = sine_positions((1, 9, 9), 64).reshape(9, 9, 64)
    torch.testing.assert_close(fine[1::3, 1::3], coarse)


def test_a_table_of_positions_is_interpolated() -> None:
    config = VideoVitConfig(size="micro", positions="table", position_grid=(2, 2, 3))
    network = VideoVit(config)
    same = network.positions((2, 2, 3))
    torch.testing.assert_close(same, network.position_table.flatten(1).T)
    assert network.positions((4, 4, 6)).shape == (96, 64)
    assert network(video()).shape == (2, 64)
    with pytest.raises(ValueError, match="position_grid"):
        VideoVitConfig(positions="table")


def test_order_matters_only_through_positions() -> None:
    """Without positions, a transformer sees a set of patches: shuffled frames look the same."""
    network = VideoVit(
        VideoVitConfig(size="micro", positions="table", position_grid=(2, 2, 3))
    ).eval()
    clip = video()
    swapped = clip[:, :, [2, 3, 0, 1]]
    assert (network(clip) - network(swapped)).abs().max() > 1e-6
    network.position_table.data.zero_()
    torch.testing.assert_close(network(clip), network(swapped), rtol=1e-4, atol=1e-5)


def test_kept_patches_are_a_function_of_each_clips_seed() -> None:
    network = VideoVit(VideoVitConfig(size="micro", patch_dropout=0.5))
    seeds = np.array([5, 6, 7], np.uint64)
    kept = network.draw_patches(video(3), seeds)
    assert kept is not None
    assert kept.shape == (3, 6)  # half of 2 x 2 x 3
    again = network.draw_patches(video(1), seeds[1:2])
    assert again is not None
    torch.testing.assert_close(again[0], kept[1])
    assert len({tuple(row) for row in kept.tolist()}) > 1
    assert (kept.diff(dim=1) > 0).all()
    assert network.eval().draw_patches(video(3), seeds) is None
    # Every patch is kept equally often.
    network.train()
    many = network.draw_patches(video(1), np.arange(4000, dtype=np.uint64))
    assert many is not None
    counts = np.bincount(many.flatten().numpy(), minlength=12)
    np.testing.assert_allclose(counts, 2000, atol=5 * math.sqrt(1000))


def test_dropped_patches_do_not_matter() -> None:
    network = VideoVit(VideoVitConfig(size="micro", patch_dropout=0.5))
    clip = video(1)
    kept = torch.tensor([[0, 1, 2, 3, 4, 5]])  # the first two of four frames
    other = clip.clone()
    other[:, :, 2:] = 7.0
    torch.testing.assert_close(network(clip, kept), network(other, kept))
    everything = torch.arange(12)[None]
    torch.testing.assert_close(network(clip, everything), network(clip))


def test_activation_checkpointing_changes_no_gradient() -> None:
    found = []
    for checkpointing in (False, True):
        model = TwoTower.from_config(MICRO, seed=0)
        model.video_encoder.activation_checkpointing = checkpointing
        model.audio_encoder.activation_checkpointing = checkpointing
        embeddings = model(video(4), log_mel(4))
        (embeddings.video * embeddings.audio).sum().backward()
        found.append([value.grad for value in model.parameters() if value.grad is not None])
    assert len(found[0]) > 50
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
