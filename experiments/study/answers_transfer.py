"""Questions 2 to 4: does hierarchical sampling transfer better, where, and with which k."""

from __future__ import annotations

import math

import numpy as np

from experiments.study.answer import NOT_MEASURED, Answer, finding, sign
from experiments.study.charts import HeatMap, Interval, Intervals
from experiments.study.condition import Condition, Content, Library
from experiments.study.design import CHOSEN_CLIPS, LEVELS, chosen, uniform
from experiments.study.measurements import (
    CONTENT_NAMES,
    DIFFERENCE_HEADER,
    SENSES,
    Difference,
    Measurements,
    OfSeed,
)
from experiments.study.statistics import Estimate, Slopes, over_seeds, slopes
from toomuchtv.reports.page import ResultTable

_PROTOCOL_NAMES = {"linear": "linear", "finetune": "fine-tuned"}
#: What is scored: benchmark and protocol.
_SCORED = (
    ("actions", "linear"),
    ("sounds", "linear"),
    ("actions", "finetune"),
    ("sounds", "finetune"),
)


def _on(content: Content, made: str = "uniform", **changes: object) -> OfSeed:
    def arm(seed: int) -> Condition:
        world = Library(content=content, seed=seed)
        return uniform(world, **changes) if made == "uniform" else chosen(world, **changes)

    return arm


def transfer(evidence: Measurements) -> Answer:
    """Question 2."""
    rows, sentences, estimates = [], [], {}
    panels: dict[str, list[Interval]] = {}
    for benchmark, protocol in _SCORED:
        label = f"{SENSES[benchmark]}, {_PROTOCOL_NAMES[protocol]}"
        for content in evidence.design.scale.contents:
            found = evidence.difference(_on(content), _on(content, "chosen"), benchmark, protocol)
            sentences.append(
                finding(
                    f"{CONTENT_NAMES[content]}, {label}: hierarchical sampling (k={CHOSEN_CLIPS})",
                    found,
                    than="uniform sampling",
                )
            )
            if found is None:
                continue
            estimates[f"gain on {content}, {benchmark} {protocol}"] = found.estimate
            panels.setdefault(f"gain: {label}", []).append(
                found.interval(CONTENT_NAMES[content].lower())
            )
            rows.append([CONTENT_NAMES[content].lower(), label, *found.row()])
    rows += _floors(evidence)
    return Answer(
        question="Does hierarchical sampling transfer better?",
        sentences=tuple(sentences),
        estimates=estimates,
        table=ResultTable(header=["content", "score", *DIFFERENCE_HEADER], rows=rows),
        chart=Intervals(panels=panels) if panels else None,
        how_to_read="Accuracy of hierarchical minus uniform, paired by seed; whiskers are 95% "
        "intervals over seeds. Right of the dotted line, hierarchical is better. In the table, "
        "the interval over test titles says how much hangs on which titles are tested.",
    )


def _floors(evidence: Measurements) -> list[list[str]]:
    """What fresh weights score, and chance, in the table's columns."""
    first = evidence.design.scale.contents[0]
    rows = []
    for benchmark, protocol in _SCORED:
        floor = evidence.accuracy(
            lambda seed: Condition(world=Library(content=first, seed=seed), policy="untrained"),
            benchmark,
            protocol,
        )
        if floor is not None:
            label = f"{SENSES[benchmark]}, {_PROTOCOL_NAMES[protocol]}"
            empty = ["-"] * 4
            rows.append(["fresh weights", label, f"{floor.mean:.3f}", *empty,
                         str(len(floor.values))])  # fmt: skip
    return rows


