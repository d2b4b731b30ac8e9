"""The conditions of the study: what each trains on, and which of them a question compares.

All conditions are listed before anything is trained, so that results cannot influence what is
compared. Two conditions of a comparison differ only in what the comparison is about: hours, steps,
batch size, initial weights and all other settings are equal. Where a question needs one
hierarchical policy, it is the one with `CHOSEN_CLIPS` clips per title.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from experiments.study.size import Content, Frozen, PlannedVariant, StudySize, Variant

Policy = Literal["untrained", "uniform", "hierarchical"]
Level = Literal["episode", "season", "show"]
Measure = Literal["finetune", "milestones", "shuffled", "why"]

#: Signature and diversity of all libraries except those of the map.
SIGNATURE, DIVERSITY = 1.0, 0.8
#: Clips per title of the hierarchical policy in every question except the fourth. 4 titles per
#: batch is the default of the package; it was not selected by the results of the fourth question.
CHOSEN_CLIPS = 8
#: Values of k whose learning is followed by questions 7 and 9: the second only where it is tried.
FOLLOWED_CLIPS = (CHOSEN_CLIPS, 32)
#: Number of episodes of a season and of a show.
LEVELS: dict[Level, int] = {"season": 2, "show": 4}
#: Seed 0 was used to choose the settings, so its results are no evidence.
FIRST_SEED = 1


class Library(Frozen):
    """A rendered library, which is prepared once for all conditions that train on it.

    Attributes:
        content: Films, series, half of each, or short clips that are balanced over the kinds of
            events and are titles of their own.
        seed: Seed of everything random in the library.
        signature: Strength of the titles' visual and audio signatures.
        diversity: Share of the kinds of events and of the sets that a film uses. A series uses
            half of it.
        opening_seconds: Length of each episode's opening; None for the renderer's default.
        scale: How many times the hours of the other libraries it has.
    """

    content: Content
    seed: int
    signature: float = SIGNATURE
    diversity: float = DIVERSITY
    opening_seconds: float | None = None
    scale: int = Field(default=1, ge=1)

    @property
    def name(self) -> str:
        """Name of the library's folder."""
        parts: list[str] = [self.content]
        if (self.signature, self.diversity) != (SIGNATURE, DIVERSITY):
            parts.append(f"signature{self.signature:g}-diversity{self.diversity:g}")
        if self.opening_seconds is not None:
            parts.append(f"opening{self.opening_seconds:g}")
        if self.scale != 1:
            parts.append(f"hours-x{self.scale}")
        return "-".join([*parts, f"seed{self.seed}"])


class Condition(Frozen):
    """One training and what is measured afterwards.

    Attributes:
        library: The library that it trains on.
        policy: How batches are drawn; `untrained` means random initial weights.
        clips_per_title: k; 1 for `uniform`.
        items_per_title: Number of episodes that the k clips are divided among.
        level: The level that counts as a title for those episodes.
        recurring: Pair label of two clips in the same opening or credits of two episodes.
        variant: Settings that it has in place of those of the study.
        measures: What is measured besides the linear probes.
    """

    library: Library
    policy: Policy
    clips_per_title: int = Field(default=1, ge=1)
    items_per_title: int = Field(default=1, ge=1)
    level: Level = "show"
    recurring: Literal["ignore", "negative"] = "ignore"
    variant: Variant | None = None
    measures: tuple[Measure, ...] = ()

    @property
    def name(self) -> str:
        """Name of the condition's folder. Only the measures are not part of it."""
        sampling: str = self.policy
        if self.policy == "hierarchical":
            sampling = f"k{self.clips_per_title}"
        if self.items_per_title > 1:
            sampling += f"over{self.items_per_title}-in-{self.level}"
        parts = [self.library.name, sampling]
        parts += ["openings-as-negatives"] * (self.recurring == "negative")
        parts += [] if self.variant is None else [self.variant.name]
        return "-".join(parts)


