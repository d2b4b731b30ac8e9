"""One call from a benchmark's folder and an encoder to a score that says what it means."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.evaluation.benchmark import Benchmark, Modality
from toomuchtv.evaluation.catalog_retrieval import catalog_retrieval
from toomuchtv.evaluation.checking import check_benchmark
from toomuchtv.evaluation.datasets import DATASETS, read_benchmark
from toomuchtv.evaluation.encoders import Encoder, choose_encoder, run_encoder
from toomuchtv.evaluation.finetune import run_finetune
from toomuchtv.evaluation.leakage import find_leakage
from toomuchtv.evaluation.linear_probe import run_probe
from toomuchtv.evaluation.pair_retrieval import run_pair_retrieval
from toomuchtv.evaluation.protocols import (
    FinetuneProtocol,
    ProbeProtocol,
    Protocol,
    RetrievalProtocol,
    choose_protocol,
)
from toomuchtv.evaluation.regression import regression_figures, run_regression
from toomuchtv.evaluation.result import Evaluation, FoldPredictions, save_evaluation
from toomuchtv.evaluation.scenes import scene_miou
from toomuchtv.evaluation.summary import classification_figures
from toomuchtv.inference.pretrained import load
from toomuchtv.training.device import choose_device

BENCHMARKS = ("retrieval", *DATASETS)


def evaluate(
    run_path: Path | None,
    benchmark: str,
    data: Path,
    *,
    protocol: str | None = None,
    encoder: str | None = None,
    untrained: bool = False,
    modality: Modality | None = None,
    allow_missing: bool = False,
    catalog: Path | None = None,
    num_clips: int = 256,
    seed: int = 0,
    out: Path | None = None,
    cache: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> Evaluation:
    """Put a run's encoders, or anybody's, through a benchmark.

    Args:
        run_path: The run; None where `encoder` is given.
        benchmark: One of `BENCHMARKS`.
        data: The benchmark's folder; for `retrieval`, a prepared catalog.
        protocol: One of `PROTOCOLS`; None: `linear`, or `retrieval` for pairs.
        encoder: In place of a run: see `choose_encoder`.
        untrained: Take the run's architecture with fresh weights: the floor of the score.
        modality: Classify by the picture or by the sound; None is the benchmark's first that the
            encoder and the protocol have.
        allow_missing: Go on where files are missing or unreadable; the result says so.
        catalog: The catalog that the encoder was pretrained on: the benchmark's clips are looked
            for in it, and the result says how many were found.
        num_clips: Of `retrieval`: moments drawn from each side of the split.
        seed: What fresh weights, drawn moments and random views follow from.
        out: Folder that the result's own folder is written into; None writes nothing.
        cache: Folder where features are kept; None keeps none.
        progress: Told how far it is.

    Raises:
        BenchmarkError: The folder is not in the benchmark's layout, or incomplete.
        CheckpointError: The run has no model.
        EncoderError: The encoder cannot be made.
        ValueError: A name is unknown, or they do not go together.
    """
    begun = time.monotonic()
    if benchmark not in BENCHMARKS:
        raise ValueError(f"unknown benchmark {benchmark!r}: choose one of {', '.join(BENCHMARKS)}")
    if (run_path is None) == (encoder is None):
        raise ValueError("give either a run or --encoder")
    answers: list[FoldPredictions] = []
    if benchmark == "retrieval":
        result = _in_catalog(
            run_path, data, untrained=untrained, num_clips=num_clips, seed=seed, progress=progress
        )
    else:
        made = (
            choose_encoder(encoder)
            if encoder is not None
            else run_encoder(_given(run_path), untrained=untrained, seed=seed)
        )
        read = read_benchmark(benchmark, data)
        chosen = choose_protocol(protocol or ("retrieval" if read.task == "pairs" else "linear"))
        result, answers = _on_benchmark(
            made, read, chosen, modality, allow_missing=allow_missing, seed=seed, cache=cache,
            catalog=catalog, progress=progress,
        )  # fmt: skip
    result = replace(result, versions=_versions(), seconds=time.monotonic() - begun)
    if out is not None:
        save_evaluation(out / result.label, result, answers)
    return result


def _given(run_path: Path | None) -> Path:
    assert run_path is not None
    return run_path


def _versions() -> dict[str, str]:
    names = ("toomuchtv", "torch", "numpy", "scikit-learn", "av")
    return {name: importlib.metadata.version(name) for name in names}


def _in_catalog(
    run_path: Path | None,
    data: Path,
    *,
    untrained: bool,
    num_clips: int,
    seed: int,
    progress: ProgressCallback,
) -> Evaluation:
    if run_path is None:
        raise ValueError("the benchmark retrieval needs a run, whose titles it asks about")
    pretrained = load(run_path, untrained=untrained, seed=seed).to(choose_device("auto"))
    metrics, chance = catalog_retrieval(pretrained, run_path, data, num_clips, seed, progress)
    return Evaluation(
        benchmark="retrieval",
        protocol="retrieval",
        metrics=metrics,
        chance=chance,
        untrained=untrained,
        encoder={"name": run_path.name},
        data={"root": str(data)},
    )


def _on_benchmark(
    encoder: Encoder,
    benchmark: Benchmark,
    protocol: Protocol,
    modality: Modality | None,
    *,
    allow_missing: bool,
    seed: int,
    cache: Path | None,
    catalog: Path | None,
    progress: ProgressCallback,
) -> tuple[Evaluation, list[FoldPredictions]]:
    is_pairs = benchmark.task == "pairs"
    if is_pairs != isinstance(protocol, RetrievalProtocol):
        raise ValueError(
            f"the protocol {protocol.name} does not fit {benchmark.name}: "
            + ("choose retrieval or cavmae-retrieval" if is_pairs else "it ranks pairs")
        )
    sense = None if is_pairs else _sense(encoder, benchmark, protocol, modality)
    checked, check = check_benchmark(
        benchmark, sense, allow_missing=allow_missing, progress=progress
    )
    notes = [*check.notes()]
    outcome = _outcome(
        encoder, checked, protocol, sense, allow_missing=allow_missing, seed=seed, cache=cache,
        progress=progress,
    )  # fmt: skip
    used, failed = outcome.benchmark, outcome.failed
    if isinstance(protocol, ProbeProtocol) and protocol.selection == "test":
        notes.append("C was chosen on the test folds, as the release does: the score is biased")
    if failed:
        notes.append(f"{len(failed)} clips could not be decoded and were left out: {failed[0]}")
    result = Evaluation(
        benchmark=benchmark.name,
        protocol=protocol.name,
        modality=sense,
        untrained=encoder.untrained,
        encoder={
            "name": encoder.name,
            "fingerprint": encoder.fingerprint,
            "pretraining": encoder.pretraining,
        },
        data={
            "root": str(benchmark.root),
            "clips": len(used.clips),
            "sources": len({clip.source for clip in used.clips}),
            "missing": len(check.missing),
            "unreadable": len(check.unreadable) + len(failed),
            "complete": not (check.missing or check.unreadable or failed),
        },
        protocol_config=protocol.model_dump(mode="json"),
        selection=outcome.selection,
        leakage=None if catalog is None else find_leakage(used, catalog, progress=progress),
        notes=(*notes, *used.notes),
        **outcome.figures,
    )
    return result, outcome.answers


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What a protocol came to: the clips used, the figures, and what they were made from."""

    benchmark: Benchmark
    failed: tuple[str, ...]
    figures: dict[str, Any]
    answers: list[FoldPredictions] = field(default_factory=list)
    selection: dict[str, Any] | None = None


