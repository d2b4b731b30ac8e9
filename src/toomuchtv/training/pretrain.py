"""The training loop: from a prepared catalog to a folder with a trained model."""

from __future__ import annotations

import collections
import math
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from toomuchtv._internal import distributed
from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.data.loader import BatchStream, iterate_batches
from toomuchtv.training.device import check_compiler, choose_device, cuda_arithmetic
from toomuchtv.training.device_batch import DeviceBatch, HostValues, Prefetcher
from toomuchtv.training.metrics import MetricsLog
from toomuchtv.training.nan_dump import write_nan_dump
from toomuchtv.training.optimizer import learning_rate
from toomuchtv.training.run import Run, open_run
from toomuchtv.training.run_config import Config
from toomuchtv.training.step import StepResult
from toomuchtv.training.stop import StopRequest, stop_on_signals
from toomuchtv.training.validation import held_out_loss

#: Timeout of collective calls before the first step, when one process may have more files to open
#: than another.
_STARTUP_TIMEOUT_SECONDS = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainResult:
    """The result of a pretraining.

    Attributes:
        run: Folder of the run.
        steps: Number of steps that are done.
        loss: Mean loss of the last logged interval; NaN if nothing was logged.
        clips_per_second: Clips per second over all processes, from the first step of this call on.
        model: Folder of the trained model. It exists unless `interrupted` is true.
        interrupted: True if SIGTERM or SIGINT ended the run before its last step.
        replaced_clips: Number of clips of this process that could not be decoded as planned.
        worker_restarts: Number of decoding processes that were replaced.
    """

    run: Path
    steps: int
    loss: float
    clips_per_second: float
    model: Path
    interrupted: bool
    replaced_clips: int
    worker_restarts: int


