"""The verb `compare`: two results against each other, and several in one table."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from toomuchtv.cli.options import Json, verb_output


def compare(
    results: Annotated[
        list[Path],
        Argument(help="Runs, or result folders of evaluate. The first two are compared."),
    ],
    *,
    out: Annotated[Path | None, Option(help="Folder for table.html and table.txt.")] = None,
    as_json: Json = False,
) -> None:
    """Compare two results, and put several beside the published figures.

    The first two are compared on every benchmark that both have with the same protocol and clips.
    The table shows the difference, its 95% confidence interval by a paired bootstrap over source
    videos or recordings, and the p-value of a permutation test over them.

    With --out, all results go into one table with the published figures. A warning says where
    protocols or pretraining differ.

    For example:

        toomuchtv compare runs/uniform runs/hierarchical
        toomuchtv compare runs/uniform runs/hierarchical runs/other --out table
    """
    from toomuchtv.evaluation.comparison import compare_results
    from toomuchtv.evaluation.result import find_results
    from toomuchtv.evaluation.table import comparability_warnings
    from toomuchtv.reports.evaluation_page import write_table

    with verb_output(as_json=as_json) as output:
        evaluations = [one for path in results for _, one in find_results(path)]
        if len(results) == 1 and out is None:
            raise ValueError(
                f"got one result, {str(results[0])!r}: pass a second one to compare it with, or "
                "pass --out for a table beside the published figures"
            )
        warnings = comparability_warnings(evaluations)
        if len(results) > 1:
            compared = compare_results(results[0], results[1])
            output.print_table(
                f"a: {results[0]}, b: {results[1]}",
                ["benchmark", "protocol", "modality", "a", "b", "b - a", "95%", "p", "sources"],
                [comparison.row() for comparison in compared],
            )
        else:
            compared = []
        if out is not None:
            write_table(out, evaluations)
            output.info(f"{out / 'table.html'}")
        for warning in warnings:
            output.warning(f"warning: {warning}")
        output.print_json(
            {"compared": [asdict(comparison) for comparison in compared], "warnings": warnings}
        )
