"""One condition: train it, evaluate it, and write its scores."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from experiments.study.conditions import Condition, Design, steps_of
from experiments.study.libraries import benchmarks_path, catalog_path
from experiments.study.scores import (
    ConditionScores,
    Milestone,
    Score,
    WhyPoint,
    condition_path,
    write_scores,
)
from experiments.study.settings import (
    condition_config,
    finetune_protocol,
    library_config,
    milestone_steps,
)
from experiments.study.size import StudySize
from experiments.study.title_probes import probe_titles
from toomuchtv._internal.progress import no_progress
from toomuchtv.catalog.store import open_catalog
from toomuchtv.diagnosis.embedding import ClipSource, Embedder, ProgressCounter
from toomuchtv.diagnosis.negatives import draw_policy_batches, measure_policy
from toomuchtv.diagnosis.results import Unavailable
from toomuchtv.evaluation.benchmark import Benchmark, Modality
from toomuchtv.evaluation.datasets import read_benchmark
from toomuchtv.evaluation.encoders import Encoder, run_encoder
from toomuchtv.evaluation.finetune import run_finetune
from toomuchtv.evaluation.linear_probe import run_probe
from toomuchtv.evaluation.metrics import top1_correct
from toomuchtv.evaluation.protocols import ProbeProtocol, choose_protocol
from toomuchtv.evaluation.result import FoldPredictions
from toomuchtv.evaluation.summary import correct_by_clip, fold_summary
from toomuchtv.inference.pretrained import PretrainedConfig, PretrainedEncoder, load
from toomuchtv.models.two_tower import TwoTower
from toomuchtv.training.checkpoint import Checkpoints
from toomuchtv.training.device import choose_device
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.pretrain import pretrain
from toomuchtv.training.run_config import Config

#: File layout of each transfer set, and the modality that is evaluated on it.
_TRANSFER_SETS: dict[str, tuple[str, Modality]] = {
    "actions": ("ucf101", "video"),
    "sounds": ("esc50", "audio"),
}
#: Number of batches per policy for the diagnosis of negatives.
_NEGATIVE_BATCHES = 4

FiguresByPolicy = dict[str, dict[str, float]]


def run_condition(out: Path, design: Design, condition: Condition) -> ConditionScores | None:
    """Train a condition or resume its training, evaluate it, and write its scores.

    Returns:
        The scores; None if the training was asked to stop.

    Raises:
        ToomuchtvError: If training or evaluation failed.
    """
    begun, size = time.process_time(), design.size
    seconds: dict[str, float] = defaultdict(float)
    config = condition_config(size, condition)
    run = condition_path(out, condition) / "run"
    with open_catalog(catalog_path(out, condition.library)) as catalog:
        hours = float(catalog.snapshot().duration_seconds.sum()) / 3600
        if condition.policy == "untrained":
            _save_model(config, TwoTower.from_config(config.model, seed=config.training.seed), run)
        else:
            with _adding_time(seconds, "training"):
                trained = pretrain(catalog, run, config, resume=True)
            if trained.interrupted:
                return None
    pretrained = load(run).to(choose_device(config.training.device))
    negatives, even = _negatives(pretrained, catalog_path(out, condition.library), config)
    final = _scores(out, size, condition, run, seconds)
    along = _milestone_runs(out, size, condition, config)
    milestones = _milestones(out, condition, along, seconds)
    scores = ConditionScores(
        condition=condition,
        scores=final,
        milestones=milestones,
        why=_why(out, size, condition, along, milestones, final, seconds),
        negatives=negatives,
        even=even,
        steps=steps_of(size, condition),
        hours=hours,
        core_seconds=time.process_time() - begun,
        seconds=dict(seconds),
        seconds_per_step=_seconds_per_step(run, config),
        design=design.fingerprint,
    )
    write_scores(out, scores)
    return scores


@contextmanager
def _adding_time(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Add the duration of the block to the time of a part."""
    begun = time.monotonic()
    yield
    seconds[part] += time.monotonic() - begun


