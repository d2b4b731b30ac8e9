"""Each content ablation removes what it should remove and keeps the rest."""

from __future__ import annotations

import pytest
import torch

from toomuchtv.data.clip_transform import RGB_MEAN, RGB_STD
from toomuchtv.diagnosis.content_ablation import events, palette, structure, theme

MEAN = torch.tensor(RGB_MEAN)[None, :, None, None, None]
STD = torch.tensor(RGB_STD)[None, :, None, None, None]


def clips(seed: int = 0) -> torch.Tensor:
    """RGB in 0..1, `[2, 3, 4, 12, 12]`."""
    return torch.rand(2, 3, 4, 12, 12, generator=torch.Generator().manual_seed(seed))


def test_palette_keeps_colors_and_removes_positions() -> None:
    pixels = (clips() - MEAN) / STD
    shuffled = palette(pixels)
    flat, mixed = pixels.flatten(3), shuffled.flatten(3)
    for frame in range(4):
        colors, kept = flat[0, :, frame].T, mixed[0, :, frame].T
        assert sorted(colors.tolist()) == sorted(kept.tolist())
    # A still clip is no longer still, because each frame has its own permutation.
    still = pixels[:, :, :1].expand(-1, -1, 4, -1, -1)
    moved = palette(still)
    assert (moved[:, :, 0] != moved[:, :, 1]).float().mean() > 0.9
    # A gradient has lost its direction.
    ramp = torch.linspace(0, 1, 12).expand(1, 3, 4, 12, 12)
    rows = torch.corrcoef(torch.stack([palette(ramp)[0, 0, 0].flatten(), ramp[0, 0, 0].flatten()]))
    assert abs(float(rows[0, 1])) < 0.25


def test_structure_does_not_depend_on_color_grading() -> None:
    gray = (
        torch.randint(0, 64, (2, 1, 4, 12, 12), generator=torch.Generator().manual_seed(1))
    ) / 255
    pixels = gray.expand(-1, 3, -1, -1, -1)
    graded = (2.5 * pixels + 0.2).clamp(0, 1)  # brighter, with more contrast
    plain, other = (structure((one - MEAN) / STD) for one in (pixels, graded))
    torch.testing.assert_close(plain, other)
    red = pixels * torch.tensor([1.0, 0.2, 0.2])[None, :, None, None, None]
    colors = structure((red - MEAN) / STD) * STD + MEAN
    torch.testing.assert_close(colors[:, 0], colors[:, 1])  # gray, whatever the color was
    torch.testing.assert_close(colors[:, 0], colors[:, 2])


def test_structure_has_an_equalized_histogram() -> None:
    values = (structure((clips(3) ** 4 - MEAN) / STD) * STD + MEAN)[:, 0].flatten(1)
    for share in (0.1, 0.25, 0.5, 0.9):
        assert values.quantile(share, dim=1).tolist() == pytest.approx([share] * 2, abs=0.03)
    flat = structure(torch.zeros(1, 3, 4, 12, 12)) * STD + MEAN
    assert flat.flatten().tolist() == pytest.approx([0.5] * flat.numel())


def test_theme_plus_events_is_the_spectrogram() -> None:
    log_mel = torch.randn(2, 1, 5, 21, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(theme(log_mel) + events(log_mel), log_mel)


def test_short_event_is_not_in_the_theme() -> None:
    hum = torch.linspace(-1, 1, 5)[None, None, :, None].expand(1, 1, 5, 20).clone()
    hit = hum.clone()
    hit[..., 6:12] += 3.0
    assert torch.equal(theme(hit), hum)
    assert torch.equal(events(hum), torch.zeros_like(hum))
    # A different theme does not change the event.
    torch.testing.assert_close(events(hit), events(hit - 2 * hum))
