"""The verbs of `catalog`: show the titles of a catalog, correct them, and write its segments."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from toomuchtv._internal.timecode import format_timecode
from toomuchtv.cli.console import Output, counted
from toomuchtv.cli.options import Json, verb_output

if TYPE_CHECKING:
    from toomuchtv.catalog.description import CatalogDescription, ItemDescription, TitleDescription


class SegmentFormat(StrEnum):
    """Shape of the file that `catalog segments` writes."""

    JELLYFIN = "jellyfin"


_COUNTED_KINDS = ("shot", "opening", "credits", "black", "silence")


def show(
    catalog: Annotated[Path, Argument(help="Folder of the catalog.")],
    *,
    title: Annotated[
        str | None, Option(help="Show only this title, with the times of all its segments.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the titles of a catalog, what recurs in their items, and what two titles share.

    The column `prepared` counts the items that have a proxy. The other columns count segments.

    With --title, the table lists every opening, credits, recap, black, silence and logo segment of
    every item. Shots are only counted.

    For example:

        toomuchtv catalog show cat
        toomuchtv catalog show cat --title "The Office"
    """
    from toomuchtv.catalog.description import describe_catalog
    from toomuchtv.catalog.store import open_catalog

    with verb_output(as_json=as_json) as output, open_catalog(catalog) as opened:
        size = opened.size()
        output.info(
            f"{counted(size.titles, 'title')}, {counted(size.items, 'item')}, "
            f"{size.seconds / 3600:,.2f} hours"
        )
        description = describe_catalog(opened, title, list_segments=as_json or title is not None)
        _print_catalog(output, description, list_segments=title is not None)
        output.print_json(asdict(description))


def rename(
    catalog: Annotated[Path, Argument(help="Folder of the catalog.")],
    path: Annotated[
        str,
        Argument(help="File, folder, or pattern with * and **, relative to the library."),
    ],
    *,
    title: Annotated[str | None, Option(help="Name of the title.")] = None,
    year: Annotated[int | None, Option(help="Year of release; 0 for none.")] = None,
    kind: Annotated[str | None, Option(help="Kind of the title: movie or show.")] = None,
    season: Annotated[int | None, Option(help="Season number.")] = None,
    episode: Annotated[int | None, Option(help="Episode number.")] = None,
    extra: Annotated[
        str | None, Option(help="Kind of extra, for example trailer; empty for a feature.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Correct which title files belong to. The library is neither read nor changed.

    The correction is added to the file titles.toml in the catalog's folder, which you can edit.
    It holds for later scans too, and follows a file that is renamed.

    For example:

        toomuchtv catalog rename cat "TV/Alpha/Season 1" --title Beta --year 2010
        toomuchtv catalog rename cat "TV/Alpha/pilot.mkv" --season 1 --episode 1
    """
    from toomuchtv.catalog.corrections import Correction
    from toomuchtv.catalog.store import open_catalog
    from toomuchtv.catalog.titles import correct_titles

    with verb_output(as_json=as_json) as output, open_catalog(catalog) as opened:
        correction = Correction(
            path=path,
            title=title,
            year=year,
            kind=kind,
            season=season,
            episode=episode,
            extra=extra,
        )
        assigned = correct_titles(opened, correction)
        output.print_values(f"Catalog {catalog}", {"changed": len(assigned.changed)})
        for warning in assigned.warnings:
            output.warning(f"warning: {warning}")
        output.print_json(asdict(assigned))


def segments(
    catalog: Annotated[Path, Argument(help="Folder of the catalog.")],
    *,
    out: Annotated[Path, Option(help="JSON file to write.")],
    format_name: Annotated[
        SegmentFormat, Option("--format", help="Shape of the file: jellyfin.")
    ] = SegmentFormat.JELLYFIN,
    server_library: Annotated[
        str | None,
        Option(help="Folder of the library as the Jellyfin server sees it, where it differs."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the openings, credits and recaps of a catalog as JSON for a media server.

    Every segment has the keys of Jellyfin's media segments: ItemId, Type (Intro, Outro or Recap),
    StartTicks and EndTicks (10,000,000 ticks per second), and also Path. Jellyfin computes the id
    of an item from the path of its file. So pass --server-library if the server sees the library
    under another path than this machine, for example in a container.

    For example:

        toomuchtv catalog segments cat --out segments.json --server-library /media
    """
    from toomuchtv.catalog.media_segments import media_segments, write_media_segments
    from toomuchtv.catalog.store import open_catalog

    with verb_output(as_json=as_json) as output, open_catalog(catalog) as opened:
        found = media_segments(opened, server_library=server_library)
        write_media_segments(found, out)
        counts = Counter(segment.type for segment in found)
        output.print_values(f"Segments in {out}", counts or {"segments": 0})
        values = {"out": out, "format": format_name.value, "segments": len(found), "types": counts}
        output.print_json(values)


def _print_catalog(output: Output, description: CatalogDescription, *, list_segments: bool) -> None:
    output.print_table(
        f"Catalog {description.catalog}",
        ["title", "kind", "prepared", "hours", "shots", "opening", "credits", "black", "silence"],
        [_title_row(title) for title in description.titles],
    )
    recurring = [
        [
            title.name,
            ", ".join(passage.kinds),
            f"{passage.items} of {len(title.items)}",
            f"{passage.seconds:.1f} s",
            f"{passage.first_item} at {format_timecode(passage.first_start_seconds)}",
        ]
        for title in description.titles
        for passage in title.recurring
    ]
    if recurring:
        header = ["title", "kind", "in items", "length", "first occurrence"]
        output.print_table("Recurring passages", header, recurring)
    if list_segments:
        for title in description.titles:
            for item in title.items:
                _print_item(output, item)
    damaged = [
        [item.path, item.damage]
        for title in description.titles
        for item in title.items
        if item.damage
    ]
    if damaged:
        output.print_table("Damaged files", ["file", "damage"], damaged)
    if description.duplicates:
        output.print_table(
            "Passages that two titles share",
            ["title", "start", "stop", "other title", "start"],
            [
                [
                    shared.title,
                    format_timecode(shared.start_seconds),
                    format_timecode(shared.stop_seconds),
                    shared.other_title,
                    format_timecode(shared.other_start_seconds),
                ]
                for shared in description.duplicates
            ],
        )


def _title_row(title: TitleDescription) -> list[object]:
    from toomuchtv.catalog.description import display_name

    counts = sum((Counter(item.segment_counts) for item in title.items), Counter[str]())
    return [
        display_name(title.name, title.year),
        title.kind,
        f"{sum(item.prepared for item in title.items)} of {len(title.items)}",
        f"{title.seconds / 3600:.2f}",
        *(counts[kind] for kind in _COUNTED_KINDS),
    ]


def _print_item(output: Output, item: ItemDescription) -> None:
    num_shots = item.segment_counts.get("shot", 0)
    rows = [
        [
            segment.kind,
            format_timecode(segment.start_seconds),
            format_timecode(segment.stop_seconds),
            "" if segment.recurrence is None else segment.recurrence,
        ]
        for segment in item.segments
        if segment.kind != "shot"
    ]
    title = f"{item.path} ({format_timecode(item.seconds)}, {num_shots} shots)"
    output.print_table(title, ["segment", "start", "stop", "recurring passage"], rows)
