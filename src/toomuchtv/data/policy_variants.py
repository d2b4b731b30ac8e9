"""The policy that was not chosen, to compare a run with what it would have been offered."""

from __future__ import annotations

from typing import Any, Literal

from toomuchtv.data.config import SamplingConfig


def opposite_policy(policy: SamplingConfig, step: int = 0) -> SamplingConfig:
    """The same settings under the other name: uniform for hierarchical, and the reverse.

    The settings that only `hierarchical` looks at are in a uniform config too; where they do not
    fit its batch, fewer clips of an item are taken, so that there are at least two titles.

    Args:
        policy: What a run trains with.
        step: Whose values count where settings change with the step.
    """
    policy = policy.fixed_at(step)
    name: Literal["uniform", "hierarchical"] = (
        "uniform" if policy.name == "hierarchical" else "hierarchical"
    )
    return resized(policy.model_copy(update={"name": name}), policy.batch_size, fewest_titles=2)


def resized(policy: SamplingConfig, batch_size: int, *, fewest_titles: int = 1) -> SamplingConfig:
    """The policy with the largest batch it can fill that is not above `batch_size`.

    Of settings that change with the step, those of step 0. A hierarchical one keeps its clips a
    title, unless the batch has no room for `fewest_titles`.

    Raises:
        ValueError: `batch_size` is below 2.
    """
    if batch_size < 2:
        raise ValueError(f"a batch has at least 2 clips, got {batch_size}")
    policy = policy.fixed_at(0)
    changes: dict[str, Any] = {"batch_size": batch_size}
    if policy.name == "hierarchical":
        room = max(1, batch_size // fewest_titles)
        items = min(policy.items_per_title, room)
        clips = min(policy.clips_per_item_at(0), room // items)
        changes = {
            "batch_size": batch_size // (items * clips) * items * clips,
            "items_per_title": items,
            "clips_per_item": clips,
        }
    return SamplingConfig.model_validate({**policy.model_dump(), **changes})
