"""The verb `scan`: from a folder of media files to a catalog."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from toomuchtv.cli.options import DONE_IN_PART, Catalog, Json, Workers, verb_output


def scan(
    library: Annotated[
        Path, Argument(help="Folder of films and series. It is only read, never changed.")
    ],
    catalog: Catalog,
    *,
    workers: Workers = 2,
    follow_links: Annotated[
        bool,
        Option("--follow-links", help="Use what links lead to outside of the library, too."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Find the films and episodes of a library, parse their file names and probe them.

    The first scan creates the catalog. Later scans bring it up to date, and they open only files
    that are new or have changed. Files that cannot be used are skipped and listed with the reason;
    the exit code is then 1.

    For example:

        toomuchtv scan ~/videos --catalog cat
    """
    from toomuchtv.catalog.scan import scan_library

    with verb_output(as_json=as_json) as output:
        with output.progress("files") as progress:
            result = scan_library(
                library,
                catalog,
                num_workers=workers,
                follow_links=follow_links,
                progress=progress,
            )
        kinds = ", ".join(f"{count} {kind}" for kind, count in result.extra_kinds.items())
        output.print_values(
            f"Catalog {catalog}",
            {
                "titles": result.titles,
                "items": result.items,
                "extras": f"{result.extras} ({kinds})" if kinds else 0,
                "hours": result.seconds / 3600,
                "added": result.added,
                "updated": result.updated,
                "renamed": result.renamed,
                "unchanged": result.unchanged,
                "vanished": result.vanished,
                "skipped": len(result.skipped),
                "ignored": result.ignored,
            },
        )
        for warning in result.warnings:
            output.warning(f"warning: {warning}")
        for file in result.skipped:
            output.warning(f"skipped: {file.path}: {file.reason}")
        if result.items == 0:
            output.warning("warning: this library has no file that can be used")
        values = asdict(result)
        output.print_json({**values, "set_aside": values["skipped"]})
        if result.skipped:
            raise typer.Exit(DONE_IN_PART)
