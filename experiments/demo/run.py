"""The whole job on a small rendered library: what `make demo` runs.

The two trainings differ in the sampling policy and in nothing else: same library, same seed, same
steps, same batch size. They run side by side, one thread each, as the command line would run them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.demo.page import DemoResult, write_demo_page
from experiments.rendered_tv import RenderedTVConfig, render_library
from toomuchtv._internal.progress import ProgressCallback
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.cli.console import Output
from toomuchtv.errors import ToomuchtvError
from toomuchtv.evaluation.evaluate import evaluate
from toomuchtv.evaluation.result import Evaluation
from toomuchtv.media.proxy_writer import ProxyFormat
from toomuchtv.training.metrics import read_metrics

STEPS = 800
ARMS = {
    "uniform": ["sampling.name=uniform"],
    "hierarchical": ["sampling.name=hierarchical", "sampling.clips_per_item=16"],
}
RECIPE = ProxyFormat(short_side=48, frame_rate=8.0)
SETTINGS = [
    f"training.steps={STEPS}",
    "training.held_out_share=0.1",
    "training.num_workers=0",
    "training.num_threads=1",
    "training.checkpoint_every=100",
    "transform.size=32",
    "clip.frames=8",
    "clip.audio_seconds=1.0",
    # Milder than the default, for so short a training. The same for both arms.
    "augmentation.min_crop_area=0.5",
    "augmentation.brightness=0.2",
    "augmentation.contrast=0.2",
    "augmentation.saturation=0.2",
    "augmentation.hue=0.0",
    "augmentation.grayscale=0.0",
]


def studio_config(seed: int) -> RenderedTVConfig:
    """The demo's library: many short titles with a strong signature, all with the same events."""
    return RenderedTVConfig(
        movies=96,
        shows=8,
        episodes=4,
        minutes=0.5,
        seed=seed,
        signature_picture=1.0,
        signature_sound=1.0,
        music_overlap=0.6,
        transfer_titles=10,
        transfer_clips_per_kind=10,
    )


def run_demo(out: Path, *, seed: int, num_workers: int, output: Output) -> dict[str, Any]:
    """Render, scan, prepare, train twice, probe, and write `out/report.html`.

    Args:
        out: Folder for everything; what is there already is not done again.
        seed: Of the library, the weights and the plans.
        num_workers: Processes for rendering and preparing.
        output: Where each step is announced.

    Returns:
        Paths and figures: `report`, `scores`, `retrieval`, `seconds`.

    Raises:
        ToomuchtvError: A step failed.
    """
    begun = time.monotonic()
    studio = out / "studio"
    _announce(output, 1, "Rendering a library of films and series whose events are known.")
    with output.progress("s of film") as progress:
        summary = render_library(
            studio, studio_config(seed), num_workers=num_workers, progress=progress
        )
    output.info(
        f"   {summary.movies} films and {summary.shows} series, "
        f"{summary.library_seconds / 60:.0f} minutes; {summary.action_clips} labeled clips of "
        "titles that are not among them"
    )
    _announce(output, 2, "Scanning it: which titles and items there are, and what they hold.")
    with output.progress("files") as progress:
        scanned = scan_library(
            studio / "library", out / "cat", num_workers=num_workers, progress=progress
        )
    output.info(f"   {scanned.titles} titles, {scanned.items} items")
    _announce(output, 3, "Preparing proxies: small copies that a random moment is read from fast.")
    with open_catalog(out / "cat") as catalog, output.progress("s of film") as progress:
        prepared = prepare_catalog(catalog, RECIPE, num_workers=num_workers, progress=progress)
    output.info(f"   {prepared.bytes / 1e6:.0f} MB")
    _announce(
        output, 4, "Training twice from the same start: batches drawn uniformly over the library, "
        "and batches of few titles with many clips each.",
    )  # fmt: skip
    with output.progress("steps") as progress:
        _train_arms(out, seed, progress)
    _announce(
        output, 5, "Probing: can a linear classifier on the frozen features name the events of "
        "titles that no training has seen?",
    )  # fmt: skip
    arms = _evaluate_arms(out, seed, output)
    for arm in arms:
        output.info(
            f"   {arm.name:13} events from video "
            f"{arm.video.metrics['accuracy']['mean']:.2f}, from audio "
            f"{arm.audio.metrics['accuracy']['mean']:.2f}   "
            f"(chance {arm.video.chance['accuracy']:.3f})"
        )
    _announce(output, 6, "Writing the report.")
    report = out / "report.html"
    write_demo_page(report, out=out, arms=arms, seed=seed, steps=STEPS)
    seconds = time.monotonic() - begun
    output.info(f"   {report}, after {seconds / 60:.1f} minutes")
    return {
        "report": report,
        "seconds": seconds,
        "scores": {
            arm.name: {"video": asdict(arm.video), "audio": asdict(arm.audio)} for arm in arms
        },
        "retrieval": {arm.name: asdict(arm.retrieval) for arm in arms},
    }


def _announce(output: Output, number: int, text: str) -> None:
    output.info(f"{number}/6 {text}")


def run_path(out: Path, arm: str) -> Path:
    """Where an arm's run lies."""
    return out / "runs" / arm


def _train_arms(out: Path, seed: int, progress: ProgressCallback) -> None:
    """Run the trainings that are not done, side by side, each as its own process."""
    waiting = [arm for arm in ARMS if not (run_path(out, arm) / "model" / "config.json").exists()]
    processes = {arm: _start(out, arm, seed) for arm in waiting}
    try:
        while any(process.poll() is None for process in processes.values()):
            done = sum(_steps_done(run_path(out, arm)) for arm in waiting)
            progress(done, STEPS * len(waiting), "training both")
            time.sleep(0.5)
    finally:
        for process in processes.values():
            process.terminate()
            process.wait()
    for arm, process in processes.items():
        if process.returncode != 0:
            said = _log_path(out, arm).read_text(errors="replace").strip()
            raise ToomuchtvError(f"the training {arm!r} failed: {said[-2000:]}")


def _start(out: Path, arm: str, seed: int) -> subprocess.Popen[bytes]:
    run = run_path(out, arm)
    command = [
        sys.executable, "-m", "toomuchtv", "pretrain", "--json",
        "--catalog", str(out / "cat"), "--run", str(run), "--preset", "tiny",
    ]  # fmt: skip
    for setting in [*SETTINGS, f"training.seed={seed}", *ARMS[arm]]:
        command += ["--set", setting]
    if (run / "config.toml").exists():
        command.append("--resume")
    log = _log_path(out, arm)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file
        )


def _log_path(out: Path, arm: str) -> Path:
    return out / "runs" / f"{arm}.log"


def _steps_done(run: Path) -> float:
    lines = read_metrics(run)
    return lines[-1]["step"] if lines else 0


def _evaluate_arms(out: Path, seed: int, output: Output) -> list[DemoResult]:
    actions = out / "studio" / "transfer" / "actions"
    results = []
    for name in ("untrained", *ARMS):
        run = run_path(out, "hierarchical" if name == "untrained" else name)

        def measured(benchmark: str, data: Path, **options: Any) -> Evaluation:
            with output.progress("clips") as progress:
                return evaluate(
                    run,  # noqa: B023
                    benchmark,
                    data,
                    untrained=name == "untrained",  # noqa: B023
                    seed=seed,
                    progress=progress,
                    **options,
                )

        results.append(
            DemoResult(
                name=name,
                run=run,
                video=measured("ucf101", actions, modality="video"),
                audio=measured("ucf101", actions, modality="audio"),
                retrieval=measured("retrieval", out / "cat"),
            )
        )
    return results
