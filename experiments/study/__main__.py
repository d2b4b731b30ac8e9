"""The study from the command line: `python -m experiments.study run`, `plan`, `merge`, ..."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from experiments.study.conditions import (
    Design,
    check_same_design,
    design,
    read_design,
    select,
)
from experiments.study.merge import merge_studies
from experiments.study.plan import Plan, choose_rates, plan_study
from experiments.study.rates import read_timings
from experiments.study.real_media import RealScores, measure, read_media, trainings_of
from experiments.study.real_questions import along_the_way, policies, write_real_page
from experiments.study.report import compare_studies
from experiments.study.run import run_study, write_findings
from experiments.study.scores import read_scores
from experiments.study.size import FULL, QUICK, read_size
from toomuchtv.cli.console import Output
from toomuchtv.cli.options import DONE_IN_PART, Json, Workers, verb_output

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="markdown")


Out = Annotated[Path, typer.Option("--out", help="Output folder.")]
Quick = Annotated[
    bool, typer.Option("--quick", help="Run a small study in minutes, with one seed.")
]
SizeFile = Annotated[
    Path | None,
    typer.Option("--size", help="TOML file of another size, e.g. benchmarks/study_large.toml."),
]
Seeds = Annotated[
    int | None, typer.Option(min=1, help="Number of seeds. [default: 5, with --quick 1]")
]
FirstSeed = Annotated[
    int, typer.Option(min=0, help="First seed. Seed 0 was used to choose settings; avoid it.")
]
Patterns = Annotated[
    list[str] | None,
    typer.Option(
        "--conditions",
        help="Only the conditions whose name matches this pattern, e.g. 'shows-*'. Repeatable.",
    ),
]


def _design(*, quick: bool, size_file: Path | None, seeds: int | None, first_seed: int) -> Design:
    if quick and size_file is not None:
        raise ValueError("got both --quick and --size; use one of them")
    size = QUICK if quick else FULL if size_file is None else read_size(size_file)
    return design(size if seeds is None else size.with_seeds(seeds), first_seed=first_seed)


@app.command()
def run(
    out: Out,
    *,
    quick: Quick = False,
    size_file: SizeFile = None,
    seeds: Seeds = None,
    first_seed: FirstSeed = 1,
    workers: Workers = 2,
    conditions: Patterns = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.0, help="Time limit. What would not end in time is not begun."),
    ] = None,
    so_far: Annotated[
        bool, typer.Option("--so-far", help="Only write the findings of finished conditions.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Test the paper's claims on rendered libraries, with confidence intervals.

    The study renders libraries in which it is known what identifies a title and which events
    happen. It trains a pair of encoders for each condition, for example uniform and hierarchical
    sampling, and evaluates all of them on labeled clips of titles that were not in training.

    OUT/study.html answers nine questions, each with a figure and sentences: whether uniform
    negatives are easy; whether hierarchical sampling transfers better; whether the gain is larger
    on shows; how much the number of clips per title matters; whether recurring openings are
    harmful; whether films match curated clips, and complex losses match InfoNCE; how many steps
    are saved; whether the result depends on a setting; and what is learned first, titles or events.
    Where the size has libraries of more hours, a tenth is whether better sampling replaces more
    data. Where it has variants, the last is what each setting changes. OUT/study.json has all
    scores.

    Each worker runs one condition. An interrupted study continues when the command is repeated.
    If a condition fails, it is listed and the others continue. With --minutes, the call ends
    before its time is over and lists what is left. The exit code is 1 if a condition failed or is
    left. `plan` lists all conditions, and `merge` unites what ran on several machines. A second
    study with another --first-seed should agree: see `agreement`. The results so far are in
    docs/experiments/2026-11-study.md.

    Example: `python -m experiments.study run --out out/quick --quick`
    """
    with verb_output(as_json=as_json) as output:
        order = _design(quick=quick, size_file=size_file, seeds=seeds, first_seed=first_seed)
        if so_far:
            result = write_findings(out, order)
        else:
            result = run_study(out, order, num_workers=workers, output=output,
                               patterns=conditions or (), minutes=minutes)  # fmt: skip
        for findings in result.findings:
            output.info("\n  ".join([f"\n{findings.question}", *findings.sentences]))
        output.info(f"\n{result.page}, after {result.seconds / 60:.1f} minutes")
        for failure in result.failed:
            output.warning(f"failed: {failure.condition}: {failure.reason}")
        if result.left:
            output.warning(
                f"{len(result.left)} conditions are left: {', '.join(result.left)}. Repeat the "
                "command to continue"
            )
        output.print_json({"page": result.page, "record": result.record,
                           "conditions": result.num_conditions,
                           "failed": [asdict(one) for one in result.failed],
                           "left": result.left,
                           "seconds": result.seconds})  # fmt: skip
        if result.failed or result.left:
            raise typer.Exit(DONE_IN_PART)