def pretrain(
    catalog: Catalog | str | os.PathLike[str],
    run: str | os.PathLike[str],
    config: Config,
    *,
    resume: bool = False,
    train_new_titles: bool = False,
    progress: ProgressCallback = no_progress,
) -> PretrainResult:
    """Train a video encoder and an audio encoder on a prepared catalog.

    A run that is killed at any time and resumed ends with the weights of an uninterrupted run, to
    the bit, on a CPU with the same number of threads and processes. SIGTERM and SIGINT finish the
    current step, save a checkpoint and return. Under torchrun, each process calls this function.

    Args:
        catalog: A catalog with proxies, or its folder.
        run: Folder of the run, created if it does not exist. All processes must see it.
        config: All settings.
        resume: True to continue the run in the folder. If there is none, a new run begins. A
            resumed run keeps its split: titles that are new in the catalog are left out.
        train_new_titles: True if a resumed run trains on titles that are new in the catalog too,
            from now on. They are recorded in its split.
        progress: Called after each step with the number of steps that are done.

    Raises:
        CheckpointError: The folder holds a run and `resume` is false, or it holds a run with
            another config or format, or one of its files cannot be read or written, was damaged
            or was edited.
        FolderInUseError: Another process trains in the folder.
        CatalogError: The catalog has no proxies, or none of the titles that the run trains on.
        OSError: The folder cannot be read or written.
        ValueError: The config does not fit the catalog, the number of processes, or this machine.
        NotFiniteError: The loss or its gradient is not finite.
        DistributedError: Another process of the job is gone or does not answer.
        MediaError: A clip cannot be decoded, or a decoding process was lost, and the config says
            to stop.
    """
    training = config.training
    device = choose_device(training.device)
    if training.compile is True:
        check_compiler(device)
    if training.num_threads:
        torch.set_num_threads(training.num_threads)
    opened = nullcontext(catalog) if isinstance(catalog, Catalog) else open_catalog(Path(catalog))
    with (
        opened as source,
        cuda_arithmetic(device),
        distributed.process_group(device, _STARTUP_TIMEOUT_SECONDS),
        stop_on_signals() as stop,
        open_run(
            source, Path(run), config,
            resume=resume, device=device, train_new_titles=train_new_titles,
        ) as state,
        _open_log(state) as log,
        closing(_load_batches(state)) as batches,
    ):  # fmt: skip
        done = _train(state, batches, log, stop, progress)
        if distributed.rank() == 0 and done == training.steps:
            state.encoder().save(state.path / "model")
        return PretrainResult(
            run=state.path,
            steps=done,
            loss=state.tracker.last_loss,
            clips_per_second=state.tracker.stopwatch.overall_clips_per_second,
            model=state.path / "model",
            interrupted=done < training.steps,
            replaced_clips=state.tracker.replaced_clips,
            worker_restarts=batches.worker_restarts,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Launched:
    """A step whose outcome was not read yet.

    Attributes:
        batch: Its batch, as it was decoded.
        result: Its result.
        num_stops: Number of processes that were asked to stop before it.
    """

    batch: ClipBatch
    result: StepResult
    num_stops: HostValues


class _Loop:
    """The training loop of a run. The outcome of a step is read after the next one was launched.

    So a GPU always has work. All processes read the same steps at the same time, and therefore stop
    at the same one.

    Args:
        run: The run.
        stop: The stop request.
    """

    def __init__(self, run: Run, stop: StopRequest) -> None:
        self._run, self._stop = run, stop
        self._launched: collections.deque[_Launched] = collections.deque()
        self._stops = False
        self.loss = math.nan

    def take_step(self, batch: DeviceBatch, done: int) -> None:
        """Launch the step after `done` steps, and read the outcome of the one before."""
        run = self._run
        result = run.step(
            batch, learning_rate(run.config.optimizer, done, run.config.training.steps)
        )
        flag = distributed.count_ranks(self._stop.is_set, run.device)
        self._launched.append(
            _Launched(batch=batch.host, result=result, num_stops=HostValues(flag[None]))
        )
        self.settle(keep=1)

    def settle(self, *, keep: int = 0) -> None:
        """Read the outcome of all launched steps but the last `keep`.

        Raises:
            NotFiniteError: The loss or the gradient of one was not finite.
        """
        run = self._run
        while len(self._launched) > keep:
            step = self._launched.popleft()
            self.loss = step.result.loss
            if not step.result.is_finite:
                raise write_nan_dump(run.path, step.batch, step.result, run.item_names, run.modules)
            self._stops |= step.num_stops.read()[0] > 0
            # All processes are running now: from here on, one that is late counts as lost.
            distributed.set_timeout(run.config.training.distributed_timeout_seconds)
            run.tracker.update(
                loss=self.loss,
                num_clips=step.result.num_clips,
                replaced_clips=len(step.batch.failures),
            )

    @property
    def should_stop(self) -> bool:
        """True if a process was asked to stop: this one alone knows at once, several later."""
        return self._stops or (distributed.world_size() == 1 and self._stop.is_set)

    @property
    def last_result(self) -> StepResult:
        """The result of the last step, unless it was settled."""
        return self._launched[-1].result

    def idle_seconds(self) -> float:
        """Return for how long the device has had nothing to do."""
        return self._launched[-1].num_stops.idle_seconds() if self._launched else math.inf


def _train(
    run: Run,
    batches: BatchStream,
    log: MetricsLog | None,
    stop: StopRequest,
    progress: ProgressCallback,
) -> int:
    """Take the remaining steps, or those until a stop is requested; return how many are done."""
    training, tracker = run.config.training, run.tracker
    done = saved = run.start_step
    loop = _Loop(run, stop)

    def is_due(every: int) -> bool:
        return done == training.steps or (every > 0 and done % every == 0)

    progress(done, training.steps, "training")
    decoded = tracker.stopwatch.time_waits(stop.until_set(batches), loop.idle_seconds)
    for batch in Prefetcher(decoded, run.step.prepare, run.device):
        loop.take_step(batch, done)
        done += 1
        if is_due(training.log_every):
            result = loop.last_result
            loop.settle()
            metrics = {**tracker.finish_interval(), **run.step.metrics(result)}
            if log is not None:
                log.write(done, metrics)
        if is_due(training.validate_every) and log is not None and run.held_out is not None:
            loop.settle()
            loss = held_out_loss(run.encoder(), run.step.loss, run.held_out)
            run.step.model.train()
            log.write(done, {"held_out_loss": loss})
        stops = loop.should_stop
        if stops or is_due(training.checkpoint_every):
            loop.settle()
            run.save(saved := done)
        progress(done, training.steps, f"loss {loop.loss:.3f}")
        if stops:
            break
    loop.settle()
    if done > saved:  # the stop was requested while there was no batch
        run.save(done)
    return done


@contextmanager
def _open_log(run: Run) -> Iterator[MetricsLog | None]:
    """Open the metrics log on rank 0; the other ranks have none."""
    if distributed.rank() > 0:
        yield None
        return
    project = run.config.training.wandb_project
    log = MetricsLog(run.path, resume_step=run.start_step, wandb_project=project)
    with closing(log):
        yield log


def _load_batches(run: Run) -> BatchStream:
    training = run.config.training
    return iterate_batches(
        run.batches,
        start=run.start_step,
        stop=training.steps,
        num_workers=training.num_workers,
        on_worker_death=training.on_worker_death,
        timeout_seconds=training.loader_timeout_seconds,
        max_restarts=training.max_worker_restarts,
        pin_memory=run.device.type == "cuda",
    )
