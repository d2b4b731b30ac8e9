"""The whole workflow on a small rendered library.

The two trainings differ only in the sampling policy: they have the same library, seed, number of
steps and batch size. They run at the same time in two processes of the command line.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.demo.page import DemoResult, write_demo_page
from experiments.demo.search import search_other_titles
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
from toomuchtv.search.hits import MODALITIES, Modality
from toomuchtv.training.metrics import read_metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSize:
    """What a demo renders and trains.

    Attributes:
        library: What is rendered, apart from the seed.
        proxy_format: How the films are prepared.
        steps: Number of training steps.
        batch_size: Number of clips of a step.
        settings: Training settings of both conditions beyond these and the seed.
        clips_per_item: Clips that one title has in a hierarchical batch.
    """

    library: RenderedTVConfig
    proxy_format: ProxyFormat
    steps: int
    batch_size: int
    settings: tuple[str, ...]
    clips_per_item: int

    def conditions(self) -> dict[str, list[str]]:
        """Return the settings of each condition beyond those that both share, by name."""
        return {
            "uniform": ["sampling.name=uniform"],
            "hierarchical": [
                "sampling.name=hierarchical",
                f"sampling.clips_per_item={self.clips_per_item}",
            ],
        }


_COMMON = (
    *WEAK_AUGMENTATION,
    "training.num_workers=0",
    "training.num_threads=1",
    "training.checkpoint_every=100",
    "transform.size=32",
    "clip.audio_seconds=1.0",
)
#: Shows only, and batches from a single show: the case in which the policies differ most. Sizes are
#: those of the study's conditions (experiments/study), whose audio has 8 kHz and 40 mel bands.
SMALL = DemoSize(
    library=RenderedTVConfig(
        movies=0, shows=32, episodes=2, minutes=0.5, frame_rate=8, sample_rate_hz=8000,
        event_kinds=12, signature_picture=1.0, signature_sound=1.0, recurrence=1.0,
        music_overlap=1.0, event_share=1.0, transfer_titles=10, transfer_clips_per_kind=20,
        transfer_clip_seconds=2.0, transfer_sound_seconds=2.0,
    ),
    proxy_format=ProxyFormat(short_side=48, frame_rate=8.0, keyframe_every=4, sample_rate_hz=8000),
    steps=600,
    batch_size=32,
    settings=(
        *_COMMON, "training.held_out_share=0", "training.precision=float32",
        "clip.frames=4", "clip.frame_rate=8.0", "clip.sample_rate_hz=8000",
        "transform.log_mel.sample_rate_hz=8000", "transform.log_mel.num_fft=256",
        "transform.log_mel.window_samples=200", "transform.log_mel.hop_samples=160",
        "transform.log_mel.num_bands=40", "model.embedding_dim=128", "model.video.width=0.125",
        "model.audio.width=0.125", "optimizer.learning_rate=0.002",
        "optimizer.warmup_steps=60",
    ),
    clips_per_item=32,
)  # fmt: skip
#: Many short titles with strong signatures, films and shows, larger clips and batches.
FULL = DemoSize(
    library=RenderedTVConfig(
        movies=96, shows=8, episodes=4, minutes=0.5, signature_picture=1.0, signature_sound=1.0,
        music_overlap=0.6, transfer_titles=10, transfer_clips_per_kind=10,
    ),
    proxy_format=ProxyFormat(short_side=48, frame_rate=8.0),
    steps=800,
    batch_size=64,
    settings=(*_COMMON, "training.held_out_share=0.1", "clip.frames=8"),
    clips_per_item=16,
)  # fmt: skip


def run_demo(
    out: str | os.PathLike[str],
    *,
    seed: int,
    num_workers: int,
    output: Output,
    size: DemoSize = SMALL,
) -> dict[str, Any]:
    """Render, scan, prepare, train twice, evaluate, search, and write `out/report.html`.

    Args:
        out: Output folder. Finished parts are not repeated.
        seed: Seed of the library, the initial weights and the batches.
        num_workers: Number of processes for rendering, preparing and embedding.
        output: Console on which each step is announced.
        size: What is rendered and trained.

    Returns:
        Paths and figures under `report`, `scores`, `search` and `seconds`.

    Raises:
        ToomuchtvError: If a step fails, or if another process runs the demo in the folder.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with folder_lock(out):
        return _run_steps(out, seed, num_workers, output, size)