def _scores(
    out: Path, size: StudySize, condition: Condition, run: Path, seconds: dict[str, float]
) -> tuple[Score, ...]:
    seed = condition.library.seed
    encoder = run_encoder(run, untrained=False, seed=seed)
    folder, cache = run.parent / "finetune", run.parent / "features"
    sets = {name: _read_transfer_set(benchmarks_path(out, seed), name) for name in _TRANSFER_SETS}
    scores = [_probe(encoder, benchmark, name, cache=cache) for name, benchmark in sets.items()]
    if "shuffled" in condition.measures:
        for name, benchmark in sets.items():
            shuffled = _shuffle_labels(benchmark, seed)
            scores.append(_probe(encoder, shuffled, name, protocol="shuffled", cache=cache))
    if "finetune" in condition.measures:
        for name, benchmark in sets.items():
            first = replace(benchmark, folds=benchmark.folds[:1])
            protocol = finetune_protocol(size, _TRANSFER_SETS[name][1])
            with _adding_time(seconds, "finetune"):
                found = run_finetune(encoder, first, protocol, seed=seed, folder=folder / name)
            scores.append(_score(name, "finetune", _TRANSFER_SETS[name][1], first, found))
    return tuple(scores)


def _milestone_runs(
    out: Path, size: StudySize, condition: Condition, config: Config
) -> dict[int, Path]:
    """Save the checkpoints along the way like finished runs; return their folders by step."""
    if "milestones" not in condition.measures or condition.policy == "untrained":
        return {}
    folder = condition_path(out, condition)
    checkpoints = Checkpoints(folder / "run" / "checkpoints", keep=config.training.keep_checkpoints)
    found = {}
    for step in milestone_steps(size):
        model = TwoTower.from_config(config.model, seed=config.training.seed)
        checkpoints.load_module(step, "model", model)
        found[step] = folder / "milestones" / f"step{step}"
        _save_model(config, model, found[step])
    return found


def _milestones(
    out: Path, condition: Condition, along: Mapping[int, Path], seconds: dict[str, float]
) -> tuple[Milestone, ...]:
    """Probe the encoders along the way for actions."""
    if not along:
        return ()
    benchmark = _read_transfer_set(benchmarks_path(out, condition.library.seed), "actions")
    found = []
    for step, run in along.items():
        with _adding_time(seconds, "milestones"):
            encoder = run_encoder(run, untrained=False, seed=0)
            score = _probe(encoder, benchmark, "actions", cache=None)
        found.append(Milestone(step=step, accuracy=score.accuracy))
    return tuple(found)


def _why(
    out: Path,
    size: StudySize,
    condition: Condition,
    along: Mapping[int, Path],
    milestones: Sequence[Milestone],
    final: Sequence[Score],
    seconds: dict[str, float],
) -> tuple[WhyPoint, ...]:
    """Probe the encoders along the way and at the end for titles and for events.

    Actions along the way, and both kinds of events at the end, are known already.
    """
    if "why" not in condition.measures:
        return ()
    library, config = condition.library, condition_config(size, condition)
    sounds = _read_transfer_set(benchmarks_path(out, library.seed), "sounds")
    linear = [score for score in final if score.protocol == "linear"]
    event_chance = {score.benchmark: score.chance for score in linear}
    steps = steps_of(size, condition)
    events = {point.step: {"actions": point.accuracy} for point in milestones}
    events[steps] = {score.benchmark: score.accuracy for score in linear}
    points = []
    for step, run in {**along, steps: condition_path(out, condition) / "run"}.items():
        with _adding_time(seconds, "why"):
            pretrained = load(run).to(choose_device(config.training.device))
            titles = probe_titles(
                pretrained,
                catalog_path(out, library),
                config,
                library_config(size, library),
                seed=library.seed,
            )
            if "sounds" not in events[step]:
                encoder = run_encoder(run, untrained=False, seed=0)
                events[step]["sounds"] = _probe(encoder, sounds, "sounds", cache=None).accuracy
        accuracy = {name: value for name, (value, _) in titles.items()}
        chance = {name: value for name, (_, value) in titles.items()}
        points.append(
            WhyPoint(
                step=step,
                accuracy={**accuracy, **events[step]},
                chance={**chance, **event_chance},
            )
        )
    return tuple(points)


def _seconds_per_step(run: Path, config: Config) -> float | None:
    """Return the median wall time of a step; None if nothing was logged.

    The median ignores pauses, such as those for starting, checkpoints and interruptions.
    """
    rates = [line.get("clips_per_second") for line in read_metrics(run)]
    known = [config.sampling.batch_size / rate for rate in rates if rate]
    return median(known) if known else None


