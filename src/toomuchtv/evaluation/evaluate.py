"""Evaluation of an encoder on a benchmark in one call."""

from __future__ import annotations

import importlib.metadata
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.evaluation.benchmark import Benchmark, Modality, shareable_name
from toomuchtv.evaluation.checking import check_benchmark
from toomuchtv.evaluation.datasets import DATASETS, read_benchmark
from toomuchtv.evaluation.encoders import Encoder, choose_encoder, encoder_of, run_encoder
from toomuchtv.evaluation.features import leave_out
from toomuchtv.evaluation.finetune import run_finetune, undecodable_clips
from toomuchtv.evaluation.identity import ResultIdentity, data_fingerprint, digest_of
from toomuchtv.evaluation.leakage import find_leakage
from toomuchtv.evaluation.linear_probe import run_probe
from toomuchtv.evaluation.protocols import (
    FinetuneProtocol,
    ProbeProtocol,
    Protocol,
    RetrievalProtocol,
    choose_protocol,
)
from toomuchtv.evaluation.protocols.description import describe_settings
from toomuchtv.evaluation.result import Evaluation, Predictions, save_evaluation
from toomuchtv.evaluation.retrieval_benchmarks import run_catalog_retrieval, run_pair_retrieval
from toomuchtv.evaluation.summary import classification_figures, regression_figures, scene_miou
from toomuchtv.inference.pretrained import load
from toomuchtv.training.device import choose_device

BENCHMARKS = ("retrieval", *DATASETS)
_VERSIONS_OF = ("toomuchtv", "torch", "numpy", "scikit-learn", "av")

_Path = str | os.PathLike[str]


def evaluate(
    run_path: _Path | None,
    benchmark: str,
    data: _Path,
    *,
    protocol: str | None = None,
    encoder: str | None = None,
    untrained: bool = False,
    modality: Modality | None = None,
    allow_missing: bool = False,
    catalog: _Path | None = None,
    num_clips: int = 256,
    seed: int = 0,
    out: _Path | None = None,
    cache: _Path | None = None,
    progress: ProgressCallback = no_progress,
) -> Evaluation:
    """Evaluate the encoders of a run, or any other encoder, on a benchmark.

    Args:
        run_path: Folder of the run, or None if `encoder` is given.
        benchmark: One of `BENCHMARKS`.
        data: Folder of the benchmark. For `retrieval` it is a prepared catalog.
        protocol: One of `PROTOCOLS`. The default is `linear`, and `retrieval` for benchmarks of
            pairs.
        encoder: Another encoder than a run; see `choose_encoder` for the possible values.
        untrained: Give the architecture of the run random weights. Their score is the baseline of
            pretraining.
        modality: Modality to evaluate. The default is the first modality of the benchmark that
            the encoder and the protocol support.
        allow_missing: Continue without missing and unreadable files. The result reports them.
        catalog: Catalog that the encoder was pretrained on. If given, the clips of the benchmark
            are searched in it, and the result reports how many were found.
        num_clips: For `retrieval`, the number of clips that are drawn from each side of the split.
        seed: Seed of random weights, drawn clips and random views.
        out: Folder in which the folder of the result is written. None writes nothing.
        cache: Folder of cached features and fine-tuning checkpoints. None disables the cache.
        progress: Called with the progress of each stage.

    Returns:
        The result. `result.json` in the folder `out / result.label` has the same content.

    Raises:
        BenchmarkError: The folder is not laid out as the benchmark requires, or is incomplete.
        CheckpointError: The run has no model.
        EncoderError: The encoder cannot be loaded.
        ValueError: A name is unknown, or benchmark, protocol, encoder and modality do not fit
            together.
    """
    start = time.monotonic()
    if benchmark not in BENCHMARKS:
        raise ValueError(f"unknown benchmark {benchmark!r}: choose one of {', '.join(BENCHMARKS)}")
    if (run_path is None) == (encoder is None):
        raise ValueError("give either a run or --encoder")
    if untrained and run_path is None:
        raise ValueError("--untrained gives a run random weights, and --encoder has its own")
    data = Path(data)
    run = None if run_path is None else Path(run_path)
    if benchmark == "retrieval":
        if run is None:
            raise ValueError("the benchmark retrieval needs a run, whose titles it ranks")
        if protocol not in (None, "retrieval") or modality is not None or catalog is not None:
            raise ValueError(
                "the benchmark retrieval ranks the video and the audio of the catalog --data by "
                "the protocol retrieval: omit --protocol, --modality and --catalog"
            )
        result, predictions = _evaluate_catalog_retrieval(
            run, data, untrained=untrained, num_clips=num_clips, seed=seed, progress=progress
        )
    else:
        if encoder is not None:
            loaded = choose_encoder(encoder)
        else:
            assert run is not None
            loaded = run_encoder(run, untrained=untrained, seed=seed)
        options = _Options(
            allow_missing=allow_missing,
            seed=seed,
            cache=None if cache is None else Path(cache),
            progress=progress,
        )
        dataset = read_benchmark(benchmark, data)
        default = "retrieval" if dataset.task == "pairs" else "linear"
        result, predictions = _evaluate_on_benchmark(
            loaded, dataset, choose_protocol(protocol or default), modality,
            None if catalog is None else Path(catalog), options,
        )  # fmt: skip
    versions = {name: importlib.metadata.version(name) for name in _VERSIONS_OF}
    result = replace(result, versions=versions, seconds=time.monotonic() - start)
    if out is not None:
        save_evaluation(Path(out) / result.label, result, predictions)
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """Options that every protocol takes; see `evaluate`."""

    allow_missing: bool
    seed: int
    cache: Path | None
    progress: ProgressCallback