def _run_steps(
    out: Path, seed: int, num_workers: int, output: Output, size: DemoSize
) -> dict[str, Any]:
    begun = time.monotonic()
    output.info("1/7 Rendering series whose events are known, so that results can be checked.")
    library = size.library.model_copy(update={"seed": seed})
    with output.progress("seconds of film") as progress:
        summary = render_library(out / "rendered", library, num_workers=num_workers,
                                 progress=progress)  # fmt: skip
    output.info(
        f"   {summary.movies} films and {summary.shows} series, "
        f"{summary.library_seconds / 60:.0f} minutes; {summary.action_clips} labeled clips of "
        "other titles, for the test"
    )
    output.info("2/7 Scanning: which titles, seasons and episodes does the folder have?")
    with output.progress("files") as progress:
        scanned = scan_library(out / "rendered" / "library", out / "cat", num_workers=num_workers,
                               progress=progress)  # fmt: skip
    output.info(f"   {scanned.titles} titles, {scanned.items} items")
    output.info("3/7 Preparing: small copies that training reads fast, and recurring passages.")
    with (
        open_catalog(out / "cat") as catalog,
        output.progress("seconds of film") as progress,
    ):
        prepared = prepare_catalog(
            catalog, size.proxy_format, num_workers=num_workers, progress=progress
        )
    output.info(f"   {prepared.bytes / 1e6:.0f} MB")
    output.info(
        f"4/7 Training twice for {size.steps} steps, from the same weights and side by side: with "
        "batches drawn uniformly, and with batches of many clips of one title."
    )
    with output.progress("steps") as progress:
        _train(out, seed, size, progress)
    output.info(
        "5/7 Testing: a linear classifier names the events in titles that were not in training."
    )
    results = [_evaluate(out, name, seed, output) for name in ("untrained", *size.conditions())]
    for result in results:
        video, audio = (one.metrics["accuracy"]["mean"] for one in (result.video, result.audio))
        output.info(
            f"   {result.name:13} accuracy from video {video:.2f}, from audio {audio:.2f} "
            f"(chance {result.video.chance['accuracy']:.2f})"
        )
    output.info("6/7 Searching: for moments of the library, the same event in other titles.")
    with output.progress("seconds of film") as progress:
        search = search_other_titles(
            out, list(size.conditions()), seed=seed, num_workers=num_workers, progress=progress
        )
    for name, precision in search.precision.items():
        output.info(f"   {name:13} {precision:.0%} of the first five hits show the same event")
    output.info(f"   {'chance':13} {search.chance:.0%}")
    output.info("7/7 Writing the report.")
    report = out / "report.html"
    write_demo_page(
        report, out=out, results=results, search=search, seed=seed,
        size_text=f"{size.steps} steps of {size.batch_size} clips",
    )  # fmt: skip
    seconds = time.monotonic() - begun
    output.info(f"   {report}, after {seconds / 60:.1f} minutes")
    return {
        "report": report,
        "seconds": seconds,
        "scores": {
            one.name: {"video": asdict(one.video), "audio": asdict(one.audio)} for one in results
        },
        "search": {"precision_at_5": search.precision, "chance": search.chance,
                   "queries": search.num_queries},
    }  # fmt: skip


def _train(out: Path, seed: int, size: DemoSize, progress: ProgressCallback) -> None:
    """Run the unfinished trainings at the same time, each in a process of its own."""
    runs = {name: out / "runs" / name for name in size.conditions()}
    waiting = {n: run for n, run in runs.items() if not (run / "model/config.json").exists()}
    processes = {name: _start(out, name, seed, size) for name in waiting}
    try:
        while any(process.poll() is None for process in processes.values()):
            metrics = [read_metrics(run) for run in waiting.values()]
            done = sum(lines[-1]["step"] for lines in metrics if lines)
            progress(done, size.steps * len(waiting), "training both")
            time.sleep(0.5)
    finally:
        for process in processes.values():
            process.terminate()
            process.wait()
    for name, process in processes.items():
        if process.returncode != 0:
            log = _log_path(out, name).read_text(errors="replace").strip()
            raise ToomuchtvError(f"the training {name!r} failed: {log[-2000:]}")


def _start(out: Path, name: str, seed: int, size: DemoSize) -> TiedProcess:
    run = out / "runs" / name
    command = [
        "pretrain", "--json",
        "--catalog", str(out / "cat"), "--run", str(run), "--preset", "tiny",
    ]  # fmt: skip
    own = [
        f"training.steps={size.steps}", f"training.seed={seed}",
        f"sampling.batch_size={size.batch_size}", *size.conditions()[name],
    ]  # fmt: skip
    for setting in [*size.settings, *own]:
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
    scores: dict[Modality, Evaluation] = {}
    for modality in MODALITIES:
        with output.progress("clips") as progress:
            scores[modality] = evaluate(
                run,
                "ucf101",
                out / "rendered" / "transfer" / "actions",
                modality=modality,
                untrained=name == "untrained",
                seed=seed,
                progress=progress,
            )
    return DemoResult(name=name, run=run, video=scores["video"], audio=scores["audio"])
