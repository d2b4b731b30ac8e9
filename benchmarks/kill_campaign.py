"""Kill -9 at random moments of a real training: does it always end in the weights it should?

One run is left alone. The others are killed, with their loader, at moments drawn uniformly over the
time that such a run takes from the first import to the last byte, then resumed, perhaps to be
killed again, until each has ended. Every time one ends, its weights, its last checkpoint and its
log are held against those of the run left alone, bit by bit; after every kill what lies in the
folder must be whole.

    python -m benchmarks.kill_campaign --kills 50 --out /tmp/kills --json kills.json
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

from benchmarks.figures import Figures, parser
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
CLOCKED = {"clips_per_second", "data_wait_share"}


def start(catalog_path: Path, run_path: Path) -> subprocess.Popen[bytes]:
    """Begin or resume a run, in a process group of its own."""
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


def killed(process: subprocess.Popen[bytes], after_seconds: float) -> bool:
    """Kill -9 the whole group after so long; False if it ended before."""
    try:
        process.wait(timeout=after_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    if process.returncode != 0:
        raise SystemExit(f"a run failed by itself with {process.returncode}")
    return False


def wrong(found: Path, expected: Path) -> list[str]:
    """What differs between two runs that have ended; clocks aside."""
    differences = []
    for name in ("model/model.safetensors", f"checkpoints/step_{STEPS:08d}.safetensors"):
        left, right = load_file(found / name), load_file(expected / name)
        if left.keys() != right.keys():
            differences.append(f"{name}: other tensors")
        differences += [f"{name}: {key}" for key in left if not torch.equal(left[key], right[key])]
    lines = [
        [{key: x for key, x in line.items() if key not in CLOCKED} for line in read_metrics(path)]
        for path in (found, expected)
    ]
    return differences + (["metrics.jsonl"] if lines[0] != lines[1] else [])


def steps_reached(run_path: Path) -> int:
    """The step to go on from; raises where a checkpoint is not whole."""
    checkpoints = Checkpoints(run_path / "checkpoints", keep=1)
    steps = checkpoints.steps()
    if checkpoints.newest_good_step() != (steps[-1] if steps else 0):
        raise SystemExit(f"a kill damaged the newest checkpoint in {run_path}")
    return steps[-1] if steps else 0


def main() -> None:
    """Run the campaign."""
    made = parser(__doc__)
    made.add_argument("--kills", type=int, default=50)
    made.add_argument("--seed", type=int, default=0)
    arguments = made.parse_args()
    out: Path = arguments.out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    catalog_path = make_prepared_catalog(out)
    rng = random.Random(arguments.seed)
    begun = time.monotonic()
    if start(catalog_path, out / "whole").wait() != 0:
        raise SystemExit("the run that was left alone failed: see whole.log")
    whole_seconds = time.monotonic() - begun
    kills = ended = bad = late = 0
    moments: list[tuple[float, int]] = []
    while kills < arguments.kills:
        run_path = out / f"killed_{ended}"
        process = start(catalog_path, run_path)
        moment = rng.uniform(0.0, 1.1 * whole_seconds)
        if killed(process, moment):
            kills += 1
            reached = steps_reached(run_path)
            late += reached == STEPS
            moments.append((moment, reached))
            print(f"kill {kills}: after {moment:.1f} s, at least {reached} steps done", flush=True)
            if kills < arguments.kills:
                continue
            process = start(catalog_path, run_path)  # the last one is led to its end
            killed(process, 3600.0)
        differences = wrong(run_path, out / "whole")
        bad += bool(differences)
        ended += 1
        print(f"run {ended} ended; differs in: {differences or 'nothing'}", flush=True)
        shutil.rmtree(run_path)
    (out / "moments.json").write_text(json.dumps(moments) + "\n")
    values = {
        "kills": kills,
        "runs_led_to_their_end": ended,
        "runs_with_a_wrong_bit": bad,
        "kills_before_the_first_checkpoint": sum(reached == 0 for _, reached in moments),
        "kills_after_the_last_step": late,
        "seconds_of_a_run_left_alone": whole_seconds,
    }
    Figures(benchmark="kill_campaign", values=values).publish(arguments.json)
    if bad:
        raise SystemExit("a run did not end as it should")


if __name__ == "__main__":
    main()
