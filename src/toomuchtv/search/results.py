"""Write hits as files, whose suffix says the format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from toomuchtv._internal.files import write_text
from toomuchtv.catalog.store import Catalog
from toomuchtv.search.clips import refuse_library
from toomuchtv.search.contact_sheet import QueryPicture, write_contact_sheet
from toomuchtv.search.edl import to_edl
from toomuchtv.search.fcpxml import to_fcpxml
from toomuchtv.search.hits import Hit
from toomuchtv.search.otio import to_otio
from toomuchtv.search.result_tables import hits_to_csv, hits_to_json
from toomuchtv.search.timeline import build_timeline

#: Formats of `write_results`, by the suffix of a file.
FORMATS = {
    ".json": "JSON",
    ".csv": "CSV, for spreadsheets",
    ".png": "contact sheet",
    ".otio": "OpenTimelineIO timeline",
    ".edl": "CMX 3600 edit decision list",
    ".fcpxml": "FCPXML timeline",
}


def write_results(
    hits: Sequence[Hit],
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - as other writers of files call it
    catalog: Catalog | str | os.PathLike[str] | None = None,
    query: QueryPicture | None = None,
    handles_seconds: float = 0.0,
    comments: bool = False,
) -> tuple[str, ...]:
    """Write hits as a file. An existing file is replaced, once the new one is whole.

    Args:
        hits: The hits. JSON and CSV may be without any.
        path: The file.
        format: One of `FORMATS`, with or without its dot. By default, the suffix of the file says
            the format.
        catalog: The catalog of the hits, or its folder. A contact sheet needs it.
        query: The picture of the query, for a contact sheet.
        handles_seconds: So much more is taken before and after every hit in timelines.
        comments: Whether an EDL names the files in comments; see `to_edl`.

    Returns:
        Warnings, such as files that cannot be read.

    Raises:
        ValueError: The format is unknown, there are no hits, or the file is inside the library.
        MediaError: No file of the hits can be read for a timeline.
        OSError: The file cannot be written.
    """
    target = Path(path)
    kind = check_format(target, format)
    if catalog is not None:
        refuse_library(target, catalog)
    if kind == ".json":
        write_text(target, hits_to_json(hits))
        return ()
    if kind == ".csv":
        write_text(target, hits_to_csv(hits))
        return ()
    if kind == ".png":
        if catalog is None:
            raise ValueError("a contact sheet needs the catalog of the hits: pass catalog=")
        return write_contact_sheet(hits, target, catalog=catalog, query=query)
    timeline = build_timeline(hits, name=target.stem, handles_seconds=handles_seconds)
    if kind == ".otio":
        text = to_otio(timeline)
    elif kind == ".edl":
        text = to_edl(timeline, comments=comments)
    else:
        text = to_fcpxml(timeline)
    write_text(target, text)
    return timeline.warnings


def check_format(path: Path, format: str | None = None) -> str:  # noqa: A002 - see above
    """Return the key in `FORMATS` of a file that will be written.

    Raises:
        ValueError: The format, or the suffix, is none of them.
    """
    wanted = (path.suffix if format is None else f".{format.lstrip('.')}").lower()
    if wanted not in FORMATS:
        known = ", ".join(f"{suffix} ({name})" for suffix, name in FORMATS.items())
        what = f"the file name {path.name!r}" if format is None else f"the format {format!r}"
        raise ValueError(f"{what} names no format of results: choose from {known}")
    return wanted
