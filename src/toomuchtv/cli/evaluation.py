"""Verbs that score: evaluate, compare."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toomuchtv.cli.console import Output
from toomuchtv.cli.options import Json, verb_output

if TYPE_CHECKING:
    from toomuchtv.evaluation.result import Evaluation


def evaluate(
    run: Annotated[
        Path | None, typer.Argument(help="A run's folder; leave it away with --encoder.")
    ] = None,
    *,
    benchmark: Annotated[
        str | None, typer.Option(help="Its name, as ucf101 or esc50; see --list.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The benchmark's folder; of retrieval: a catalog.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="linear by default; see --list for the published ones.")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Instead of a run: log-mel, mfcc, color-histogram, frame-difference; "
            "r2plus1d_18:FILE.safetensors; transformers:FOLDER; or module:function."
        ),
    ] = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Fresh weights instead: the floor of the score.")
    ] = False,
    modality: Annotated[
        str | None, typer.Option(help="Judge by video or by audio, where there are both.")
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Go on without files that a list names.")
    ] = False,
    catalog: Annotated[
        Path | None,
        typer.Option(help="What the encoder was pretrained on: how much of the test is in it?"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where results go: RUN/evaluations, else ./evaluations.")
    ] = None,
    list_all: Annotated[
        bool, typer.Option("--list", help="List benchmarks and protocols, and do nothing.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of fresh weights, moments and random views.")] = 0,
    as_json: Json = False,
) -> None:
    """Measure what encoders are good for, by protocols that have names.

    retrieval: does a moment's picture find its own sound among others, and back, on titles that
    were held out and on those trained on. All others classify labeled clips over official folds or
    splits. Nothing is chosen on the test fold, save by protocols that are named -peeking.

    Features are kept, so that the same command goes on where it was interrupted. Each result is a
    folder with result.json and page.html; put two beside each other with `toomuchtv compare`.
    """
    from toomuchtv.evaluation.evaluate import evaluate as measure
    from toomuchtv.reports.evaluation_page import write_evaluation_page

    with verb_output(as_json=as_json) as output:
        if list_all:
            _list_evaluations(output)
            return
        if benchmark is None or data is None:
            raise ValueError("give --benchmark and --data, or --list to see what there is")
        if modality not in {None, "video", "audio"}:
            raise ValueError(f"--modality must be video or audio, got {modality!r}")
        folder = out or (run / "evaluations" if run is not None else Path("evaluations"))
        with output.progress("clips") as progress:
            result = measure(
                run,
                benchmark,
                data,
                protocol=protocol,
                encoder=encoder,
                untrained=untrained,
                modality=None if modality is None else "video" if modality == "video" else "audio",
                allow_missing=allow_missing,
                catalog=catalog,
                seed=seed,
                out=folder,
                cache=folder / "features",
                progress=progress,
            )
        page = folder / result.label / "page.html"
        write_evaluation_page(page, result)
        _show_evaluation(output, result)
        output.info(f"{page}")
        output.print_json({**asdict(result), "page": page})


def _list_evaluations(output: Output) -> None:
    from toomuchtv.evaluation.datasets import DATASETS
    from toomuchtv.evaluation.protocols import PROTOCOLS

    benchmarks = {"retrieval": "a prepared catalog"}
    benchmarks |= {name: reader.expected_files for name, reader in DATASETS.items()}
    protocols = {name: protocol.source for name, protocol in PROTOCOLS.items()}
    output.print_values("Benchmarks, and what --data must hold", benchmarks)
    output.print_values("Protocols, and where they are from", protocols)
    output.print_json({"benchmarks": benchmarks, "protocols": protocols})


def _show_evaluation(output: Output, result: Evaluation) -> None:
    from toomuchtv.evaluation.table import figure_rows

    weights = "untrained" if result.untrained else "trained"
    sense = f", {result.modality}" if result.modality else ""
    title = f"{result.benchmark}, protocol {result.protocol}{sense}, {weights} weights"
    header, rows = figure_rows(result)
    output.print_table(title, header, rows)
    for note in result.notes:
        output.warning(f"note: {note}")


def compare(
    results: Annotated[
        list[Path],
        typer.Argument(help="Runs, or results of evaluate: two to test, more to tabulate."),
    ],
    *,
    out: Annotated[
        Path | None, typer.Option(help="Folder for table.html and table.txt of all of them.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put results beside each other and beside the field's published figures.

    The first two are compared benchmark by benchmark where they share protocol and clips: the
    difference, its 95% interval by a paired bootstrap over source videos or recordings, and the p
    of a permutation test over them. With --out, all results go into one table with the published
    figures, and a warning wherever protocols or pretraining differ.
    """
    from toomuchtv.evaluation.comparison import compare_results
    from toomuchtv.evaluation.result import find_results
    from toomuchtv.evaluation.table import comparability_warnings
    from toomuchtv.reports.evaluation_page import write_table

    with verb_output(as_json=as_json) as output:
        found = [one for path in results for _, one in find_results(path)]
        compared = compare_results(results[0], results[1]) if len(results) > 1 else []
        output.print_table(
            f"{results[-1] if len(results) < 2 else results[1]} against {results[0]}",
            ["benchmark", "protocol", "sense", "a", "b", "b - a", "95%", "p", "sources"],
            [entry.row() for entry in compared],
        )
        if out is not None:
            write_table(out, found)
            output.info(f"{out / 'table.html'}")
        for warning in comparability_warnings(found):
            output.warning(f"warning: {warning}")
        output.print_json(
            {
                "compared": [asdict(entry) for entry in compared],
                "warnings": comparability_warnings(found),
            }
        )
