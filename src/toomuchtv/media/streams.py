"""Which streams of a file are the film: the rule that every reader shares.

A file may hold covers, previews, other programs, commentaries and audio descriptions beside the
film. This module decides by what the container says of its streams; `containers.find_video_stream`
and `containers.find_audio_stream` apply it to files.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.stream import VideoStream

from toomuchtv.media.languages import language_of, normalize_language

_STILL_IMAGE = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
# An enhancement layer, which cannot be decoded alone.
_LAYER = Disposition.dependent | Disposition.multilayer

# FFmpeg's flags of tracks that are not the sound of the film as it was released.
_UNUSUAL_FLAGS = frozenset(
    {
        "clean_effects", "comment", "dependent", "descriptions", "hearing_impaired", "karaoke",
        "visual_impaired",
    }
)  # fmt: skip
# Codes that broadcasters use for the original sound and for audio description, and the code of
# audio without words, which is music and effects alone.
_ORIGINAL_LANGUAGE = "qaa"
_UNUSUAL_LANGUAGES = frozenset({"qad", "nar", "zxx"})

# What titles say of tracks with a commentary, an audio description, or music alone. Titles are
# compared in lower case and without accents. Stems cover the forms of several languages: comment,
# commentaire, comentario, commento, Kommentar, komentarz, kommentti.
_UNUSUAL_TITLE = re.compile(
    r"comm?ent|komm?ent|коммент|коментар|σχολι|\byorum|解説|コメンタリ|评论|評論|讲评|講評|導評|导评"
    r"|코멘터리|해설|تعليق|פרשנות"
    r"|audio[ -]?des[ck]ri|descripti(ve|on|f)|described|\bdvs\b|horfilm|sehbehind|\bblinde"
    r"|audio[ -]?beskriv|lydbeskriv|syntolk|synstolk|kuvailutulk|тифло|описани|zvukovy popis"
    r"|nevidom|sesli betim|malvoyant|visually? impair|hearing impair|音声ガイド|口述影像|无障碍"
    r"|isolated|\bkaraoke\b|\bmusic only\b|\bscore only\b"
)
# "No commentary", "ohne Kommentar": the track that is wanted.
_NEGATED = re.compile(
    r"\b(no|non|without|ohne|sans|senza|sin|sem|zonder|bez|utan|uten|uden|без)\s+(\w+\s+)?\w*$"
)
_DESCRIPTION_MARK = re.compile(r"\bAD\b")
# Names that muxers write where nobody gave one.
_GENERIC_NAME = re.compile(r"handler|core media|^#|\bgpac\b", re.IGNORECASE)


class AudioTags(Protocol):
    """What the rule for audio looks at, such as a `catalog.records.AudioTrack`."""

    @property
    def index(self) -> int:
        """Position among the audio tracks of the file."""

    @property
    def language(self) -> str | None:
        """Language tag."""

    @property
    def title(self) -> str | None:
        """Title of the track."""

    @property
    def dispositions(self) -> frozenset[str]:
        """Names of FFmpeg's flags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioDescription:
    """What a container says of one audio track.

    Attributes:
        index: Position among the audio tracks of the file, from 0.
        language: Tag as `normalize_language` gives it, or None.
        title: Title of the track, or None.
        dispositions: Names of FFmpeg's flags: default, original, dub, comment and others.
    """

    index: int
    language: str | None
    title: str | None
    dispositions: frozenset[str]

    def __str__(self) -> str:
        words = [self.language or "no language", *([repr(self.title)] if self.title else [])]
        return f"{self.index} ({', '.join([*words, *sorted(self.dispositions)])})"


def describe_audio(index: int, stream: AudioStream) -> AudioDescription:
    """Return what the container says of an audio track."""
    tags = stream.metadata
    names = (tags.get(key, "") for key in ("title", "name", "handler_name"))
    return AudioDescription(
        index=index,
        language=normalize_language(tags.get("language")),
        title=next((name for name in names if name and not _GENERIC_NAME.search(name)), None),
        dispositions=frozenset(
            flag.name for flag in Disposition if stream.disposition & flag and flag.name
        ),
    )


def is_still_image(stream: VideoStream) -> bool:
    """Return whether the container flags a video stream as cover art, a thumbnail or a still."""
    return bool(stream.disposition & _STILL_IMAGE)


def choose_video(streams: Iterable[VideoStream]) -> VideoStream:
    """Choose the film among the video streams of a file, each of which has several frames.

    The criteria, most important first: no enhancement layer, the default stream, the largest frame,
    the first stream.
    """

    def rank(stream: VideoStream) -> tuple[bool, bool, int, int]:
        context = stream.codec_context
        return (
            bool(stream.disposition & _LAYER),
            not stream.disposition & Disposition.default,
            -context.width * context.height,
            stream.index,
        )

    return min(streams, key=rank)


def is_unusual(track: AudioTags) -> bool:
    """Return whether a track is not the sound of the film as it was released.

    Such tracks are commentaries, audio descriptions, versions for the hard of hearing, karaoke, and
    music or effects alone. Flags, the language and the title tell.
    """
    language = language_of(normalize_language(track.language) or "")
    return (
        not track.dispositions.isdisjoint(_UNUSUAL_FLAGS)
        or language in _UNUSUAL_LANGUAGES
        or _title_is_unusual(track.title or "")
    )


def audio_rank(track: AudioTags) -> tuple[bool, bool, bool, bool, int]:
    """Return the sort key of the rule for audio: the lowest track is the sound of the film.

    The criteria, most important first: no unusual track (see `is_unusual`), the track that is
    marked as original, no dub, the default track, the first track.
    """
    language = language_of(normalize_language(track.language) or "")
    return (
        is_unusual(track),
        "original" not in track.dispositions and language != _ORIGINAL_LANGUAGE,
        "dub" in track.dispositions,
        "default" not in track.dispositions,
        track.index,
    )


def _title_is_unusual(title: str) -> bool:
    if _DESCRIPTION_MARK.search(unicodedata.normalize("NFKC", title)):
        return True
    decomposed = unicodedata.normalize("NFKD", title.casefold())
    # Only accents of European letters are left out: Japanese and Korean characters have parts too.
    letters = "".join(char for char in decomposed if not "\u0300" <= char <= "\u036f")
    plain = unicodedata.normalize("NFC", letters)
    found = _UNUSUAL_TITLE.search(plain)
    return found is not None and not _NEGATED.search(plain[: found.start()])
