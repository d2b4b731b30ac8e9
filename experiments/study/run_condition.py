"""One arm: train it, measure it, write its scores."""

from __future__ import annotations

import os
import time
from pathlib import Path

from experiments.study.condition import Condition
from experiments.study.libraries import catalog_path, transfer_path
from experiments.study.measure import finetuned_score, linear_score, negatives, shuffled_score
from experiments.study.scale import Scale
from experiments.study.scores import ConditionScores, Milestone, Score, scores_path
from experiments.study.settings import arm_config, milestone_steps
from toomuchtv.catalog.store import open_catalog
from toomuchtv.evaluation.encoders import run_encoder
from toomuchtv.inference.pretrained import PretrainedConfig, PretrainedEncoder, fresh_model, load
from toomuchtv.training.checkpoint import Checkpoints
from toomuchtv.training.device import choose_device
from toomuchtv.training.pretrain import pretrain
from toomuchtv.training.run_config import Config

DESIGN = "design.json"


def condition_path(out: Path, arm: Condition) -> Path:
    """An arm's folder."""
    return out / "arms" / arm.name


def run_condition(out: Path, scale: Scale, arm: Condition) -> ConditionScores | None:
    """Train an arm, or go on with its training, then measure it; writes its scores.

    Returns:
        The scores; None if the training was asked to stop.

    Raises:
        ToomuchtvError: Something of it failed.
    """
    begun = time.process_time()
    folder = condition_path(out, arm)
    config = arm_config(scale, arm)
    run = folder / "run"
    with open_catalog(catalog_path(out, arm.world)) as catalog:
        hours = float(catalog.snapshot().duration_seconds.sum()) / 3600
        if arm.policy == "untrained":
            _with_weights(config, PretrainedEncoder(fresh_model(config.model, config.training.seed),
                                             _pretrained_config(config)), run)  # fmt: skip
        elif pretrain(catalog, run, config, resume=True).interrupted:
            return None
    device = choose_device(config.training.device)
    figures, even = negatives(load(run).to(device), catalog_path(out, arm.world), config)
    scores = ConditionScores(
        arm=arm,
        scores=_scores(out, scale, arm, run),
        milestones=_milestones(out, scale, arm, config),
        negatives=figures,
        even=even,
        steps=scale.steps_of(arm),
        hours=hours,
        core_seconds=time.process_time() - begun,
    )
    partial = scores_path(folder).with_suffix(".partial")
    partial.write_text(scores.model_dump_json(indent=1) + "\n", encoding="utf-8")
    os.replace(partial, scores_path(folder))
    return scores


def _scores(out: Path, scale: Scale, arm: Condition, run: Path) -> tuple[Score, ...]:
    transfer, seed = transfer_path(out, arm.world.seed), arm.world.seed
    encoder = run_encoder(run, untrained=False, seed=seed)
    cache = run.parent / "features"
    scores = [linear_score(encoder, transfer, name, cache=cache) for name in ("actions", "sounds")]
    if "shuffled" in arm.measures:
        scores += [
            shuffled_score(encoder, transfer, name, seed=seed, cache=cache)
            for name in ("actions", "sounds")
        ]
    if "finetune" in arm.measures:
        scores += [
            finetuned_score(
                encoder, transfer, name, scale, seed=seed, folder=run.parent / "finetune" / name
            )
            for name in ("actions", "sounds")
        ]
    return tuple(scores)


def _milestones(out: Path, scale: Scale, arm: Condition, config: Config) -> tuple[Milestone, ...]:
    """Probe the checkpoints along the way; each is made into a model folder of its own."""
    if "milestones" not in arm.measures or arm.policy == "untrained":
        return ()
    folder = condition_path(out, arm)
    checkpoints = Checkpoints(folder / "run" / "checkpoints", keep=config.training.keep_checkpoints)
    found = []
    for step in milestone_steps(scale):
        model = fresh_model(config.model, config.training.seed)
        checkpoints.load_module(step, "model", model)
        at = folder / "milestones" / f"step{step}"
        _with_weights(config, PretrainedEncoder(model, _pretrained_config(config)), at)
        encoder = run_encoder(at, untrained=False, seed=0)
        score = linear_score(encoder, transfer_path(out, arm.world.seed), "actions", cache=None)
        found.append(Milestone(step=step, accuracy=score.accuracy))
    return tuple(found)


def _pretrained_config(config: Config) -> PretrainedConfig:
    return PretrainedConfig(clip=config.clip, transform=config.transform, model=config.model)


def _with_weights(config: Config, pretrained: PretrainedEncoder, run: Path) -> None:
    """Make a folder that reads as a finished run's, of weights that no run of its own gave."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.toml").write_text(config.to_toml(), encoding="utf-8")
    pretrained.save(run / "model")