class Design(Frozen):
    """A whole study: its size, and its conditions in the order in which they are run."""

    size: StudySize
    first_seed: int
    conditions: tuple[Condition, ...]

    @property
    def libraries(self) -> tuple[Library, ...]:
        """Every library once, in the order in which they are needed."""
        return tuple(dict.fromkeys(condition.library for condition in self.conditions))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Every seed once."""
        return tuple(dict.fromkeys(condition.library.seed for condition in self.conditions))

    @property
    def fingerprint(self) -> str:
        """Hash of what all results of a study share: the first seed and the numbers of its size.

        It does not depend on which conditions and how many seeds are listed, so that a study can
        grow. A setting that is added to `StudySize` with a default changes no fingerprint.
        """
        shared = {"first_seed": self.first_seed, **self.size.shared()}
        return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:16]


def read_design(folder: Path) -> Design:
    """Read the design of a study's folder.

    Raises:
        ValueError: If the folder has none, or none that this version can read.
    """
    path = folder / "design.json"
    try:
        # Settings that an older version did not have are read as their defaults.
        return Design.model_validate_json(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(
            f"{folder} is not a folder of a study, because {path} cannot be read: "
            f"{error.strerror}. Carry design.json together with the results"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged or of another version: choose another folder, or delete this one "
            "to start again"
        ) from error


def check_same_design(one: Design, other: Design, names: tuple[object, object]) -> None:
    """Check that the results of two designs may stand beside each other.

    Raises:
        ValueError: If they differ in a number that all conditions share, or in the first seed.
    """
    if one.fingerprint == other.fingerprint:
        return
    sides = [{**study.size.model_dump(), "first_seed": study.first_seed} for study in (one, other)]
    shared = {"first_seed", *one.size.shared(), *other.size.shared()}
    texts = [
        f"{name} is {sides[0][name]} and {sides[1][name]}"
        for name in sorted(shared)
        if sides[0][name] != sides[1][name]
    ]
    raise ValueError(
        f"{names[0]} and {names[1]} hold another study each: {', '.join(texts)}. Choose folders of "
        "one design, or delete one of them to start again"
    )


def unite(designs: Sequence[Design]) -> Design:
    """Return one design with the conditions of all, which must have the same fingerprint.

    The size, its name and its lists are those of the design with the most conditions, with the
    variants of all. A condition has the measures of all.

    Raises:
        ValueError: If two conditions of one name have different settings.
    """
    largest = max(designs, key=lambda one: len(one.conditions))
    every = [one for study in (largest, *designs) for one in study.conditions]
    by_name: dict[str, Condition] = {}
    for one in every:
        known = by_name.setdefault(one.name, one)
        if differences(known, one):
            settings = [c.variant.settings if c.variant else () for c in (known, one)]
            raise ValueError(
                f"two conditions with the name {one.name} have different settings, "
                f"{', '.join(settings[0])} and {', '.join(settings[1])}: give one of the variants "
                "another name"
            )
    planned = [one for study in (largest, *designs) for one in study.size.variants]
    variants = {one.name: one for one in reversed(planned)}
    names = dict.fromkeys(one.name for one in planned)
    size = largest.size.model_copy(update={"variants": tuple(variants[name] for name in names)})
    return largest.model_copy(update={"size": size, "conditions": _merged(every)})


def select(conditions: Sequence[Condition], patterns: Sequence[str]) -> tuple[Condition, ...]:
    """Return the conditions whose name matches any of some patterns, in their order.

    Args:
        conditions: The conditions to choose from.
        patterns: Patterns with `*`, `?` and `[...]`; none selects everything.

    Raises:
        ValueError: If a pattern matches no name.
    """
    names = [one.name for one in conditions]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise ValueError(
                f"no condition matches {pattern!r}; the names are like {', '.join(names[:3])}: "
                "list all of them with `python -m experiments.study plan`"
            )
    return tuple(
        one for one in conditions
        if not patterns or any(fnmatch.fnmatchcase(one.name, pattern) for pattern in patterns)
    )  # fmt: skip


def steps_of(size: StudySize, condition: Condition) -> int:
    """Return the number of training steps of a condition."""
    if condition.policy == "untrained":
        return 0
    return int(_value_of(condition, "training.steps") or size.steps)


def clips_of(size: StudySize, condition: Condition) -> int:
    """Return the number of clips that a condition is trained on, repeated ones included."""
    batch_size = int(_value_of(condition, "sampling.batch_size") or size.batch_size)
    return steps_of(size, condition) * batch_size


def _value_of(condition: Condition, key: str) -> str | None:
    return None if condition.variant is None else condition.variant.value(key)


def design(size: StudySize, *, first_seed: int = FIRST_SEED) -> Design:
    """List the conditions of a study, the most important first.

    A study that is stopped early has therefore answered the main questions.

    Args:
        size: Size of the study.
        first_seed: First seed. A second study with other seeds is independent of the first.
    """
    seeds = range(first_seed, first_seed + size.seeds)
    conditions = [condition for seed in seeds for condition in main_conditions(size, seed)]
    conditions += [condition for seed in seeds for condition in learning_conditions(size, seed)]
    for seed in seeds[: size.side_seeds]:
        shows, films = Library(content="shows", seed=seed), Library(content="movies", seed=seed)
        conditions.append(chosen(shows))
        conditions += [chosen(shows, level=k, items_per_title=n) for k, n in LEVELS.items()]
        conditions += opening_conditions(size, seed)
        conditions.append(uniform(Library(content="clips", seed=seed)))
        conditions.append(chosen(films))
    for seed in seeds[: size.data_seeds]:
        conditions += data_conditions(size, seed)
    for seed in seeds[: size.map_seeds]:
        conditions += map_conditions(size, seed)
    conditions += [
        chosen(Library(content=content, seed=seed), clips_per_title=clips)
        for seed in seeds
        for content in size.contents
        for clips in size.clips_per_title
    ]
    for planned in size.variants:
        for seed in seeds[: planned.seeds]:
            conditions += variant_conditions(planned, seed)
    return Design(size=size, first_seed=first_seed, conditions=_merged(conditions))


def chosen(library: Library, **changes: Any) -> Condition:
    """Return a library's hierarchical condition with `CHOSEN_CLIPS` clips per title."""
    condition = Condition(library=library, policy="hierarchical", clips_per_title=CHOSEN_CLIPS)
    return condition.model_copy(update=changes)


