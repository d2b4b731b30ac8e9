"""Which modalities a media file has."""

from __future__ import annotations

import os
from dataclasses import dataclass

from toomuchtv.errors import MediaError
from toomuchtv.media.containers import film_audio_tracks, find_video_stream, open_media


@dataclass(frozen=True, slots=True)
class FileContent:
    """The streams of a file, as its container declares them.

    Attributes:
        has_video: Whether there is a video stream. Cover art does not count.
        has_audio: Whether there is audio that belongs to the film.
        duration_seconds: Declared duration, or 0 if it is unknown.
    """

    has_video: bool
    has_audio: bool
    duration_seconds: float


def inspect_file(path: str | os.PathLike[str]) -> FileContent:
    """Return which modalities a file has.

    Raises:
        MediaError: The file cannot be opened, or has neither video nor audio.
    """
    with open_media(path) as container:
        has_audio = bool(film_audio_tracks(container))
        try:
            find_video_stream(container)
            has_video = True
        except MediaError:
            has_video = False
        duration = (container.duration or 0) / 1e6
    if not (has_video or has_audio):
        raise MediaError(f"{os.fspath(path)!r} has neither video nor audio")
    return FileContent(has_video, has_audio, duration)
