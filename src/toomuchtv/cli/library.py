"""Verbs from files to a catalog: doctor, scan, prepare, catalog show."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from toomuchtv.cli.options import DONE_IN_PART, Catalog, Json, Workers, verb_output


def doctor(*, as_json: Json = False) -> None:
    """Show what this machine has: decoders, GPU, free disk, library versions."""
    from toomuchtv.cli.doctor import inspect_machine

    with verb_output(as_json=as_json) as output:
        diagnosis = inspect_machine(Path.cwd())
        output.print_values("This machine", diagnosis.facts)
        output.print_values("Libraries", diagnosis.libraries)
        output.print_json(asdict(diagnosis))
        for missing in diagnosis.missing:
            output.error(f"{missing} is missing: install the `av` wheel of the package index")
        if diagnosis.missing:
            raise typer.Exit(DONE_IN_PART)


def scan(
    library: Annotated[Path, typer.Argument(help="Folder of films and series; only read.")],
    catalog: Catalog,
    *,
    workers: Workers = 2,
    as_json: Json = False,
) -> None:
    """Find the films and episodes of a library, read their names and probe them.

    The catalog is made where there is none, else brought up to date: unchanged files are not
    opened again. Files that cannot be used are skipped and listed with the reason.
    """
    from toomuchtv.catalog.scan import scan_library

    with verb_output(as_json=as_json) as output:
        with output.progress("files") as progress:
            result = scan_library(library, catalog, num_workers=workers, progress=progress)
        output.print_values(
            f"Catalog {catalog}",
            {
                "titles": result.titles,
                "items": result.items,
                "extras": result.extras,
                "hours": result.seconds / 3600,
                "added": result.added,
                "updated": result.updated,
                "renamed": result.renamed,
                "unchanged": result.unchanged,
                "vanished": result.vanished,
            },
        )
        for warning in result.warnings:
            output.warning(f"warning: {warning}")
        for entry in result.skipped:
            output.warning(f"skipped: {entry.path}: {entry.reason}")
        values = asdict(result)
        output.print_json({**values, "set_aside": values["skipped"]})
        if result.items == 0:
            output.warning("nothing in this library can be used")
        if result.skipped:
            raise typer.Exit(DONE_IN_PART)


def prepare(
    catalog: Catalog,
    *,
    workers: Workers = 2,
    short_side: Annotated[int, typer.Option(help="Pixels of the proxies' shorter side.")] = 128,
    frame_rate: Annotated[float, typer.Option(help="Frames a second of the proxies.")] = 8.0,
    sample_rate: Annotated[int, typer.Option(help="Sample rate of the proxies' sound.")] = 16_000,
    quantizer: Annotated[
        int, typer.Option(help="Coarseness of the pictures, 1 (finest, largest) to 31.")
    ] = 4,
    language: Annotated[
        list[str] | None,
        typer.Option(help="Language of the sound, as files tag it (eng); repeat for several."),
    ] = None,
    letterbox: Annotated[
        Literal["keep", "crop"], typer.Option(help="What to do with black bars around the picture.")
    ] = "keep",
    disk_check: Annotated[
        bool, typer.Option(help="Refuse to begin where the disk looks too small.")
    ] = True,
    segments: Annotated[
        bool, typer.Option(help="Find what recurs, shots, black and what titles share.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Make proxies, the small copies that training reads, and find what is in them.

    Openings, end credits and recaps are found by the sound that comes again in a show's episodes;
    shots, black, silence, logos and a film's credits by picture and sound; and stretches that two
    titles share. `toomuchtv catalog show` shows them. Stop it at any moment; the next call goes
    on where it stopped.
    """
    from toomuchtv.catalog.prepare import estimate_prepare, prepare_catalog
    from toomuchtv.catalog.store import open_catalog
    from toomuchtv.cli.catalog_tables import show_analysis
    from toomuchtv.detection.detect import detect_segments
    from toomuchtv.media.proxy import ProxyFormat

    with verb_output(as_json=as_json) as output, open_catalog(catalog) as opened:
        recipe = ProxyFormat(
            short_side=short_side,
            frame_rate=frame_rate,
            sample_rate_hz=sample_rate,
            quantizer=quantizer,
            languages=tuple(language or ()),
            letterbox=letterbox,
        )
        estimate = estimate_prepare(opened, recipe)
        output.info(
            f"{estimate.items} items to prepare, {estimate.film_seconds / 3600:.2f} hours, about "
            f"{estimate.bytes / 1e6:,.0f} MB; {estimate.free_bytes / 1e9:,.1f} GB free"
        )
        with output.progress("s of film") as progress:
            result = prepare_catalog(
                opened, recipe, num_workers=workers, check_disk=disk_check, progress=progress
            )
        output.print_values(
            f"Proxies of {catalog}",
            {
                "prepared": result.prepared,
                "skipped, done before": result.skipped,
                "failed": len(result.failed),
                "megabytes": result.bytes / 1e6,
            },
        )
        for entry in result.failed:
            output.warning(f"failed: {entry.path}: {entry.reason}")
        found = None
        if segments:
            with output.progress("s of film") as progress:
                found = detect_segments(opened, num_workers=workers, progress=progress)
            show_analysis(output, found)
        output.print_json({**asdict(result), "found": None if found is None else asdict(found)})
        if result.failed or (found is not None and found.failed):
            raise typer.Exit(DONE_IN_PART)


def show(
    catalog: Annotated[Path, typer.Argument(help="Folder of the catalog.")],
    *,
    title: Annotated[
        str | None, typer.Option(help="Show this one alone, every segment with its timecodes.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the titles, what recurs in their items, and what titles share.

    With --title, every opening, credits, recap, black, silence and logo of every item.
    """
    from toomuchtv.catalog.description import describe_catalog
    from toomuchtv.catalog.store import open_catalog
    from toomuchtv.cli.catalog_tables import show_catalog

    with verb_output(as_json=as_json) as output, open_catalog(catalog) as opened:
        shown = describe_catalog(opened, title)
        show_catalog(output, shown, in_full=title is not None)
        output.print_json(asdict(shown))
