"""The loop: from a catalog to a run's folder with a model in it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from toomuchtv._internal import distributed
from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.catalog.store import Catalog
from toomuchtv.data.loader import BatchStream, iterate_batches
from toomuchtv.training.assembly import Run, assemble
from toomuchtv.training.compiled import check_compiler
from toomuchtv.training.device import choose_device
from toomuchtv.training.metrics_tracker import MetricsTracker, as_pretrained
from toomuchtv.training.nan_dump import write_nan_dump
from toomuchtv.training.optimizer import learning_rate
from toomuchtv.training.run_config import Config
from toomuchtv.training.stop import StopRequest, asked_to_stop

#: Until the first step is done, processes may be far apart: one has more to open than another.
_STARTING_SECONDS = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainResult:
    """What a run came to. `loss` is the mean of the last logged interval."""

    run: Path
    steps: int
    loss: float
    clips_per_second: float
    model: Path
    interrupted: bool
    replaced_clips: int
    worker_restarts: int


def pretrain(
    catalog: Catalog,
    run_path: Path,
    config: Config,
    *,
    resume: bool = False,
    progress: ProgressCallback = no_progress,
) -> PretrainResult:
    """Train a pair of encoders on a prepared catalog.

    Killed at any moment and resumed, it ends (on a CPU, with the same number of threads and
    processes) in the weights of the uninterrupted run, to the bit. SIGTERM and SIGINT save a
    checkpoint once the step under way is done, and return.

    Args:
        catalog: A catalog with proxies.
        run_path: The run's folder; made if need be. All processes must see it.
        config: All settings.
        resume: Go on with what is in the folder; where there is nothing, begin.
        progress: Told the steps done.

    Raises:
        CheckpointError: The folder holds a run and `resume` is not set, or its config differs.
        CatalogError: The catalog has no proxies.
        ValueError: The config does not fit the catalog, the number of processes, or this machine.
        NotFiniteError: The loss is not finite.
        DistributedError: Another process of the job is gone, or does not answer.
        MediaError: A clip is bad, or a loader's worker lost, and the config says to stop.
    """
    device = choose_device(config.training.device)
    if config.training.compile:
        check_compiler(device)
    if config.training.num_threads:
        torch.set_num_threads(config.training.num_threads)
    with distributed.process_group(device, _STARTING_SECONDS), asked_to_stop() as stop:
        run = assemble(catalog, run_path, config, resume=resume, device=device)
        with closing(MetricsTracker(run)) as ledger, closing(_stream(run)) as batches:
            done = _train(run, ledger, batches, stop, progress)
            interrupted = done < config.training.steps
            if distributed.rank() == 0 and not interrupted:
                as_pretrained(run).save(run_path / "model")
        return PretrainResult(
            run=run_path,
            steps=done,
            loss=ledger.loss,
            clips_per_second=ledger.clock.overall_clips_per_second,
            model=run_path / "model",
            interrupted=interrupted,
            replaced_clips=ledger.replaced_clips,
            worker_restarts=batches.worker_restarts,
        )


def _train(
    run: Run,
    ledger: MetricsTracker,
    batches: BatchStream,
    stop: StopRequest,
    progress: ProgressCallback,
) -> int:
    """Take the steps that are left, or those until asked to stop; returns how many are done."""
    training, done, saved = run.config.training, run.start_step, run.start_step

    def due(every: int) -> bool:
        return done == training.steps or (every > 0 and done % every == 0)

    progress(done, training.steps, "training")
    for batch in stop.unless_asked(batches):
        ledger.clock.data_is_here()
        rate = learning_rate(run.config.optimizer, done, training.steps)
        loss, norm, gathered = run.step(batch, rate)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise write_nan_dump(
                run.path,
                batch,
                loss=float(loss),
                gradient_norm=float(norm),
                learning_rate=rate,
                item_names=run.data.item_names,
                modules=run.modules,
            )
        run.settle()
        done += 1
        ledger.count(batch, loss, gathered)
        if due(training.log_every):
            ledger.log(done, rate, norm, gathered)
        if due(training.validate_every):
            ledger.validate(done)
        stops = distributed.any_rank(stop.is_set, run.device)
        if stops or due(training.checkpoint_every):
            run.save(saved := done)
        progress(done, training.steps, f"loss {float(loss):.3f}")
        if stops:
            break
    if done > saved:  # asked to stop while there was no batch
        run.save(done)
    return done


def _stream(run: Run) -> BatchStream:
    training = run.config.training
    return iterate_batches(
        run.data.batches,
        start=run.start_step,
        stop=training.steps,
        num_workers=training.num_workers,
        on_worker_death=training.on_worker_death,
        timeout_seconds=training.loader_timeout_seconds,
        max_restarts=training.max_worker_restarts,
    )
