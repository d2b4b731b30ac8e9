"""The whole workflow on a small rendered library.

The two trainings differ only in the sampling policy: they have the same library, seed, number of
steps and batch size. They run at the same time in two processes of the command line.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.demo.page import DemoResult, write_demo_page
from experiments.rendered_tv import RenderedTVConfig, render_library
from experiments.study.settings import WEAK_AUGMENTATION
from experiments.tied_process import TiedProcess
from toomuchtv._internal.folder_lock import folder_lock
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
#: Settings of each condition beyond `SETTINGS`.
CONDITIONS = {
    "uniform": ["sampling.name=uniform"],
    "hierarchical": ["sampling.name=hierarchical", "sampling.clips_per_item=16"],
}
SETTINGS = [
    "training.held_out_share=0.1",
    "training.num_workers=0",
    "training.num_threads=1",
    "training.checkpoint_every=100",
    "transform.size=32",
    "clip.frames=8",
    "clip.audio_seconds=1.0",
    *WEAK_AUGMENTATION,
]


def library_config(seed: int) -> RenderedTVConfig:
    """Return the demo's library: many short titles with strong signatures and the same events."""
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


def run_demo(
    out: str | os.PathLike[str],
    *,
    seed: int,
    num_workers: int,
    output: Output,
    steps: int = STEPS,
    library: RenderedTVConfig | None = None,
) -> dict[str, Any]:
    """Render, scan, prepare, train twice, evaluate, and write `out/report.html`.

    Args:
        out: Output folder. Finished parts are not repeated.
        seed: Seed of the library, the initial weights and the batches.
        num_workers: Number of processes for rendering and preparing.
        output: Console on which each step is announced.
        steps: Number of training steps.
        library: Another library than `library_config(seed)`.

    Returns:
        Paths and figures under `report`, `scores`, `retrieval` and `seconds`.

    Raises:
        ToomuchtvError: If a step fails, or if another process runs the demo in the folder.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with folder_lock(out):
        return _run_steps(out, seed, num_workers, output, steps, library or library_config(seed))


def _run_steps(
    out: Path, seed: int, num_workers: int, output: Output, steps: int, library: RenderedTVConfig
) -> dict[str, Any]:
    begun = time.monotonic()
    output.info("1/6 Rendering a library of films and series with known events.")
    with output.progress("seconds of film") as progress:
        summary = render_library(
            out / "rendered",
            library,
            num_workers=num_workers,
            progress=progress,
        )
    output.info(
        f"   {summary.movies} films and {summary.shows} series, "
        f"{summary.library_seconds / 60:.0f} minutes; {summary.action_clips} labeled clips of "
        "other titles"
    )
    output.info("2/6 Scanning the library for titles and their files.")
    with output.progress("files") as progress:
        scanned = scan_library(
            out / "rendered" / "library", out / "cat", num_workers=num_workers, progress=progress
        )
    output.info(f"   {scanned.titles} titles, {scanned.items} items")
    output.info("3/6 Preparing proxies, which are small copies with fast random access.")
    proxy_format = ProxyFormat(short_side=48, frame_rate=8.0)
    with (
        open_catalog(out / "cat") as catalog,
        output.progress("seconds of film") as progress,
    ):
        prepared = prepare_catalog(
            catalog, proxy_format, num_workers=num_workers, progress=progress
        )
    output.info(f"   {prepared.bytes / 1e6:.0f} MB")
    output.info(
        "4/6 Training twice from the same initial weights: with batches drawn uniformly from the "
        "library, and with batches of few titles and many clips per title."
    )
    with output.progress("steps") as progress:
        _train(out, seed, steps, progress)
    output.info(
        "5/6 Training linear classifiers on the frozen features to recognize events in titles "
        "that were not in training."
    )
    results = [_evaluate(out, name, seed, output) for name in ("untrained", *CONDITIONS)]
    for result in results:
        video, audio = (one.metrics["accuracy"]["mean"] for one in (result.video, result.audio))
        output.info(
            f"   {result.name:13} accuracy from video {video:.2f}, from audio {audio:.2f} "
            f"(chance {result.video.chance['accuracy']:.3f})"
        )
    output.info("6/6 Writing the report.")
    report = out / "report.html"
    write_demo_page(report, out=out, results=results, seed=seed, steps=steps)
    seconds = time.monotonic() - begun
    output.info(f"   {report}, after {seconds / 60:.1f} minutes")
    return {
        "report": report,
        "seconds": seconds,
        "scores": {
            one.name: {"video": asdict(one.video), "audio": asdict(one.audio)} for one in results
        },
        "retrieval": {one.name: asdict(one.retrieval) for one in results},
    }


def _train(out: Path, seed: int, steps: int, progress: ProgressCallback) -> None:
    """Run the unfinished trainings at the same time, each in a process of its own."""
    runs = {name: out / "runs" / name for name in CONDITIONS}
    waiting = {n: run for n, run in runs.items() if not (run / "model/config.json").exists()}
    processes = {name: _start(out, name, seed, steps) for name in waiting}
    try:
        while any(process.poll() is None for process in processes.values()):
            metrics = [read_metrics(run) for run in waiting.values()]
            done = sum(lines[-1]["step"] for lines in metrics if lines)
            progress(done, steps * len(waiting), "training both")
            time.sleep(0.5)
    finally:
        for process in processes.values():
            process.terminate()
            process.wait()
    for name, process in processes.items():
        if process.returncode != 0:
            log = _log_path(out, name).read_text(errors="replace").strip()
            raise ToomuchtvError(f"the training {name!r} failed: {log[-2000:]}")


def _start(out: Path, name: str, seed: int, steps: int) -> TiedProcess:
    run = out / "runs" / name
    command = [
        "pretrain", "--json",
        "--catalog", str(out / "cat"), "--run", str(run), "--preset", "tiny",
    ]  # fmt: skip
    own = [f"training.steps={steps}", f"training.seed={seed}", *CONDITIONS[name]]
    for setting in [*SETTINGS, *own]:
        command += ["--set", setting]
    if (run / "config.toml").exists():
        command.append("--resume")
    log = _log_path(out, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        return TiedProcess(
            "toomuchtv", command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file
        )


def _log_path(out: Path, name: str) -> Path:
    return out / "runs" / f"{name}.log"


def _evaluate(out: Path, name: str, seed: int, output: Output) -> DemoResult:
    # The untrained encoders have the architecture of a run, with random weights.
    run = out / "runs" / ("hierarchical" if name == "untrained" else name)
    actions = out / "rendered" / "transfer" / "actions"

    def scores(benchmark: str, data: Path, **options: Any) -> Evaluation:
        with output.progress("clips") as progress:
            return evaluate(
                run,
                benchmark,
                data,
                untrained=name == "untrained",
                seed=seed,
                progress=progress,
                **options,
            )

    return DemoResult(
        name=name,
        run=run,
        video=scores("ucf101", actions, modality="video"),
        audio=scores("ucf101", actions, modality="audio"),
        retrieval=scores("retrieval", out / "cat"),
    )
