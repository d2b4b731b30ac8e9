"""Everything that a pretraining builds once, before its first step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from toomuchtv._internal import distributed
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.catalog.splits import TitleSplit, split_titles
from toomuchtv.catalog.store import Catalog
from toomuchtv.data.batches import PlannedBatches, draw_validation_batch
from toomuchtv.data.clip_reader import ClipReader
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.data.clip_transform import ClipTransform
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.inference.pretrained import PretrainedConfig, PretrainedEncoder
from toomuchtv.losses import build_loss
from toomuchtv.models import TwoTower
from toomuchtv.training.checkpoint import Checkpoints
from toomuchtv.training.device import choose_precision
from toomuchtv.training.metrics import MetricsTracker, read_metrics
from toomuchtv.training.optimizer import build_ema, build_optimizer
from toomuchtv.training.run_config import Config
from toomuchtv.training.run_folder import open_run_folder, write_split
from toomuchtv.training.step import TrainingStep
from toomuchtv.training.sync_batch_norm import convert_sync_batch_norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A pretraining that is ready to continue after `start_step` steps.

    Attributes:
        path: Folder of the run.
        config: All settings.
        device: Device that it trains on.
        start_step: Number of steps that are done.
        batches: Batches of this process, by step.
        held_out: A fixed batch of held-out titles; None if they have too few valid starts.
        item_names: Display name of each item that is trained on, by `ClipSpec.item`.
        step: The training step, which owns model, loss, optimizer and EMA.
        tracker: Metrics of the current interval.
        checkpoints: Checkpoints of the run.
    """

    path: Path
    config: Config
    device: torch.device
    start_step: int
    batches: PlannedBatches
    held_out: ClipBatch | None
    item_names: tuple[str, ...]
    step: TrainingStep
    tracker: MetricsTracker
    checkpoints: Checkpoints

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Everything that a checkpoint holds besides the optimizer, by name."""
        return {**self.step.modules, "loss_meter": self.tracker.loss_meter}

    def save(self, done: int) -> None:
        """Write the checkpoint of the state after `done` steps."""
        if distributed.rank() == 0:
            self.checkpoints.save(done, self.modules, self.step.optimizer)
        distributed.barrier()

    def encoder(self) -> PretrainedEncoder:
        """Return the encoders as users will load them. They are put in evaluation mode."""
        config = PretrainedConfig(
            clip=self.config.clip, transform=self.config.transform, model=self.config.model
        )
        return PretrainedEncoder(self.step.evaluated_model, config).to(self.device)


def open_run(
    catalog: Catalog, path: Path, config: Config, *, resume: bool, device: torch.device
) -> Run:
    """Open the folder of a run, build its parts, and load the newest good checkpoint.

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
    snapshot, split, proxies = catalog.snapshot(), split_catalog(catalog, config), catalog.proxies()
    train = snapshot.of_titles(split.train)
    batches = PlannedBatches(
        ClipReader(catalog.folder, train, proxies, config.clip),
        ClipSampler(train, config.sampling, config.clip),
        seed=training.seed,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        on_bad_clip=training.on_bad_clip,
    )
    held_out = draw_validation_batch(
        catalog.folder,
        snapshot.of_titles(split.held_out),
        proxies,
        config.clip,
        num_clips=training.validation_clips,
        seed=training.seed,
    )
    if distributed.rank() == 0:
        write_split(path, catalog.titles(), split)
    losses = [line["loss"] for line in read_metrics(path) if "loss" in line]
    run = Run(
        path=path,
        config=config,
        device=device,
        start_step=start_step,
        batches=batches,
        held_out=held_out,
        item_names=item_names(catalog, train),
        step=build_step(config, device),
        tracker=MetricsTracker(last_loss=losses[-1] if losses else float("nan")),
        checkpoints=checkpoints,
    )
    if start_step:
        checkpoints.load(start_step, run.modules, run.step.optimizer)
    if training.compile:
        run.step.model.compile()
    return run


def build_step(config: Config, device: torch.device) -> TrainingStep:
    """Build the training step of a run with fresh weights."""
    model = build_model(config, device).to(device)
    loss = build_loss(config.loss, embedding_dim=config.model.embedding_dim).to(device)
    decay = config.training.ema_decay
    return TrainingStep(
        model=model,
        loss=loss,
        transform=ClipTransform(config.transform, config.augmentation).to(device),
        optimizer=build_optimizer([model, loss], config.optimizer),
        pair_labels=config.pair_labels,
        precision=choose_precision(config.training.precision, device),
        max_gradient_norm=config.optimizer.max_gradient_norm or float("inf"),
        chunk_size=config.training.chunk_size,
        ema=build_ema(model, decay) if decay else None,
    )


def build_model(config: Config, device: torch.device) -> TwoTower:
    """Build the model with fresh weights and with what the training settings change in it."""
    model = TwoTower.from_config(config.model, seed=config.training.seed)
    model.video_encoder.activation_checkpointing = config.training.activation_checkpointing
    model.audio_encoder.activation_checkpointing = config.training.activation_checkpointing
    if config.training.sync_batch_norm:
        convert_sync_batch_norm(model, device)
    return model


def check_world_size(config: Config, world_size: int) -> None:
    """Check that the processes get equal parts of a batch.

    Raises:
        ValueError: The batch size is not a multiple of the number of processes. The message names
            the closest numbers that divide it.
    """
    size = config.sampling.batch_size
    if size % world_size:
        divisors = [count for count in range(1, size + 1) if size % count == 0]
        near = [max(count for count in divisors if count < world_size)]
        near += [count for count in divisors if count > world_size][:1]
        raise ValueError(
            f"sampling.batch_size={size} cannot be split equally over {world_size} processes: "
            f"start {' or '.join(map(str, near))} processes, or set a batch size that is a "
            f"multiple of {world_size}"
        )


def split_catalog(catalog: Catalog, config: Config) -> TitleSplit:
    """Split the prepared titles into those that are trained on and those that are held out."""
    prepared = set(catalog.snapshot().title_id.tolist())
    return split_titles(
        [title for title in catalog.titles() if title.id in prepared],
        held_out_share=config.training.held_out_share,
        seed=config.training.seed,
        duplicates=catalog.title_duplicates(),
    )


def item_names(catalog: Catalog, snapshot: CatalogSnapshot) -> tuple[str, ...]:
    """Return the display name of each row of a snapshot: title, year, season and episode."""
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
