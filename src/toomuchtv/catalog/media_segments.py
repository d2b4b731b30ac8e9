"""Segments of a catalog in the shape of Jellyfin's media segments.

Jellyfin (10.10 and later) can skip openings, credits and recaps that its database has as media
segments. Its programming interface describes one as an object with `ItemId`, `Type`, `StartTicks`
and `EndTicks`. A tick is 100 nanoseconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toomuchtv._internal.files import write_text
from toomuchtv.catalog.records import TitleKind
from toomuchtv.catalog.store import Catalog, as_open_catalog

#: Jellyfin's type of each kind of segment that is written. Black, silence, logos, shots and
#: passages of an unknown kind have none.
JELLYFIN_TYPES = {"opening": "Intro", "credits": "Outro", "recap": "Recap"}
_TICKS_PER_SECOND = 10_000_000
# The .NET class of an item. It is a part of the item's id.
_CLASSES = {
    TitleKind.MOVIE: "MediaBrowser.Controller.Entities.Movies.Movie",
    TitleKind.SHOW: "MediaBrowser.Controller.Entities.TV.Episode",
    TitleKind.CLIP: "MediaBrowser.Controller.Entities.Video",
}
_WINDOWS_ROOT = re.compile(r"[A-Za-z]:|\\")


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSegment:
    """A segment as Jellyfin describes it.

    Attributes:
        item_id: Jellyfin's id of the item, 32 hexadecimal digits.
        type: One of Jellyfin's types: Intro, Outro or Recap.
        start_ticks: Start in ticks of 100 nanoseconds.
        end_ticks: End in ticks, exclusive.
        path: Path of the file as the server sees it.
    """

    item_id: str
    type: str
    start_ticks: int
    end_ticks: int
    path: str


def jellyfin_item_id(class_name: str, path: str) -> str:
    """Return the id that Jellyfin gives to an item of a .NET class at a path.

    The id is the MD5 digest of the name of the class and the path in UTF-16, as a GUID
    (`LibraryManager.GetNewItemId`). It holds for servers with the default setting
    `EnableCaseSensitiveItemIds`, and for paths outside of the server's own data folder.
    """
    key = (class_name + path).encode("utf-16-le", "surrogatepass")
    return uuid.UUID(bytes_le=hashlib.md5(key, usedforsecurity=False).digest()).hex


def media_segments(
    catalog: Catalog | str | os.PathLike[str], *, server_library: str | None = None
) -> list[MediaSegment]:
    """Return the openings, credits and recaps of a catalog, by path and start.

    Args:
        catalog: The catalog or its folder.
        server_library: Folder of the library as the Jellyfin server sees it, such as `/media` in a
            container or `D:/Media` on Windows. By default, it is the same as here.

    Returns:
        The segments. Extras and items that are missing from the library have none.
    """
    with as_open_catalog(catalog) as opened:
        root = os.fspath(opened.library) if server_library is None else server_library
        kinds = {title.id: title.kind for title in opened.titles()}
        found: list[MediaSegment] = []
        for item in opened.items():
            path = _server_path(root, item.path)
            item_id = jellyfin_item_id(_CLASSES[kinds[item.title_id]], path)
            found.extend(
                MediaSegment(
                    item_id=item_id,
                    type=JELLYFIN_TYPES[segment.kind],
                    start_ticks=round(segment.start_seconds * _TICKS_PER_SECOND),
                    end_ticks=round(segment.stop_seconds * _TICKS_PER_SECOND),
                    path=path,
                )
                for segment in opened.segments(item.id)
                if segment.kind in JELLYFIN_TYPES
            )
        return found


def write_media_segments(segments: Sequence[MediaSegment], path: str | os.PathLike[str]) -> None:
    """Write segments as JSON, in the shape of Jellyfin's answer to `GET /MediaSegments/{itemId}`.

    Each segment has the further key `Path`, by which it can be matched to an item if the server has
    given the item another id.

    Raises:
        OSError: The file cannot be written.
    """
    items = [
        {
            "ItemId": segment.item_id,
            "Type": segment.type,
            "StartTicks": segment.start_ticks,
            "EndTicks": segment.end_ticks,
            "Path": segment.path,
        }
        for segment in segments
    ]
    content = {"Items": items, "TotalRecordCount": len(items), "StartIndex": 0}
    write_text(Path(path), json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _server_path(root: str, path: Path) -> str:
    separator = "\\" if _WINDOWS_ROOT.match(root) else "/"
    return separator.join([root.rstrip("/\\"), *path.parts])
