"""The policy that a run does not use, and policies that fit a smaller batch."""

from __future__ import annotations

import pytest

from toomuchtv.data.config import SamplingConfig, fit_batch_size, other_policy


def policy(name: str, batch: int, clips: int, items: int = 1) -> SamplingConfig:
    return SamplingConfig.model_validate(
        {"name": name, "batch_size": batch, "clips_per_item": clips, "items_per_title": items}
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (policy("hierarchical", 64, 16), policy("uniform", 64, 16)),
        (policy("uniform", 64, 16), policy("hierarchical", 64, 16)),
        (policy("uniform", 64, 8, 2), policy("hierarchical", 64, 8, 2)),
        (policy("uniform", 16, 16), policy("hierarchical", 16, 8)),  # two titles at least
        (policy("uniform", 7, 16), policy("hierarchical", 6, 3)),
        (policy("uniform", 2, 16, 4), policy("hierarchical", 2, 1, 1)),
    ],
)
def test_the_other_policy_fills_the_same_batch(one: SamplingConfig, other: SamplingConfig) -> None:
    assert other_policy(one) == other


@pytest.mark.parametrize(
    ("one", "size", "expected"),
    [
        (policy("hierarchical", 64, 16), 64, policy("hierarchical", 64, 16)),
        (policy("hierarchical", 64, 16), 50, policy("hierarchical", 48, 16)),
        (policy("hierarchical", 64, 16), 10, policy("hierarchical", 10, 10)),
        (policy("hierarchical", 64, 8, 2), 10, policy("hierarchical", 10, 5, 2)),
        (policy("uniform", 64, 16), 50, policy("uniform", 50, 16)),
    ],
)
def test_a_smaller_batch_keeps_the_shape_if_possible(
    one: SamplingConfig, size: int, expected: SamplingConfig
) -> None:
    assert fit_batch_size(one, size) == expected


def test_other_settings_do_not_change() -> None:
    one = SamplingConfig(min_gap_seconds=3.0, level="episode", title_weight="sqrt")
    assert other_policy(other_policy(one)) == one
    with pytest.raises(ValueError, match="at least 2 clips, got 1"):
        fit_batch_size(one, 1)
