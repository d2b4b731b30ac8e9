"""`python -m experiments.rendered_tv OUT`: render a library of procedural films and series."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.rendered_tv import RenderedTVConfig, render_library
from toomuchtv.cli.options import Json, Workers, verb_output

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def main(
    out: Annotated[Path, typer.Argument(help="Output folder.")],
    *,
    movies: Annotated[int, typer.Option(help="Number of films.")] = 12,
    shows: Annotated[int, typer.Option(help="Number of series.")] = 4,
    episodes: Annotated[int, typer.Option(help="Number of episodes of each series.")] = 4,
    minutes: Annotated[float, typer.Option(help="Length of each film and each episode.")] = 4.0,
    seed: Annotated[int, typer.Option(help="The same seed renders the same library.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting, e.g. signature_picture=0.2; repeatable."),
    ] = None,
    workers: Workers = 2,
    as_json: Json = False,
) -> None:
    """Render a library of procedural films and series whose events are known.

    OUT/library has the layout of a media server. OUT/ground_truth has the ground truth of each
    file as JSON. OUT/transfer has labeled clips of titles that the library does not contain. An
    interrupted command continues when it is repeated.

    Settings of --set from 0 (none) to 1 (strong): signature_picture and signature_sound (the
    visual and the audio signature of a title), diversity and show_diversity (the share of the
    event kinds and sets that a film or a series uses), recurrence (how often a title's own sets
    and characters appear), music_overlap (loudness of the music during events), event_share and
    pair_share (how often one or two events happen). Other settings: seasons, clips (short clips,
    each a title of its own), opening_seconds, event_kinds, width, height, frame_rate,
    transfer_titles, transfer_clips_per_kind. docs/guide/rendered_tv.md describes each.

    Example: `python -m experiments.rendered_tv out/tv --movies 2 --shows 1 --minutes 1`
    """
    with verb_output(as_json=as_json) as output:
        try:
            others: dict[str, Any] = tomllib.loads("\n".join(settings or ()))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"--set expects setting=value, got {settings}") from error
        config = RenderedTVConfig(
            movies=movies, shows=shows, episodes=episodes, minutes=minutes, seed=seed, **others
        )
        with output.progress("seconds of film") as progress:
            summary = render_library(out, config, num_workers=workers, progress=progress)
        values = summary.model_dump(mode="json")
        kinds = f"{len(summary.event_kinds)} kinds"
        output.print_values(f"Rendered library {out}", {**values, "event_kinds": kinds})
        output.print_json({"out": out, **values})


if __name__ == "__main__":
    app()
