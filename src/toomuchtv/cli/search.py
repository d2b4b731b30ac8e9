"""The verb `search`: moments that look or sound like another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Argument, Option

from toomuchtv.cli.console import Output, counted
from toomuchtv.cli.index import Index
from toomuchtv.cli.options import DONE_IN_PART, Json, verb_output

if TYPE_CHECKING:
    from toomuchtv.search.hits import Hit
    from toomuchtv.search.index import SearchIndex
    from toomuchtv.search.queries import Query

By = Literal["both", "look", "sound", "look-to-sound", "sound-to-look"]


def search(
    index: Index,
    query: Annotated[
        str | None,
        Argument(
            metavar="QUERY",
            help="A moment of the catalog (NAME@TIME or item:ID@TIME), a video, sound or image "
            "file (PATH or PATH@TIME), or a description (text:WORDS).",
        ),
    ] = None,
    *,
    item: Annotated[int | None, Option(help="Number of an item, in place of QUERY.")] = None,
    at: Annotated[str | None, Option(metavar="TIME", help="Time in that item.")] = None,
    vector: Annotated[
        Path | None, Option(metavar="FILE.npy", help="A vector of --encoder, in place of QUERY.")
    ] = None,
    encoder: Annotated[
        str | None, Option(help="Name of the only encoder to use. Default: all of the index.")
    ] = None,
    weight: Annotated[
        list[str] | None,
        Option(metavar="NAME=WEIGHT", help="Weight of an encoder, 1 by default. Repeatable."),
    ] = None,
    by: Annotated[
        By,
        Option(help="What to compare. look-to-sound finds sounds that go with a picture."),
    ] = "both",
    k: Annotated[int, Option("-k", "--hits", min=1, help="How many moments to show.")] = 10,
    plus: Annotated[
        list[str] | None, Option(metavar="QUERY", help="Also like this. Repeatable.")
    ] = None,
    minus: Annotated[
        list[str] | None, Option(metavar="QUERY", help="But not like this. Repeatable.")
    ] = None,
    more_like: Annotated[
        list[str] | None, Option(metavar="HIT", help="A hit that was good. Repeatable.")
    ] = None,
    less_like: Annotated[
        list[str] | None, Option(metavar="HIT", help="A hit that was bad. Repeatable.")
    ] = None,
    then: Annotated[
        str | None,
        Option(metavar="QUERY", help="Find sequences: QUERY first, then this, in one item."),
    ] = None,
    within: Annotated[
        float, Option(metavar="SECONDS", help="Longest gap between the two moments.")
    ] = 30.0,
    other_titles: Annotated[
        bool,
        Option("--other-titles", help="Find the same event in other titles than the query's."),
    ] = False,
    no_centering: Annotated[
        bool,
        Option("--no-centering", help="With --other-titles: keep what identifies a title."),
    ] = False,
    title: Annotated[list[str] | None, Option(help="Only this title. Repeatable.")] = None,
    kind: Annotated[list[str] | None, Option(help="Only movie, show or clip. Repeatable.")] = None,
    season: Annotated[list[int] | None, Option(help="Only this season. Repeatable.")] = None,
    from_time: Annotated[
        str, Option("--from", metavar="TIME", help="Only moments from this time on.")
    ] = "0",
    to_time: Annotated[
        str | None, Option("--to", metavar="TIME", help="Only moments before this time.")
    ] = None,
    in_segment: Annotated[
        list[str] | None,
        Option(metavar="KIND", help="Only inside opening, credits, recap, ... Repeatable."),
    ] = None,
    not_in_segment: Annotated[
        list[str] | None, Option(metavar="KIND", help="Only outside these. Repeatable.")
    ] = None,
    per_title: Annotated[
        int | None, Option(min=1, help="At most so many hits of one title.")
    ] = None,
    all_windows: Annotated[
        bool, Option("--all-windows", help="Show every window, also copies of one moment.")
    ] = False,
    outliers: Annotated[
        bool,
        Option(
            "--outliers",
            help="Instead of QUERY: moments that nothing else resembles, by look or --by sound.",
        ),
    ] = False,
    out: Annotated[
        list[Path] | None,
        Option(
            "--out",
            metavar="FILE",
            help="Also write the hits to a file: .json, .csv, .png (contact sheet), .otio, .edl or "
            ".fcpxml. Repeatable.",
        ),
    ] = None,
    clips: Annotated[
        Path | None, Option("--clips", metavar="DIR", help="Cut the hits as MP4 files.")
    ] = None,
    handles: Annotated[
        float,
        Option(min=0, metavar="SECONDS", help="Extra time around hits in timelines and clips."),
    ] = 0.0,
    catalog: Annotated[
        Path | None, Option("--catalog", help="Folder of the catalog, if it has moved.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find moments that look or sound like a moment, a file, or a description.

    Every hit has a similarity (the cosine of two vectors) and a z-score (how far this exceeds the
    similarity of random moments of different titles). If no hit is more similar than what nine of
    ten random moments find in other titles, the search says that there is no confident match.

    For example:

        toomuchtv search idx "Caminandes S01E03@01:12"
        toomuchtv search idx "Caminandes S01E03@01:12" --other-titles --by look
        toomuchtv search idx door.wav --by sound-to-look -k 20
        toomuchtv search idx "Sintel@00:12" --then "Sintel@00:20" --within 60
        toomuchtv search idx "Sintel@00:12" --out hits.png --out hits.fcpxml --clips cuts
    """
    from toomuchtv.search.filters import Filters
    from toomuchtv.search.index import open_index
    from toomuchtv.search.queries import parse_seconds
    from toomuchtv.search.results import check_format

    for path in out or ():
        with verb_output(as_json=as_json):
            check_format(path)  # before the work and not after it
    with verb_output(as_json=as_json) as output, open_index(index, catalog=catalog) as opened:
        what: Query | None = None
        filters = Filters.parse(
            titles=title or (),
            kinds=kind or (),
            seasons=season or (),
            from_seconds=parse_seconds(from_time),
            to_seconds=float("inf") if to_time is None else parse_seconds(to_time),
            in_segments=in_segment or (),
            not_in_segments=not_in_segment or (),
        )
        if outliers:
            if query is not None or item is not None or vector is not None:
                raise ValueError("--outliers takes no query: give one of the two")
            without_effect = {
                "--at": at, "--weight": weight, "--plus": plus, "--minus": minus, "--then": then,
                "--more-like": more_like, "--less-like": less_like, "--per-title": per_title,
                "--other-titles": other_titles, "--all-windows": all_windows,
            }  # fmt: skip
            if given := [name for name, value in without_effect.items() if value]:
                raise ValueError(f"--outliers compares all moments: omit {', '.join(given)}")
            if by == "both":
                by = "look"
            if by not in ("look", "sound"):
                raise ValueError(f"--outliers compares by look or by sound, got --by {by}")
            hits = opened.outliers(k=k, by=by, encoder=encoder, filters=filters)
        else:
            what = _query(opened, query, item, at, vector, encoder, by)
            hits = opened.search(
                what,
                k=k,
                by=by,
                plus=plus or (),
                minus=minus or (),
                more_like=more_like or (),
                less_like=less_like or (),
                other_titles=other_titles,
                centered=not no_centering,
                then=then,
                within_seconds=within,
                filters=filters,
                weights=_weights(opened, encoder, weight or ()),
                collapse=not all_windows,
                per_title=per_title,
            )
        _print(output, hits, is_search=not outliers)
        is_complete = _write(output, opened, hits, what, out or [], clips, handles)
        for problem in opened.problems:
            output.warning(problem)
        if opened.problems or not is_complete:
            raise typer.Exit(DONE_IN_PART)


