"""Verbs that train and look into what was trained: pretrain, diagnose."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from toomuchtv.cli.console import Output
from toomuchtv.cli.options import Catalog, Json, verb_output

if TYPE_CHECKING:
    from toomuchtv.diagnosis import Diagnosis


def pretrain(
    catalog: Catalog,
    run: Annotated[Path, typer.Option("--run", help="Folder of the run; made if need be.")],
    *,
    preset: Annotated[str | None, typer.Option(help="tiny, small or base.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file over the preset.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="One setting over both, as training.steps=600; repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with this run.")] = False,
    find_chunk_size: Annotated[
        bool,
        typer.Option("--find-chunk-size", help="Set training.chunk_size to what memory holds."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Train the encoders on a prepared catalog.

    A share of the titles is held out and never trained on. Watch with `tensorboard --logdir RUN`.
    With --resume and no other setting, the run's own config is used; where there is no run yet,
    it begins, so that one command does for every start. At the end RUN/report.html tells what came.
    Several processes: `torchrun --nproc-per-node N -m -- toomuchtv pretrain ...`; see
    docs/guide/many_gpus.md.
    """
    from toomuchtv._internal.distributed import launched_rank_and_world_size
    from toomuchtv.catalog.store import open_catalog
    from toomuchtv.reports.run_page import write_run_page
    from toomuchtv.training.pretrain import pretrain as train
    from toomuchtv.training.profile import describe_run, with_found_chunk_size
    from toomuchtv.training.run_config import load_config

    rank, world_size = launched_rank_and_world_size()
    if find_chunk_size and world_size > 1:
        raise typer.BadParameter(
            "--find-chunk-size is for one process: call it so once, then give all of them the "
            "--set training.chunk_size=N that it found"
        )
    with verb_output(as_json=as_json, is_quiet=rank > 0) as output, open_catalog(catalog) as opened:
        if resume and preset is None and config is None and not settings:
            own = run / "config.toml"
            config = own if own.exists() else None
        resolved = load_config(preset=preset, file=config, settings=settings or ())
        if find_chunk_size:
            resolved = with_found_chunk_size(resolved, run)
            output.info(f"--set training.chunk_size={resolved.training.chunk_size} fits in memory")
        if rank == 0:
            output.print_values(
                "What will happen", describe_run(opened, resolved, world_size=world_size)
            )
        with output.progress("steps") as progress:
            result = train(opened, run, resolved, resume=resume, progress=progress)
        if rank == 0:
            write_run_page(run, opened)
        output.print_values(
            f"Run {run}",
            {
                "steps": result.steps,
                "loss": result.loss,
                "clips a second": result.clips_per_second,
                "replaced clips": result.replaced_clips,
                "replaced loader workers": result.worker_restarts,
                "model": "not written yet" if result.interrupted else result.model,
                "report": run / "report.html",
            },
        )
        output.print_json(asdict(result))
        if result.interrupted:
            output.warning("stopped as asked; go on with the same command and --resume")


def diagnose(
    run: Annotated[Path, typer.Argument(help="A run's folder, its training finished.")],
    catalog: Catalog,
    *,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page and its figures; RUN/diagnosis.")
    ] = None,
    clips: Annotated[int, typer.Option(help="Moments drawn for each figure.")] = 512,
    seed: Annotated[int, typer.Option(help="Of the drawn moments.")] = 0,
    split: Annotated[
        Literal["auto", "held_out", "train", "all"],
        typer.Option(help="Which titles; auto: those held out, or all where they are under four."),
    ] = "auto",
    truth: Annotated[
        Path | None, typer.Option(help="Folder of events; `truth` beside the library.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how easy the negatives are, and if the model knows the title rather than the event.

    Writes OUT/diagnosis.html, a page with every figure and how to read it, and
    OUT/diagnosis.json. docs/diagnose.md says what a healthy run looks like.
    """
    import json

    from toomuchtv.catalog.store import open_catalog
    from toomuchtv.diagnosis import diagnose as examine
    from toomuchtv.reports.diagnosis_page import write_diagnosis_page

    with verb_output(as_json=as_json) as output, open_catalog(catalog) as opened:
        with output.progress("clips") as progress:
            found = examine(
                run, opened, split=split, clips=clips, seed=seed, truth=truth, progress=progress
            )
        folder = run / "diagnosis" if out is None else out
        page, figures = folder / "diagnosis.html", folder / "diagnosis.json"
        write_diagnosis_page(page, found)
        values = found.figures()
        figures.write_text(json.dumps(values, indent=1) + "\n")
        _show_diagnosis(output, found)
        output.print_json({"page": page, "figures": figures, **values})
        output.info(f"{page}")


def _show_diagnosis(output: Output, found: Diagnosis) -> None:
    from toomuchtv.diagnosis.results import Missing

    policies = [one for one in found.policies if not isinstance(one, Missing)]
    if policies:
        output.print_table(
            "How hard the negatives are",
            ["", *(f"{one.policy}{', trained with' if one.trained_with else ''}"
                   for one in policies)],
            [[name.replace("_", " "),
              *(f"{one.figures[name].mean:.3g} +- {one.figures[name].std:.2g}" for one in policies)]
             for name in policies[0].figures],
        )  # fmt: skip
    for name, probes in (("title", found.title_probes), ("event", found.event_probes)):
        if not isinstance(probes, Missing):
            output.print_table(
                f"Which {name}, by a linear classifier",
                ["from", "what is left", "layer", "weights", "accuracy", "chance"],
                [[one.sense, one.content, one.layer, "trained" if one.trained else "fresh",
                  one.accuracy, one.chance] for one in probes],
            )  # fmt: skip
    parts = (*found.policies, found.survey, found.title_probes, found.event_probes)
    for part in parts:
        if isinstance(part, Missing):
            output.warning(f"not given: {part.reason}")
    for note in found.notes:
        output.warning(f"note: {note}")
