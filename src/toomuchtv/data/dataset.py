"""Clips of a catalog for PyTorch's `DataLoader`: a map-style dataset and its batch sampler."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.data.batch_sampler import StepBatchSampler
from toomuchtv.data.clip_reader import ClipReader
from toomuchtv.data.clip_specs import ClipBatch, ClipSpec, ClipSpecs
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.sampler import ClipSampler, part_of_rank
from toomuchtv.errors import MediaError
from toomuchtv.media.clip import ClipFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSample:
    """One decoded clip.

    Attributes:
        spec: Where it comes from.
        video: uint8 `[T, S * 3 / 2, S]`, YUV 4:2:0 planes; see `ClipTransform`.
        waveform: float32 `[num_samples]`, in [-1, 1].
    """

    spec: ClipSpec
    video: Tensor
    waveform: Tensor


class CatalogDataset(Dataset[ClipSample]):
    """A map-style dataset over the clips of a prepared catalog: `dataset[spec]` decodes a clip.

    The index is a `ClipSpec`, which `ClipBatchSampler` draws:

        dataset = CatalogDataset("cat", clip=ClipFormat(frames=16, frame_rate=8.0))
        sampler = ClipBatchSampler(dataset, SamplingConfig(batch_size=64), seed=0)
        loader = DataLoader(
            dataset, batch_sampler=sampler, collate_fn=collate_clips, num_workers=4
        )

    A clip gives the same tensors with any number of workers.

    Args:
        catalog: An open catalog, or the path of one. It may be closed afterwards.
        clip: Frames and audio of a clip.
        snapshot: Items to read, such as those of some titles; all prepared items if omitted.
        max_open: Number of proxies that each process keeps open.

    Attributes:
        snapshot: The prepared items; `ClipSpec.item` is a row of it.
        clip: See above.

    Raises:
        CatalogError: The path is not a catalog, or an item of the snapshot has no proxy any more.
        ValueError: The catalog's proxies do not fit the clip format.
    """

    def __init__(
        self,
        catalog: Catalog | str | os.PathLike[str],
        clip: ClipFormat | None = None,
        *,
        snapshot: CatalogSnapshot | None = None,
        max_open: int = 64,
    ) -> None:
        with (
            contextlib.nullcontext(catalog)
            if isinstance(catalog, Catalog)
            else open_catalog(catalog)
        ) as opened:
            self.snapshot = opened.snapshot() if snapshot is None else snapshot
            self.clip = clip or ClipFormat()
            self._reader = ClipReader(
                opened.folder, self.snapshot, opened.proxies(), self.clip, max_open=max_open
            )

    def __getitem__(self, spec: ClipSpec) -> ClipSample:
        """Decode a clip.

        Raises:
            MediaError: The item's proxy is missing, damaged or too short.
        """
        return self.__getitems__([spec])[0]

    def __getitems__(self, specs: Sequence[ClipSpec]) -> list[ClipSample]:
        """Decode several clips; PyTorch's data loader calls this with a whole batch.

        Clips of one item are read in order of time, which is faster than one call for each.
        """
        samples: dict[int, ClipSample] = {}
        for index in self._reader.reading_order(ClipSpecs.from_clips(specs)):
            video = np.empty(self._reader.video_shape, np.uint8)
            waveform = np.empty(self.clip.num_samples, np.float32)
            try:
                self._reader.read(specs[index], video, waveform)
            except MediaError as error:
                # PyTorch raises the error of a worker again from its message alone, which the
                # subclasses of MediaError do not support.
                raise MediaError(str(error)) from error
            samples[index] = ClipSample(
                spec=specs[index],
                video=torch.from_numpy(video),
                waveform=torch.from_numpy(waveform),
            )
        return [samples[index] for index in range(len(specs))]


class ClipBatchSampler(StepBatchSampler[ClipSpec]):
    """A batch sampler that draws the clips of each batch from a catalog, by a sampling policy.

    The batch of a step is a pure function of the arguments and the step number, and the processes
    of a distributed run get disjoint parts of it; see `HierarchicalBatchSampler`.

    Args:
        dataset: The dataset to draw from.
        sampling: The policy; the defaults if omitted.
        seed: Seed of the run.
        rank: Number of this process. By default that of `torch.distributed` if it is initialized,
            else 0.
        world_size: Number of processes. The default is found as that of `rank`.
        num_batches: Number of batches in one epoch of the data loader. By default as many as
            visit each title once; with `uniform` sampling, as many as cover the catalog's
            duration with clips.
        start_step: Step of the first batch.

    Attributes:
        sampler: The `ClipSampler`, whose `draw` returns the batch of a step as `ClipSpecs`.

    Raises:
        ValueError: The catalog cannot fill a batch, or a number is out of range.
    """

    def __init__(
        self,
        dataset: CatalogDataset,
        sampling: SamplingConfig | None = None,
        *,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        num_batches: int | None = None,
        start_step: int = 0,
    ) -> None:
        sampling = sampling or SamplingConfig()
        self.sampler = ClipSampler(dataset.snapshot, sampling, dataset.clip)
        self._seed = seed
        if num_batches is None:
            num_draws: float = self.sampler.groups.num_groups
            if sampling.name == "uniform":
                num_draws = self.sampler.groups.cumulative[-1] / dataset.clip.span_seconds
            num_batches = max(1, int(np.ceil(num_draws / sampling.draws_per_step()[0][1])))
        super().__init__(
            num_batches=num_batches, start_step=start_step, rank=rank, world_size=world_size
        )
        part_of_rank(sampling.batch_size, self._rank, self._world_size)

    def batch(self, step: int) -> list[ClipSpec]:
        """Return the clips of this process in the batch of a step."""
        return list(
            self.sampler.draw(
                seed=self._seed, step=step, rank=self._rank, world_size=self._world_size
            )
        )


def collate_clips(samples: Sequence[ClipSample]) -> ClipBatch:
    """Stack decoded clips to a `ClipBatch`: the `collate_fn` of a data loader."""
    return ClipBatch(
        specs=ClipSpecs.from_clips(sample.spec for sample in samples),
        valid=torch.ones(len(samples), dtype=torch.bool),
        video=torch.stack([sample.video for sample in samples]),
        waveform=torch.stack([sample.waveform for sample in samples]),
    )
