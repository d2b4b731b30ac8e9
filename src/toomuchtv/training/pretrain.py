"""The loop: from a catalog to a run's folder with a model in it."""

from __future__ import annotations

import dataclasses
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

from toomuchtv import distributed
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.catalog.splits import TitleSplit, split_titles
from toomuchtv.catalog.store import Catalog
from toomuchtv.config import Config
from toomuchtv.errors import ToomuchtvError
from toomuchtv.media.to_input import ToInput
from toomuchtv.objectives import build_objective
from toomuchtv.pretrained import Pretrained, PretrainedConfig, fresh_model
from toomuchtv.progress import ProgressHook, no_progress
from toomuchtv.sampling.batches import Batch, ClipReader, PlannedBatches
from toomuchtv.sampling.loader import BatchStream, iterate_batches
from toomuchtv.sampling.moments import draw_moments
from toomuchtv.sampling.plan import Planner
from toomuchtv.training.checkpoint import Checkpoints
from toomuchtv.training.device import choose_device, choose_precision
from toomuchtv.training.interval import IntervalClock, IntervalLosses
from toomuchtv.training.metrics import MetricsLog
from toomuchtv.training.optimizer import build_optimizer, learning_rate
from toomuchtv.training.run_folder import last_loss, open_run_folder
from toomuchtv.training.step import GatheredBatch, TrainingStep


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


class NotFiniteError(ToomuchtvError):
    """The loss or its gradient stopped being finite; the batch's plan is on disk."""