def shows(evidence: Measurements) -> Answer:
    """Question 3: shows against movies, and the map."""
    scale = evidence.design.scale
    sentences, estimates, rows = [], {}, []
    for benchmark in SENSES:
        sentence, more = _shows_less_films(evidence, benchmark)
        sentences.append(sentence)
        if more is not None:
            estimates[f"gain on shows minus gain on films, {benchmark}"] = more
    panels, notes = {}, {}
    for benchmark in SENSES:
        cells = {
            (signature, diversity): _map_gain(evidence, signature, diversity, benchmark)
            for signature in scale.signatures
            for diversity in scale.diversities
        }
        there = [(key, gain) for key, gain in cells.items() if gain is not None]
        if len(there) < 2:  # the plain world's alone, which is no map
            continue
        panels[f"gain: {SENSES[benchmark]}"] = [
            [_mean(cells[signature, diversity]) for signature in scale.signatures]
            for diversity in scale.diversities
        ]
        notes[f"gain: {SENSES[benchmark]}"] = [
            [_interval_text(cells[signature, diversity]) for signature in scale.signatures]
            for diversity in scale.diversities
        ]
        fitted = slopes(
            [key for key, gain in there for _ in gain.estimate.values],
            [value for _, gain in there for value in gain.estimate.values],
        )
        sentences.append(
            f"{SENSES[benchmark].capitalize()}, over the map: " + _slope_sentence(fitted)
        )
        if fitted is not None:
            estimates[f"gain per unit of signature, {benchmark}"] = fitted.first
            estimates[f"gain per unit of diversity, {benchmark}"] = fitted.second
        rows += [
            [f"{signature:g}", f"{diversity:g}", SENSES[benchmark], *gain.row()]
            for (signature, diversity), gain in there
        ]
    return Answer(
        question="Is the gain larger on TV shows, and why?",
        sentences=tuple(sentences),
        estimates=estimates,
        table=ResultTable(
            header=["signature", "diversity", "score", *DIFFERENCE_HEADER], rows=rows
        ),
        chart=HeatMap(
            x_label="strength of the titles' signatures",
            y_label="semantic diversity of a title",
            x=scale.signatures,
            y=scale.diversities,
            panels=panels,
            notes=notes,
        )
        if panels
        else None,
        how_to_read="Each cell is a world of films of its own; the number is the accuracy of "
        f"hierarchical (k={CHOSEN_CLIPS}) minus uniform sampling there, blue where hierarchical is "
        "better, and under it stands its 95% interval. Slopes are least squares over all cells and "
        "seeds.",
    )


def _shows_less_films(evidence: Measurements, benchmark: str) -> tuple[str, Estimate | None]:
    """Whether the gain is larger on shows than on films, in a sentence and as a figure."""
    gains = {content: _gains(evidence, content, benchmark) for content in ("movies", "shows")}
    both = sorted(set(gains["movies"]) & set(gains["shows"]))
    more = over_seeds([gains["shows"][seed] - gains["movies"][seed] for seed in both])
    said = sign(
        more,
        above="the gain is larger on shows than on films, as the paper has it",
        below="the gain is smaller on shows than on films: the paper's ordering does not come out "
        "under these settings",
        unsure="whether the gain is larger on shows than on films cannot be told",
    )
    return f"{SENSES[benchmark].capitalize()}, the gain on shows less that on films: {said}", more


def _gains(evidence: Measurements, content: Content, benchmark: str) -> dict[int, float]:
    """The gain of each seed that has both arms."""
    found = {}
    for seed in evidence.design.seeds:
        arms = (_on(content)(seed), _on(content, "chosen")(seed))
        scores = [evidence.of(arm) for arm in arms]
        values = [None if one is None else one.accuracy(benchmark) for one in scores]
        if values[0] is not None and values[1] is not None:
            found[seed] = values[1] - values[0]
    return found


def _map_gain(
    evidence: Measurements, signature: float, diversity: float, benchmark: str
) -> Difference | None:
    def world(seed: int) -> Library:
        return Library(content="movies", seed=seed, signature=signature, diversity=diversity)

    return evidence.difference(
        lambda seed: uniform(world(seed)), lambda seed: chosen(world(seed)), benchmark
    )


def _mean(difference: Difference | None) -> float:
    return math.nan if difference is None else difference.estimate.mean


def _interval_text(difference: Difference | None) -> str:
    if difference is None or not difference.estimate.has_interval:
        return ""
    return f"{difference.estimate.low:+.2f} to {difference.estimate.high:+.2f}"


def _slope_sentence(fitted: Slopes | None) -> str:
    if fitted is None:
        return "not enough cells and seeds for slopes."
    texts = []
    for what, slope in (("signature", fitted.first), ("diversity", fitted.second)):
        texts.append(
            sign(
                slope,
                above=f"the gain rises with {what}",
                below=f"the gain falls with {what}",
                unsure=f"no dependence on {what} can be told",
            )
        )
    return "; ".join(texts).replace(").;", ");")