def _save_model(config: Config, model: TwoTower, run: Path) -> None:
    """Write a folder that can be read like that of a finished run."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.toml").write_text(config.to_toml(), encoding="utf-8")
    contents = PretrainedConfig(clip=config.clip, transform=config.transform, model=config.model)
    PretrainedEncoder(model, contents).save(run / "model")


def linear_scores(out: Path, seed: int, run: Path) -> tuple[Score, ...]:
    """Return the scores of linear probes of a run on both transfer sets of a seed."""
    encoder = run_encoder(run, untrained=False, seed=seed)
    return tuple(
        _probe(encoder, _read_transfer_set(benchmarks_path(out, seed), name), name, cache=None)
        for name in _TRANSFER_SETS
    )


def _read_transfer_set(transfer: Path, name: str) -> Benchmark:
    """Read a transfer set and check that no title is on both sides of any of its folds.

    Raises:
        ValueError: If a title is on both sides.
    """
    benchmark = read_benchmark(_TRANSFER_SETS[name][0], transfer / name)
    for fold in benchmark.folds:
        train, test = (
            {benchmark.clips[row].source for row in rows} for rows in (fold.train, fold.test)
        )
        if train & test:
            raise ValueError(
                f"{name}, {fold.name}: the titles {sorted(train & test)} are in both the training "
                "and the test clips; render the transfer set again"
            )
    return benchmark


def _shuffle_labels(benchmark: Benchmark, seed: int) -> Benchmark:
    """Permute the labels randomly. Accuracy above chance then shows that test labels leak."""
    order = np.random.default_rng(seed).permutation(len(benchmark.clips))
    clips = tuple(
        replace(clip, labels=benchmark.clips[int(other)].labels)
        for clip, other in zip(benchmark.clips, order, strict=True)
    )
    return replace(benchmark, clips=clips)


def _probe(
    encoder: Encoder,
    benchmark: Benchmark,
    name: str,
    *,
    protocol: str = "linear",
    cache: Path | None,
) -> Score:
    modality = _TRANSFER_SETS[name][1]
    return probe_encoder(encoder, benchmark, name, modality, protocol=protocol, cache=cache)


def probe_encoder(
    encoder: Encoder,
    benchmark: Benchmark,
    name: str,
    modality: Modality,
    *,
    protocol: str = "linear",
    allow_missing: bool = False,
    cache: Path | None = None,
) -> Score:
    """Train a linear probe, whose regularization is chosen on the training clips.

    Args:
        encoder: The encoder.
        benchmark: The benchmark.
        name: Name of the benchmark in the score.
        modality: The modality that is probed.
        protocol: Name of the protocol in the score.
        allow_missing: Whether clips that cannot be decoded are left out; otherwise they raise.
        cache: Folder of cached features; None disables the cache.
    """
    linear = choose_protocol("linear")
    assert isinstance(linear, ProbeProtocol)
    run = run_probe(encoder, benchmark, linear, modality, allow_missing=allow_missing, cache=cache)
    return _score(name, protocol, modality, benchmark, run.predictions)


def _score(
    name: str,
    protocol: str,
    modality: Modality,
    benchmark: Benchmark,
    predictions: Sequence[FoldPredictions],
) -> Score:
    folds = [float(outcome.value.mean()) for outcome in correct_by_clip(predictions)]
    hits: dict[str, list[float]] = defaultdict(list)
    for fold in predictions:
        correct = top1_correct(fold.scores, fold.targets > 0)
        for source, hit in zip(fold.sources, correct, strict=True):
            hits[source].append(float(hit))
    return Score(
        benchmark=name,
        protocol=protocol,
        modality=modality,
        accuracy=fold_summary(folds)["mean"],
        folds=tuple(folds),
        chance=1.0 / len(benchmark.classes),
        sources={source: (sum(values), len(values)) for source, values in sorted(hits.items())},
    )


def _negatives(
    pretrained: PretrainedEncoder, catalog: Path, config: Config
) -> tuple[FiguresByPolicy, FiguresByPolicy]:
    """Measure how hard the negatives in batches of either policy are for these encoders.

    Returns:
        The figures by policy, as finite means over some batches; and the same figures if all
        embeddings were equal.
    """
    with open_catalog(catalog) as opened:
        source = ClipSource(
            opened, opened.snapshot(), config.sampling, config.clip, config.transform.log_mel
        )
        embedder = Embedder(source, pretrained, ProgressCounter(no_progress, 1))
        planned = draw_policy_batches(
            source,
            config.sampling,
            max_clips=config.sampling.batch_size,
            num_batches=_NEGATIVE_BATCHES,
            seed=config.training.seed + 1,  # other batches than those of the training
        )
        measured = [
            measure_policy(one, embedder, config.pair_labels, config.loss.temperature)
            for one in planned
        ]
    found = [one for one in measured if not isinstance(one, Unavailable)]
    return (
        {one.policy: _finite({n: s.mean for n, s in one.figures.items()}) for one in found},
        {
            one.policy: _finite({n: s.mean for n, s in one.equal_embeddings.items()})
            for one in found
        },
    )


def _finite(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}
