"""What an arm is: one training in one world, and what is measured of it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Content = Literal["movies", "shows", "both", "clips"]
Policy = Literal["untrained", "uniform", "hierarchical"]
Level = Literal["episode", "season", "show"]
Measure = Literal["finetune", "milestones", "shuffled"]

#: Of the main worlds; the map goes through others.
SIGNATURE, DIVERSITY = 1.0, 0.8


class Frozen(BaseModel):
    """Values that do not change and have no others."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Library(Frozen):
    """A library of one content, rendered and prepared once for all arms that train on it.

    Attributes:
        content: Films; series; half of each; or short clips, each a title of its own, balanced
            over the kinds of events.
        seed: Of everything random in it.
        signature: How strong the titles' signatures are, in picture and in sound.
        diversity: Share of the kinds of events and of the sets that a title has; a series has half.
        opening_seconds: Of each episode's opening; None: what the studio takes.
    """

    content: Content
    seed: int
    signature: float = SIGNATURE
    diversity: float = DIVERSITY
    opening_seconds: float | None = None

    @property
    def name(self) -> str:
        """Its folder's name."""
        parts: list[str] = [self.content]
        if (self.signature, self.diversity) != (SIGNATURE, DIVERSITY):
            parts.append(f"signature{self.signature:g}-diversity{self.diversity:g}")
        if self.opening_seconds is not None:
            parts.append(f"opening{self.opening_seconds:g}")
        return "-".join([*parts, f"seed{self.seed}"])


class Condition(Frozen):
    """One training and what is measured of it.

    Attributes:
        world: What it trains on.
        policy: How batches are drawn; `untrained` is the same architecture with fresh weights.
        clips_per_title: k; 1 for `uniform`.
        items_per_title: Episodes that the k clips are shared by.
        level: Within what those episodes lie.
        recurring: Role of two clips that lie in the same opening or credits of two episodes.
        loss: Name of the loss.
        alternative: What is set otherwise than in the study: see `Scale.alternatives`.
        measures: What is measured besides the linear probes.
    """

    world: Library
    policy: Policy
    clips_per_title: int = Field(default=1, ge=1)
    items_per_title: int = Field(default=1, ge=1)
    level: Level = "show"
    recurring: Literal["ignore", "negative"] = "ignore"
    loss: str = "info_nce"
    alternative: str = ""
    measures: tuple[Measure, ...] = ()

    @property
    def name(self) -> str:
        """Its folder's name: all that tells it from other arms; measures do not."""
        sampling: str = self.policy
        if self.policy == "hierarchical":
            sampling = f"k{self.clips_per_title}"
        if self.items_per_title > 1:
            sampling += f"over{self.items_per_title}-in-{self.level}"
        parts = [self.world.name, sampling]
        parts += ["openings-as-negatives"] * (self.recurring == "negative")
        parts += [self.loss] * (self.loss != "info_nce")
        parts += [f"other-{self.alternative}"] * bool(self.alternative)
        return "-".join(parts)