def _query(
    index: SearchIndex,
    query: str | None,
    item: int | None,
    at: str | None,
    vector: Path | None,
    encoder: str | None,
    by: str,
) -> Query:
    """Return the query that the options describe."""
    from toomuchtv.search.queries import parse_seconds, read_vector

    if (query is not None) + (item is not None) + (vector is not None) != 1:
        raise ValueError("give one of QUERY, --item with --at, --vector, and --outliers")
    if query is not None:
        return index.parse_query(query)
    if item is not None:
        if at is None:
            raise ValueError("--item needs the time: --at 01:12")
        return index.moment(item, parse_seconds(at))
    assert vector is not None
    if encoder is None:
        raise ValueError("--vector needs the name of its encoder: --encoder NAME")
    return read_vector(vector, encoder, "audio" if by.startswith("sound") else "video")


def _weights(
    index: SearchIndex, encoder: str | None, weights: list[str] | tuple[str, ...]
) -> dict[str, float] | None:
    """Return the weight of each encoder, or None if all are equal."""
    found = dict.fromkeys(index.encoders, 1.0)
    if encoder is not None:
        found = dict.fromkeys(index.encoders, 0.0) | {encoder: 1.0}
    for text in weights:
        name, _, value = text.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise ValueError(f"--weight takes NAME=WEIGHT, got {text!r}") from None
    return found


def _print(output: Output, hits: list[Hit], *, is_search: bool) -> None:
    from toomuchtv.search.hits import NO_CONFIDENT_MATCH
    from toomuchtv.search.result_tables import TABLE_HEADER, hit_to_dict, table_rows

    if hits:
        title = "Moments" if is_search else "Unusual moments"
        output.print_table(title, TABLE_HEADER, table_rows(hits))
    else:
        output.info("Nothing was found that meets the conditions.")
    is_confident = any(hit.is_confident for hit in hits)
    if is_search and hits and not is_confident:
        output.info(NO_CONFIDENT_MATCH)
    output.print_json({"confident": is_confident, "hits": [hit_to_dict(hit) for hit in hits]})


def _write(
    output: Output,
    index: SearchIndex,
    hits: list[Hit],
    query: Query | None,
    files: list[Path],
    clips: Path | None,
    handles: float,
) -> bool:
    """Write the files that were asked for; return whether all of them are complete."""
    from toomuchtv.search.clips import write_clips
    from toomuchtv.search.query_picture import query_picture
    from toomuchtv.search.results import write_results

    is_complete = True
    for path in files:
        picture = None
        if path.suffix.lower() == ".png" and query is not None:
            picture = query_picture(index.catalog, query)
        warnings = write_results(
            hits, path, catalog=index.catalog, query=picture, handles_seconds=handles
        )
        for warning in warnings:
            output.warning(warning)
        output.info(f"Written: {path}")
    if clips is not None:
        with output.progress("clips") as progress:
            made = write_clips(
                hits, clips, catalog=index.catalog, handles_seconds=handles, progress=progress
            )
        for hit, reason in made.failed:
            output.warning(f"not cut: {hit.name}: {reason}")
            is_complete = False
        output.info(f"Written: {counted(len(made.written), 'clip')} in {clips}")
    return is_complete
