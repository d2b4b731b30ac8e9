"""Questions 1 to 4: how sampling changes the negatives and the transfer scores."""

from __future__ import annotations

from functools import partial
from statistics import mean

import numpy as np

from experiments.study.charts import draw_map
from experiments.study.conditions import (
    CHOSEN_CLIPS,
    LEVELS,
    Condition,
    Library,
    chosen,
    uniform,
)
from experiments.study.findings import (
    BENCHMARK_NAMES,
    CONTENT_NAMES,
    NOT_MEASURED,
    Findings,
    FindingsBuilder,
    Sentence,
    choose,
    compare,
    on_content,
)
from experiments.study.scores import ConditionScores
from experiments.study.size import Content
from experiments.study.statistics import (
    DIFFERENCE_HEADER,
    Difference,
    Estimate,
    Measurements,
    over_seeds,
    slopes,
)

_PROTOCOL_NAMES = {"linear": "linear", "finetune": "fine-tuned"}
_POLICIES = ("uniform", "hierarchical")
_NEGATIVES = {
    "effective_negatives": "effective negatives",
    "mass_same_title": "softmax mass on the same title",
    "easy_negative_share": "share of easy negatives",
    "top1": "own clip nearest",
}


def easy_negatives(m: Measurements) -> Findings:
    """Question 1: batches of both policies, embedded by the same encoders."""
    b = FindingsBuilder(["content", "encoders trained", "figure", "batch drawn", "mean",
                         "if all were equal", "seeds"])  # fmt: skip
    for content in m.design.size.contents:
        on = CONTENT_NAMES[content].lower()
        for trained, policy in (("uniformly", uniform), ("hierarchically", chosen)):
            finished = m.finished(on_content(content, policy))
            for key, label in _NEGATIVES.items():
                for drawn in _POLICIES:
                    found = over_seeds(_figures([one.negatives for one in finished], drawn, key))
                    even = over_seeds(_figures([one.even for one in finished], drawn, key))
                    if found is None:
                        continue
                    b.rows.append([on, trained, label, drawn, f"{found.mean:.3f}",
                                   f"{even.mean:.3f}" if even else "-",
                                   str(len(found.values))])  # fmt: skip
                    if trained == "uniformly":
                        b.panels.setdefault(label, {})[f"{on}, {drawn}"] = found
            if trained == "uniformly":
                b.sentences.append(_easy_sentence(content, finished, b.estimates))
    return b.build(
        "Are uniform negatives easy?",
        zero=None,
        how_to_read="Batches of both policies, embedded by the same encoders, which were trained "
        "uniformly. The effective number of negatives is the exponential of the entropy of the "
        "negatives' softmax weights. The softmax mass on the same title is the share of those "
        "weights, which scale the gradient of the loss. 'Own clip nearest' is the share of rows "
        "in which the clip's own audio (or video) is nearer than all negatives; the larger it is, "
        "the easier the negatives are. 'If all were equal' is what pair counts alone would give.",
    )


def _figures(negatives: list[dict[str, dict[str, float]]], policy: str, key: str) -> list[float]:
    values = [one.get(policy, {}).get(key) for one in negatives]
    return [value for value in values if value is not None]


def _easy_sentence(
    content: Content, finished: list[ConditionScores], estimates: dict[str, Estimate]
) -> str | Sentence:
    both = [one for one in finished if set(_POLICIES) <= set(one.negatives)]
    if not both:
        return f"{CONTENT_NAMES[content]}: {NOT_MEASURED}"
    count, mass, nearest = (
        {policy: [one.negatives[policy].get(key, 0.0) for one in both] for policy in _POLICIES}
        for key in ("effective_negatives", "mass_same_title", "top1")
    )
    names = ("effective negatives", "own clip nearest")
    for name, values in zip(names, (count, nearest), strict=True):
        pairs = zip(values["uniform"], values["hierarchical"], strict=True)
        found = over_seeds([second - first for first, second in pairs])
        if found is not None:
            estimates[f"{name}, hierarchical minus uniform, {content}"] = found
    more, less = (estimates[f"{name}, hierarchical minus uniform, {content}"] for name in names)
    return (
        f"{CONTENT_NAMES[content]}, encoders trained uniformly: a uniform batch has "
        f"{mean(count['uniform']):.1f} effective negatives of "
        f"{both[0].even['uniform']['effective_negatives']:.0f}, and {mean(mass['uniform']):.0%} of "
        f"their softmax mass is on the same title. A hierarchical batch has "
        f"{mean(count['hierarchical']):.1f}, and {mean(mass['hierarchical']):.0%}. "
        + choose(
            more,
            above="By this count, uniform negatives are easier because fewer of them matter",
            below="By this count, uniform negatives are harder because more of them matter",
            unclear="The two counts do not differ clearly",
        )
        + f" The clip's own audio or video is nearer than all negatives in "
        f"{mean(nearest['uniform']):.0%} of the rows of a uniform batch and in "
        f"{mean(nearest['hierarchical']):.0%} of the rows of a hierarchical batch. "
        + choose(
            less,
            above="By this measure, uniform negatives are harder",
            below="By this measure, uniform negatives are easier",
            unclear="By this measure, the two do not differ clearly",
        )
    )


