"""What is measured of a trained arm: probes, fine-tuning, and how hard its negatives were."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from experiments.study.scale import Scale
from experiments.study.scores import Score
from experiments.study.settings import finetune_protocol
from toomuchtv._internal.progress import no_progress
from toomuchtv.catalog.store import open_catalog
from toomuchtv.diagnosis.embedding import ClipSource, Embedder, ProgressCounter
from toomuchtv.diagnosis.negatives import draw_policy_batches, measure_policy
from toomuchtv.diagnosis.results import Unavailable
from toomuchtv.evaluation.benchmark import Benchmark, Modality
from toomuchtv.evaluation.datasets import read_benchmark
from toomuchtv.evaluation.encoders import Encoder
from toomuchtv.evaluation.finetune import run_finetune
from toomuchtv.evaluation.linear_probe import run_probe
from toomuchtv.evaluation.metrics import top1_correct
from toomuchtv.evaluation.protocols import ProbeProtocol, choose_protocol
from toomuchtv.evaluation.result import FoldPredictions
from toomuchtv.evaluation.summary import correct_by_clip, fold_summary
from toomuchtv.inference.pretrained import PretrainedEncoder
from toomuchtv.training.run_config import Config

#: The layout of each transfer set, and the sense that it is judged by.
_SETS: dict[str, tuple[str, Modality]] = {
    "actions": ("ucf101", "video"),
    "sounds": ("esc50", "audio"),
}
_NEGATIVE_BATCHES = 4


def transfer_set(transfer: Path, name: str) -> Benchmark:
    """Read a transfer set; no title is on both sides of any of its folds.

    Raises:
        ValueError: One is.
    """
    benchmark = read_benchmark(_SETS[name][0], transfer / name)
    for fold in benchmark.folds:
        train, test = (
            {benchmark.clips[row].source for row in rows} for rows in (fold.train, fold.test)
        )
        if train & test:
            raise ValueError(
                f"{name}, {fold.name}: the titles {sorted(train & test)} are trained on and tested "
                "on; render the transfer set anew"
            )
    return benchmark


def linear_score(encoder: Encoder, transfer: Path, name: str, *, cache: Path | None) -> Score:
    """Probe frozen features with a linear classifier, whose strength is chosen in training."""
    benchmark, sense = transfer_set(transfer, name), _SETS[name][1]
    protocol = choose_protocol("linear")
    assert isinstance(protocol, ProbeProtocol)
    run = run_probe(encoder, benchmark, protocol, sense, cache=cache)
    return _score(name, "linear", sense, benchmark, run.answers)


def shuffled_score(
    encoder: Encoder, transfer: Path, name: str, *, seed: int, cache: Path | None
) -> Score:
    """The same probe of labels dealt anew at random: above chance, the probe sees its test."""
    benchmark, sense = transfer_set(transfer, name), _SETS[name][1]
    order = np.random.default_rng(seed).permutation(len(benchmark.clips))
    clips = tuple(
        replace(clip, labels=benchmark.clips[int(other)].labels)
        for clip, other in zip(benchmark.clips, order, strict=True)
    )
    protocol = choose_protocol("linear")
    assert isinstance(protocol, ProbeProtocol)
    run = run_probe(encoder, replace(benchmark, clips=clips), protocol, sense, cache=cache)
    return _score(name, "shuffled", sense, benchmark, run.answers)


def finetuned_score(
    encoder: Encoder, transfer: Path, name: str, scale: Scale, *, seed: int, folder: Path
) -> Score:
    """Fine-tune the encoder that a transfer set judges on the first of its folds."""
    benchmark, sense = transfer_set(transfer, name), _SETS[name][1]
    first = replace(benchmark, folds=benchmark.folds[:1])
    protocol = finetune_protocol(scale, sense)
    answers = run_finetune(encoder, first, protocol, seed=seed, folder=folder)
    return _score(name, "finetune", sense, first, answers)


def _score(
    name: str, protocol: str, sense: str, benchmark: Benchmark, answers: Sequence[FoldPredictions]
) -> Score:
    folds = [float(outcome.value.mean()) for outcome in correct_by_clip(answers)]
    hits: dict[str, list[float]] = defaultdict(list)
    for fold in answers:
        for source, hit in zip(
            fold.sources, top1_correct(fold.scores, fold.targets > 0), strict=True
        ):
            hits[source].append(float(hit))
    return Score(
        benchmark=name,
        protocol=protocol,
        sense=sense,
        accuracy=fold_summary(folds)["mean"],
        folds=tuple(folds),
        chance=1.0 / len(benchmark.classes),
        sources={source: (sum(values), len(values)) for source, values in sorted(hits.items())},
    )


NegativesByPolicy = dict[str, dict[str, float]]


def negatives(
    pretrained: PretrainedEncoder, catalog: Path, config: Config
) -> tuple[NegativesByPolicy, NegativesByPolicy]:
    """How hard the negatives of batches of either policy are to these encoders.

    Returns:
        By policy, the figures of `NegativeFigures`, mean over some batches, those that are not
        finite left out; and the same of embeddings that are all alike.
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
            seed=config.training.seed + 1,  # other batches than those trained on
        )
        measured = [
            measure_policy(one, embedder, config.pair_labels, config.loss.temperature)
            for one in planned
            if not isinstance(one, Unavailable)
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
