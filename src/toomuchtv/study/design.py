"""What the study trains, and which arms each question compares: pure functions of a few numbers.

Arms are written down before anything is trained, so that what is compared is not chosen by what
came. Two arms of a comparison differ in what the comparison is about and in nothing else: hours,
steps, batch, weights at the start and all settings are those of the study. Where a question needs
one hierarchical policy, it is the one with `CHOSEN_CLIPS` clips a title, fixed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Content = Literal["movies", "shows", "both", "clips"]
Policy = Literal["untrained", "uniform", "hierarchical"]
Level = Literal["episode", "season", "show"]
Measure = Literal["finetune", "milestones", "shuffled"]

CONTENTS: tuple[Content, ...] = ("movies", "shows", "both")
CLIPS_PER_TITLE = (2, 4, 8, 16, 32)
#: The hierarchical policy of every question but the fourth: 4 titles a batch, as this project's
#: default has them, and not the best of the fourth.
CHOSEN_CLIPS = 8
#: The look of the main worlds; the map goes through weaker ones.
SIGNATURE, DIVERSITY = 1.0, 0.8
SIGNATURES = (0.2, 0.6, 1.0)
DIVERSITIES = (0.2, 0.8)
#: Objectives that take more than the simple one: NCE against a memory, negatives of the own sense.
OBJECTIVES = ("within_modal", "memory_bank")
#: What else might have been set: one alternative each.
ALTERNATIVES = ("temperature", "learning_rate", "steps")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class World(_Frozen):
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


class Arm(_Frozen):
    """One training and what is measured of it.

    Attributes:
        world: What it trains on.
        policy: How batches are drawn; `untrained` is the same architecture with fresh weights.
        clips_per_title: k; 1 for `uniform`.
        items_per_title: Episodes that the k clips are shared by.
        level: Within what those episodes lie.
        recurring: Role of two clips that lie in the same opening or credits of two episodes.
        objective: By name.
        alternative: What is set otherwise than in the study: see `Scale.alternatives`.
        measures: What is measured besides the linear probes.
    """

    world: World
    policy: Policy
    clips_per_title: int = Field(default=1, ge=1)
    items_per_title: int = Field(default=1, ge=1)
    level: Level = "show"
    recurring: Literal["ignore", "negative"] = "ignore"
    objective: str = "info_nce"
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
        parts += [self.objective] * (self.objective != "info_nce")
        parts += [f"other-{self.alternative}"] * bool(self.alternative)
        return "-".join(parts)


class Scale(_Frozen):
    """How large a study is. Everything in it is the same for all of its arms.

    Attributes:
        name: `full`, `quick`, or any other.
        items: Films and episodes of a world, each of `minutes`.
        minutes: Length of each.
        episodes: Of each series, in two seasons.
        steps: Of each training.
        batch_size: Clips of each step.
        learning_rate: Its peak.
        temperature: Of the objective.
        transfer_clips_per_kind: Clips a kind in each transfer set.
        seeds: Repetitions of the main comparison.
        side_seeds: Repetitions of the other comparisons, the first of the seeds.
        guard_seeds: Repetitions of those with another setting.
        map_seeds: Repetitions of each cell of the map.
        signatures: Of the map.
        diversities: Of the map.
        clips_per_title: The k that are tried.
        contents: What the main comparison is made on.
        milestones: Shares of the training after which it is judged, besides the end.
        finetune_epochs: Epochs of fine-tuning.
        threads: Threads of each arm.
        arm_core_seconds: What an arm was measured to take, for the estimate.
        world_core_seconds: What a world was measured to take.
        transfer_core_seconds: What a seed's transfer sets were measured to take.
        width: Share of the channels of the full encoders.
        event_kinds: Kinds of events in the world; None: all.
    """

    name: str
    items: int = Field(ge=4, multiple_of=4)
    minutes: float = 0.5
    episodes: int = 8
    steps: int = Field(ge=1)
    batch_size: int = 32
    learning_rate: float = 2e-3
    temperature: float = 0.07
    transfer_clips_per_kind: int = 20
    seeds: int = Field(ge=1)
    side_seeds: int = Field(ge=0)
    guard_seeds: int = Field(ge=0)
    map_seeds: int = Field(ge=0)
    signatures: tuple[float, ...] = SIGNATURES
    diversities: tuple[float, ...] = DIVERSITIES
    clips_per_title: tuple[int, ...] = CLIPS_PER_TITLE
    contents: tuple[Content, ...] = CONTENTS
    milestones: tuple[float, ...] = (0.125, 0.25, 0.5, 0.75)
    finetune_epochs: int = 10
    threads: int = 1
    arm_core_seconds: float = 110.0
    world_core_seconds: float = 60.0
    transfer_core_seconds: float = 60.0
    width: float = 0.125
    event_kinds: int | None = 12

    @property
    def hours(self) -> float:
        """Of every world."""
        return self.items * self.minutes / 60

    @property
    def alternatives(self) -> dict[str, float]:
        """The one other value of each setting that the conclusion shall not hang on."""
        return {
            "temperature": 2 * self.temperature,
            "learning_rate": self.learning_rate / 2,
            "steps": 2 * self.steps,
        }

    def with_seeds(self, seeds: int) -> Scale:
        """The same with so many repetitions; no comparison is repeated more often than before."""
        return self.model_copy(
            update={
                "seeds": seeds,
                "side_seeds": min(self.side_seeds, seeds),
                "guard_seeds": min(self.guard_seeds, seeds),
                "map_seeds": min(self.map_seeds, seeds),
            }
        )

    def steps_of(self, arm: Arm) -> int:
        """Steps of an arm's training."""
        other = self.alternatives["steps"] if arm.alternative == "steps" else self.steps
        return 0 if arm.policy == "untrained" else int(other)


