"""What the other sampling policy would have offered, estimated while a run trains.

Embedding a second batch would cost a second forward pass. So the embeddings of the last steps are
kept, and a batch as the other policy would have drawn it is composed of them. It is an estimate:
the weights moved on between the steps that it mixes (a moment embedded some steps ago lies where
an older model put it), clips came with their augmentation, and only titles that were drawn lately
can be in it. `toomuchtv diagnose` draws such batches anew, by the exact rule, for one model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toomuchtv._internal.random_numbers import FloatArray, uniforms
from toomuchtv.data.clip_specs import TENSOR_COLUMNS
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.pair_labels import PairLabelConfig, PairLabels
from toomuchtv.data.policy_variants import opposite_policy
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.losses import NegativeFigures, negative_figures
from toomuchtv.training.step import GatheredBatch

IntArray = NDArray[np.int64]

#: Clips kept: so many batches, but within these bounds; at 256 dimensions 1 kB a clip, in memory
#: and in every checkpoint.
_BATCHES_KEPT, _FEWEST_KEPT, _MOST_KEPT = 16, 1024, 16_384
_DRAW = 200  # stream of random numbers
_PREFIX = "alternative_"
_WHEREABOUTS = ("title", "item", "start_seconds", "audio_track", "recurrence", "valid")


class AlternativeNegatives(nn.Module):
    """Embeddings of recent steps, and the figures of a batch composed of them.

    All state is in buffers: checkpoints hold it, and a resumed run logs what an uninterrupted one
    would. Embeddings are kept as float16, which moves a similarity by about 1e-4.

    Args:
        planner: What the run trains with; its policy's other is composed.
        roles: Which pairs are negatives.
        embedding_dim: Of the embeddings.
        seed: Of the run.
        device: Where the embeddings lie.
    """

    video: Tensor
    audio: Tensor
    title: Tensor
    item: Tensor
    start_seconds: Tensor
    audio_track: Tensor
    recurrence: Tensor
    valid: Tensor
    count: Tensor

    def __init__(
        self,
        planner: ClipSampler,
        roles: PairLabelConfig,
        *,
        embedding_dim: int,
        seed: int,
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        self._trained_with = planner.policy
        self._roles, self._seed = roles, seed
        groups = planner.groups
        self._title_weight = groups.weights
        # Usable seconds by row of the snapshot: what uniform sampling weights an item by.
        self._item_seconds = np.zeros(int(groups.rows.max()) + 1)
        self._item_seconds[groups.rows] = np.diff(groups.cumulative)
        size = planner.policy.batch_size
        capacity = max(size, min(max(_BATCHES_KEPT * size, _FEWEST_KEPT), _MOST_KEPT))
        shapes = {
            "video": ((capacity, embedding_dim), torch.float16),
            "audio": ((capacity, embedding_dim), torch.float16),
            "title": ((capacity,), torch.int64),
            "item": ((capacity,), torch.int64),
            "start_seconds": ((capacity,), torch.float64),
            "audio_track": ((capacity,), torch.int64),
            "recurrence": ((capacity,), torch.int64),
            "valid": ((capacity,), torch.bool),
        }
        for name, (shape, dtype) in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=dtype, device=device))
        # Not on the device: asking it how many there are would make every step wait.
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def add(self, gathered: GatheredBatch) -> None:
        """Keep a step's whole batch in place of the oldest clips."""
        kept = {"video": gathered.video, "audio": gathered.audio}
        kept |= {name: gathered.roles.column(name) for name in _WHEREABOUTS}
        size, capacity = len(gathered.video), len(self.video)
        begun = int(self.count) % capacity
        for first, stop, at in (
            (0, min(size, capacity - begun), begun),
            (min(size, capacity - begun), size, 0),
        ):
            for name, values in kept.items():
                getattr(self, name)[at : at + stop - first] = values[first:stop]
        self.count += size

    def figures(self, step: int, temperature: float) -> dict[str, float]:
        """Figures of a batch as the other policy might have drawn it at this step.

        Returns:
            Those of `NegativeFigures`, their names led by `alternative_`, and
            `alternative_clips`: of how many clips. All but that are NaN where too few are kept.
        """
        chosen = self._compose(step)
        if len(chosen) < 2:
            names = [field.name for field in fields(NegativeFigures)]
            return {f"{_PREFIX}clips": 0.0, **{_PREFIX + name: math.nan for name in names}}
        rows = torch.from_numpy(chosen).to(self.video.device)
        where = {name: getattr(self, name)[rows] for name in _WHEREABOUTS}
        figures = negative_figures(
            nn.functional.normalize(self.video[rows].float(), dim=1),
            nn.functional.normalize(self.audio[rows].float(), dim=1),
            PairLabels(
                self._roles, torch.stack([where[name].double() for name in TENSOR_COLUMNS], dim=1)
            ),
            title=where["title"],
            item=where["item"],
            temperature=temperature,
        )
        return {
            f"{_PREFIX}clips": float(len(chosen)),
            **{_PREFIX + name: value for name, value in asdict(figures).items()},
        }

    def _compose(self, step: int) -> IntArray:
        """Rows of the buffer that make the batch, `[M]`, M at most the batch size."""
        policy = opposite_policy(self._trained_with, step)
        kept = min(int(self.count), len(self.video))
        rows = np.flatnonzero(self.valid[:kept].cpu().numpy())
        title, item = (values[:kept].cpu().numpy()[rows] for values in (self.title, self.item))
        start = self.start_seconds[:kept].cpu().numpy()[rows]
        draws = uniforms(self._seed, _DRAW, step, np.arange(len(rows)))
        gap = policy.min_gap_seconds
        if policy.name == "uniform":
            # A moment of the items seen, by their duration, however often each was drawn.
            weight = self._item_seconds[item] / np.bincount(item, minlength=1)[item]
            order = weighted_order(draws, weight)
            return rows[apart(order, item, start, gap)[: policy.batch_size]]
        chosen = apart(np.argsort(draws), item, start, gap)
        return rows[titles_first(chosen, title, item, draws, self._title_weight, policy)]


