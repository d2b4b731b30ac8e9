"""The verb `evaluate`: score encoders on a benchmark."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Option

from toomuchtv.cli.console import Output
from toomuchtv.cli.options import Json, verb_output

if TYPE_CHECKING:
    from toomuchtv.evaluation.result import Evaluation


def evaluate(
    run: Annotated[
        Path | None, Argument(help="Folder of a run. Omit it if you pass --encoder.")
    ] = None,
    *,
    benchmark: Annotated[
        str | None, Option(help="Benchmark, for example esc50. See --list.")
    ] = None,
    data: Annotated[
        Path | None, Option(help="Folder of the benchmark, or of a catalog for retrieval.")
    ] = None,
    protocol: Annotated[
        str | None, Option(help="Protocol. The default is linear. See --list.")
    ] = None,
    encoder: Annotated[
        str | None,
        Option(
            help="Encoder to score instead of a run: the folder of a transformers model such as "
            "CLIP or CLAP, module:function, r2plus1d_18:FILE.safetensors, log-mel, mfcc, "
            "color-histogram or frame-difference."
        ),
    ] = None,
    untrained: Annotated[
        bool, Option("--untrained", help="Use fresh weights, as a baseline.")
    ] = False,
    modality: Annotated[
        Literal["video", "audio"] | None,
        Option(help="Modality to classify, if the benchmark has both."),
    ] = None,
    allow_missing: Annotated[
        bool, Option("--allow-missing", help="Continue although files are missing or unreadable.")
    ] = False,
    catalog: Annotated[
        Path | None,
        Option(help="Training catalog, which is searched for clips of the benchmark."),
    ] = None,
    out: Annotated[
        Path | None,
        Option(help="Folder for results. The default is RUN/evaluations or ./evaluations."),
    ] = None,
    list_all: Annotated[bool, Option("--list", help="List benchmarks and protocols.")] = False,
    seed: Annotated[int, Option(help="Seed of weights, clips and views.")] = 0,
    as_json: Json = False,
) -> None:
    """Score encoders on a benchmark, by a named protocol.

    The benchmark `retrieval` measures how often the video of a clip finds its own audio among other
    clips, and the reverse, for held-out titles and for training titles. All other benchmarks
    classify labeled clips over the official folds or splits. Nothing is chosen on the test fold,
    except by protocols whose names end in -peeking.

    Features are cached, so that the same command continues after an interruption. Every result is
    a folder with result.json and page.html. Compare two results with `toomuchtv compare`.

    For example:

        toomuchtv evaluate runs/first --benchmark retrieval --data cat
        toomuchtv evaluate runs/first --benchmark esc50 --data ~/ESC-50
        toomuchtv evaluate --encoder log-mel --benchmark esc50 --data ~/ESC-50
    """
    from toomuchtv.evaluation.evaluate import evaluate as score
    from toomuchtv.reports.evaluation_page import write_evaluation_page

    with verb_output(as_json=as_json) as output:
        if list_all:
            _list_benchmarks(output)
            return
        if benchmark is None or data is None:
            raise ValueError("pass --benchmark and --data, or --list to see the names")
        folder = out or (run / "evaluations" if run is not None else Path("evaluations"))
        with output.progress("") as progress:
            result = score(
                run,
                benchmark,
                data,
                protocol=protocol,
                encoder=encoder,
                untrained=untrained,
                modality=modality,
                allow_missing=allow_missing,
                catalog=catalog,
                seed=seed,
                out=folder,
                cache=folder / "features",
                progress=progress,
            )
        page = folder / result.label / "page.html"
        write_evaluation_page(page, result)
        _print_result(output, result)
        output.info(f"{page}")
        output.print_json({**asdict(result.identity), **asdict(result), "page": page})


def _list_benchmarks(output: Output) -> None:
    from toomuchtv.evaluation.datasets import DATASETS
    from toomuchtv.evaluation.protocols import PROTOCOLS

    benchmarks = {"retrieval": "a prepared catalog"}
    benchmarks |= {name: dataset.expected_files for name, dataset in DATASETS.items()}
    protocols = {name: protocol.source for name, protocol in PROTOCOLS.items()}
    output.print_values("Benchmarks, and what the folder --data must contain", benchmarks)
    output.print_values("Protocols, and their sources", protocols)
    output.print_json({"benchmarks": benchmarks, "protocols": protocols})


def _print_result(output: Output, result: Evaluation) -> None:
    from toomuchtv.evaluation.table import figure_rows

    encoder = result.encoder or {}
    modality = f", {result.modality}" if result.modality else ""
    title = (
        f"{result.benchmark}, protocol {result.protocol}{modality}, {encoder.get('name')} "
        f"({encoder.get('weights')})"
    )
    header, rows = figure_rows(result)
    output.print_table(title, header, rows)
    for note in result.notes:
        output.warning(f"note: {note}")
