"""The verb `compare`: two results against each other, and several in one table."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from toomuchtv.cli.options import Json, verb_output


def compare(
    results: Annotated[
        list[Path] | None,
        Argument(help="Runs, or result folders of evaluate. The first two are compared."),
    ] = None,
    *,
    a: Annotated[
        list[Path] | None,
        Option("--a", help="A run of the first method. Repeat it for each seed."),
    ] = None,
    b: Annotated[
        list[Path] | None,
        Option("--b", help="A run of the second method. Repeat it for each seed, in order."),
    ] = None,
    out: Annotated[Path | None, Option(help="Folder for table.html and table.txt.")] = None,
    as_json: Json = False,
) -> None:
    """Compare two results, and put several beside the published figures.

    The first two are compared on every benchmark that both have with the same protocol and clips.
    The table shows the difference, its 95% confidence interval by a paired bootstrap over source
    videos or recordings, and the p-value of a permutation test over them.

    With --a and --b, several runs of two methods are compared, as pairs in the given order. The
    difference is then the mean over the pairs, and the bootstrap also resamples the pairs. An
    untrained result is never taken for that of a run; to compare with it, give its own folder.

    With --out, all results go into one table with the published figures. A warning says where
    protocols or pretraining differ.

    For example:

        toomuchtv compare runs/uniform runs/hierarchical
        toomuchtv compare --a runs/u0 --a runs/u1 --b runs/h0 --b runs/h1
        toomuchtv compare runs/uniform runs/hierarchical runs/other --out table
    """
    from toomuchtv.evaluation.comparison import COMPARISON_HEADER, compare_results
    from toomuchtv.evaluation.result import find_results
    from toomuchtv.evaluation.table import comparability_warnings
    from toomuchtv.reports.evaluation_page import write_table

    with verb_output(as_json=as_json) as output:
        alone, of_a, of_b = results or [], a or [], b or []
        if bool(of_a) != bool(of_b) or bool(alone) == bool(of_a):
            raise ValueError("pass two or more results, or pass both --a and --b for several seeds")
        evaluations = [one for path in [*alone, *of_a, *of_b] for _, one in find_results(path)]
        if len(alone) == 1 and out is None:
            raise ValueError(
                f"got one result, {str(alone[0])!r}: pass a second one to compare it with, or "
                "pass --out for a table beside the published figures"
            )
        warnings = comparability_warnings(evaluations)
        compared = []
        if len(alone) != 1:
            of_a, of_b = of_a or alone[:1], of_b or alone[1:2]
            compared = compare_results(of_a, of_b)
            output.info(f"a: {', '.join(map(str, of_a))}")
            output.info(f"b: {', '.join(map(str, of_b))}")
            for subject, group in itertools.groupby(compared, key=lambda one: one.subject):
                rows = [comparison.row() for comparison in group]
                output.print_table(subject, COMPARISON_HEADER, rows)
        if out is not None:
            write_table(out, evaluations)
            output.info(f"{out / 'table.html'}")
        for warning in warnings:
            output.warning(f"warning: {warning}")
        output.print_json(
            {"compared": [asdict(comparison) for comparison in compared], "warnings": warnings}
        )
