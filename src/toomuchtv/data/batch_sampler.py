"""The paper's hierarchical sampling for any data set: a PyTorch batch sampler over group labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from typing import Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Sampler

from toomuchtv._internal import distributed
from toomuchtv._internal.random_numbers import FloatArray, IntArray
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.item_groups import ItemGroups
from toomuchtv.data.positions import SamplePositions
from toomuchtv.data.sampler import HierarchicalDraw, part_of_rank
from toomuchtv.data.valid_starts import ValidStarts

TitleWeights: TypeAlias = Literal["uniform", "sqrt", "size"] | Sequence[float] | FloatArray

T = TypeVar("T")


class StepBatchSampler(Sampler[list[T]], ABC):
    """A batch sampler whose batches are a pure function of the step number.

    Args:
        num_batches: Number of batches in one epoch of the data loader.
        start_step: Step of the first batch.
        rank: Number of this process. By default that of `torch.distributed` if it is initialized,
            else 0.
        world_size: Number of processes. The default is found as that of `rank`.
    """

    def __init__(
        self, *, num_batches: int, start_step: int, rank: int | None, world_size: int | None
    ) -> None:
        super().__init__()
        if num_batches < 1:
            raise ValueError(f"num_batches must be at least 1, got {num_batches}")
        self._num_batches = num_batches
        if (rank is None) != (world_size is None):
            raise ValueError(
                f"rank and world_size must be given together, got {rank} and {world_size}"
            )
        self._rank = distributed.rank() if rank is None else rank
        self._world_size = distributed.world_size() if world_size is None else world_size
        self.set_step(start_step)

    @abstractmethod
    def batch(self, step: int) -> list[T]:
        """Return this process's part of the batch of a step."""

    def set_step(self, step: int) -> None:
        """Continue with the batch of a step, such as the first one after a checkpoint."""
        if step < 0:
            raise ValueError(f"step must be at least 0, got {step}")
        self._step = step

    def __len__(self) -> int:
        """Return the number of batches that the next iteration yields."""
        return self._num_batches - self._step % self._num_batches

    def __iter__(self) -> Iterator[list[T]]:
        """Yield the batches of the rest of the current epoch; the next iteration continues.

        An iteration that is not finished is repeated by the next one, unless `set_step` is called:
        workers of a data loader fetch ahead, so the sampler cannot tell which batches were used.
        """
        step, stop = self._step, self._step + len(self)
        for number in range(step, stop):
            yield self.batch(number)
        if self._step == step:  # not if set_step was called meanwhile
            self._step = stop


