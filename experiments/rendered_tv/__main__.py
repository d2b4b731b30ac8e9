"""`python -m experiments.rendered_tv OUT`: render a library of procedural films and series."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from toomuchtv.cli.options import Json, Workers, verb_output


def main(
    out: Annotated[Path, typer.Argument(help="Folder to render into.")],
    *,
    movies: Annotated[int, typer.Option(help="Number of films.")] = 12,
    shows: Annotated[int, typer.Option(help="Number of series.")] = 4,
    episodes: Annotated[int, typer.Option(help="Episodes of each series.")] = 4,
    minutes: Annotated[float, typer.Option(help="Length of a film or episode.")] = 4.0,
    seed: Annotated[int, typer.Option(help="The same seed renders the same library.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another knob, as signature_picture=0.2; repeatable."),
    ] = None,
    workers: Workers = 2,
    as_json: Json = False,
) -> None:
    """Render a library of procedural films and series whose events are known.

    OUT/library is laid out as a media server's, OUT/truth says what happens when, OUT/transfer
    holds labeled clips of titles that the library does not have.

    Knobs of --set, each from 0 (none) to 1 (strong): signature_picture and signature_sound, what a
    title owns of look and of music, room and loudness; diversity and show_diversity, the share of
    the kinds of events and of the sets that a film or a series has; recurrence, how often its own
    sets and characters are on; music_overlap, how loud music is under events; event_share and
    pair_share, how often something happens, or two things. Others: seasons, clips (short ones,
    each a title of its own), opening_seconds, event_kinds, width, height, frame_rate,
    transfer_titles, transfer_clips_per_kind. RenderedTVConfig describes each.
    """
    import tomllib

    from experiments.rendered_tv import RenderedTVConfig, render_library

    with verb_output(as_json=as_json) as output:
        try:
            knobs: dict[str, Any] = tomllib.loads("\n".join(settings or ()))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"--set reads knob=value, got {settings}") from error
        order = RenderedTVConfig(
            movies=movies, shows=shows, episodes=episodes, minutes=minutes, seed=seed, **knobs
        )
        with output.progress("s of film") as progress:
            summary = render_library(out, order, num_workers=workers, progress=progress)
        facts = summary.model_dump(mode="json")
        output.print_values(
            f"Studio {out}", {**facts, "event_kinds": f"{len(summary.event_kinds)} kinds"}
        )
        output.print_json({"out": out, **facts})


if __name__ == "__main__":
    typer.run(main)
