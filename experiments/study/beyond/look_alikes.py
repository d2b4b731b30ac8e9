"""Batches of look-alike titles: titles that the model confuses are drawn into one batch.

This is done in the manner of B3 (arXiv 2505.11293) and GCBS (arXiv 2210.12874), with titles in
place of single examples. The first half of the training is the usual one. Then clips of all titles
are embedded, titles are grouped by their similarity, and each batch of the second half has the
titles of one group. The groups are kept in a file of the run, so that the batch of a step remains a
pure function of the step when the run is resumed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiments.study.beyond.training import opened_run, take_steps
from toomuchtv._internal.files import write_text
from toomuchtv._internal.random_numbers import IntArray, hashed, permuted
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.data.batches import PlannedBatches
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.sampler import ClipSampler, HierarchicalDraw
from toomuchtv.inference.pretrained import PretrainedEncoder
from toomuchtv.media.clip import ClipFormat
from toomuchtv.training.run import Run
from toomuchtv.training.run_config import Config

#: Number of passes over all titles, one batch after another, that measure their similarity.
_PASSES = 4
_TITLES = 1001  # a stream of random numbers that the library does not use


def train_look_alikes(catalog: Path, path: Path, config: Config) -> None:
    """Train with look-alike titles in the second half, and save the encoders."""
    half = config.training.steps // 2
    with opened_run(catalog, path, config) as run:
        take_steps(run, run.batches, range(run.start_step, half))
        groups = path / "look_alikes.json"
        if not groups.exists():
            write_text(groups, json.dumps(_look_alikes(run)))
        sampler = LookAlikeSampler(
            run.batches.reader.snapshot,
            config.sampling,
            config.clip,
            json.loads(groups.read_text()),
        )
        alike = PlannedBatches(run.batches.reader, sampler, seed=config.training.seed)
        take_steps(run, alike, range(max(half, run.start_step), config.training.steps))


def _look_alikes(run: Run) -> list[list[int]]:
    """Return the titles of the run in groups of those that its encoders confuse."""
    config, reader = run.config, run.batches.reader
    sampler = ClipSampler(reader.snapshot, config.sampling, config.clip)
    per_batch = config.sampling.draws_per_step()[0][1]
    batches = PlannedBatches(reader, sampler, seed=config.training.seed + 1)
    num_titles = sampler.groups.num_groups
    steps = range(_PASSES * -(-num_titles // per_batch))
    similarity = title_similarity(batches, run.encoder(), steps, num_titles=num_titles)
    run.step.model.train()
    return group_look_alikes(similarity, per_batch)


def title_similarity(
    batches: PlannedBatches, encoder: PretrainedEncoder, steps: range, *, num_titles: int
) -> Tensor:
    """Return how similar the videos of each title are to the audio of each other one, `[T, T]`.

    The mean similarity over all pairs of a video of one title and an audio of another is the inner
    product of the means of their embeddings. Both directions are averaged.
    """
    video, audio, title = [], [], []
    for step in steps:
        batch = batches[step]
        embedded = encoder.embed_planes(batch.video, batch.waveform)
        video.append(embedded[0].cpu())
        audio.append(embedded[1].cpu())
        title.append(torch.from_numpy(batch.specs.title))
    member = torch.nn.functional.one_hot(torch.cat(title), num_titles).float()
    member = member / member.sum(dim=0).clamp(min=1.0)
    means = [member.T @ torch.cat(parts) for parts in (video, audio)]
    return (means[0] @ means[1].T + means[1] @ means[0].T) / 2


def group_look_alikes(similarity: Tensor, size: int) -> list[list[int]]:
    """Divide titles into groups of similar ones.

    The most similar pair that is left begins a group. The title with the highest mean similarity
    to the group joins it, until the group is full.

    Args:
        similarity: Symmetric `[T, T]`.
        size: Number of titles in a group; it must divide T.

    Raises:
        ValueError: It does not divide T.
    """
    num_titles = len(similarity)
    if size < 2 or num_titles % size:
        raise ValueError(
            f"got {num_titles} titles for groups of {size}: choose a size that divides it"
        )
    left = similarity.double().clone().fill_diagonal_(-torch.inf)
    free = torch.ones(num_titles, dtype=torch.bool)
    groups = []
    while free.any():
        pairs = left.masked_fill(~free[:, None] | ~free[None, :], -torch.inf)
        group = list(divmod(int(pairs.argmax()), num_titles))
        free[group] = False
        while len(group) < size:
            near = similarity[group].double().mean(dim=0).masked_fill(~free, -torch.inf)
            group.append(int(near.argmax()))
            free[group] = False
        groups.append(sorted(group))
    return groups


class LookAlikeSampler(ClipSampler):
    """A sampler whose batches have the titles of one group, which take turns in random order.

    Each batch remains a pure function of the step. Everything but the titles is drawn as usual.

    Args:
        snapshot: The items to draw from.
        policy: Which clips make a batch; the titles of a batch are one group.
        clip_format: Frames and audio of a clip.
        look_alikes: The groups; every title is in one.
    """

    def __init__(
        self,
        snapshot: CatalogSnapshot,
        policy: SamplingConfig,
        clip_format: ClipFormat,
        look_alikes: list[list[int]],
    ) -> None:
        super().__init__(snapshot, policy, clip_format)
        self._draw = _LookAlikeDraw(self, look_alikes)


class _LookAlikeDraw(HierarchicalDraw):
    def __init__(self, sampler: LookAlikeSampler, look_alikes: list[list[int]]) -> None:
        super().__init__(sampler.groups, sampler.policy, sampler._positions_at)
        self._look_alikes = np.array(look_alikes, np.int64)

    def _draw_titles(self, seed: int, step: int) -> IntArray:
        epoch, position = divmod(step, len(self._look_alikes))
        key = hashed(seed, _TITLES, epoch)
        group = permuted(np.array([position]), len(self._look_alikes), key)
        titles: IntArray = self._look_alikes[int(group[0])]
        return titles
