"""Hits as files to take away."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from toomuchtv.search.clips import write_clips
from toomuchtv.search.hits import Hit
from toomuchtv.search.results import FORMATS, write_results
from toomuchtv.search.text import ascii_text, safe_file_name

CLIPS = "clips"
#: All formats with their names for people.
EXPORT_FORMATS = {
    **{suffix.removeprefix("."): name for suffix, name in FORMATS.items()},
    CLIPS: "MP4 clips",
}
MIME_TYPES = {
    "json": "application/json", "csv": "text/csv; charset=utf-8", "png": "image/png",
    "otio": "application/json", "edl": "text/plain; charset=utf-8",
    "fcpxml": "application/xml", CLIPS: "application/zip",
}  # fmt: skip
# Proxies and browsers limit the size of headers.
_MAX_WARNINGS_LENGTH = 4000


def export_hits(
    hits: Sequence[Hit],
    folder: Path,
    *,
    format: str,  # noqa: A002 - as `write_results` calls it
    name: str,
    handles_seconds: float,
    catalog: Path,
) -> tuple[BinaryIO, str, tuple[str, ...]]:
    """Write hits in a format, and return the open file, its name and warnings.

    Args:
        hits: The hits.
        folder: Where temporary files may be.
        format: One of `EXPORT_FORMATS`.
        name: Name of the file for people, without suffix.
        handles_seconds: So much more is taken before and after every hit in timelines and clips.
        catalog: The folder of the catalog.

    Raises:
        ValueError: There are no hits that can be written.
        MediaError: No file of the hits can be read.
    """
    suffix = ".zip" if format == CLIPS else f".{format}"
    file_name = safe_file_name(name.strip().lstrip(".-") or "hits", suffix)
    if file_name == suffix:
        file_name = f"hits{suffix}"
    with tempfile.TemporaryDirectory(dir=folder) as made:
        path = Path(made) / file_name
        if format != CLIPS:
            warnings = write_results(hits, path, catalog=catalog, handles_seconds=handles_seconds)
        else:
            clips = write_clips(
                hits, Path(made) / CLIPS, catalog=catalog, handles_seconds=handles_seconds
            )
            warnings = tuple(f"not cut: {hit.name}: {reason}" for hit, reason in clips.failed)
            if not clips.written:
                raise ValueError("; ".join(warnings))
            # The clips are compressed already.
            with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
                for clip in clips.written:
                    archive.write(clip.path, clip.path.name)
        # The open file lives on when its name is gone.
        return path.open("rb"), file_name, warnings


def attachment_headers(file_name: str, warnings: Sequence[str]) -> dict[str, str]:
    """Return the headers of a file that is saved, whatever its name and warnings consist of."""
    plain = safe_file_name(ascii_text(file_name).strip() or "hits", "").replace("%", "-")
    headers = {
        "content-disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''"
        + quote(file_name, safe="")
    }
    shown: list[str] = []
    for warning in warnings:
        text = warning.encode("utf-8", "backslashreplace").decode()[:500]
        if len(_quoted([*shown, text])) > _MAX_WARNINGS_LENGTH:
            break
        shown.append(text)
    if shown:
        headers["x-warnings"] = _quoted(shown)
    return headers


def _quoted(warnings: Sequence[str]) -> str:
    return quote(json.dumps(warnings), safe="")