def _evaluate_catalog_retrieval(
    run: Path, catalog: Path, *, untrained: bool, num_clips: int, seed: int,
    progress: ProgressCallback,
) -> tuple[Evaluation, Predictions]:  # fmt: skip
    pretrained = load(run, untrained=untrained, seed=seed).to(choose_device("auto"))
    ranked = run_catalog_retrieval(pretrained, run, catalog, num_clips, seed, progress)
    encoder = encoder_of(pretrained, run.name, untrained=untrained)
    result = Evaluation(
        identity=ResultIdentity(
            benchmark="retrieval",
            protocol="retrieval",
            modality=None,
            encoder_fingerprint=encoder.fingerprint,
            untrained=untrained,
            seed=seed,
            data_fingerprint=ranked.data_fingerprint,
        ),
        metrics=ranked.metrics,
        chance=ranked.chance,
        encoder=_describe(encoder),
        data={"root": shareable_name(catalog)},
    )
    return result, Predictions(rankings=ranked.rankings)


def _describe(encoder: Encoder) -> dict[str, str]:
    return {
        "name": encoder.name,
        "pretraining": encoder.pretraining,
        "weights": encoder.weights,
    }


def _evaluate_on_benchmark(
    encoder: Encoder,
    benchmark: Benchmark,
    protocol: Protocol,
    modality: Modality | None,
    catalog: Path | None,
    options: _Options,
) -> tuple[Evaluation, Predictions]:
    is_pairs = benchmark.task == "pairs"
    if is_pairs != isinstance(protocol, RetrievalProtocol):
        raise ValueError(
            f"the protocol {protocol.name} does not fit {benchmark.name}: "
            + ("choose retrieval or cavmae-retrieval" if is_pairs else "it ranks pairs")
        )
    if is_pairs and modality is not None:
        raise ValueError(
            f"{benchmark.name} ranks video and audio against each other: omit --modality"
        )
    chosen = None if is_pairs else _choose_modality(encoder, benchmark, protocol, modality)
    checked, check = check_benchmark(
        benchmark, chosen, allow_missing=options.allow_missing, progress=options.progress
    )
    outcome = _run_protocol(encoder, checked, protocol, chosen, options)
    used, failed = outcome.benchmark, outcome.failed
    notes = [*check.notes(), *outcome.notes]
    if not encoder.is_deterministic:
        notes.append(
            "the encoder gives different features for the same input, so they are not cached and "
            "the scores change from one evaluation to the next"
        )
    if isinstance(protocol, ProbeProtocol) and protocol.selection == "test":
        notes.append("C was selected on the test folds, as in the release: the score is biased")
    if failed:
        notes.append(f"{len(failed)} clips could not be decoded and were left out: {failed[0]}")
    leakage = None
    if catalog is not None:
        leakage = find_leakage(used, catalog, progress=options.progress)
    result = Evaluation(
        identity=ResultIdentity(
            benchmark=benchmark.name,
            protocol=protocol.name,
            modality=chosen,
            encoder_fingerprint=encoder.fingerprint,
            untrained=encoder.untrained,
            seed=options.seed,
            data_fingerprint=data_fingerprint(used),
        ),
        encoder=_describe(encoder),
        data={
            "root": shareable_name(benchmark.root),
            "clips": len(used.clips),
            "sources": len({clip.source for clip in used.clips}),
            "missing": len(check.missing),
            "unreadable": len(check.unreadable) + len(failed),
            "complete": check.is_complete and not failed,
        },
        protocol_config=protocol.model_dump(mode="json"),
        settings=describe_settings(protocol, encoder, chosen),
        selection=outcome.selection,
        leakage=leakage,
        notes=(*notes, *used.notes),
        **outcome.figures,
    )
    return result, outcome.predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """The outcome of a protocol: the clips used, the figures, and the predictions behind them."""

    benchmark: Benchmark
    failed: tuple[str, ...]
    figures: dict[str, Any]
    predictions: Predictions
    selection: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