def weighted_order(draws: FloatArray, weight: FloatArray) -> IntArray:
    """Order in which weighted draws without replacement take things, `[n]`.

    Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006: by u^(1 / w).
    """
    with np.errstate(divide="ignore"):
        return np.argsort(-np.log(draws) / weight, kind="stable")


def apart(order: IntArray, item: IntArray, start: FloatArray, gap_seconds: float) -> IntArray:
    """What is left of an order where nothing is nearer than the gap to what came before it.

    The same moment may have been drawn in several steps; no batch has it twice.

    Args:
        order: Indices into the other two, `[n]`.
        item: int64 `[n]`.
        start: Seconds, `[n]`.
        gap_seconds: Least distance of two starts in one item; equal ones are never apart.
    """
    gap = max(gap_seconds, 1e-3)
    taken: dict[tuple[int, int], list[float]] = {}
    left = []
    for index in order.tolist():
        at, seconds = int(item[index]), float(start[index])
        cell = int(seconds // gap)
        near = (taken.get((at, cell + step), ()) for step in (-1, 0, 1))
        # The tolerance is that of a start on the frame grid.
        if any(abs(seconds - other) < gap - 1e-6 for others in near for other in others):
            continue
        taken.setdefault((at, cell), []).append(seconds)
        left.append(index)
    return np.array(left, np.int64)


def titles_first(
    rows: IntArray,
    title: IntArray,
    item: IntArray,
    draws: FloatArray,
    title_weight: FloatArray,
    policy: SamplingConfig,
) -> IntArray:
    """Pick a batch of few titles with many clips each, as far as there are so many.

    Titles that have a whole share of clips come in weighted random order; where they are too few,
    those with the most clips follow. The same inside a title, for its items.

    Args:
        rows: Indices to pick from, in random order.
        title: int64 `[n]`.
        item: int64 `[n]`.
        draws: In [0, 1), `[n]`.
        title_weight: Of each title.
        policy: How many of what; its window is not kept: too few clips lie in any.
    """
    chosen: list[int] = []
    by_title = _grouped(rows, title)
    keys = np.array(list(by_title))
    order = weighted_order(draws[: len(keys)], title_weight[keys]) if len(keys) else keys
    clips = policy.clips_per_item_at(0)
    titles = _fullest(order, list(by_title.values()), clips * policy.items_per_title)
    for index in titles[: policy.titles_at(0)]:
        by_item = list(_grouped(by_title[int(keys[index])], item).values())
        items = _fullest(np.arange(len(by_item)), by_item, clips)
        for place in items[: policy.items_per_title]:
            chosen += by_item[place][:clips]
    return np.array(chosen, np.int64)


def _grouped(rows: Iterable[int] | IntArray, key: IntArray) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for row in rows:
        groups.setdefault(int(key[row]), []).append(int(row))
    return groups


def _fullest(order: IntArray, groups: list[list[int]], share: int) -> list[int]:
    """The order of the groups, those that lack clips of a whole share moved back."""
    at_least_two = [index for index in order.tolist() if len(groups[index]) > 1]
    return sorted(at_least_two or order.tolist(), key=lambda at: -min(len(groups[at]), share))
