"""The records that a catalog stores: titles, their items, and what is known about each item.

A *title* is a film, a show or a short curated clip. An *item* is one playable file of a title: the
film itself, an episode or an extra. Records are frozen and hold no open handles, so they stay valid
after the catalog is closed. Times are in seconds, intervals are half-open, and "relative" paths are
relative to the library or, for proxies, to the catalog folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from toomuchtv.media.damage import DamagedInterval

#: The kinds of segments.
SEGMENT_KINDS = (
    "opening", "credits", "recap", "recurring", "black", "silence", "logo", "shot",
)  # fmt: skip


class TitleKind(StrEnum):
    """The kind of a title. It is the top level of the sampling hierarchy."""

    MOVIE = "movie"
    SHOW = "show"
    CLIP = "clip"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoStream:
    """The video stream of an item, as the probe found it.

    Attributes:
        codec: FFmpeg's name of the codec.
        width: Width of the coded frames in pixels, before rotation.
        height: Height of the coded frames in pixels, before rotation.
        rotation_degrees: Clockwise rotation to apply for display: 0, 90, 180 or 270.
        pixel_format: FFmpeg's name of the pixel format.
        frame_rate: Average frames per second, or None if the file does not declare it.
        start_seconds: Timestamp of the first frame on the container's own timeline.
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
    """One audio track of an item, as the probe found it.

    Attributes:
        index: Position among the audio tracks of the file, from 0.
        codec: FFmpeg's name of the codec.
        channels: Number of channels.
        sample_rate_hz: Sample rate in hertz.
        language: Language tag (`eng`, `por-BR`), whose language is ISO 639-3, or None.
        title: The container's title of the track, or None.
        dispositions: Names of FFmpeg's flags: default, original, dub, comment and others.
        start_seconds: Timestamp of the first sample on the container's own timeline.
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
    """The result of probing one file.

    Attributes:
        duration_seconds: Span of the video that is really there, from the start of the first frame
            to the end of the last one.
        video: The video stream.
        audio_tracks: The audio tracks that can be decoded, in file order.
        warnings: Sentences on everything that differs from what the file declares, such as a video
            that ends early or an audio track that cannot be decoded.
    """

    duration_seconds: float
    video: VideoStream
    audio_tracks: tuple[AudioTrack, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Title:
    """A film, a show or a short curated clip.

    Attributes:
        id: Number of the title in its catalog.
        kind: Whether it is a film, a show or a clip.
        name: Display name, printable.
        year: Year of release, or None if no path states it.
    """

    id: int
    kind: TitleKind
    name: str
    year: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One playable file of a title.

    Attributes:
        id: Number of the item in its catalog, from 1. It follows the content of a renamed file.
        title_id: The title that the item belongs to.
        path: Path relative to the library.
        season: Season number, or None.
        episode: Episode number, or None.
        extra: Kind of extra ("trailer", "featurette", ...), or None for the feature itself.
        size_bytes: Size of the file at the last scan.
        modified_ns: Modification time of the file at the last scan, nanoseconds since the epoch.
        fingerprint: Name of the content of the file. What was made from an item carries it, and is
            stale once they differ.
        missing: True if the file was catalogued once and was not in the library at the last scan.
        probe: What the probe found in the file.
        sampled_digest: Digest of a few blocks of the file. Equal ones do not prove equal content.
        full_digest: Digest of all bytes of the file, or None if nobody has read them yet.
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
    sampled_digest: str = ""
    full_digest: str | None = None


class ItemLabel(NamedTuple):
    """What names an item and its content: some fields of `Item`, which are read fast."""

    item_id: int
    title_id: int
    season: int | None
    episode: int | None
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSize:
    """How much a library holds, without extras.

    Attributes:
        titles: Number of titles.
        items: Number of items.
        seconds: Duration of the items.
    """

    titles: int
    items: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedFile:
    """A file that cannot be used.

    Attributes:
        path: Path relative to the library.
        reason: Why the file cannot be used, as a phrase for people.
    """

    path: Path
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedFileRecord(SkippedFile):
    """A skipped file with what a later scan needs to recognize it without opening it.

    Attributes:
        size_bytes: Size of the file. It is None if the reason is not in the content of the file, so
            that the next scan tries it again.
        modified_ns: Modification time, nanoseconds since the epoch, or None as well.
        same_as: Path of the file with the same content that is used instead, or None.
        full_digest: Digest of all bytes of such a copy, or None.
    """

    size_bytes: int | None = None
    modified_ns: int | None = None
    same_as: Path | None = None
    full_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """An interval of an item that has a kind.

    Attributes:
        item_id: The item.
        start_seconds: Start of the interval on the item's timeline.
        stop_seconds: End of the interval, exclusive.
        kind: One of `SEGMENT_KINDS`.
        recurrence: Number that all segments of a catalog with the same content share, such as one
            opening in ten episodes. None if the content was found in one item only.
    """

    item_id: int
    start_seconds: float
    stop_seconds: float
    kind: str
    recurrence: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """An interval that two items of different titles share, such as a trailer and its film.

    Attributes:
        item_id: The item with the smaller id.
        other_item_id: The item with the larger id.
        start_seconds: Start of the interval in `item_id`.
        stop_seconds: End of the interval in `item_id`, exclusive.
        other_start_seconds: Start of the same content in `other_item_id`.
    """

    item_id: int
    other_item_id: int
    start_seconds: float
    stop_seconds: float
    other_start_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyAudio:
    """One audio file of a proxy.

    Attributes:
        audio_track: Index of the audio track of the original.
        language: Language tag of that track, as in `AudioTrack`, or None.
        path: Path relative to the catalog folder.
    """

    audio_track: int
    language: str | None
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """The small, seek-friendly copy of an item that training reads.

    Frame k of the video is what the original shows `k / frame_rate` seconds after its first
    presented frame. Sample s of the audio is heard `s / sample_rate_hz` seconds after it.

    Attributes:
        item_id: The item.
        fingerprint: Fingerprint of the content that the proxy was made from.
        format_id: Short digest of the `ProxyFormat` that the proxy was made with.
        video_path: Path of the video file, relative to the catalog folder.
        num_frames: Number of frames.
        frame_rate: Frames per second.
        width: Width in pixels.
        height: Height in pixels.
        audio_files: The audio files, the preferred track first. Empty for a silent item.
        num_samples: Number of samples of each audio file.
        sample_rate_hz: Sample rate in hertz.
        size_bytes: Size of all files together.
        video_damage: Where the video of the original is damaged; see `ProxySummary`.
        audio_damage: Likewise for the audio of all tracks of the proxy.
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
    video_damage: tuple[DamagedInterval, ...] = ()
    audio_damage: tuple[DamagedInterval, ...] = ()

    @property
    def duration_seconds(self) -> float:
        """Duration of the video in seconds."""
        return self.num_frames / self.frame_rate

    @property
    def audio_path(self) -> Path | None:
        """Path of the audio file of the preferred track, or None for a silent item."""
        return self.audio_files[0].path if self.audio_files else None

    @property
    def audio_track(self) -> int | None:
        """Index of the preferred track in the original, or None for a silent item."""
        return self.audio_files[0].audio_track if self.audio_files else None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Paths of all files of the proxy, video first."""
        return (self.video_path, *(audio.path for audio in self.audio_files))