def pretrain(
    catalog: Catalog,
    run_path: Path,
    config: Config,
    *,
    resume: bool = False,
    progress: ProgressHook = no_progress,
) -> PretrainResult:
    """Train a pair of encoders on a prepared catalog.

    Killed at any moment and resumed, it ends (on a CPU, with the same number of threads) in the
    weights of the uninterrupted run, to the bit. SIGTERM and SIGINT save a checkpoint and return.

    Args:
        catalog: A catalog with proxies.
        run_path: The run's folder; made if need be.
        config: All settings.
        resume: Go on with what is in the folder.
        progress: Told the steps done.

    Raises:
        CheckpointError: The folder holds a run and `resume` is not set, or its config differs.
        CatalogError: The catalog has no proxies.
        ValueError: The config does not fit the catalog.
        NotFiniteError: The loss is not finite.
        MediaError: A clip is bad, or a loader's worker lost, and the config says to stop.
    """
    device = choose_device(config.training.device)
    if config.training.num_threads:
        torch.set_num_threads(config.training.num_threads)
    with distributed.process_group(device), _asked_to_stop() as stop:
        run = _Run(catalog, run_path, config, resume=resume, device=device)
        try:
            return run.train(stop, progress)
        finally:
            run.close()


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM or SIGINT sets; the handlers of before come back at the end."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Run:
    """One pretraining: its folder and everything that is built once."""

    def __init__(
        self, catalog: Catalog, path: Path, config: Config, *, resume: bool, device: torch.device
    ) -> None:
        self.config, self.path, self.device = config, path, device
        training = config.training
        self.checkpoints = Checkpoints(path / "checkpoints", training.keep_checkpoints)
        self.start_step = open_run_folder(path, config, self.checkpoints, resume=resume)
        snapshot = catalog.snapshot()
        split = split_titles(
            [title for title in catalog.titles() if title.id in set(snapshot.title_id.tolist())],
            held_out_share=training.held_out_share,
            seed=training.seed,
            duplicates=catalog.title_duplicates(),
        )
        self._write_split(catalog, split)
        self.planner, self.batches = self._batches(catalog, snapshot, split)
        self.held_out = draw_moments(
            catalog.folder,
            snapshot.of_titles(split.held_out),
            catalog.proxies(),
            config.clip,
            num_clips=training.validation_clips,
            seed=training.seed,
        )
        self.step = self._build_step()
        self.stream: BatchStream | None = None
        self.metrics: MetricsLog | None = None
        if distributed.rank() == 0:
            self.metrics = MetricsLog(path, resume_step=self.start_step)

    def _batches(
        self, catalog: Catalog, snapshot: CatalogSnapshot, split: TitleSplit
    ) -> tuple[Planner, PlannedBatches]:
        train = snapshot.of_titles(split.train)
        planner = Planner(train, self.config.sampling, self.config.clip)
        reader = ClipReader(catalog.folder, train, catalog.proxies(), self.config.clip)
        return planner, PlannedBatches(
            reader,
            planner,
            seed=self.config.training.seed,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
            on_bad_clip=self.config.training.on_bad_clip,
        )

    def _write_split(self, catalog: Catalog, split: TitleSplit) -> None:
        if distributed.rank() != 0:
            return
        names = {title.id: {"kind": str(title.kind), "name": title.name, "year": title.year}
                 for title in catalog.titles()}  # fmt: skip
        content = {
            "train": [names[title_id] for title_id in split.train],
            "held_out": [names[title_id] for title_id in split.held_out],
        }
        (self.path / "split.json").write_text(json.dumps(content, indent=1) + "\n")

    def _build_step(self) -> TrainingStep:
        config, device = self.config, self.device
        model = fresh_model(config.model, config.training.seed).to(device)
        objective = build_objective(config.objective, embedding_dim=config.model.embedding_dim).to(
            device
        )
        self.optimizer = build_optimizer([model, objective], config.optimizer)
        self.losses = IntervalLosses()
        self.modules = {"model": model, "objective": objective, "losses": self.losses}
        if self.start_step:
            self.checkpoints.load(self.start_step, self.modules, self.optimizer)
        return TrainingStep(
            model=model,
            objective=objective,
            to_input=ToInput(config.input, config.augment).to(device),
            optimizer=self.optimizer,
            roles=config.roles,
            precision=choose_precision(config.training.precision, device),
            clip_gradient_norm=config.optimizer.clip_gradient_norm,
            chunk_size=config.training.chunk_size,
        )

    def train(self, stop: threading.Event, progress: ProgressHook) -> PretrainResult:
        """Take the steps that are left."""
        training = self.config.training
        steps = training.steps
        self.stream = batches = iterate_batches(
            self.batches,
            start=self.start_step,
            stop=steps,
            num_workers=training.num_workers,
            on_worker_death=training.on_worker_death,
            timeout_seconds=training.loader_timeout_seconds,
            max_restarts=training.max_worker_restarts,
        )
        clock = IntervalClock()
        done, replaced, interrupted = self.start_step, 0, False
        loss_value = last_loss(self.path)
        progress(done, steps, "training")
        for batch in batches:
            clock.data_is_here()
            rate = learning_rate(self.config.optimizer, done, steps)
            loss, norm, gathered = self.step(batch, rate)
            if not (torch.isfinite(loss) and torch.isfinite(norm)):
                raise NotFiniteError(self._keep_evidence(batch, float(loss), float(norm)))
            done += 1
            replaced += len(batch.failures)
            clock.step_is_done(len(gathered.video))
            self.losses.add(float(loss))
            if done % training.log_every == 0 or done == steps:
                loss_value = self.losses.mean
                self._log(done, clock, rate, float(norm), gathered)
            if done == steps or (training.validate_every and done % training.validate_every == 0):
                self._validate(done)
            interrupted = distributed.any_rank(stop.is_set(), self.device) and done < steps
            due = training.checkpoint_every and done % training.checkpoint_every == 0
            if due or done == steps or interrupted:
                self._save(done)
            progress(done, steps, f"loss {float(loss):.3f}")
            if interrupted:
                break
        return self._result(
            done,
            loss_value,
            clock,
            interrupted=interrupted,
            replaced_clips=replaced,
            worker_restarts=batches.worker_restarts,
        )

    def _log(
        self, done: int, clock: IntervalClock, rate: float, norm: float, gathered: GatheredBatch
    ) -> None:
        figures = self.step.negatives(gathered)
        if self.metrics is not None:
            self.metrics.write(
                done,
                {
                    "loss": self.losses.mean,
                    "learning_rate": rate,
                    "gradient_norm": norm,
                    "temperature": self.step.objective.temperature.item(),
                    **dataclasses.asdict(figures),
                    "clips_per_second": clock.clips_per_second,
                    "data_wait_share": clock.wait_share,
                },
            )
        clock.start_interval()
        self.losses.reset()

    def _validate(self, done: int) -> None:
        if self.held_out is None or self.metrics is None:
            return
        loss = self.step.held_out_loss(self.held_out)
        self.metrics.write(done, {"held_out_loss": float(loss)})

    def _save(self, done: int) -> None:
        distributed.average_buffers(self.modules["model"])
        if distributed.rank() == 0:
            self.checkpoints.save(done, self.modules, self.optimizer)
        distributed.barrier()

    def _result(
        self,
        done: int,
        loss: float,
        clock: IntervalClock,
        *,
        interrupted: bool,
        replaced_clips: int,
        worker_restarts: int,
    ) -> PretrainResult:
        model_path = self.path / "model"
        if not interrupted:
            every = self.config.training.validate_every
            if done > self.start_step and not (every and done % every == 0):
                self._validate(done)
            config = self.config
            pretrained = Pretrained(
                self.step.model,
                PretrainedConfig(clip=config.clip, input=config.input, model=config.model),
            )
            if distributed.rank() == 0:
                pretrained.save(model_path)
        return PretrainResult(
            run=self.path,
            steps=done,
            loss=loss,
            clips_per_second=clock.overall_clips_per_second,
            model=model_path,
            interrupted=interrupted,
            replaced_clips=replaced_clips,
            worker_restarts=worker_restarts,
        )

    def _keep_evidence(self, batch: Batch, loss: float, norm: float) -> str:
        """Put the plan of a bad batch on disk; returns what to tell the user."""
        path = self.path / f"not_finite_step_{batch.step:08d}_rank_{distributed.rank()}.json"
        clips = [
            {"title": title, "item": item, "start_seconds": start, "valid": valid}
            for title, item, start, valid in zip(
                batch.title.tolist(),
                batch.item.tolist(),
                batch.start_seconds.tolist(),
                batch.valid.tolist(),
                strict=True,
            )
        ]
        path.write_text(
            json.dumps(
                {
                    "step": batch.step,
                    "loss": str(loss),
                    "gradient_norm": str(norm),
                    "clips": clips,
                },
                indent=1,
            )
        )
        return (
            f"the loss of step {batch.step} is {loss}, the norm of its gradient {norm}; the "
            f"batch's clips are in {str(path)!r}. "
            "Resume from the last checkpoint with a lower optimizer.learning_rate, or with "
            "training.precision=float32"
        )

    def close(self) -> None:
        """End the loader and close the log."""
        if self.stream is not None:
            self.stream.close()
        if self.metrics is not None:
            self.metrics.close()
