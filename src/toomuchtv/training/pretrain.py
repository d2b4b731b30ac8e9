"""The loop: from a catalog to a run's folder with a model in it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor, nn

from toomuchtv import distributed
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.catalog.splits import TitleSplit, split_titles
from toomuchtv.catalog.store import Catalog
from toomuchtv.config import Config
from toomuchtv.errors import CheckpointError, ToomuchtvError
from toomuchtv.media.to_input import ToInput
from toomuchtv.objectives import InfoNCE
from toomuchtv.pretrained import Pretrained, PretrainedConfig, fresh_model
from toomuchtv.progress import ProgressHook, no_progress
from toomuchtv.sampling.loader import Batch, ClipReader, PlannedBatches, iterate_batches
from toomuchtv.sampling.plan import Planner
from toomuchtv.sampling.policy import PolicyConfig
from toomuchtv.training.checkpoint import Checkpoints
from toomuchtv.training.device import choose_device, choose_precision
from toomuchtv.training.metrics import MetricsLog, read_metrics
from toomuchtv.training.optimizer import build_optimizer, learning_rate
from toomuchtv.training.step import TrainingStep

_PARTIAL_CONFIG = "config.partial"


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
        self.start_step = _open_folder(path, config, self.checkpoints, resume=resume)
        snapshot = catalog.snapshot()
        split = split_titles(
            [title for title in catalog.titles() if title.id in set(snapshot.title_id.tolist())],
            held_out_share=training.held_out_share,
            seed=training.seed,
        )
        self._write_split(catalog, split)
        self.planner, self.batches = self._batches(catalog, snapshot, split)
        self.held_out = self._held_out_batches(catalog, snapshot, split)
        self.step = self._build_step()
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
        )

    def _held_out_batches(
        self, catalog: Catalog, snapshot: CatalogSnapshot, split: TitleSplit
    ) -> PlannedBatches | None:
        """One fixed batch of the held-out titles; None where they hold too little for it."""
        held_out = snapshot.of_titles(split.held_out)
        policy = PolicyConfig(name="uniform", batch_size=self.config.training.validation_clips)
        try:
            planner = Planner(held_out, policy, self.config.clip)
        except ValueError:
            return None
        reader = ClipReader(catalog.folder, held_out, catalog.proxies(), self.config.clip)
        return PlannedBatches(reader, planner, seed=self.config.training.seed)

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
        objective = InfoNCE(config.objective).to(device)
        self.optimizer = build_optimizer([model, objective], config.optimizer)
        self.losses = _Losses()
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
        )

    def train(self, stop: threading.Event, progress: ProgressHook) -> PretrainResult:
        """Take the steps that are left."""
        training = self.config.training
        steps = training.steps
        batches = iterate_batches(
            self.batches, start=self.start_step, stop=steps, num_workers=training.num_workers
        )
        clock = _Clock()
        done, replaced, interrupted = self.start_step, 0, False
        loss_value = _last_loss(self.path)
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
        return self._result(done, loss_value, clock, replaced, interrupted=interrupted)

    def _log(self, done: int, clock: _Clock, rate: float, norm: float, gathered: object) -> None:
        figures = self.step.negatives(gathered)  # type: ignore[arg-type]
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

    @torch.no_grad()
    def _validate(self, done: int) -> None:
        if self.held_out is None or self.metrics is None:
            return
        batch = self.held_out[0]
        self.step.model.eval()
        embeddings = self.step.embed(batch)
        self.step.model.train()
        role = torch.eye(len(batch), dtype=torch.int8, device=self.device)
        loss = self.step.objective(embeddings.video, embeddings.audio, role)
        self.metrics.write(done, {"held_out_loss": float(loss)})

    def _save(self, done: int) -> None:
        distributed.average_buffers(self.modules["model"])
        if distributed.rank() == 0:
            self.checkpoints.save(done, self.modules, self.optimizer)
        distributed.barrier()

    def _result(
        self, done: int, loss: float, clock: _Clock, replaced: int, *, interrupted: bool
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
            replaced_clips=replaced,
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
        """Close the log."""
        if self.metrics is not None:
            self.metrics.close()


class _Clock:
    """Where the time of an interval goes."""

    def __init__(self) -> None:
        self._begun = self._mark = time.perf_counter()
        self._all_clips = 0
        self.start_interval()

    def start_interval(self) -> None:
        self._start = time.perf_counter()
        self._waited = 0.0
        self._clips = 0

    def data_is_here(self) -> None:
        now = time.perf_counter()
        self._waited += now - self._mark

    def step_is_done(self, clips: int) -> None:
        self._mark = time.perf_counter()
        self._clips += clips
        self._all_clips += clips

    @property
    def clips_per_second(self) -> float:
        return self._clips / max(1e-9, time.perf_counter() - self._start)

    @property
    def overall_clips_per_second(self) -> float:
        return self._all_clips / max(1e-9, time.perf_counter() - self._begun)

    @property
    def wait_share(self) -> float:
        return self._waited / max(1e-9, time.perf_counter() - self._start)


class _Losses(nn.Module):
    """Losses since the last logged step; in checkpoints, so that a resumed run logs the same."""

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros((), dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def add(self, loss: float) -> None:
        self.total += loss
        self.count += 1

    def reset(self) -> None:
        self.total.zero_()
        self.count.zero_()

    @property
    def mean(self) -> float:
        return self.total.item() / max(1, int(self.count))


def _last_loss(path: Path) -> float:
    """The last loss that was logged; NaN if there is none."""
    losses = [line["loss"] for line in read_metrics(path) if "loss" in line]
    return losses[-1] if losses else math.nan


def _open_folder(path: Path, config: Config, checkpoints: Checkpoints, *, resume: bool) -> int:
    """Make or check the run's folder; returns the step to go on from."""
    config_path = path / "config.toml"
    text = config.to_toml()
    if config_path.exists():
        if not resume:
            raise CheckpointError(
                f"{str(path)!r} holds a run already: give --resume to go on with it, or another "
                "folder"
            )
        if config_path.read_text() != text:
            raise CheckpointError(
                f"the config differs from that of the run in {str(path)!r}: resume with the same "
                "settings, or start another run"
            )
    elif path.exists() and any(entry.name != _PARTIAL_CONFIG for entry in path.iterdir()):
        raise CheckpointError(f"{str(path)!r} is not empty and holds no run: give another folder")
    else:
        distributed.barrier()
        if distributed.rank() == 0:
            path.mkdir(parents=True, exist_ok=True)
            partial = path / _PARTIAL_CONFIG
            partial.write_text(text)
            os.replace(partial, config_path)
    distributed.barrier()
    steps = checkpoints.steps()
    return steps[-1] if steps else 0
