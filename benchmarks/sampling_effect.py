"""Uniform and hierarchical sampling compared: the demo, repeated over seeds.

    python -m benchmarks.sampling_effect --out DIR --json FILE     about five minutes per seed

Each seed renders another library, starts from other weights and draws other batches. The figures
are the mean accuracy of a linear probe of the events, from video and from audio, on titles that
were not in training, and the difference between the two policies, paired by seed.
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.figures import Figures, argument_parser
from experiments.demo.run import FULL, SMALL, run_demo
from toomuchtv.cli.console import Output

CONDITIONS = ("untrained", "uniform", "hierarchical")


def main() -> None:
    """Run the demo for every seed."""
    parser = argument_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--full", action="store_true", help="the size of `make demo-full`")
    options = parser.parse_args()
    output = Output(as_json=False)
    results = []
    size = FULL if options.full else SMALL
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        output.info(f"seed {seed}")
        out = options.out / f"seed{seed}"
        results.append(run_demo(out, seed=seed, num_workers=2, output=output, size=size))
    Figures("sampling_effect", options.json).add(summarize(results))


def summarize(results: list[dict[str, Any]]) -> dict[str, float]:
    """Return mean and standard deviation by condition and modality, and of paired differences."""
    values: dict[str, float] = {"seeds": len(results)}
    for modality in ("video", "audio"):
        by_condition = {
            condition: [
                result["scores"][condition][modality]["metrics"]["accuracy"]["mean"]
                for result in results
            ]
            for condition in CONDITIONS
        }
        for condition, accuracies in by_condition.items():
            values |= _mean_and_deviation(f"{modality}_{condition}", accuracies)
        gains = [
            hierarchical - uniform
            for hierarchical, uniform in zip(
                by_condition["hierarchical"], by_condition["uniform"], strict=True
            )
        ]
        values |= _mean_and_deviation(f"{modality}_hierarchical_minus_uniform", gains)
        values[f"{modality}_chance"] = results[0]["scores"]["uniform"][modality]["chance"][
            "accuracy"
        ]
    for condition in CONDITIONS[1:]:
        precisions = [result["search"]["precision_at_5"][condition] for result in results]
        values |= _mean_and_deviation(f"search_precision_at_5_{condition}", precisions)
    chances = [result["search"]["chance"] for result in results]
    values["search_chance"] = statistics.mean(chances)
    values |= _mean_and_deviation("seconds", [result["seconds"] for result in results])
    return values


def _mean_and_deviation(name: str, numbers: list[float]) -> dict[str, float]:
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
    return {name: statistics.mean(numbers), f"{name}_std": deviation}


if __name__ == "__main__":
    main()