def _run_protocol(
    encoder: Encoder,
    benchmark: Benchmark,
    protocol: Protocol,
    modality: Modality | None,
    options: _Options,
) -> _Outcome:
    """Run the protocol on a benchmark whose files were checked."""
    if isinstance(protocol, RetrievalProtocol):
        ranked = run_pair_retrieval(
            encoder, benchmark, protocol, allow_missing=options.allow_missing, cache=options.cache,
            progress=options.progress,
        )  # fmt: skip
        assert ranked.benchmark is not None
        return _Outcome(
            benchmark=ranked.benchmark,
            failed=ranked.failed,
            figures={"metrics": ranked.metrics, "chance": ranked.chance},
            predictions=Predictions(rankings=ranked.rankings),
        )
    if isinstance(protocol, FinetuneProtocol):
        reasons = undecodable_clips(
            encoder, benchmark, protocol, seed=options.seed, progress=options.progress
        )
        benchmark, failed = leave_out(benchmark, reasons, allow_missing=options.allow_missing)
        folder = None
        if options.cache is not None:
            folder = options.cache / finetune_key(encoder, protocol, benchmark, options.seed)
        predictions = run_finetune(
            encoder, benchmark, protocol, seed=options.seed, folder=folder,
            progress=options.progress,
        )  # fmt: skip
        return _Outcome(
            benchmark=benchmark,
            failed=failed,
            figures=classification_figures(benchmark, predictions),
            predictions=Predictions(folds=predictions),
            selection={"how": "fixed", "chosen": [{"epoch": protocol.on(benchmark.name).epochs}]},
        )
    assert modality is not None
    probed = run_probe(
        encoder, benchmark, protocol, modality, allow_missing=options.allow_missing,
        seed=options.seed, cache=options.cache, progress=options.progress,
    )  # fmt: skip
    summarize = regression_figures if benchmark.task == "regression" else classification_figures
    figures = summarize(probed.benchmark, probed.predictions)
    if probed.benchmark.end_seconds and protocol.classifier.kind in ("logistic", "svm"):
        figures["metrics"]["miou"] = scene_miou(probed.benchmark, probed.predictions)
    return _Outcome(
        benchmark=probed.benchmark,
        failed=probed.failed,
        figures=figures,
        predictions=Predictions(folds=probed.predictions),
        selection={"how": protocol.selection, "chosen": probed.chosen},
        notes=probed.notes,
    )


def finetune_key(
    encoder: Encoder, protocol: FinetuneProtocol, benchmark: Benchmark, seed: int
) -> str:
    """Return a name for the folder of checkpoints that changes with everything they depend on."""
    data = data_fingerprint(benchmark)
    digest = digest_of([encoder.fingerprint, protocol.model_dump(mode="json"), data, seed])
    return f"{benchmark.name}-{protocol.name}-{digest[:24]}"


def _choose_modality(
    encoder: Encoder, benchmark: Benchmark, protocol: Protocol, requested: Modality | None
) -> Modality:
    """Return the requested modality, or the first that benchmark, encoder and protocol share."""
    of_encoder = [name for name in ("video", "audio") if getattr(encoder, name) is not None]
    of_protocol = ["video", "audio"]
    if isinstance(protocol, ProbeProtocol):
        of_protocol = [
            name for name in of_protocol if getattr(protocol, f"{name}_test") is not None
        ]
    elif isinstance(protocol, FinetuneProtocol):
        of_protocol = [protocol.modality]
    for modality in benchmark.modalities if requested is None else (requested,):
        if all(modality in names for names in (benchmark.modalities, of_encoder, of_protocol)):
            return modality
    supported = {
        f"the benchmark {benchmark.name}": benchmark.modalities,
        f"the encoder {encoder.name}": of_encoder,
        f"the protocol {protocol.name}": of_protocol,
    }
    described = ", ".join(
        f"{what} supports {' and '.join(names) or 'neither'}" for what, names in supported.items()
    )
    raise ValueError(
        f"no modality can be evaluated: {described}"
        + (f"; --modality {requested} was given" if requested else "")
    )
