"""Everything that a run builds once, before its first step."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from toomuchtv._internal import distributed
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.catalog.splits import TitleSplit, split_titles
from toomuchtv.catalog.store import Catalog
from toomuchtv.data.batches import PlannedBatches
from toomuchtv.data.clip_reader import ClipReader
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.data.clip_transform import ClipTransform
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.data.validation_batch import draw_validation_batch
from toomuchtv.inference.pretrained import fresh_model
from toomuchtv.losses import build_loss
from toomuchtv.models import TwoTower
from toomuchtv.training.checkpoint import Checkpoints
from toomuchtv.training.device import choose_precision
from toomuchtv.training.meters import IntervalLosses
from toomuchtv.training.optimizer import build_ema, build_optimizer
from toomuchtv.training.run_config import Config
from toomuchtv.training.run_folder import open_run_folder
from toomuchtv.training.step import TrainingStep
from toomuchtv.training.synchronized_norm import synchronize_norms


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One pretraining, ready to go on from `start_step`.

    Attributes:
        path: Its folder.
        config: All settings.
        device: Where it computes.
        start_step: Steps that are done already.
        data: What it trains on, and what it holds out.
        step: What is done with a batch.
        ema: The exponential moving average of the model, if the config asks for one.
        losses: Of the interval under way.
        checkpoints: Those of the run.
        optimizer: Over all that is trained.
    """

    path: Path
    config: Config
    device: torch.device
    start_step: int
    data: RunData
    step: TrainingStep
    ema: AveragedModel | None
    losses: IntervalLosses
    checkpoints: Checkpoints
    optimizer: torch.optim.Optimizer

    @property
    def best_model(self) -> TwoTower:
        """The model that is evaluated and saved: the average, where there is one."""
        if self.ema is None:
            return self.step.model
        assert isinstance(self.ema.module, TwoTower)
        return self.ema.module

    @property
    def modules(self) -> dict[str, nn.Module]:
        """All that a checkpoint holds besides the optimizer, by name."""
        parts: dict[str, nn.Module] = {
            "model": self.step.model,
            "loss": self.step.loss,
            "losses": self.losses,
        }
        return parts if self.ema is None else {**parts, "ema": self.ema}

    def settle(self) -> None:
        """After a step: make the processes' running statistics alike, and take the average on.

        From the first step on all are under way, and a process that is late is a process that is
        lost.
        """
        distributed.set_patience(self.config.training.distributed_timeout_seconds)
        if not self.config.training.sync_batch_norm:
            distributed.average_buffers(self.step.model)
        if self.ema is not None:
            self.ema.update_parameters(self.step.model)

    def save(self, done: int) -> None:
        """Write the checkpoint of the state after `done` steps."""
        if distributed.rank() == 0:
            self.checkpoints.save(done, self.modules, self.optimizer)
        distributed.barrier()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """What a run reads.

    Attributes:
        train: The items trained on.
        split: Which titles are on which side.
        planner: What is in each batch.
        batches: Of this process, by step.
        held_out: A fixed batch of the titles held out; None where they have no room for one.
        item_names: What a person calls each row of `train`.
    """

    train: CatalogSnapshot
    split: TitleSplit
    planner: ClipSampler
    batches: PlannedBatches
    held_out: ClipBatch | None
    item_names: tuple[str, ...]


def assemble(
    catalog: Catalog, path: Path, config: Config, *, resume: bool, device: torch.device
) -> Run:
    """Open the run's folder, build what it needs and put the newest checkpoint back.

    Raises:
        CheckpointError: The folder or its checkpoints cannot be used.
        CatalogError: The catalog has no proxies.
        ValueError: The config does not fit the catalog or the number of processes.
    """
    training = config.training
    check_world_size(config, distributed.world_size())
    checkpoints = Checkpoints(
        path / "checkpoints", training.keep_checkpoints, training.keep_checkpoints_every
    )
    start_step = open_run_folder(path, config, checkpoints, resume=resume, device=device)
    data = read_data(catalog, config)
    if distributed.rank() == 0:
        _write_split(path, catalog, data.split)
    model = build_model(config).to(device)
    loss = build_loss(config.loss, embedding_dim=config.model.embedding_dim)
    loss = loss.to(device)
    optimizer = build_optimizer([model, loss], config.optimizer)
    run = Run(
        path=path,
        config=config,
        device=device,
        start_step=start_step,
        data=data,
        step=TrainingStep(
            model=model,
            loss=loss,
            to_input=ClipTransform(config.transform, config.augmentation).to(device),
            optimizer=optimizer,
            roles=config.pair_labels,
            precision=choose_precision(training.precision, device),
            max_gradient_norm=config.optimizer.max_gradient_norm or float("inf"),
            chunk_size=training.chunk_size,
        ),
        ema=build_ema(model, training.ema_decay) if training.ema_decay else None,
        losses=IntervalLosses(),
        checkpoints=checkpoints,
        optimizer=optimizer,
    )
    if start_step:
        checkpoints.load(start_step, run.modules, optimizer)
    if training.compile:
        model.compile()
    return run


