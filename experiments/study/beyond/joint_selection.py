"""Joint selection of the clips of a batch: hard for the encoders, and easy for a reference.

This is done in the manner of JEST (arXiv 2406.17711). A batch with four times the clips of each
title is drawn, and a quarter of each title's clips is chosen from it and trained on. Such a step
costs more than a usual one, so that there are fewer of them; see `joint_steps`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.study.beyond.training import opened_run, take_steps
from toomuchtv._internal.random_numbers import IntArray
from toomuchtv.data.batches import PlannedBatches
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.inference.pretrained import load
from toomuchtv.training.run_config import Config

#: How many times the clips of a batch are chosen from, and in how many rounds.
SUPER_BATCH, ROUNDS = 4, 4
#: Cost of a step for each clip, in forward passes: the backward pass costs two.
_TRAINING_COST = 3
_SELECTION = 1002  # a stream of random numbers that the library does not use


def joint_steps(steps: int) -> int:
    """Return the number of steps of joint selection that cost as much as the usual ones.

    Forward passes are counted: 3 for a clip that is trained on, and 2 for each of the clips that
    are chosen from, by the encoders and by the reference. The training of the reference is not
    counted, which favors joint selection.
    """
    return max(round(steps * _TRAINING_COST / (_TRAINING_COST + 2 * SUPER_BATCH)), 1)


def train_jointly(catalog: Path, path: Path, config: Config, *, reference: Path) -> None:
    """Train with joint selection, and save the encoders.

    Args:
        catalog: The catalog.
        path: Folder of the run.
        config: The settings, with the number of steps of joint selection.
        reference: Folder of a finished run.
    """
    with opened_run(catalog, path, config) as run:
        per_title = config.sampling.clips_per_item_at(0)
        policy = config.sampling.model_copy(
            update={
                "batch_size": SUPER_BATCH * config.sampling.batch_size,
                "clips_per_item": SUPER_BATCH * per_title,
            }
        )
        reader = run.batches.reader
        sampler = ClipSampler(reader.snapshot, policy, config.clip)
        wide = PlannedBatches(reader, sampler, seed=config.training.seed)
        encoders = run.encoder(), load(reference).to(run.device)
        run.step.model.train()

        def select(batch: ClipBatch) -> ClipBatch:
            logits = []
            for encoder in encoders:
                video, audio = encoder.embed_planes(batch.video, batch.waveform)
                logits.append(video @ audio.T / config.loss.temperature)
            rows = select_jointly(
                logits[0],
                logits[1],
                batch.specs.title,
                per_title=per_title,
                seed=config.training.seed,
                step=batch.step,
            )
            return batch[rows]

        take_steps(run, wide, range(run.start_step, config.training.steps), select)


def select_jointly(
    learner: Tensor, reference: Tensor, title: IntArray, *, per_title: int, seed: int, step: int
) -> IntArray:
    """Choose clips that are hard for the learner and easy for the reference, given each other.

    In each of `ROUNDS` rounds, the same number of clips is drawn from each title. The probability
    of a clip is proportional to the exponential of its learnability: its InfoNCE loss for the
    learner minus that for the reference, with the clips chosen so far as negatives. In the first
    round there are none, so that all clips are equally likely.

    Args:
        learner: Similarities of videos (rows) and audio divided by the temperature, `[M, M]`.
        reference: The same of the reference.
        title: Title of each clip, `[M]`.
        per_title: Number of clips to choose from each title, a multiple of `ROUNDS`.
        seed: Seed of the run.
        step: Number of the step.

    Returns:
        The chosen clips, ascending.
    """
    rng = np.random.default_rng([seed, _SELECTION, step])
    taken = np.zeros(len(title), bool)
    for _ in range(ROUNDS):
        gain = _conditional_loss(learner, taken) - _conditional_loss(reference, taken)
        # The largest of these sums are a draw without replacement (Gumbel).
        keys = gain.double().cpu().numpy() + rng.gumbel(size=len(title))
        keys[taken] = -np.inf
        for one in np.unique(title):
            of_title = np.flatnonzero(title == one)
            best = np.argsort(-keys[of_title], kind="stable")[: per_title // ROUNDS]
            taken[of_title[best]] = True
    return np.flatnonzero(taken)


def _conditional_loss(logits: Tensor, taken: NDArray[np.bool_]) -> Tensor:
    """Return the InfoNCE loss of each clip with the taken clips as negatives, `[M]`."""
    own = logits.diagonal()
    others = torch.from_numpy(~taken).to(logits.device)
    losses = []
    for scores in (logits, logits.T):
        negatives = scores.masked_fill(others[None, :], -torch.inf).fill_diagonal_(-torch.inf)
        losses.append(torch.logaddexp(own, negatives.logsumexp(dim=1)) - own)
    return (losses[0] + losses[1]) / 2
