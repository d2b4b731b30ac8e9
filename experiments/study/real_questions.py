"""What the encoders of a study know of real media: the findings and their page."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean

from experiments.study.charts import Band, draw_bands
from experiments.study.findings import Findings, FindingsBuilder, compare
from experiments.study.real_media import RECALL_AT, RETRIEVAL_CLIPS, RealScores
from experiments.study.statistics import DIFFERENCE_HEADER, Difference, paired_difference
from toomuchtv.reports.charts import COLORS
from toomuchtv.reports.page import Section, write_page

#: What is measured, by the name of its score.
NAMES = {
    "sounds": "real sounds, from audio",
    "videos": "real actions, from video",
    "retrieval": "retrieval in a real library",
}
_UNTRAINED, _UNIFORM = "untrained", "uniform"


def policies(found: Sequence[RealScores]) -> Findings:
    """Compare all final encoders with random weights, and hierarchical with uniform sampling.

    Sentences judge uniform sampling and the largest k; the table has everything.
    """
    b = FindingsBuilder(["encoders", "minus", "measured on", *DIFFERENCE_HEADER])
    final = [one for one in found if one.is_final]
    kinds = list(dict.fromkeys(one.kind for one in final))
    bases = [one for one in kinds if one.endswith((f"-{_UNTRAINED}", f"-{_UNIFORM}"))]
    for benchmark, name in NAMES.items():
        for base in bases:
            content, policy = base.rsplit("-", 1)
            others = [one for one in kinds if one.startswith(f"{content}-") and one != base]
            others = [one for one in others if not one.endswith(_UNTRAINED)]
            judged = _judged(others)
            for other in others:
                difference = _difference(final, base, other, benchmark)
                than = "random weights" if policy == _UNTRAINED else "uniform sampling"
                label = other.removeprefix(f"{content}-")
                if difference is None:
                    continue
                if other in judged:
                    b.sentences.append(compare(f"{other}, {name}", difference, than=than))
                b.add(difference, cells=[other, than, name], panel=f"minus {than}: {name}",
                      label=label, estimate=f"{other} minus {base}, {benchmark}")  # fmt: skip
    return b.build(
        "What do the encoders know of real media?",
        how_to_read="Accuracy of linear probes on real sounds and videos, and the share of the "
        f"moments of a real library whose sound is among the {RECALL_AT} most similar of "
        f"{RETRIEVAL_CLIPS}, in both directions; minus the same of random weights, or of uniform "
        "sampling, paired by seed.",
    )


def _judged(kinds: Sequence[str]) -> set[str]:
    """Return uniform sampling and that with the largest k, without any variant."""
    by_clips = {int(found[1]): one for one in kinds if (found := re.search(r"-k(\d+)$", one))}
    uniform = {one for one in kinds if one.endswith(f"-{_UNIFORM}") and one.count("-") == 1}
    return uniform | ({by_clips[max(by_clips)]} if by_clips else set())


def _difference(
    found: Sequence[RealScores], base: str, other: str, benchmark: str
) -> Difference | None:
    by_kind = {
        kind: {one.seed: score for one in found
               if one.kind == kind and (score := one.score(benchmark)) is not None}
        for kind in (base, other)
    }  # fmt: skip
    pairs = [
        (score, by_kind[other][seed])
        for seed, score in by_kind[base].items()
        if seed in by_kind[other]
    ]
    return paired_difference(pairs)


def along_the_way(found: Sequence[RealScores]) -> Findings:
    """Show how the scores grow with the steps, where checkpoints along the way are known."""
    b = FindingsBuilder([])
    followed = list(dict.fromkeys(one.kind for one in found if not one.is_final))
    panels: dict[str, list[Band]] = {}
    for benchmark, name in NAMES.items():
        for color, kind in zip(COLORS[1:], followed, strict=False):
            start = kind.rsplit("-", 1)[0] + f"-{_UNTRAINED}"
            seeds = {one.seed for one in found if one.kind == kind and not one.is_final}
            by_step: dict[int, list[float]] = defaultdict(list)
            for one in found:
                score = one.score(benchmark)
                if one.kind in (kind, start) and one.seed in seeds and score is not None:
                    by_step[one.step].append(score.accuracy)
            if len(by_step) > 2:  # besides random weights and the end
                steps = sorted(by_step)
                means = [mean(by_step[step]) for step in steps]
                panels.setdefault(name, []).append(
                    Band(
                        name=kind,
                        color=color,
                        x=steps,
                        mean=means,
                        low=[min(by_step[step]) for step in steps],
                        high=[max(by_step[step]) for step in steps],
                    )
                )
                course = ", ".join(
                    f"{value:.3f} after {step}" for step, value in zip(steps, means, strict=True)
                )
                b.sentences.append(f"{kind}, {name}: {course} steps (seeds: {len(seeds)}).")
    if not panels:
        b.sentences.append("No checkpoint along the way has been measured.")
    return b.build(
        "How does it grow with the steps?",
        draw_chart=partial(draw_bands, panels, x_label="step") if panels else None,
        how_to_read="Mean over seeds, and the range of the seeds. Step 0 is random weights. Points "
        "before the end come from unfinished trainings, whose learning rate has not decayed.",
    )


def write_real_page(out: Path, folders: Mapping[str, Path], findings: Sequence[Findings]) -> Path:
    """Write OUT/real_media.html and its figures; return its path."""
    (out / "real").mkdir(exist_ok=True)
    sections = []
    for number, one in enumerate(findings):
        png = None if one.draw_chart is None else one.draw_chart()
        if png is not None:
            (out / "real" / f"figure{number + 1}.png").write_bytes(png)
        sections.append(
            Section(
                heading=one.question,
                text="",
                points=one.sentences,
                details=one.table,
                how_to_read=one.how_to_read,
                charts=[] if png is None else [(png, one.question)],
            )
        )
    names = ", ".join(f"{NAMES[name]}: {path.resolve().name}" for name, path in folders.items())
    path = out / "real_media.html"
    write_page(
        path, title="toomuchtv: rendered television, real media", sections=sections,
        lead="The encoders of a study were trained on rendered television alone. Here they are "
        f"measured on real media ({names}). Intervals are 95% confidence intervals over seeds, "
        "and over the sources of the clips.",
    )  # fmt: skip
    return path