@app.command()
def plan(
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the study: measured times, finished conditions."),
    ] = None,
    quick: Quick = False,
    size_file: SizeFile = None,
    seeds: Seeds = None,
    first_seed: FirstSeed = 1,
    workers: Workers = 2,
    conditions: Patterns = None,
    minutes: Annotated[
        float, typer.Option(min=1.0, help="Length of a piece of time, as in `run --minutes`.")
    ] = 9.0,
    machine: Annotated[
        str | None,
        typer.Option(help="Part of the name of the measured machine to plan for, e.g. H100."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the conditions of a study, the most important first, with what each costs.

    Costs are the medians of the times in OUT/timings.jsonl, which `run` measures: those of this
    machine, or if it was not measured, of the machine that was measured most. Without any, they
    are those that the study's size states. Nothing is run.

    The last lines say how many pieces of time the unfinished conditions need. Each piece makes the
    libraries that it needs, unless OUT has them.

    Example: `python -m experiments.study plan --quick`
    """
    with verb_output(as_json=as_json) as output:
        order = _design(quick=quick, size_file=size_file, seeds=seeds, first_seed=first_seed)
        timings = [] if out is None else read_timings(out)
        if out is not None and (out / "design.json").exists():
            check_same_design(read_design(out), order, (out, "this study"))
        rates = choose_rates(order, timings, workers=workers, machine=machine)
        planned = plan_study(out, order, select(order.conditions, conditions or ()), rates,
                             workers=workers, piece_seconds=60 * minutes)  # fmt: skip
        _print_plan(planned, order, minutes, output)


def _print_plan(planned: Plan, order: Design, minutes: float, output: Output) -> None:
    rows = [
        [str(number), one.name,
         "done" if one.done else "?" if one.seconds is None else f"{one.seconds / 60:.1f}",
         "" if one.piece is None else str(one.piece)]
        for number, one in enumerate(planned.conditions, start=1)
    ]  # fmt: skip
    output.print_table("Conditions", ["", "condition", "minutes", "piece"], rows)
    size, left = order.size, [one for one in planned.conditions if not one.done]
    needed = "unknown: run a few conditions first, for example with `run --minutes`"
    if planned.seconds is not None:
        needed = f"{planned.seconds / 60:.0f} minutes in {planned.num_pieces} pieces"
    values = {
        "study": size.name,
        "libraries": f"{len(order.libraries)} of {size.hours:.2f} hours, seeds "
        f"{', '.join(map(str, order.seeds))}",
        "unfinished": f"{len(left)} of {len(planned.conditions)} conditions",
        "costs": planned.source,
        "needed": needed,
    }
    output.print_values("Planned study", values)
    if planned.too_long:
        output.warning(
            f"longer than a piece of {minutes:g} minutes with what they need: "
            f"{', '.join(planned.too_long)}. Give `run` more minutes for them"
        )
    output.print_json(asdict(planned))


@app.command()
def merge(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of a study that ran in slices, or its study.json.")
    ],
    out: Out,
    *,
    as_json: Json = False,
) -> None:
    """Unite the results of several folders, and write the findings.

    A folder needs only design.json and results/, which are small, and timings.jsonl if the
    measured times shall be united too. A study.json that was published counts as a folder. Folders
    of different designs are refused, and so are two results of one condition that differ in more
    than their cost. If OUT has results already, they are kept, and a study can continue there.

    Example: `python -m experiments.study merge slice1 slice2 --out out/large`
    """
    with verb_output(as_json=as_json) as output:
        merged = merge_studies(folders, out)
        rows = [[folder, str(count)] for folder, count in merged.by_folder.items()]
        output.print_table("Merged", ["folder", "results"], rows)
        result = write_findings(out, merged.design)
        output.info(f"{merged.num_results} of {len(merged.design.conditions)} conditions have a "
                    f"result: {result.page}")  # fmt: skip
        output.print_json({"page": result.page, "record": result.record,
                           "conditions": merged.num_results,
                           "planned": len(merged.design.conditions),
                           "by_folder": merged.by_folder})  # fmt: skip


@app.command("real-media")
def real_media(
    *,
    out: Out,
    sounds: Annotated[
        Path | None, typer.Option(help="ESC-50, or its part ESC-10: audio/ and meta/esc50.csv.")
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(help="UCF101 or a part: videos/ and ucfTrainTestlist/.")
    ] = None,
    library: Annotated[
        Path | None, typer.Option(help="Library of films, for retrieval between video and audio.")
    ] = None,
    conditions: Patterns = None,
    final: Annotated[
        bool, typer.Option("--final", help="Only the final encoders, no checkpoints on the way.")
    ] = False,
    workers: Workers = 2,
    as_json: Json = False,
) -> None:
    """Measure the finished encoders of a study on real sounds, videos and films.

    Linear probes are fitted to the features of real sounds and real videos, and the video of each
    moment of a library is searched by its audio and the reverse. Nothing is trained. Each training
    is compared with random weights of the same seed, and with uniform sampling. Checkpoints along
    the way are measured as well where the study has kept them.

    Files of the benchmarks that are missing are left out. What has been measured is kept in
    OUT/real, so that an interrupted call continues. The findings are in OUT/real_media.html.

    Example: `python -m experiments.study real-media --out out/shows --sounds ESC-50`
    """
    with verb_output(as_json=as_json) as output:
        design = read_design(out)
        found: list[RealScores] = []
        finished = [
            one for one in select(design.conditions, conditions or ())
            if read_scores(out, design, one) is not None
        ]  # fmt: skip
        if not finished:
            raise ValueError(f"no condition of {out} has finished: run the study first")
        given = {"sounds": sounds, "videos": videos, "retrieval": library}
        folders = {name: path for name, path in given.items() if path is not None}
        with output.progress("") as progress:  # files, frames, encoders
            media = read_media(out, design.size.detail, folders, workers, progress)
            trainings = [
                one
                for condition in finished
                for one in trainings_of(out, design.size, condition)
                if one.is_final or not final
            ]
            for number, training in enumerate(trainings):
                progress(number, len(trainings), "measuring encoders")
                found.append(measure(out, training, media))
            progress(len(trainings), len(trainings), "measuring encoders")
        findings = [policies(found), along_the_way(found)]
        page = write_real_page(out, folders, findings)
        for one in findings:
            output.info("\n  ".join([f"\n{one.question}", *one.sentences]))
        output.info(f"\n{page}")
        output.print_json({"page": page, "results": [one.model_dump(mode="json") for one in found]})


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