def uniform(library: Library, **changes: Any) -> Condition:
    """Return a library's uniform condition."""
    return Condition(library=library, policy="uniform").model_copy(update=changes)


def main_conditions(size: StudySize, seed: int) -> list[Condition]:
    """Return the conditions of questions 1, 2 and 7: two policies per content, and no training."""
    first = Library(content=size.contents[0], seed=seed)
    conditions = [Condition(library=first, policy="untrained", measures=("finetune",))]
    for content in size.contents:
        library = Library(content=content, seed=seed)
        measures: tuple[Measure, ...] = ("finetune",)
        if content == size.contents[0]:
            measures = ("finetune", "milestones", "shuffled")
        conditions += [uniform(library, measures=measures), chosen(library, measures=measures)]
    return conditions


def followed_content(size: StudySize) -> Content:
    """Return the content of question 9: shows, or the first content of a study without them."""
    return "shows" if "shows" in size.contents else size.contents[0]


def followed_clips(size: StudySize) -> tuple[int, ...]:
    """Return the values of k of questions 7 and 9."""
    tried = {CHOSEN_CLIPS, *size.clips_per_title}
    return tuple(k for k in FOLLOWED_CLIPS if k in tried)


def learning_conditions(size: StudySize, seed: int) -> list[Condition]:
    """Return the conditions of question 9: random weights, uniform, and the followed k."""
    library = Library(content=followed_content(size), seed=seed)
    trained = [uniform(library)]
    trained += [chosen(library, clips_per_title=k) for k in followed_clips(size)]
    return [
        Condition(library=library, policy="untrained", measures=("why",)),
        *(one.model_copy(update={"measures": ("milestones", "why")}) for one in trained),
    ]


def map_conditions(size: StudySize, seed: int) -> list[Condition]:
    """Return the conditions of question 3: both policies, by signature and diversity."""
    content = size.map_content
    return [
        policy(Library(content=content, seed=seed, signature=signature, diversity=diversity))
        for signature in size.signatures
        for diversity in size.diversities
        for policy in (uniform, chosen)
    ]


def data_conditions(size: StudySize, seed: int) -> list[Condition]:
    """Return the conditions with uniform sampling of more hours, for equal steps."""
    scales: dict[Content, tuple[int, ...]] = {"shows": size.data_scales, "clips": size.clip_scales}
    return [
        uniform(Library(content=content, seed=seed, scale=scale))
        for content in scales
        for scale in scales[content]
    ]


def sampled(library: Library, clips_per_title: int, **changes: Any) -> Condition:
    """Return a library's condition with k clips per title; k = 1 is uniform sampling."""
    if clips_per_title == 1:
        return uniform(library, **changes)
    return chosen(library, clips_per_title=clips_per_title, **changes)


def variant_conditions(planned: PlannedVariant, seed: int) -> list[Condition]:
    """Return the conditions of a variant, each after the same condition without it."""
    return [
        sampled(Library(content=content, seed=seed), clips, variant=variant)
        for content in planned.contents
        for clips in planned.clips_per_title
        for variant in (None, planned.variant)
    ]


def opening_conditions(size: StudySize, seed: int) -> list[Condition]:
    """Return the conditions of question 5: pairs of one opening are ignored, or negatives.

    The openings take a third of each episode.
    """
    library = Library(content="shows", seed=seed, opening_seconds=size.minutes * 60 / 3)
    several = chosen(library, items_per_title=LEVELS["show"], level="show")
    return [several, several.model_copy(update={"recurring": "negative"})]


def _merged(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """Return each condition once, at its first position, with all measures that any needs."""
    by_name: dict[str, Condition] = {}
    for condition in conditions:
        known = by_name.get(condition.name)
        both = condition.measures if known is None else (*known.measures, *condition.measures)
        measures = tuple(dict.fromkeys(both))
        by_name[condition.name] = condition.model_copy(update={"measures": measures})
    return tuple(by_name.values())


def differences(one: Condition, other: Condition) -> set[str]:
    """Return the fields in which two conditions differ, including their libraries' fields."""

    def fields(model: BaseModel) -> dict[str, Any]:
        return {name: getattr(model, name) for name in type(model).model_fields}

    first, second = ({**fields(c), **fields(c.library)} for c in (one, other))
    return {n for n in first if first[n] != second[n]} - {"library", "measures"}
