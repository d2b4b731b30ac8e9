"""Between records and the rows of the catalog's tables."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from toomuchtv.catalog.records import (
    AudioTrack,
    Item,
    Probe,
    Proxy,
    ProxyAudio,
    Title,
    TitleKind,
    VideoStream,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAsideFile:
    """What a scan keeps of a file set aside, so that the next one need not open it again.

    Without `fingerprint` (and size and time) the path could not even be looked at. `same_as` is
    the path that is used in its place where the content is the same.
    """

    path: Path
    reason: str
    size_bytes: int | None = None
    modified_ns: int | None = None
    fingerprint: str | None = None
    same_as: Path | None = None


def read_path(value: bytes) -> Path:
    """A path from its bytes."""
    return Path(os.fsdecode(value))


def read_title(row: sqlite3.Row) -> Title:
    """A title from its row."""
    return Title(id=row["id"], kind=TitleKind(row["kind"]), name=row["name"], year=row["year"])


def read_track(row: sqlite3.Row) -> AudioTrack:
    """A sound track from its row."""
    return AudioTrack(
        index=row["track"],
        codec=row["codec"],
        channels=row["channels"],
        sample_rate_hz=row["sample_rate_hz"],
        language=row["language"],
        title=row["title"],
        dispositions=frozenset(row["dispositions"].split()),
        start_seconds=row["start_seconds"],
    )


def write_track(track: AudioTrack) -> dict[str, Any]:
    """The row of a sound track, but for its item."""
    row = {field.name: getattr(track, field.name) for field in fields(track)}
    row["track"] = row.pop("index")
    row["dispositions"] = " ".join(sorted(track.dispositions))
    return row


_ITEM_NAMES = [f.name for f in fields(Item) if f.name not in ("path", "missing", "probe")]
_VIDEO_NAMES = [f.name for f in fields(VideoStream)]


def read_item(row: sqlite3.Row, tracks: list[AudioTrack]) -> Item:
    """An item from its row and its sound tracks."""
    return Item(
        **{name: row[name] for name in _ITEM_NAMES},
        path=read_path(row["path"]),
        missing=bool(row["missing"]),
        probe=Probe(
            duration_seconds=row["duration_seconds"],
            video=VideoStream(**{name: row[name] for name in _VIDEO_NAMES}),
            audio_tracks=tuple(tracks),
            warnings=tuple(json.loads(row["warnings"])),
        ),
    )


def write_item(item: Item) -> dict[str, Any]:
    """The row of an item, but for its id."""
    return {
        **{name: getattr(item, name) for name in _ITEM_NAMES if name != "id"},
        "path": os.fsencode(item.path),
        "missing": item.missing,
        "duration_seconds": item.probe.duration_seconds,
        "warnings": json.dumps(item.probe.warnings),
        **{name: getattr(item.probe.video, name) for name in _VIDEO_NAMES},
    }


def read_proxy(row: sqlite3.Row, sounds: Iterable[sqlite3.Row]) -> Proxy:
    """A proxy from its row and those of its sounds, in order."""
    values = dict(row)
    return Proxy(
        **{**values, "video_path": read_path(values["video_path"])},
        audio_files=tuple(
            ProxyAudio(
                audio_track=sound["audio_track"],
                language=sound["language"],
                path=read_path(sound["path"]),
            )
            for sound in sounds
        ),
    )


def write_proxy(proxy: Proxy) -> dict[str, Any]:
    """The row of a proxy."""
    row = {
        field.name: getattr(proxy, field.name)
        for field in fields(proxy)
        if field.name != "audio_files"
    }
    row["video_path"] = os.fsencode(proxy.video_path)
    return row


def write_proxy_audio(proxy: Proxy) -> list[dict[str, Any]]:
    """The rows of a proxy's sounds."""
    return [
        {
            "item_id": proxy.item_id,
            "position": position,
            "audio_track": sound.audio_track,
            "language": sound.language,
            "path": os.fsencode(sound.path),
        }
        for position, sound in enumerate(proxy.audio_files)
    ]


def read_set_aside(row: sqlite3.Row) -> SetAsideFile:
    """A file set aside from its row."""
    values = dict(row)
    same_as = values.pop("same_as")
    return SetAsideFile(
        **{**values, "path": read_path(values["path"])},
        same_as=None if same_as is None else read_path(same_as),
    )


def write_set_aside(file: SetAsideFile) -> dict[str, Any]:
    """The row of a file set aside."""
    row = {field.name: getattr(file, field.name) for field in fields(file)}
    row["path"] = os.fsencode(file.path)
    row["same_as"] = None if file.same_as is None else os.fsencode(file.same_as)
    return row
