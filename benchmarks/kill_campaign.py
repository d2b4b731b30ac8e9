"""A real training that is killed with `kill -9` at random times and resumed: are the weights right?

    python -m benchmarks.kill_campaign --kills 50 --out DIR --json FILE      25 minutes

One run is not interrupted. The others are killed, with their loader, at times drawn uniformly over
the duration of such a run, from the first import to the last byte. They are resumed, and perhaps
killed again, until each has ended. Then weights, last checkpoint and log must equal those of the
uninterrupted run bit by bit. After every kill, the newest checkpoint must be intact.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.figures import Figures, argument_parser
from tests.prepared import make_prepared_catalog
from toomuchtv.training.checkpoint import Checkpoints
from toomuchtv.training.metrics import read_metrics

STEPS = 40
SETTINGS = [
    "clip.frames=4", "clip.audio_seconds=0.25", "transform.size=32",
    "model.video.width=0.125", "model.audio.width=0.125", "model.embedding_dim=16",
    "sampling.batch_size=8", "sampling.clips_per_item=4", "sampling.min_gap_seconds=0.25",
    "optimizer.warmup_steps=5", f"training.steps={STEPS}", "training.num_threads=1",
    "training.num_workers=1", "training.log_every=3", "training.validate_every=7",
    "training.validation_clips=4", "training.checkpoint_every=4", "training.ema_decay=0.9",
    "training.held_out_share=0.25", "training.device=cpu",
]  # fmt: skip
#: Metrics that depend on the clock.
TIMING_METRICS = {"clips_per_second", "data_wait_share"}


def start_run(catalog_path: Path, run_path: Path) -> subprocess.Popen[bytes]:
    """Start or resume a run in its own process group."""
    command = [
        sys.executable, "-m", "toomuchtv", "pretrain", "--json", "--resume",
        "--catalog", str(catalog_path), "--run", str(run_path), "--preset", "tiny",
    ]  # fmt: skip
    for setting in SETTINGS:
        command += ["--set", setting]
    with (run_path.parent / f"{run_path.name}.log").open("ab") as log:
        return subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
        )


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Kill the process group after this time; return False if the run ended earlier."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    if process.returncode != 0:
        raise SystemExit(f"a run failed by itself with exit code {process.returncode}")
    return False


def find_differences(run: Path, expected: Path) -> list[str]:
    """Return the names of the tensors and files in which two finished runs differ."""
    differences = []
    for name in ("model/model.safetensors", f"checkpoints/step_{STEPS:08d}.safetensors"):
        left, right = load_file(run / name), load_file(expected / name)
        differences += [f"{name}: {key}" for key in left.keys() ^ right.keys()]
        differences += [
            f"{name}: {key}"
            for key in left.keys() & right.keys()
            if not torch.equal(left[key], right[key])
        ]
    logs = [
        [{k: x for k, x in line.items() if k not in TIMING_METRICS} for line in read_metrics(path)]
        for path in (run, expected)
    ]
    return differences + (["metrics.jsonl"] if logs[0] != logs[1] else [])


def last_step(run_path: Path) -> int:
    """Return the step of the newest checkpoint, which must be intact."""
    checkpoints = Checkpoints(run_path / "checkpoints", keep=1)
    steps = checkpoints.steps()
    if checkpoints.newest_good_step() != (steps[-1] if steps else 0):
        raise SystemExit(f"a kill damaged the newest checkpoint in {run_path}")
    return steps[-1] if steps else 0


def main() -> None:
    """Run the campaign."""
    parser = argument_parser(__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    out: Path = options.out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    catalog_path = make_prepared_catalog(out)
    rng = random.Random(options.seed)
    begun = time.monotonic()
    if start_run(catalog_path, out / "whole").wait() != 0:
        raise SystemExit("the uninterrupted run failed: see whole.log")
    run_seconds = time.monotonic() - begun
    ended = num_wrong = 0
    kills: list[tuple[float, int]] = []
    while len(kills) < options.kills:
        run_path = out / f"killed_{ended}"
        process = start_run(catalog_path, run_path)
        seconds = rng.uniform(0.0, 1.1 * run_seconds)
        if kill_after(process, seconds):
            kills.append((seconds, last_step(run_path)))
            print(f"kill {len(kills)}: after {seconds:.1f} s, step {kills[-1][1]}", flush=True)
            if len(kills) < options.kills:
                continue
            kill_after(start_run(catalog_path, run_path), 3600.0)  # the last run may end
        differences = find_differences(run_path, out / "whole")
        num_wrong += bool(differences)
        ended += 1
        print(f"run {ended} ended; it differs in: {differences or 'nothing'}", flush=True)
        shutil.rmtree(run_path)
    (out / "kills.json").write_text(json.dumps(kills) + "\n")
    Figures("kill_campaign", options.json).add(
        {
            "kills": len(kills),
            "runs_led_to_their_end": ended,
            "runs_with_a_wrong_bit": num_wrong,
            "kills_before_the_first_checkpoint": sum(step == 0 for _, step in kills),
            "kills_after_the_last_step": sum(step == STEPS for _, step in kills),
            "seconds_of_a_run_left_alone": run_seconds,
        }
    )
    if num_wrong:
        raise SystemExit("a run did not end with the expected bits")


if __name__ == "__main__":
    main()
