"""The main job on a real library: how long each verb takes and what the encoders come to.

Measures scan (first and again), prepare, a `tiny` pretraining, retrieval on held-out and on
training titles, and the linear probe of ESC-10, each beside untrained encoders and chance.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.figures import Figures, parser, spread


def toomuchtv(*arguments: str | Path) -> tuple[dict[str, Any], float]:
    """Run a verb as a user would; its JSON and the seconds it took."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "toomuchtv", *map(str, arguments), "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result, time.perf_counter() - begun


def main() -> None:
    """Run the verbs and print the figures."""
    arguments = parser(__doc__)
    arguments.add_argument("--media", type=Path, default=Path("../shared/media"))
    arguments.add_argument("--steps", type=int, default=600)
    options = arguments.parse_args()
    out, library = options.out, options.media / "library"
    values: dict[str, float] = {}
    first = []
    for number in range(3):
        found, seconds = toomuchtv("scan", library, "--catalog", out / f"cat{number}")
        first.append(seconds)
    values |= {"titles": found["titles"], "film_seconds": found["seconds"]}
    values |= spread("scan_seconds", first)
    again = [toomuchtv("scan", library, "--catalog", out / "cat0")[1] for _ in range(3)]
    values |= spread("scan_again_seconds", again)
    prepared = [
        toomuchtv("prepare", "--catalog", out / f"cat{number}", "--workers", "2")
        for number in range(3)
    ]
    rates = [found["seconds"] / seconds for _, seconds in prepared]
    values |= spread("prepare_times_real_time", rates)
    values["proxy_mb_per_hour"] = prepared[0][0]["bytes"] / 1e6 / (found["seconds"] / 3600)
    cat, run = out / "cat0", out / "run"
    trained, seconds = toomuchtv(
        "pretrain", "--catalog", cat, "--run", run, "--preset", "tiny",
        "--set", f"training.steps={options.steps}",
    )  # fmt: skip
    values |= {
        "pretrain_steps": trained["steps"],
        "pretrain_seconds": seconds,
        "pretrain_clips_per_second": trained["clips_per_second"],
    }
    values |= scores(run, cat, options.media / "esc10")
    Figures(benchmark="main_job", values=values).publish(options.json)


def scores(run: Path, cat: Path, esc10: Path) -> dict[str, float]:
    """Scores of the run and of untrained encoders, beside chance."""
    values: dict[str, float] = {}
    for weights, flags in (("trained", []), ("untrained", ["--untrained"])):
        esc, _ = toomuchtv("evaluate", run, "--benchmark", "esc50", "--data", esc10, *flags)
        values[f"esc10_{weights}"] = esc["metrics"]["accuracy"]["mean"]
        values[f"esc10_{weights}_std_over_folds"] = esc["metrics"]["accuracy"]["std"]
        found, _ = toomuchtv("evaluate", run, "--benchmark", "retrieval", "--data", cat, *flags)
        for side, scopes in found["metrics"].items():
            for scope in ("all", "within_title"):
                figures = scopes[scope]["video_to_audio"]
                chance = found["chance"][side][scope]["video_to_audio"]
                name = f"retrieval_{side}_{scope}"
                values[f"{name}_clips"] = scopes["num_clips"]
                for key in ("recall_at_1", "recall_at_10", "median_rank"):
                    values[f"{name}_{key}_{weights}"] = figures[key]
                    values[f"{name}_{key}_chance"] = chance[key]
    values["esc10_chance"] = esc["chance"]["accuracy"]
    return values


if __name__ == "__main__":
    main()
