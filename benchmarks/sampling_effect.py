"""Uniform and hierarchical sampling compared: the demo, repeated over seeds.

    python -m benchmarks.sampling_effect --out DIR --json FILE     about ten minutes per seed

Each seed renders another library, starts from other weights and draws other batches. The figures
are the mean accuracy of a linear probe of the events, from video and from audio, on titles that
were not in training, and the difference between the two policies, paired by seed.
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.figures import Figures, argument_parser
from experiments.demo.run import CONDITIONS, run_demo
from toomuchtv.cli.console import Output


def main() -> None:
    """Run the demo for every seed."""
    parser = argument_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    output = Output(as_json=False)
    results = []
    for seed in range(options.seeds):
        output.info(f"seed {seed}")
        out = options.out / f"seed{seed}"
        results.append(run_demo(out, seed=seed, num_workers=2, output=output))
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
            for condition in ("untrained", *CONDITIONS)
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
    return values


def _mean_and_deviation(name: str, numbers: list[float]) -> dict[str, float]:
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
    return {name: statistics.mean(numbers), f"{name}_std": deviation}


if __name__ == "__main__":
    main()
