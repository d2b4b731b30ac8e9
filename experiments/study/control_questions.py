"""Questions 5 and 10: recurring openings, and more data."""

from __future__ import annotations

from experiments.study.conditions import (
    CHOSEN_CLIPS,
    Library,
    chosen,
    opening_conditions,
    uniform,
)
from experiments.study.findings import (
    BENCHMARK_NAMES,
    NOT_MEASURED,
    Findings,
    FindingsBuilder,
    compare,
    on_content,
)
from experiments.study.statistics import (
    DIFFERENCE_HEADER,
    Measurements,
    OfSeed,
)


def openings(m: Measurements) -> Findings:
    """Question 5: pairs of one opening as negatives, or ignored."""
    b = FindingsBuilder(["score", *DIFFERENCE_HEADER])
    size = m.design.size
    b.sentences.append(
        "The openings of these shows take a third of each episode, and all 4 episodes of a show "
        "are in one batch, so that clips of the same opening meet. The recurring parts are "
        "detected by `toomuchtv prepare`."
    )
    for benchmark, name in BENCHMARK_NAMES.items():
        found = m.difference(
            lambda seed: opening_conditions(size, seed)[1],
            lambda seed: opening_conditions(size, seed)[0],
            benchmark,
        )
        what = f"{name.capitalize()}: ignoring pairs of the same opening or credits"
        b.sentences.append(compare(what, found, than="using them as negatives"))
        b.add(found, cells=[name], panel="gain of ignoring", label=name,
              estimate=f"ignoring openings, {benchmark}")  # fmt: skip
    return b.build(
        "Are recurring openings harmful as false negatives, and does ignoring them help?",
        how_to_read="Accuracy with such pairs ignored minus accuracy with them as negatives.",
    )


def more_data(m: Measurements) -> Findings:
    """Question 10: more hours with uniform sampling, against hierarchical sampling of shows."""
    b = FindingsBuilder(["condition", *DIFFERENCE_HEADER])
    size = m.design.size
    for k in sorted({CHOSEN_CLIPS, *size.clips_per_title}):
        for scale in size.data_scales:
            found = m.difference(
                on_content("shows", chosen, clips_per_title=k), _uniform_on_more_hours(scale)
            )
            if found is None:
                continue
            what = f"uniform, {scale} times the hours"
            than = f"k={k} and the usual hours"
            b.sentences.append(compare(f"Shows, {what}", found, than=than))
            b.add(found, cells=[f"{what} - k={k}"], panel=f"minus k={k}", label=what,
                  estimate=f"shows, {what} minus k={k}")  # fmt: skip
    if not b.sentences:
        b.sentences.append(NOT_MEASURED)
    return b.build(
        "Does better sampling of shows replace more data?",
        how_to_read="Linear probe on actions, from video: accuracy with uniform sampling of more "
        "hours, minus accuracy with k clips per title of shows of the usual hours, for equal "
        "steps. Left of the dotted line, hierarchical sampling is better.",
    )


def _uniform_on_more_hours(scale: int) -> OfSeed:
    return lambda seed: uniform(Library(content="shows", seed=seed, scale=scale))