def transfer(m: Measurements) -> Findings:
    """Question 2: hierarchical against uniform sampling, by content, benchmark and protocol."""
    b = FindingsBuilder(["content", "score", *DIFFERENCE_HEADER])
    size = m.design.size
    floors: list[list[str | Difference]] = []
    for protocol, protocol_name in _PROTOCOL_NAMES.items():
        for benchmark, name in BENCHMARK_NAMES.items():
            label = f"{name}, {protocol_name}"
            for content in size.contents:
                on = CONTENT_NAMES[content]
                found = m.difference(
                    on_content(content, uniform), on_content(content, chosen), benchmark, protocol
                )
                what = f"{on}, {label}: hierarchical sampling (k={CHOSEN_CLIPS})"
                b.sentences.append(compare(what, found, than="uniform sampling"))
                b.add(found, cells=[on.lower(), label], panel=f"gain: {label}", label=on.lower(),
                      estimate=f"gain on {content}, {benchmark} {protocol}")  # fmt: skip
            untrained = m.finished(
                on_content(size.contents[0], lambda library: Condition(library=library,
                                                                policy="untrained"))
            )  # fmt: skip
            scores = [one.accuracy(benchmark, protocol) for one in untrained]
            values = [score for score in scores if score is not None]
            if values:
                floors.append(["random weights", label, f"{mean(values):.3f}", *["-"] * 5,
                               str(len(values))])  # fmt: skip
    b.rows += floors
    return b.build(
        "Does hierarchical sampling transfer better?",
        how_to_read="Accuracy with hierarchical minus accuracy with uniform sampling, paired by "
        "seed, with 95% intervals over seeds. Hierarchical sampling is better to the right of the "
        "dotted line. In the table, the interval over test titles shows how much depends on the "
        "choice of test titles.",
    )


def shows(m: Measurements) -> Findings:
    """Question 3: shows against films, and films by signature and diversity."""
    b = FindingsBuilder(["signature", "diversity", "score", *DIFFERENCE_HEADER])
    size = m.design.size
    for benchmark, name in BENCHMARK_NAMES.items():
        films, series = (
            m.gains(on_content(content, uniform), on_content(content, chosen), benchmark)
            for content in ("movies", "shows")
        )
        more = over_seeds([series[seed] - films[seed] for seed in films if seed in series])
        text = choose(
            more,
            above="the gain is larger on shows than on films, as the paper claims",
            below="the gain is smaller on shows than on films, in contrast to the paper",
            unclear="the gains do not differ clearly",
        )
        b.sentences.append(f"{name.capitalize()}, gain on shows minus gain on films: " + text)
        if more is not None:
            b.estimates[f"gain on shows minus gain on films, {benchmark}"] = more
    panels = {}
    for benchmark, name in BENCHMARK_NAMES.items():
        cells = {
            (signature, diversity): _map_gain(m, signature, diversity, benchmark)
            for signature in size.signatures
            for diversity in size.diversities
        }
        measured = {key: gain for key, gain in cells.items() if gain is not None}
        if len(measured) < 2:  # only the cell of the main comparison
            continue
        panels[f"gain: {name}"] = {key: gain.estimate for key, gain in measured.items()}
        fitted = slopes(
            [key for key, gain in measured.items() for _ in gain.estimate.values],
            [value for gain in measured.values() for value in gain.estimate.values],
        )
        sentence: str | Sentence = f"{name.capitalize()}, over the map:"
        for what, slope in zip(("signature", "diversity"), fitted, strict=True):
            if slope is None:
                continue
            sentence += " " + choose(slope, above=f"the gain rises with {what}",
                                     below=f"the gain falls with {what}",
                                     unclear=f"there is no clear dependence on {what}")  # fmt: skip
            b.estimates[f"gain per unit of {what}, {benchmark}"] = slope
        missing = "" if any(fitted) else " there are not enough cells for slopes."
        b.sentences.append(sentence + missing)
        for (signature, diversity), gain in measured.items():
            b.rows.append([f"{signature:g}", f"{diversity:g}", name, gain])
    labels = {"x_label": "strength of the titles' signatures", "y_label": "diversity of a title"}
    return b.build(
        "Is the gain larger on TV shows, and why?",
        draw_chart=partial(draw_map, panels, **labels) if panels else None,
        how_to_read=f"Each cell is a library of {CONTENT_NAMES[size.map_content].lower()}. The "
        f"number is the accuracy with hierarchical (k={CHOSEN_CLIPS}) minus the accuracy with "
        "uniform sampling, and below it is its 95% interval. Blue means that hierarchical sampling "
        "is better. Slopes are least squares over all cells and seeds.",
    )