def clips_per_title(evidence: Measurements) -> Answer:
    """Question 4: k and the level."""
    sentences, estimates, rows = [], {}, []
    panels: dict[str, list[Interval]] = {}
    for content in evidence.design.scale.contents:
        gains: dict[int, Difference] = {}
        for clips in sorted({*evidence.design.scale.clips_per_title, CHOSEN_CLIPS}):
            found = evidence.difference(_on(content), _on(content, "k", clips_per_title=clips))
            if found is not None:
                gains[clips] = found
                if clips != CHOSEN_CLIPS:  # that one is a figure of question 2
                    estimates[f"gain of k={clips} on {content}"] = found.estimate
                on = CONTENT_NAMES[content].lower()
                panels.setdefault(f"gain on {on}", []).append(found.interval(f"k={clips}"))
                rows.append([on, f"k={clips}", *found.row()])
        sentences.append(_best_sentence(evidence, content, gains))
        doubling = _per_doubling(evidence, content, list(gains))
        if doubling is not None:
            estimates[f"accuracy per doubling of k on {content}"] = doubling
            sentences.append(
                f"{CONTENT_NAMES[content]}, accuracy for each doubling of k from {min(gains)} to "
                f"{max(gains)}: "
                + sign(
                    doubling,
                    above="it rises with k",
                    below="it falls with k",
                    unsure="no dependence on k can be told",
                )
            )
    for level, episodes in LEVELS.items():
        found = evidence.difference(
            _on("shows", "k"), _on("shows", "k", items_per_title=episodes, level=level)
        )
        sentences.append(
            finding(
                f"Shows, {CHOSEN_CLIPS} clips over the {episodes} episodes of one {level}",
                found,
                than=f"{CHOSEN_CLIPS} clips of one episode",
            )
        )
        if found is not None:
            estimates[f"level {level} minus level episode"] = found.estimate
            panels.setdefault("level: gain over one episode", []).append(found.interval(level))
            rows.append(["shows", f"level {level} - episode", *found.row()])
    return Answer(
        question="How much does k matter, is there a best one, and at which level?",
        sentences=tuple(sentences),
        estimates=estimates,
        table=ResultTable(header=["content", "arm", *DIFFERENCE_HEADER], rows=rows),
        chart=Intervals(panels=panels) if panels else None,
        how_to_read="Linear probe on actions, from video: accuracy of k clips a title minus "
        "uniform, paired by seed, with 95% intervals over seeds. The highest of several is "
        "flattered by having been picked: what counts is how far its interval lies from others'.",
    )


def _per_doubling(evidence: Measurements, content: Content, tried: list[int]) -> Estimate | None:
    """Slope of accuracy over log2 k, by least squares in each seed that has every k."""
    if len(tried) < 3:
        return None
    found = []
    for seed in evidence.design.seeds:
        arms = [_on(content, "k", clips_per_title=clips)(seed) for clips in tried]
        done = [evidence.of(arm) for arm in arms]
        scores = [None if one is None else one.accuracy("actions") for one in done]
        known = [score for score in scores if score is not None]
        if len(known) == len(tried):
            found.append(float(np.polyfit(np.log2(tried), known, 1)[0]))
    return over_seeds(found)


def _best_sentence(evidence: Measurements, content: Content, gains: dict[int, Difference]) -> str:
    if not gains:
        return f"{CONTENT_NAMES[content]}: {NOT_MEASURED}"
    best = max(gains, key=lambda clips: gains[clips].estimate.mean)
    if len(gains) == 1:
        return f"{CONTENT_NAMES[content]}: of all k, k={best} alone was measured."
    worst = min(gains, key=lambda clips: gains[clips].estimate.mean)
    said = (
        f"{CONTENT_NAMES[content]}: the highest mean gain is that of k={best} "
        f"({gains[best].estimate.mean:+.3f}), the lowest that of k={worst} "
        f"({gains[worst].estimate.mean:+.3f})"
    )
    apart = evidence.difference(
        _on(content, "k", clips_per_title=worst), _on(content, "k", clips_per_title=best)
    )
    estimate: Estimate | None = None if apart is None else apart.estimate
    return f"{said}. " + sign(
        estimate,
        above="The two differ, by an interval that does not know that they were picked",
        below="The two differ, by an interval that does not know that they were picked",
        unsure="The two cannot be told apart",
    )