def _outcome(
    encoder: Encoder,
    checked: Benchmark,
    protocol: Protocol,
    sense: Modality | None,
    *,
    allow_missing: bool,
    seed: int,
    cache: Path | None,
    progress: ProgressCallback,
) -> _Outcome:
    """Put the encoder through the protocol, whichever way it goes."""
    if isinstance(protocol, RetrievalProtocol):
        used, metrics, chance, failed = run_pair_retrieval(
            encoder, checked, protocol, allow_missing=allow_missing, cache=cache, progress=progress
        )
        figures = {"metrics": metrics, "chance": chance}
        return _Outcome(benchmark=used, failed=failed, figures=figures)
    if isinstance(protocol, FinetuneProtocol):
        folder = None if cache is None else cache / _tuning_name(encoder, protocol, checked, seed)
        answers = run_finetune(
            encoder, checked, protocol, seed=seed, folder=folder, progress=progress
        )
        return _Outcome(
            benchmark=checked,
            failed=(),
            figures=classification_figures(checked, answers),
            answers=answers,
            selection={"how": "fixed", "chosen": [{"epoch": protocol.on(checked.name).epochs}]},
        )
    assert sense is not None
    in_numbers = checked.task == "regression"
    run = (run_regression if in_numbers else run_probe)(
        encoder, checked, protocol, sense, allow_missing=allow_missing, seed=seed, cache=cache,
        progress=progress,
    )  # fmt: skip
    figures = (regression_figures if in_numbers else classification_figures)(
        run.benchmark, run.answers
    )
    if run.benchmark.ends and protocol.classifier.kind in ("logistic", "svm"):
        figures["metrics"]["miou"] = scene_miou(run.benchmark, run.answers)
    return _Outcome(
        benchmark=run.benchmark,
        failed=run.failed,
        figures=figures,
        answers=run.answers,
        selection={"how": protocol.selection, "chosen": run.chosen},
    )


def _tuning_name(
    encoder: Encoder, protocol: FinetuneProtocol, benchmark: Benchmark, seed: int
) -> str:
    """A folder's name for the checkpoints of one fine-tuning: any change gives another."""
    clips = [clip.key for clip in benchmark.clips]
    facts = json.dumps([encoder.fingerprint, protocol.model_dump(), clips, seed])
    digest = hashlib.sha256(facts.encode()).hexdigest()[:24]
    return f"{benchmark.name}-{protocol.name}-{digest}"


def _sense(
    encoder: Encoder, benchmark: Benchmark, protocol: Protocol, modality: Modality | None
) -> Modality:
    """The sense that is judged: what was asked for, or the first that all have."""
    has = {"video": encoder.video is not None, "audio": encoder.audio is not None}
    judges = {"video": True, "audio": True}
    if isinstance(protocol, ProbeProtocol):
        judges = {
            "video": protocol.video_test is not None,
            "audio": protocol.audio_test is not None,
        }
    elif isinstance(protocol, FinetuneProtocol):
        judges = {sense: sense == protocol.modality for sense in judges}
    asked = benchmark.modalities if modality is None else (modality,)
    for sense in asked:
        if sense in benchmark.modalities and has[sense] and judges[sense]:
            return sense
    raise ValueError(
        f"{benchmark.name} has {' and '.join(benchmark.modalities)}, the encoder "
        f"{encoder.name} has {_those(has)}, the protocol {protocol.name} judges {_those(judges)}"
        + (f", and {modality} was asked for" if modality else "")
        + ": nothing is left"
    )


def _those(senses: dict[str, bool]) -> str:
    return " and ".join(name for name, there in senses.items() if there) or "neither"