def check_world_size(config: Config, world_size: int) -> None:
    """See that the processes get equal shares of a batch.

    Raises:
        ValueError: They do not.
    """
    size = config.sampling.batch_size
    if size % world_size:
        fitting = [count for count in range(1, size + 1) if size % count == 0]
        near = [max(x for x in fitting if x < world_size)]
        near += [x for x in fitting if x > world_size][:1]
        raise ValueError(
            f"sampling.batch_size={size} cannot be shared equally by {world_size} processes: "
            f"start {' or '.join(map(str, near))} of them, or set a batch size that is a multiple "
            f"of {world_size}"
        )


def build_model(config: Config) -> TwoTower:
    """The model as it is trained: fresh weights, with what the training settings change in it."""
    model = fresh_model(config.model, config.training.seed)
    model.video_encoder.recompute = config.training.activation_checkpointing
    model.audio_encoder.recompute = config.training.activation_checkpointing
    if config.training.sync_batch_norm:
        synchronize_norms(model)
    return model


def split_of(catalog: Catalog, config: Config) -> TitleSplit:
    """Which of the prepared titles are trained on, and which are held out."""
    prepared = set(catalog.snapshot().title_id.tolist())
    return split_titles(
        [title for title in catalog.titles() if title.id in prepared],
        held_out_share=config.training.held_out_share,
        seed=config.training.seed,
        duplicates=catalog.title_duplicates(),
    )


def read_data(catalog: Catalog, config: Config) -> RunData:
    """Split the catalog and plan this process's batches.

    Raises:
        CatalogError: The catalog has no proxies.
        ValueError: The config does not fit the catalog.
    """
    training, snapshot, split = config.training, catalog.snapshot(), split_of(catalog, config)
    train = snapshot.of_titles(split.train)
    proxies = catalog.proxies()
    planner = ClipSampler(train, config.sampling, config.clip)
    return RunData(
        train=train,
        split=split,
        planner=planner,
        batches=PlannedBatches(
            ClipReader(catalog.folder, train, proxies, config.clip),
            planner,
            seed=training.seed,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
            on_bad_clip=training.on_bad_clip,
        ),
        held_out=draw_validation_batch(
            catalog.folder,
            snapshot.of_titles(split.held_out),
            proxies,
            config.clip,
            num_clips=training.validation_clips,
            seed=training.seed,
        ),
        item_names=item_names(catalog, train),
    )


def item_names(catalog: Catalog, snapshot: CatalogSnapshot) -> tuple[str, ...]:
    """What a person calls each row of a snapshot: title, year, season and episode."""
    titles = {title.id: title for title in catalog.titles()}
    items = {item.id: item for item in catalog.items(include_extras=True, include_missing=True)}
    names = []
    for item_id in snapshot.item_id.tolist():
        item = items[item_id]
        title = titles[item.title_id]
        name = title.name if title.year is None else f"{title.name} ({title.year})"
        if item.season is not None and item.episode is not None:
            name += f" S{item.season:02d}E{item.episode:02d}"
        names.append(name)
    return tuple(names)


def _write_split(path: Path, catalog: Catalog, split: TitleSplit) -> None:
    names = {
        title.id: {"kind": str(title.kind), "name": title.name, "year": title.year}
        for title in catalog.titles()
    }
    content = {
        "train": [names[title_id] for title_id in split.train],
        "held_out": [names[title_id] for title_id in split.held_out],
    }
    partial = path / "split.partial"
    partial.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(partial, path / "split.json")
