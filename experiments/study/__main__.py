"""`python -m experiments.study run|agreement`: the study from the command line."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from experiments.study.conditions import design
from experiments.study.report import compare_studies
from experiments.study.run import forecast, run_study, write_findings
from experiments.study.size import FULL, QUICK, read_size
from toomuchtv.cli.options import DONE_IN_PART, Json, Workers, verb_output

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="markdown")


@app.command()
def run(
    out: Annotated[Path, typer.Option("--out", help="Output folder.")],
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Run a small study in minutes, with one seed.")
    ] = False,
    size_file: Annotated[
        Path | None,
        typer.Option("--size", help="TOML file of another size, e.g. benchmarks/study_large.toml."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Number of seeds. [default: 5, with --quick 1]")
    ] = None,
    first_seed: Annotated[
        int,
        typer.Option(min=0, help="First seed. Seed 0 was used to choose settings; avoid it."),
    ] = 1,
    workers: Workers = 2,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only list the conditions and the expected time.")
    ] = False,
    so_far: Annotated[
        bool, typer.Option("--so-far", help="Only write the findings of finished conditions.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Test the paper's claims on rendered libraries, with confidence intervals.

    The study renders libraries in which it is known what identifies a title and which events
    happen. It trains a pair of encoders for each condition, for example uniform and hierarchical
    sampling, and evaluates all of them on labeled clips of titles that were not in training.

    OUT/study.html answers eight questions, each with a figure and sentences: whether uniform
    negatives are easy; whether hierarchical sampling transfers better; whether the gain is larger
    on shows; how much the number of clips per title matters; whether recurring openings are
    harmful; whether films match curated clips, and complex losses match InfoNCE; how many steps
    are saved; and whether the result depends on a setting. OUT/study.json has all scores.

    Each worker runs one condition on one core. An interrupted study continues when the command
    is repeated. If a condition fails, it is listed, the others continue, and the exit code is 1.
    A second study with another --first-seed should agree: see `agreement`. The results so far are
    in docs/experiments/2026-11-study.md.

    Example: `python -m experiments.study run --out out/quick --quick`
    """
    with verb_output(as_json=as_json) as output:
        if quick and size_file is not None:
            raise ValueError("got both --quick and --size; use one of them")
        size = QUICK if quick else FULL if size_file is None else read_size(size_file)
        order = design(size if seeds is None else size.with_seeds(seeds), first_seed=first_seed)
        if plan:
            names = [condition.name for condition in order.conditions]
            output.print_values("Planned study", forecast(order, workers))
            output.print_table("Conditions", ["condition"], [[name] for name in names])
            output.print_json({"conditions": names, "core_seconds": order.core_seconds})
            return
        if so_far:
            result = write_findings(out, order)
        else:
            result = run_study(out, order, num_workers=workers, output=output)
        for findings in result.findings:
            output.info("\n  ".join([f"\n{findings.question}", *findings.sentences]))
        output.info(f"\n{result.page}, after {result.seconds / 60:.1f} minutes")
        for failure in result.failed:
            output.warning(f"failed: {failure.condition}: {failure.reason}")
        output.print_json({"page": result.page, "record": result.record,
                           "conditions": result.num_conditions,
                           "failed": [asdict(one) for one in result.failed],
                           "seconds": result.seconds})  # fmt: skip
        if result.failed:
            raise typer.Exit(DONE_IN_PART)


@app.command()
def agreement(
    first: Annotated[Path, typer.Argument(help="Folder of a study, or its study.json.")],
    second: Annotated[Path, typer.Argument(help="Another study of that size with other seeds.")],
    *,
    as_json: Json = False,
) -> None:
    """Check whether two studies with different seeds agree within their intervals.

    Two means agree if they differ by at most the root of the sum of the squared half widths of
    their 95% intervals. If the true values are equal, one figure in twenty disagrees. The exit
    code is 1 if more than one in ten disagree. The last column is the estimate over the seeds of
    both studies.
    """
    with verb_output(as_json=as_json) as output:
        found = compare_studies(first, second)
        words = {None: "no interval", True: "yes", False: "NO"}
        rows = [
            [one.name, *(f"{mean:+.3f} +- {'?' if half is None else f'{half:.3f}'}"
                         for mean, half in (one.first, one.second)),
             words[one.agrees], "-" if one.together is None else str(one.together)]
            for one in found
        ]  # fmt: skip
        header = ["figure", str(first), str(second), "agree", "together"]
        output.print_table("Two studies", header, rows)
        compared = [one for one in found if one.agrees is not None]
        disagree = [one.name for one in compared if not one.agrees]
        output.info(f"{len(compared) - len(disagree)} of {len(compared)} figures agree")
        output.print_json({"figures": [asdict(one) for one in found], "compared": len(compared),
                           "disagree": disagree})  # fmt: skip
        if len(disagree) > 0.1 * len(compared):
            raise typer.Exit(DONE_IN_PART)


if __name__ == "__main__":
    app()
