"""Figures of docs/experiments/2026-11-study*.md that the report of a study does not contain.

    python -m benchmarks.study_conditions out/large                   seconds
    python -m benchmarks.study_conditions out/study out/again

It prints these figures of the linear probes, over the seeds of all given studies: the gain on shows
minus the gain on films, for each k; the gain with each other setting, the gain with the study's
setting for the same seeds, and their difference; and the last loss with uniform sampling and with
k = 32, beside the loss of a model that knows only the title of each clip in a uniform batch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.stats import binom

from experiments.study.conditions import LEVELS, Design, chosen, read_design, uniform
from experiments.study.findings import BENCHMARK_NAMES, on_content
from experiments.study.scores import condition_path, read_scores
from experiments.study.statistics import Measurements, over_seeds
from experiments.study.variant_questions import on_variant, varied
from toomuchtv.training.metrics import read_metrics


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="+", type=Path, help="folders of studies")
    studies: list[Path] = parser.parse_args().studies
    designs = [read_design(study) for study in studies]
    every = tuple(condition for design in designs for condition in design.conditions)
    design = designs[0].model_copy(update={"conditions": every})
    read = [
        read_scores(study, one, condition)
        for study, one in zip(studies, designs, strict=True)
        for condition in one.conditions
    ]
    print_gains(Measurements(design, [scores for scores in read if scores is not None]))
    print_losses(studies, designs)


def print_gains(measurements: Measurements) -> None:
    """Print the gains on shows minus films, and with other settings."""
    for benchmark in BENCHMARK_NAMES:
        for k in sorted({8, *measurements.design.size.clips_per_title}):
            films, shows = (
                measurements.gains(
                    on_content(content, uniform),
                    on_content(content, chosen, clips_per_title=k),
                    benchmark,
                )
                for content in ("movies", "shows")
            )
            more = [shows[seed] - films[seed] for seed in films.keys() & shows.keys()]
            _show(f"{benchmark}: gain on shows minus gain on films, k={k}", more)
        for planned, content, k in varied(measurements):
            if k == 1 or 1 not in planned.clips_per_title:
                continue
            usual, other = (
                measurements.gains(
                    on_variant(content, 1, variant), on_variant(content, k, variant), benchmark
                )
                for variant in (None, planned.variant)
            )
            _show(f"{benchmark}: gain on {content}, k={k}, {planned.name}", list(other.values()))
            same = other.keys() & usual.keys()
            _show("   with the study's setting, for the same seeds", [usual[s] for s in same])
            _show("   difference", [other[seed] - usual[seed] for seed in same])


def print_losses(studies: list[Path], designs: list[Design]) -> None:
    """Print the last losses of uniform sampling and of k = 32 on plain libraries."""
    size = designs[0].size
    others = np.arange(size.batch_size)
    for content, titles in (("movies", size.items), ("shows", size.items // LEVELS["show"])):
        # With n other clips of the same title, a model that knows only titles has loss ln(1 + n).
        weights = binom.pmf(others, size.batch_size - 1, 1 / titles)
        title_loss = float(weights @ np.log1p(others))
        print(f"  {content}: loss of a model that knows only titles: {title_loss:.2f}")
        for study, design in zip(studies, designs, strict=True):
            for condition in design.conditions:
                seed = condition.library.seed
                plain = {f"{content}-seed{seed}-uniform", f"{content}-seed{seed}-k32"}
                metrics = read_metrics(condition_path(study, condition) / "run")
                losses = [line["loss"] for line in metrics if "loss" in line]
                if losses and condition.name in plain:
                    print(f"    {condition.name:58} {losses[-1]:.2f}")


def _show(what: str, values: list[float]) -> None:
    if values:
        print(f"  {what:62} {over_seeds(values)} of {len(values)} seeds")


if __name__ == "__main__":
    main()
