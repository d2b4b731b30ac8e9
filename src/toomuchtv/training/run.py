"""Everything that a pretraining builds once, before its first step."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from toomuchtv._internal import distributed
from toomuchtv.catalog.records import Proxy
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.catalog.store import Catalog
from toomuchtv.data.batches import PlannedBatches, blank_batch, draw_validation_batch
from toomuchtv.data.clip_reader import ClipReader
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.data.clip_transform import ClipTransform
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.errors import CatalogError
from toomuchtv.inference.pretrained import PretrainedConfig, PretrainedEncoder
from toomuchtv.inference.published_weights import load_published_weights
from toomuchtv.losses import build_loss
from toomuchtv.models import TwoTower
from toomuchtv.training.checkpoint import Checkpoints
from toomuchtv.training.device import choose_precision, keep_compiled_code
from toomuchtv.training.metrics import MetricsTracker, read_metrics
from toomuchtv.training.optimizer import ModelEma, build_optimizer
from toomuchtv.training.run_config import Config
from toomuchtv.training.run_folder import RunFolder
from toomuchtv.training.snapshot_record import SnapshotRecord, record_snapshot
from toomuchtv.training.split import (
    SPLIT_NAME,
    PreparedTitles,
    SplitOfCatalog,
    draw_split,
    match_split,
    prepared_titles,
    read_split,
)
from toomuchtv.training.step import TrainingStep
from toomuchtv.training.sync_batch_norm import convert_sync_batch_norm

_log = logging.getLogger(__name__)


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
            clip=self.config.clip,
            transform=self.config.transform,
            model=self.config.model.without_init(),
        )
        return PretrainedEncoder(self.step.evaluated_model, config).to(self.device)


@contextmanager
def open_run(
    catalog: Catalog,
    path: Path,
    config: Config,
    *,
    resume: bool,
    device: torch.device,
    train_new_titles: bool = False,
) -> Iterator[Run]:
    """Own the folder of a run, build its parts, and load the newest good checkpoint.

    Args:
        catalog: The catalog to train on.
        path: The folder.
        config: All settings.
        resume: True to continue a run that exists. If there is none, a new run begins.
        device: Device to train on.
        train_new_titles: Whether a resumed run trains on titles that it does not know yet.

    Raises:
        CheckpointError: The folder or its checkpoints cannot be used, or the published weights
            that a new run starts from cannot be read or do not fit the config.
        FolderInUseError: Another process trains in the folder.
        CatalogError: The catalog has no proxies, or none of the titles that the run trains on.
        ValueError: The config does not fit the catalog or the number of processes.
        OSError: The folder cannot be read or written.
    """
    training = config.training
    check_world_size(config, distributed.world_size())
    checkpoints = Checkpoints(
        path / "checkpoints", training.keep_checkpoints, training.keep_checkpoints_every
    )
    source = RunSource.of(catalog, config.sampling)
    with ExitStack() as stack:
        folder = RunFolder(path, config, checkpoints, source.titles)

        def claim() -> list[int]:
            found = folder.claim(stack, resume=resume, train_new_titles=train_new_titles)
            return [folder.start_step, len(found.train), *found.train, *found.held_out]

        start_step, num_train, *title_ids = distributed.on_first_rank(claim, device)
        train = source.snapshot.of_titles(title_ids[:num_train])
        held_out = source.snapshot.of_titles(title_ids[num_train:])
        if not len(train):
            raise CatalogError(
                f"no title that the run in {str(path)!r} trains on is prepared in the catalog "
                f"{str(catalog.folder)!r}: pass the catalog that it was started with"
            )
        now = record_snapshot(source.proxies, train, held_out, source.names)
        _check_equal_on_all_ranks(now, device)
        run = Run(
            path=path,
            config=config,
            device=device,
            start_step=start_step,
            batches=PlannedBatches(
                ClipReader(
                    catalog.folder, train, source.proxies, config.clip,
                    audio_shift_seconds=config.augmentation.audio_shift_seconds,
                ),
                ClipSampler(train, config.sampling, config.clip),
                seed=training.seed,
                rank=distributed.rank(),
                world_size=distributed.world_size(),
                on_bad_clip=training.on_bad_clip,
            ),
            held_out=draw_validation_batch(
                catalog.folder, held_out, source.proxies, config.clip,
                num_clips=training.validation_clips, seed=training.seed,
            ),
            item_names=tuple(source.names[item_id] for item_id in train.item_id.tolist()),
            step=build_step(config, device, published_weights=start_step == 0),
            tracker=MetricsTracker(last_loss=_last_loss(path)),
            checkpoints=checkpoints,
        )  # fmt: skip
        distributed.on_first_rank(lambda: folder.write(now), device)
        if start_step:
            checkpoints.load(start_step, run.modules, run.step.optimizer)
        if training.compiles_on(device.type):
            num_clips = config.sampling.batch_size // distributed.world_size()
            _compile(run.step, blank_batch(num_clips, run.batches.reader), training.compile)
        yield run


def _compile(step: TrainingStep, batch: ClipBatch, setting: bool | Literal["auto"]) -> None:
    """Compile a step. With "auto", try it on a batch first, and undo it if that fails."""
    keep_compiled_code()
    step.compile()
    if setting is True:
        return
    problem = step.try_on(batch)
    device = next(step.model.parameters()).device
    if distributed.any_rank(problem is not None, device):  # all processes do the same
        step.do_not_compile()
        _log.warning(
            "torch.compile does not work here (%s): this run is not compiled. Set "
            "training.compile=false to start without a trial",
            problem or "on another process",
        )


def _last_loss(path: Path) -> float:
    losses = [line["loss"] for line in read_metrics(path) if line.get("loss") is not None]
    return losses[-1] if losses else float("nan")


def _check_equal_on_all_ranks(record: SnapshotRecord, device: torch.device) -> None:
    """Check that all processes read the same catalog, so that their batches fit together.

    Raises:
        CatalogError: They do not.
    """
    mine = [int(digest[:15], 16) for digest in (record.train, record.held_out)]
    if distributed.any_rank(distributed.on_first_rank(lambda: mine, device) != mine, device):
        raise CatalogError(
            "the processes of this job read different catalogs: give all of them the same folder, "
            "and do not scan or prepare while a job starts"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSource:
    """What a run reads from its catalog when it starts.

    Attributes:
        snapshot: The prepared items.
        titles: Their titles.
        proxies: Their proxies, by item id.
        names: Their display names, by item id.
    """

    snapshot: CatalogSnapshot
    titles: PreparedTitles
    proxies: dict[int, Proxy]
    names: dict[int, str]

    @classmethod
    def of(cls, catalog: Catalog, sampling: SamplingConfig) -> RunSource:
        """Read a catalog, with the segments that its batches and its validation batch depend on.

        Raises:
            CatalogError: No item has a proxy.
        """
        kinds = sampling.segment_kinds | SamplingConfig().segment_kinds
        snapshot = catalog.snapshot(kinds=kinds)
        if len(snapshot) == 0:
            raise CatalogError(
                f"no item of the catalog {str(catalog.folder)!r} has a proxy: run `toomuchtv "
                "prepare`"
            )
        return cls(
            snapshot=snapshot,
            titles=prepared_titles(catalog, snapshot),
            proxies=catalog.proxies(),
            names=dict(zip(snapshot.item_id.tolist(), item_names(catalog, snapshot), strict=True)),
        )


def build_step(
    config: Config, device: torch.device, *, published_weights: bool = False
) -> TrainingStep:
    """Build the training step of a run with fresh weights.

    Args:
        config: All settings.
        device: Device to train on.
        published_weights: Whether encoders start from the folders `model.video.init` and
            `model.audio.init`, where these are set. Only rank 0 reads them.

    Raises:
        CheckpointError: A folder cannot be read, or its weights do not fit the config.
        ValueError: A loss of the user's own cannot be built; see `build_loss`.
    """
    model = build_model(config, device).to(device)
    if published_weights:
        for encoder, settings in (
            (model.video_encoder, config.model.video),
            (model.audio_encoder, config.model.audio),
        ):
            if folder := getattr(settings, "init", ""):
                _start_from(encoder, folder, device)
    loss = build_loss(
        config.loss, embedding_dim=config.model.embedding_dim, seed=config.training.seed
    ).to(device)
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
        ema=ModelEma(model, decay) if decay else None,
    )


def _start_from(encoder: nn.Module, folder: str, device: torch.device) -> None:
    """Load published weights on rank 0, and give them to all others."""

    def load() -> tuple[()]:
        load_published_weights(encoder, folder)
        return ()

    distributed.on_first_rank(load, device)
    distributed.broadcast_module(encoder)


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


def titles_of_run(
    catalog: Catalog, config: Config, path: Path | None = None
) -> tuple[CatalogSnapshot, SplitOfCatalog]:
    """Return the prepared items of a catalog, and how a run splits its titles.

    Args:
        catalog: The catalog.
        config: The settings of the run.
        path: Folder of the run. If it has a split, that counts; otherwise a new one is drawn.
    """
    snapshot = catalog.snapshot(kinds=config.sampling.segment_kinds)
    titles = prepared_titles(catalog, snapshot)
    has_split = path is not None and (path / SPLIT_NAME).exists()
    split = read_split(path) if path and has_split else draw_split(titles, config)
    return snapshot, match_split(split, titles)


def item_names(catalog: Catalog, snapshot: CatalogSnapshot) -> tuple[str, ...]:
    """Return the display name of each row of a snapshot: title, year, season and episode."""
    titles = {title.id: title for title in catalog.titles()}
    items = {item.item_id: item for item in catalog.item_labels()}
    names = []
    for item_id in snapshot.item_id.tolist():
        item = items[item_id]
        title = titles[item.title_id]
        name = title.name if title.year is None else f"{title.name} ({title.year})"
        if item.season is not None and item.episode is not None:
            name += f" S{item.season:02d}E{item.episode:02d}"
        names.append(name)
    return tuple(names)
