"""Figures of docs/study.md that are of a study's arms and stand on none of its pages.

    python -m benchmarks.study_arms out/large
    python -m benchmarks.study_arms out/study out/again

Of all the studies' seeds together, by the linear probes: the gain on shows minus that on films, by
k; the gain on films with another setting, with the study's own in the same seeds, and the
difference; and the last loss of uniform arms and of k = 32, beside that of who knows each clip's
title in a uniform batch and nothing else.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import binom

from experiments.study.design import ALTERNATIVES, LEVELS
from experiments.study.scale import Scale
from experiments.study.statistics import over_seeds
from toomuchtv.training.metrics import read_metrics

_BENCHMARKS = ("actions", "sounds")


class Arms:
    """The linear scores of some studies' arms, by name."""

    def __init__(self, studies: list[Path]) -> None:
        self._scores: dict[tuple[str, str], float] = {}
        self.scale = Scale.model_validate(
            json.loads((studies[0] / "design.json").read_text("utf-8"))["scale"]
        )
        for study in studies:
            for arm in json.loads((study / "study.json").read_text("utf-8"))["arms"]:
                for score in arm["scores"]:
                    if score["protocol"] == "linear":
                        self._scores[arm["name"], score["benchmark"]] = score["accuracy"]
        names = [name for name, _ in self._scores]
        self.seeds = sorted(
            {
                int(n.split("-")[1].removeprefix("seed"))
                for n in names
                if n.startswith("movies-seed")
            }
        )

    def gains(self, content: str, benchmark: str, arm: str, *, end: str = "") -> dict[int, float]:
        """Accuracy of an arm minus that of the uniform one, of each seed that has both."""
        both = {
            seed: [
                self._scores.get((f"{content}-seed{seed}-{name}{end}", benchmark))
                for name in (arm, "uniform")
            ]
            for seed in self.seeds
        }
        return {
            seed: one - other
            for seed, (one, other) in both.items()
            if one is not None and other is not None
        }


def _show(what: str, values: list[float]) -> None:
    if values:
        print(f"  {what:62} {over_seeds(values)} of {len(values)} seeds")


def main() -> None:
    """Print all of them."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("studies", nargs="+", type=Path)
    studies: list[Path] = made.parse_args().studies
    arms = Arms(studies)
    for benchmark in _BENCHMARKS:
        for k in sorted({8, *arms.scale.clips_per_title}):
            films, shows = (arms.gains(one, benchmark, f"k{k}") for one in ("movies", "shows"))
            more = [shows[seed] - films[seed] for seed in films.keys() & shows.keys()]
            _show(f"{benchmark}: gain on shows minus gain on films, k={k}", more)
        for name in ALTERNATIVES:
            other = arms.gains("movies", benchmark, "k8", end=f"-other-{name}")
            usual = arms.gains("movies", benchmark, "k8")
            _show(f"{benchmark}: gain on films, other {name}", list(other.values()))
            _show("   the study's own, in the same seeds", [usual[seed] for seed in other])
            _show("   the one minus the other", [other[seed] - usual[seed] for seed in other])
    others = np.arange(arms.scale.batch_size)
    for content, titles in (
        ("movies", arms.scale.items),
        ("shows", arms.scale.items // LEVELS["show"]),
    ):
        weights = binom.pmf(others, arms.scale.batch_size - 1, 1 / titles)
        print(f"  {content}: loss of who knows the title {float(weights @ np.log1p(others)):.2f}")
        for study in studies:
            for folder in sorted((study / "arms").glob(f"{content}-seed*")):
                losses = [line["loss"] for line in read_metrics(folder / "run") if "loss" in line]
                if losses and folder.name.split("-", 2)[2] in {"uniform", "k32"}:
                    print(f"    {folder.name:58} {losses[-1]:.2f}")


if __name__ == "__main__":
    main()