class HierarchicalBatchSampler(StepBatchSampler[int]):
    """A batch sampler that draws a few titles and then several samples from each of them.

    Whatever recurs through a whole film or show makes clips of different titles easy to tell
    apart. Several clips of one title in a batch are hard negatives for each other. This is the
    sampling policy of "Watching Too Much Television is Good" (arXiv 2106.08513). It needs only
    the label of each sample, so it works with any map-style dataset:

        sampler = HierarchicalBatchSampler(labels, batch_size=64, clips_per_title=16)
        loader = DataLoader(dataset, batch_sampler=sampler, num_workers=4)

    The batch of a step is a pure function of the arguments and the step number. There is no
    state to save, the processes of a distributed run get disjoint parts of one batch, and a run
    resumes from a step number. The samples of a title are consecutive in the batch. An epoch
    visits each title once, if the weights are equal.

    Args:
        labels: Label of each sample. A plain label (a string or a number) names the title. A
            tuple, or a row of a 2-D array, names nested groups, the outermost first, such as
            `(show, season, episode)`. Its first `title_depth` entries name the title, and the
            whole tuple names the item, from which clips are drawn last.
        batch_size: Number of samples in a batch over all processes.
        clips_per_title: Number of samples drawn from each title.
        items_per_title: Number of items drawn from each title; each gives
            `clips_per_title / items_per_title` samples. Items are drawn in proportion to their
            number of samples. A large item may be drawn twice.
        title_depth: Number of leading entries of a tuple that name the title.
        weights: Relative probability of a title: "uniform", "sqrt" or "size" of its number of
            samples, or one positive number for each title in the order of `titles`.
        positions: Position of each sample inside its item, such as its time in seconds. Needed
            for `min_gap`.
        min_gap: Minimum distance of the positions of two samples of one item in a batch.
        seed: Seed of the run.
        rank: Number of this process. By default that of `torch.distributed` if it is initialized,
            else 0.
        world_size: Number of processes. The default is found as that of `rank`.
        num_batches: Number of batches in one epoch of the data loader. By default, as many as
            visit each title once.
        start_step: Step of the first batch.

    If a title has fewer samples than `clips_per_title`, or too few that are `min_gap` apart,
    samples of other titles fill the batch. If there are fewer titles than a batch needs, titles
    repeat. No batch contains a sample twice.

    Attributes:
        titles: The different titles in the order of their first appearance in `labels`.

    Raises:
        ValueError: A number is out of range, sizes do not divide, or the samples do not suffice
            for one batch.
    """

    def __init__(
        self,
        labels: Sequence[Hashable] | NDArray[np.generic],
        *,
        batch_size: int,
        clips_per_title: int,
        items_per_title: int = 1,
        title_depth: int = 1,
        weights: TitleWeights = "uniform",
        positions: ArrayLike | None = None,
        min_gap: float = 0.0,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        num_batches: int | None = None,
        start_step: int = 0,
    ) -> None:
        _check_sizes(batch_size, clips_per_title, items_per_title)
        paths = _paths(labels)
        if not paths:
            raise ValueError("labels must name the title of at least one sample, got none")
        place = _positions(positions, min_gap, len(paths))
        title_of: dict[tuple[Hashable, ...], int] = {}
        item_of: dict[tuple[Hashable, ...], int] = {}
        title = np.array([title_of.setdefault(p[:title_depth], len(title_of)) for p in paths])
        item = np.array([item_of.setdefault(p, len(item_of)) for p in paths])
        self.titles: list[Hashable] = [key[0] if len(key) == 1 else key for key in title_of]
        # Samples sorted by title, item and position; those of item i are the i-th run of them.
        self._order = np.lexsort((place, item, title))
        is_first = np.append(True, np.diff(item[self._order]) != 0)
        self._offsets = np.append(np.flatnonzero(is_first), len(paths))
        title_of_item = title[self._order][is_first]
        groups = _groups(title_of_item, np.diff(self._offsets), weights)
        policy = SamplingConfig(
            batch_size=batch_size,
            items_per_title=items_per_title,
            clips_per_item=clips_per_title // items_per_title,
        )
        rule = SamplePositions(
            self._offsets, place[self._order], min_gap=min_gap, max_clips=batch_size
        )
        if (capacity := int(rule.capacity.sum())) < batch_size:
            gap = f" at least {min_gap:g} apart" if min_gap > 0 else ""
            raise ValueError(
                f"batch_size must be at most the number of samples{gap}, which is {capacity}, "
                f"got {batch_size}"
            )
        self._draw = HierarchicalDraw(groups, policy, lambda step: rule)
        self._seed = seed
        if num_batches is None:
            num_batches = -(-len(title_of) // (batch_size // clips_per_title))
        super().__init__(
            num_batches=num_batches, start_step=start_step, rank=rank, world_size=world_size
        )
        self._part = part_of_rank(batch_size, self._rank, self._world_size)

    def batch(self, step: int) -> list[int]:
        """Return the indices of this process's samples in the batch of a step."""
        items, index, _ = self._draw.draw(self._seed, step)
        samples: IntArray = self._order[self._offsets[items] + index]
        batch: list[int] = samples[self._part].tolist()
        return batch


def _check_sizes(batch_size: int, clips_per_title: int, items_per_title: int) -> None:
    if batch_size < 2 or clips_per_title < 1 or items_per_title < 1:
        raise ValueError(
            "batch_size must be at least 2, clips_per_title and items_per_title at least 1, got "
            f"{batch_size}, {clips_per_title} and {items_per_title}"
        )
    if batch_size % clips_per_title:
        raise ValueError(
            f"batch_size ({batch_size}) must be a multiple of clips_per_title ({clips_per_title})"
        )
    if clips_per_title % items_per_title:
        raise ValueError(
            f"clips_per_title ({clips_per_title}) must be a multiple of items_per_title "
            f"({items_per_title})"
        )


def _paths(labels: Sequence[Hashable] | NDArray[np.generic]) -> list[tuple[Hashable, ...]]:
    """Return the label of each sample as a tuple."""
    values = labels.tolist() if hasattr(labels, "tolist") else labels
    return [tuple(v) if isinstance(v, (tuple, list)) else (v,) for v in values]


def _positions(positions: ArrayLike | None, min_gap: float, num_samples: int) -> FloatArray:
    """Return the position of each sample, float64 `[M]`; the order of the samples by default."""
    if not 0 <= min_gap < float("inf"):
        raise ValueError(f"min_gap must be a finite number and at least 0, got {min_gap}")
    if positions is None:
        if min_gap > 0:
            raise ValueError(
                f"min_gap={min_gap:g} needs the positions of the samples: give `positions` as well"
            )
        return np.arange(num_samples, dtype=np.float64)
    place = np.asarray(positions, np.float64)
    if place.shape != (num_samples,) or not np.isfinite(place).all():
        raise ValueError(
            f"positions must be one finite number for each of the {num_samples} samples, got "
            f"shape {place.shape}"
        )
    return place


def _groups(title_of_item: IntArray, num_samples: IntArray, weights: TitleWeights) -> ItemGroups:
    """Describe the items as `ItemGroups`, a sample being one frame of one second."""
    num_items = len(title_of_item)
    offsets = np.append(np.flatnonzero(np.diff(title_of_item, prepend=-1)), num_items)
    cumulative = np.append(0, np.cumsum(num_samples)).astype(np.float64)
    size = np.diff(cumulative[offsets])
    if isinstance(weights, str):
        named = {"uniform": np.ones_like(size), "sqrt": np.sqrt(size), "size": size}
        if weights not in named:
            raise ValueError(f"weights must be one of {', '.join(named)}, got {weights!r}")
        weight = named[weights]
    else:
        weight = np.asarray(weights, np.float64)
        if weight.shape != size.shape or not (np.isfinite(weight) & (weight > 0)).all():
            raise ValueError(
                f"weights must be one positive finite number for each of the {len(size)} titles, "
                f"got {weight.tolist() if weight.size < 10 else f'shape {weight.shape}'}"
            )
    return ItemGroups(
        rows=np.arange(num_items, dtype=np.int32),
        group_of=title_of_item.astype(np.int32),
        offsets=offsets,
        starts=ValidStarts(num_frames=num_samples, count=num_samples),
        frame_rate=np.ones(num_items),
        cumulative=cumulative,
        weights=weight,
        kind_offsets=np.array([0, len(size)]),
        kind_shares=np.ones(1),
    )
