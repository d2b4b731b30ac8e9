"""`python -m experiments.study run|agreement`: the study from the command line."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from toomuchtv.cli.options import DONE_IN_PART, Json, Workers, verb_output

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command()
def run(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything it makes.")],
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small one, in minutes: one seed, short trainings.")
    ] = False,
    size: Annotated[
        Path | None,
        typer.Option(
            help="TOML file of another size, over the full study's: see "
            "benchmarks/study_large.toml."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Repetitions; 5, with --quick 1.")
    ] = None,
    first_seed: Annotated[
        int,
        typer.Option(
            min=0,
            help="Seeds count from here; another study takes others. Settings were chosen by seed "
            "0, so it is no evidence.",
        ),
    ] = 1,
    workers: Workers = 2,
    plan: Annotated[
        bool, typer.Option("--plan", help="List the arms and what they cost, and do nothing.")
    ] = False,
    so_far: Annotated[
        bool, typer.Option("--so-far", help="Answer from the arms that are done; train nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put the paper's claims to the test on rendered worlds, with error bars.

    Renders libraries in which it is known what belongs to a title and what has meaning, trains a
    pair of encoders for each way of sampling, and judges all of them by labeled clips of titles
    that none has seen. OUT/study.html answers seven questions, each with a figure and a sentence:
    are uniform negatives easy; does hierarchical sampling transfer better; is the gain larger on
    shows, and why; how much k and the level matter; what recurring openings do; does film match
    curated clips, and complex losses the simple one; how many steps are saved. OUT/study.json
    has every arm's scores.

    Each of the --workers runs an arm on one core. Stopped at any moment, the same command goes on.
    An arm that fails is listed, the others go on, and the exit code is 1. A second study with
    --first-seed beyond these seeds must agree: see `toomuchtv study-agreement`. docs/study.md has
    what came of it.
    """
    from experiments.study import FULL, QUICK, design, read_scale, run_study
    from experiments.study.run import answer_study, forecast

    with verb_output(as_json=as_json) as output:
        if quick and size is not None:
            raise ValueError("give --quick or --size, not both")
        scale = QUICK if quick else FULL if size is None else read_scale(size)
        order = design(scale if seeds is None else scale.with_seeds(seeds), first_seed=first_seed)
        if plan:
            output.print_values("What would happen", forecast(order, workers))
            output.print_table("Arms", ["arm"], [[arm.name] for arm in order.arms])
            output.print_json({"arms": [arm.name for arm in order.arms],
                           "core_seconds": order.core_seconds})  # fmt: skip
            return
        if so_far:
            result = answer_study(out, order)
        else:
            result = run_study(out, order, num_workers=workers, output=output)
        for answer in result.answers:
            output.info(f"\n{answer.question}")
            for sentence in answer.sentences:
                output.info(f"  {sentence}")
        output.info(f"\n{result.page}, after {result.seconds / 60:.1f} minutes")
        for failure in result.failed:
            output.warning(f"failed: {failure.arm}: {failure.reason}")
        output.print_json({"page": result.page, "record": result.record, "arms": result.arms,
                       "failed": [asdict(one) for one in result.failed],
                       "seconds": result.seconds})  # fmt: skip
        if result.failed:
            raise typer.Exit(DONE_IN_PART)


@app.command()
def agreement(
    first: Annotated[Path, typer.Argument(help="A study's folder, or its study.json.")],
    second: Annotated[Path, typer.Argument(help="Another's, of the same size, with other seeds.")],
    *,
    as_json: Json = False,
) -> None:
    """Say whether two studies with different seeds agree within their intervals.

    Two means agree if they lie no farther apart than the root of the sum of the squared half
    widths of their 95% intervals. Of figures that are equal in truth, one in twenty disagrees. The
    exit code is 1 if more than one in ten do. Beside them stands each figure over the seeds of
    both, with its 95% interval.
    """
    from experiments.study.record import compare_studies

    with verb_output(as_json=as_json) as output:
        found = compare_studies(first, second)
        rows = [
            [one.name, *(f"{mean:+.3f} +- {'?' if half is None else f'{half:.3f}'}"
                         for mean, half in (one.first, one.second)),
             {None: "no interval", True: "yes", False: "NO"}[one.agrees],
             "-" if one.together is None else str(one.together)]
            for one in found
        ]  # fmt: skip
        output.print_table(
            "Two studies", ["figure", str(first), str(second), "agree", "together"], rows
        )
        told = [one for one in found if one.agrees is not None]
        apart = [one.name for one in told if not one.agrees]
        output.info(f"{len(told) - len(apart)} of {len(told)} figures agree")
        output.print_json({"figures": [asdict(one) for one in found], "compared": len(told),
                       "disagree": apart})  # fmt: skip
        if len(apart) > 0.1 * len(told):
            raise typer.Exit(DONE_IN_PART)


if __name__ == "__main__":
    app()
