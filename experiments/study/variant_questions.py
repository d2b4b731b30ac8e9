"""Questions about other settings: longer training, other losses, and whatever a size lists."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean

from experiments.study.conditions import CHOSEN_CLIPS, Library, chosen, sampled, uniform
from experiments.study.findings import (
    BENCHMARK_NAMES,
    CONTENT_NAMES,
    Findings,
    FindingsBuilder,
    choose,
    compare,
    on_content,
)
from experiments.study.size import Content, PlannedVariant, Variant
from experiments.study.statistics import (
    DIFFERENCE_HEADER,
    Estimate,
    Measurements,
    OfSeed,
    over_seeds,
)

#: Value of k whose results the costlier conditions are compared with, if it was measured.
_SIMPLE_CLIPS = 32
#: The transfer set that sentences about all variants judge, because the more estimates a question
#: judges, the fewer it can claim. Tables and charts have the other one as well.
_JUDGED = "actions"


def simple_against_complex(m: Measurements) -> Findings:
    """Question 6: curated clips, and costlier uniform training, against hierarchical sampling."""
    b = FindingsBuilder(["condition", *DIFFERENCE_HEADER])
    others: list[tuple[str, Content, OfSeed]] = [
        ("curated clips, uniform", "movies", on_content("clips", uniform)),
        *(
            (f"curated clips of {scale} times the hours, uniform", "movies", _clips(scale))
            for scale in m.design.size.clip_scales
        ),
        *(
            (f"{CONTENT_NAMES[content].lower()}, uniform, {planned.name}", content,
             on_variant(content, 1, planned.variant))
            for planned in m.design.size.variants
            if planned.is_costlier and 1 in planned.clips_per_title
            for content in planned.contents
        ),
    ]  # fmt: skip
    for benchmark, name in BENCHMARK_NAMES.items():
        for other, content, condition in others:
            k = _simple_clips(m, content)
            found = m.difference(on_variant(content, k), condition, benchmark)
            what, than = f"{other}: {name}", f"{CONTENT_NAMES[content].lower()}, InfoNCE, k={k}"
            b.sentences.append(compare(what.capitalize(), found, than=than))
            b.add(found, cells=[f"{what} - {than}"], panel=f"minus hierarchical: {name}",
                  label=other, estimate=f"{other} minus hierarchical, {benchmark}")  # fmt: skip
    return b.build(
        "Do films, sampled hierarchically, match curated clips of the same duration? Does uniform "
        "sampling with a more complex loss or a longer training match InfoNCE with hierarchical "
        "sampling?",
        how_to_read="Accuracy of each condition minus that of hierarchical sampling with InfoNCE, "
        f"with k={_SIMPLE_CLIPS} if it was measured, else with the largest k. Left of the dotted "
        "line, the condition is worse. Curated clips are titles of their own with one event each, "
        "balanced over all kinds.",
    )


def other_settings(m: Measurements) -> Findings:
    """Question 8: the gain of hierarchical sampling with other settings, and shuffled labels."""
    b = FindingsBuilder(["setting", *DIFFERENCE_HEADER])
    b.sentences.append(
        "Probes never train on a title that they are tested on: reading a transfer set fails if a "
        "fold has a title on both sides, and no library has a transfer title."
    )
    for planned, content, k in varied(m):
        if k == 1 or 1 not in planned.clips_per_title:
            continue
        usual_pair, pair = (
            (on_variant(content, 1, variant), on_variant(content, k, variant))
            for variant in (None, planned.variant)
        )
        for benchmark, name in BENCHMARK_NAMES.items():
            found = m.difference(*pair, benchmark)
            label = f"{CONTENT_NAMES[content]}, {planned.name}, k={k}"
            b.add(found, cells=[f"{label}, {name}"], panel=f"gain: {name}", label=label,
                  estimate=f"gain of k={k} on {content}, {planned.name}, {benchmark}"
                  )  # fmt: skip
            if benchmark != _JUDGED:
                continue
            what = f"{label}, {name}: hierarchical sampling"
            b.sentences.append(compare(what, found, than="uniform sampling"))
            if found is None:
                continue
            # The few seeds with another setting may differ from the other seeds, so the gain is
            # compared with the usual one in the same seeds.
            usual, other = m.gains(*usual_pair, benchmark), m.gains(*pair, benchmark)
            more = over_seeds([other[seed] - usual[seed] for seed in other if seed in usual])
            b.sentences.append(
                "That gain minus the gain with the study's own setting in the same seeds: "
                + choose(more, above="it is larger", below="it is smaller",
                         unclear="the two do not differ clearly")
            )  # fmt: skip
            if more is not None:
                b.estimates[f"change of the gain of k={k} on {content} by {planned.name}, "
                            f"{benchmark}"] = more  # fmt: skip
    for benchmark, name in BENCHMARK_NAMES.items():
        above = _shuffled_minus_chance(m, benchmark)
        if above is not None:
            b.estimates[f"shuffled labels minus chance, {benchmark}"] = above
        b.sentences.append(
            f"Shuffled labels, {name}, minus chance: "
            + choose(
                above,
                above="above chance, so the probe cannot be trusted",
                below="below chance, as expected of a probe that does not see its test labels: "
                "labels are permuted within a fixed set, so a class that is more frequent in "
                "training is less frequent in testing",
                unclear="at chance, as it must be",
            )
        )
    return b.build(
        "Does the gain of hierarchical sampling depend on a setting, and can the probe be trusted?",
        how_to_read="Accuracy with hierarchical minus accuracy with uniform sampling, both trained "
        "with the changed setting.",
    )


def effects_of_settings(m: Measurements) -> Findings:
    """The last question: each condition with a changed setting minus the same without it."""
    b = FindingsBuilder(["condition", *DIFFERENCE_HEADER])
    texts = [f"{one.name} ({', '.join(one.settings)})" for one in m.design.size.variants]
    b.sentences.append(f"Each setting is changed alone: {'; '.join(texts)}.")
    for benchmark, name in BENCHMARK_NAMES.items():
        for planned, content, k in varied(m):
            found = m.difference(
                on_variant(content, k), on_variant(content, k, planned.variant), benchmark
            )
            policy = "uniform" if k == 1 else f"k={k}"
            label = f"{CONTENT_NAMES[content]}, {policy}, {planned.name}"
            than = "the study's own setting"
            if benchmark == _JUDGED:
                b.sentences.append(compare(f"{label}: {name}", found, than=than))
            b.add(found, cells=[f"{label}: {name}"], panel=f"effect: {name}", label=label,
                  estimate=f"effect of {planned.name} on {content}, {policy}, {benchmark}"
                  )  # fmt: skip
    return b.build(
        "What does each setting change?",
        how_to_read="Accuracy with the changed setting minus accuracy with the study's own, for "
        "the same library, sampling and seeds.",
    )


def _clips(scale: int) -> OfSeed:
    return lambda seed: uniform(Library(content="clips", seed=seed, scale=scale))


def varied(m: Measurements) -> Iterator[tuple[PlannedVariant, Content, int]]:
    """Yield each variant with each of its contents and each of its values of k."""
    for planned in m.design.size.variants:
        for content in planned.contents:
            for k in planned.clips_per_title:
                yield planned, content, k


def on_variant(content: Content, clips_per_title: int, variant: Variant | None = None) -> OfSeed:
    """Return a function from seeds to the condition of a k with a variant; k = 1 is uniform."""
    return on_content(content, sampled, clips_per_title=clips_per_title, variant=variant)


def _simple_clips(m: Measurements, content: Content) -> int:
    """Return the k that costlier conditions are compared with: 32, or the largest measured one."""
    tried = {CHOSEN_CLIPS, *m.design.size.clips_per_title}
    measured = [k for k in tried if m.finished(on_variant(content, k))]
    return _SIMPLE_CLIPS if _SIMPLE_CLIPS in measured else max(measured, default=CHOSEN_CLIPS)


def _shuffled_minus_chance(m: Measurements, benchmark: str) -> Estimate | None:
    content, above = m.design.size.contents[0], []
    for seed in m.design.seeds:
        # Both conditions of a seed are tested on the same labels, so they count as one value.
        finished = [m.of(on_content(content, policy)(seed)) for policy in (uniform, chosen)]
        scores = [one.score(benchmark, "shuffled") for one in finished if one is not None]
        values = [score.accuracy - score.chance for score in scores if score is not None]
        above += [mean(values)] if values else []
    return over_seeds(above)
