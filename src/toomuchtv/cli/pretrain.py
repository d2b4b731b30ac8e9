"""The verb `pretrain`: train the two encoders."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from toomuchtv.cli.options import Catalog, Json, describe_error, verb_output
from toomuchtv.errors import ToomuchtvError


def pretrain(
    catalog: Catalog,
    run: Annotated[Path, Option("--run", help="Folder of the run, new or existing.")],
    *,
    preset: Annotated[
        str | None, Option(help="Preset to start from: tiny, small, base, vit-small or vit-base.")
    ] = None,
    config: Annotated[Path | None, Option(help="TOML file that overrides the preset.")] = None,
    settings: Annotated[
        list[str] | None,
        Option(
            "--set", help="Setting that overrides both, for example training.steps=600. Repeatable."
        ),
    ] = None,
    resume: Annotated[
        bool, Option("--resume", help="Continue the run from its last checkpoint.")
    ] = False,
    train_new_titles: Annotated[
        bool,
        Option(
            "--train-new-titles",
            help="Also train on titles that are new in the catalog since the run began.",
        ),
    ] = False,
    find_chunk_size: Annotated[
        bool, Option("--find-chunk-size", help="Set training.chunk_size to what fits in memory.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train the video encoder and the audio encoder on a prepared catalog.

    Some of the titles are held out: the encoders are never trained on them. Follow the training
    with `tensorboard --logdir RUN`. At the end, RUN/report.html shows the result.

    With --resume and without other settings, the configuration of the run is used. If the run does
    not exist yet, it is started, so that a job can use the same command for every start. A resumed
    run keeps its split: titles that are new in the catalog are left out, unless you pass
    --train-new-titles.

    For example:

        toomuchtv pretrain --catalog cat --run runs/first --preset tiny
        toomuchtv pretrain --catalog cat --run runs/first --resume
        torchrun --nproc-per-node 8 -m -- toomuchtv pretrain --catalog cat --run a
    """
    from toomuchtv._internal.distributed import launched_rank_and_world_size
    from toomuchtv.catalog.store import open_catalog
    from toomuchtv.reports.run_page import write_run_page
    from toomuchtv.training.pretrain import pretrain as run_pretraining
    from toomuchtv.training.profile import describe_run, with_found_chunk_size
    from toomuchtv.training.run_config import load_config

    rank, world_size = launched_rank_and_world_size()
    if find_chunk_size and world_size > 1:
        raise typer.BadParameter(
            "--find-chunk-size needs a single process. Run it once without torchrun, and then pass "
            "the --set training.chunk_size=N that it prints to all processes."
        )
    with verb_output(as_json=as_json, is_quiet=rank > 0) as output, open_catalog(catalog) as opened:
        if resume and preset is None and config is None and not settings:
            run_config = run / "config.toml"
            config = run_config if run_config.exists() else None
        resolved = load_config(preset=preset, file=config, settings=settings or ())
        if find_chunk_size:
            resolved = with_found_chunk_size(resolved, run)
            output.info(f"--set training.chunk_size={resolved.training.chunk_size} fits in memory.")
        if rank == 0:
            output.print_values(
                "Plan",
                describe_run(opened, resolved, world_size=world_size, run=run if resume else None),
            )
        with output.progress("steps") as progress:
            result = run_pretraining(
                opened,
                run,
                resolved,
                resume=resume,
                train_new_titles=train_new_titles,
                progress=progress,
            )
        if rank == 0:
            try:
                write_run_page(run, opened)
            except (ToomuchtvError, ValueError, RuntimeError, OSError) as error:
                output.warning(f"The report was not written: {describe_error(error)}.")
        output.print_values(
            f"Run {run}",
            {
                "steps": result.steps,
                "loss": result.loss,
                "clips per second": result.clips_per_second,
                "replaced clips": result.replaced_clips,
                "restarted loader workers": result.worker_restarts,
                "model": "not written yet" if result.interrupted else result.model,
                "report": run / "report.html",
            },
        )
        output.print_json(asdict(result))
        if result.interrupted:
            output.warning(
                "The training was stopped by a signal. Run the same command with --resume to "
                "continue it."
            )