def _map_gain(
    m: Measurements, signature: float, diversity: float, benchmark: str
) -> Difference | None:
    def library(seed: int) -> Library:
        content = m.design.size.map_content
        return Library(content=content, seed=seed, signature=signature, diversity=diversity)

    return m.difference(
        lambda seed: uniform(library(seed)), lambda seed: chosen(library(seed)), benchmark
    )


def clips_per_title(m: Measurements) -> Findings:
    """Question 4: the number of clips per title, and the level that counts as a title."""
    b = FindingsBuilder(["content", "condition", *DIFFERENCE_HEADER])
    size = m.design.size
    for content in size.contents:
        on = CONTENT_NAMES[content]
        gains: dict[int, Difference] = {}
        for k in sorted({*size.clips_per_title, CHOSEN_CLIPS}):
            base, other = (
                on_content(content, uniform),
                on_content(content, chosen, clips_per_title=k),
            )
            found = m.difference(base, other)
            if found is not None:
                gains[k] = found
            # The gain of CHOSEN_CLIPS is a figure of question 2.
            name = "" if k == CHOSEN_CLIPS else f"gain of k={k} on {content}"
            b.add(found, cells=[on.lower(), f"k={k}"], panel=f"gain on {on.lower()}",
                  label=f"k={k}", estimate=name)  # fmt: skip
        b.sentences.append(_best_sentence(m, content, gains))
        doubling = _per_doubling(m, content, list(gains))
        if doubling is not None:
            b.estimates[f"accuracy per doubling of k on {content}"] = doubling
            b.sentences.append(
                f"{on}, accuracy per doubling of k from {min(gains)} to {max(gains)}: "
                + choose(doubling, above="it rises with k", below="it falls with k",
                         unclear="there is no clear dependence on k")
            )  # fmt: skip
    for level, episodes in LEVELS.items():
        base = on_content("shows", chosen)
        other = on_content("shows", chosen, items_per_title=episodes, level=level)
        found = m.difference(base, other)
        what = f"Shows, {CHOSEN_CLIPS} clips of the {episodes} episodes of one {level}"
        b.sentences.append(compare(what, found, than=f"{CHOSEN_CLIPS} clips of one episode"))
        b.add(found, cells=["shows", f"level {level} - episode"], label=level,
              panel="level: gain over one episode",
              estimate=f"level {level} minus level episode")  # fmt: skip
    return b.build(
        "How much does k matter, is there a best one, and at which level?",
        how_to_read="Linear probe on actions, from video: accuracy with k clips per title minus "
        "accuracy with uniform sampling, paired by seed, with 95% intervals over seeds. The best "
        "of several values looks better than it is because it was selected; compare its interval "
        "with those of the others.",
    )


def _per_doubling(m: Measurements, content: Content, tried: list[int]) -> Estimate | None:
    """Return the slope of accuracy over log2 k, fitted per seed that has every k."""
    if len(tried) < 3:
        return None
    by_k = [m.accuracies(on_content(content, chosen, clips_per_title=k)) for k in tried]
    complete = [seed for seed in by_k[0] if all(seed in found for found in by_k)]
    return over_seeds(
        [float(np.polyfit(np.log2(tried), [found[s] for found in by_k], 1)[0]) for s in complete]
    )


def _best_sentence(
    m: Measurements, content: Content, gains: dict[int, Difference]
) -> str | Sentence:
    on = CONTENT_NAMES[content]
    if not gains:
        return f"{on}: {NOT_MEASURED}"
    best = max(gains, key=lambda k: gains[k].estimate.mean)
    worst = min(gains, key=lambda k: gains[k].estimate.mean)
    if len(gains) == 1:
        return f"{on}: only k={best} was measured."
    apart = m.difference(
        on_content(content, chosen, clips_per_title=worst),
        on_content(content, chosen, clips_per_title=best),
    )
    differ = "The two differ, by an interval that ignores that they were selected"
    return (
        f"{on}: the highest mean gain is that of k={best} ({gains[best].estimate.mean:+.3f}), the "
        f"lowest that of k={worst} ({gains[worst].estimate.mean:+.3f}). "
        + choose(apart.estimate if apart else None, above=differ, below=differ,
                 unclear="The two do not differ clearly")
    )  # fmt: skip