class Design(_Frozen):
    """A whole study: its size, and its arms in the order in which they are run."""

    scale: Scale
    first_seed: int
    arms: tuple[Arm, ...]

    @property
    def worlds(self) -> tuple[World, ...]:
        """Every world once, in the order in which they are needed."""
        return tuple(dict.fromkeys(arm.world for arm in self.arms))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Every seed once."""
        return tuple(dict.fromkeys(arm.world.seed for arm in self.arms))

    @property
    def core_seconds(self) -> float:
        """What all of it is expected to take, from what was measured of one arm."""
        scale = self.scale
        trained = sum(scale.steps_of(arm) for arm in self.arms) / scale.steps
        return (
            trained * scale.arm_core_seconds
            + len(self.worlds) * scale.world_core_seconds
            + len(self.seeds) * scale.transfer_core_seconds
        )


def design(scale: Scale, *, first_seed: int = 0) -> Design:
    """Write a study's arms down.

    Args:
        scale: Its size.
        first_seed: Seeds are counted from here, so that a second study shares none with the first.
    """
    seeds = range(first_seed, first_seed + scale.seeds)
    side = seeds[: scale.side_seeds]
    by_seed: list[Arm] = []
    for seed in seeds:
        by_seed += main_arms(scale, seed)
        if seed in side:
            by_seed += [
                *level_arms(seed),
                *opening_arms(scale, seed),
                *curation_arms(seed),
            ]
        if seed in seeds[: scale.guard_seeds]:
            by_seed += guard_arms(seed)
        if seed in seeds[: scale.map_seeds]:
            by_seed += map_arms(scale, seed)
    return Design(scale=scale, first_seed=first_seed, arms=merged(by_seed))


def chosen(world: World, **changes: object) -> Arm:
    """The hierarchical arm of a world that stands for its policy."""
    arm = Arm(world=world, policy="hierarchical", clips_per_title=CHOSEN_CLIPS)
    return arm.model_copy(update=changes)


def uniform(world: World, **changes: object) -> Arm:
    """The uniform arm of a world."""
    return Arm(world=world, policy="uniform").model_copy(update=changes)


def main_arms(scale: Scale, seed: int) -> list[Arm]:
    """Questions 1, 2, 4 and 7: contents x policies, and fresh weights."""
    first = World(content=scale.contents[0], seed=seed)
    arms = [Arm(world=first, policy="untrained", measures=("finetune",))]
    for content in scale.contents:
        world = World(content=content, seed=seed)
        measures: tuple[Measure, ...] = ("finetune",)
        if content == scale.contents[0]:
            measures = ("finetune", "milestones", "shuffled")
        arms += [uniform(world, measures=measures), chosen(world, measures=measures)]
        arms += [
            Arm(world=world, policy="hierarchical", clips_per_title=clips)
            for clips in scale.clips_per_title
        ]
    return arms


def map_arms(scale: Scale, seed: int) -> list[Arm]:
    """Question 3: the gain over signature x diversity, on films."""
    return [
        made(World(content="movies", seed=seed, signature=signature, diversity=diversity))
        for signature in scale.signatures
        for diversity in scale.diversities
        for made in (uniform, chosen)
    ]


def level_arms(seed: int) -> list[Arm]:
    """Question 4: the same k in one episode, over episodes of a season, and of a whole show."""
    world = World(content="shows", seed=seed)
    return [
        chosen(world),
        chosen(world, items_per_title=4, level="season"),
        chosen(world, items_per_title=4, level="show"),
    ]


def opening_arms(scale: Scale, seed: int) -> list[Arm]:
    """Question 5: shows whose openings are a third of an episode, as negatives and ignored."""
    world = World(content="shows", seed=seed, opening_seconds=scale.minutes * 60 / 3)
    several = chosen(world, items_per_title=4, level="show")
    return [several, several.model_copy(update={"recurring": "negative"})]


def curation_arms(seed: int) -> list[Arm]:
    """Question 6: curated clips, and more complex objectives, both uniform."""
    movies = World(content="movies", seed=seed)
    return [
        uniform(World(content="clips", seed=seed)),
        *(uniform(movies, objective=name) for name in OBJECTIVES),
        chosen(movies),
    ]


def guard_arms(seed: int) -> list[Arm]:
    """What the conclusion shall not hang on: one other value of each setting, for both policies."""
    world = World(content="movies", seed=seed)
    return [made(world, alternative=name) for name in ALTERNATIVES for made in (uniform, chosen)]


def merged(arms: Iterable[Arm]) -> tuple[Arm, ...]:
    """Each arm once, where it first stands, with all that is measured of it anywhere."""
    by_name: dict[str, Arm] = {}
    for arm in arms:
        known = by_name.get(arm.name)
        both = arm.measures if known is None else (*known.measures, *arm.measures)
        by_name[arm.name] = arm.model_copy(update={"measures": tuple(dict.fromkeys(both))})
    return tuple(by_name.values())


def differences(one: Arm, other: Arm) -> set[str]:
    """In which fields two arms differ, measures left out; the world's by their own names."""
    fields = [name for name in Arm.model_fields if name not in {"world", "measures"}]
    found = {name for name in fields if getattr(one, name) != getattr(other, name)}
    return found | {
        name
        for name in World.model_fields
        if getattr(one.world, name) != getattr(other.world, name)
    }


def study_scales() -> Sequence[Scale]:
    """The sizes that the command line knows by name: full and quick."""
    return (FULL, QUICK)


FULL = Scale(name="full", items=64, steps=500, seeds=5, side_seeds=3, guard_seeds=2, map_seeds=2)
QUICK = Scale(
    name="quick",
    items=32,
    arm_core_seconds=60.0,
    world_core_seconds=30.0,
    steps=200,
    seeds=1,
    side_seeds=1,
    guard_seeds=0,
    map_seeds=1,
    clips_per_title=(2, 8, 32),
    signatures=(0.2, 1.0),
    diversities=(0.2, 0.8),
    contents=("movies", "shows"),
    milestones=(0.5,),
    finetune_epochs=3,
    transfer_clips_per_kind=10,
)
