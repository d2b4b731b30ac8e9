"""What a catalog knows: titles, their items, and what each item holds.

A *title* is a film, a show or a short curated clip. An *item* is one playable file of it: the
film itself, an episode, an extra. Records are frozen and hold no open handles.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class TitleKind(StrEnum):
    """What sort of title it is: the top of the sampling hierarchy."""

    MOVIE = "movie"
    SHOW = "show"
    CLIP = "clip"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoStream:
    """The picture of an item, as probed.

    `width` and `height` are coded pixels, before `rotation_degrees` (0, 90, 180 or 270, clockwise,
    to be applied for display). `start_seconds` is the stream's first timestamp in the container.
    """

    codec: str
    width: int
    height: int
    rotation_degrees: int
    pixel_format: str
    frame_rate: float | None
    start_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioTrack:
    """One sound track of an item, as probed.

    `index` counts audio tracks from 0 in file order. `language` is the container's ISO 639 tag or
    None. `dispositions` are FFmpeg's flags by name: default, original, dub, comment, ...
    """

    index: int
    codec: str
    channels: int
    sample_rate_hz: int
    language: str | None
    title: str | None
    dispositions: frozenset[str]
    start_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What one look into a file found.

    `duration_seconds` is the span of the picture that is really there, from the first frame's
    start to the last one's end. `warnings` say, in words for a person, what is not as the file
    declares it: a picture that ends early, a sound track that cannot be decoded and is left out.
    """

    duration_seconds: float
    video: VideoStream
    audio_tracks: tuple[AudioTrack, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Title:
    """A film, a show or a curated clip."""

    id: int
    kind: TitleKind
    name: str
    year: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One playable file.

    `path` is relative to the library. `extra` names what it is if it is not the feature itself
    ("trailer", "featurette", ...), else None. `fingerprint` identifies the content. A `missing`
    item was catalogued once and is not in the library now.
    """

    id: int
    title_id: int
    path: Path
    season: int | None
    episode: int | None
    extra: str | None
    size_bytes: int
    modified_ns: int
    fingerprint: str
    missing: bool
    probe: Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedFile:
    """A file that cannot be used, and why, in words for a person."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """`[start_seconds, stop_seconds)` of an item that is of one kind (`opening`, `black`, ...).

    Segments of one catalog with equal `recurrence` are the same thing come again: one opening in
    ten episodes. None for what is found in one item alone.
    """

    item_id: int
    start_seconds: float
    stop_seconds: float
    kind: str
    recurrence: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """The same stretch in two items of different titles, as a trailer inside its film.

    What item `item_id` has in `[start_seconds, stop_seconds)`, item `other_item_id` has from
    `other_start_seconds` on. Of a pair of items, `item_id` is the smaller id.
    """

    item_id: int
    other_item_id: int
    start_seconds: float
    stop_seconds: float
    other_start_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyAudio:
    """One sound track of a proxy: track `audio_track` of the original, in `language` or None."""

    audio_track: int
    language: str | None
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """The small, seek-friendly copy of an item that training reads.

    Frame k of the video shows what the original shows at `k / frame_rate` seconds after its first
    presented picture; sample s of the audio is its sound at `s / sample_rate_hz`. Paths are
    relative to the catalog folder. `sounds` has the preferred track first, and is empty for a
    silent item. `recipe` identifies the settings, `fingerprint` the content it was made from.
    """

    item_id: int
    fingerprint: str
    format_id: str
    video_path: Path
    num_frames: int
    frame_rate: float
    width: int
    height: int
    audio_files: tuple[ProxyAudio, ...]
    num_samples: int
    sample_rate_hz: int
    size_bytes: int

    @property
    def audio_path(self) -> Path | None:
        """The file of the preferred track; None for a silent item."""
        return self.audio_files[0].path if self.audio_files else None

    @property
    def audio_track(self) -> int | None:
        """Which track of the original that is; None for a silent item."""
        return self.audio_files[0].audio_track if self.audio_files else None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files of the proxy, video first."""
        return (self.video_path, *(sound.path for sound in self.audio_files))
