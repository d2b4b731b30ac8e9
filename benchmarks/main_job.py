"""The main workflow on a small real library: time of each command, and scores of the encoders.

    python -m benchmarks.main_job --out DIR --json FILE       20 minutes on two cores

Measured are scan (first and again), prepare, a pretraining with the preset tiny, retrieval on
held-out and on training titles, and the linear probe of ESC-10. Scores are beside those of
untrained encoders and beside chance.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.figures import Figures, argument_parser, median_and_range
from tests.main_job import run_verb


def timed(*arguments: str | Path) -> tuple[dict[str, Any], float]:
    """Run a command; return its JSON and its duration in seconds."""
    begun = time.perf_counter()
    return run_verb(*arguments), time.perf_counter() - begun


def main() -> None:
    """Run the commands."""
    parser = argument_parser(__doc__)
    parser.add_argument("--media", type=Path, default=Path("../shared/media"))
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    out, library = options.out, options.media / "library"
    figures = Figures("main_job", options.json)
    catalogs = [out / f"cat{number}" for number in range(3)]
    scans = [timed("scan", library, "--catalog", catalog) for catalog in catalogs]
    found = scans[0][0]
    figures.add({"titles": found["titles"], "film_seconds": found["seconds"]})
    figures.add(median_and_range("scan_seconds", [seconds for _, seconds in scans]))
    again = [timed("scan", library, "--catalog", catalogs[0])[1] for _ in range(3)]
    figures.add(median_and_range("scan_again_seconds", again))
    prepared = [timed("prepare", "--catalog", catalog, "--workers", "2") for catalog in catalogs]
    rates = [found["seconds"] / seconds for _, seconds in prepared]
    figures.add(median_and_range("prepare_times_real_time", rates))
    megabytes = prepared[0][0]["bytes"] / 1e6
    figures.add({"proxy_mb_per_hour": megabytes / (found["seconds"] / 3600)})
    trained, seconds = timed(
        "pretrain", "--catalog", catalogs[0], "--run", out / "run", "--preset", "tiny",
        "--set", f"training.steps={options.steps}",
    )  # fmt: skip
    figures.add(
        {
            "pretrain_steps": trained["steps"],
            "pretrain_seconds": seconds,
            "pretrain_clips_per_second": trained["clips_per_second"],
        }
    )
    figures.add(score(out / "run", catalogs[0], options.media / "esc10"))


def score(run: Path, catalog: Path, esc10: Path) -> dict[str, float]:
    """Return the scores of a run, of untrained encoders, and of chance."""
    values: dict[str, float] = {}
    for weights, flags in (("trained", []), ("untrained", ["--untrained"])):
        esc = run_verb("evaluate", run, "--benchmark", "esc10", "--data", esc10, *flags)
        values[f"esc10_{weights}"] = esc["metrics"]["accuracy"]["mean"]
        values[f"esc10_{weights}_std_over_folds"] = esc["metrics"]["accuracy"]["std"]
        values["esc10_chance"] = esc["chance"]["accuracy"]
        found = run_verb("evaluate", run, "--benchmark", "retrieval", "--data", catalog, *flags)
        for split, scopes in found["metrics"].items():
            for scope in ("all", "within_title"):
                name = f"retrieval_{split}_{scope}"
                values[f"{name}_clips"] = scopes["num_clips"]
                for key in ("recall_at_1", "recall_at_10", "median_rank"):
                    scores, chance = (
                        part[split][scope]["video_to_audio"][key]
                        for part in (found["metrics"], found["chance"])
                    )
                    values[f"{name}_{key}_{weights}"] = scores
                    values[f"{name}_{key}_chance"] = chance
    return values


if __name__ == "__main__":
    main()
