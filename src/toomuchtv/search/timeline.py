"""A timeline of hits for editing programs: exact frames, one after the other, in order of rank.

The modules `otio`, `edl` and `fcpxml` write it. This one decides which frames of a file it shows.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from toomuchtv.errors import MediaError
from toomuchtv.search.hits import Hit
from toomuchtv.search.source_media import SourceMedia, read_source_media
from toomuchtv.search.timecode import parse_smpte

# Times of hits are floating-point numbers: 1729 / 24 * 24 may be slightly less than 1729.
_SAME_FRAME = 0.01
# Where timelines of films usually begin, by whether they count with drop-frame.
_START = {False: "01:00:00:00", True: "01:00:00;00"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineClip:
    """One hit on a timeline.

    Attributes:
        hit: The hit.
        media: Its file.
        source_frame: First frame, counted from the first frame of the file.
        num_source_frames: Number of frames of the file, at the frame rate of the file.
        record_frame: First frame on the timeline, counted from its start.
        num_frames: Number of frames on the timeline, at the frame rate of the timeline.
    """

    hit: Hit
    media: SourceMedia
    source_frame: int
    num_source_frames: int
    record_frame: int
    num_frames: int

    @property
    def source_timecode_frame(self) -> int:
        """Frame number of the first frame by the timecode of the file."""
        return self.media.start_frame + self.source_frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Hits on a timeline.

    Attributes:
        name: Name of the timeline.
        frame_rate: Frames per second, that of most clips.
        is_drop_frame: Whether its timecode counts with drop-frame.
        clips: The clips by rank. There is at least one.
        warnings: What an editor must know, in sentences.
    """

    name: str
    frame_rate: Fraction
    is_drop_frame: bool
    clips: tuple[TimelineClip, ...]
    warnings: tuple[str, ...]

    @property
    def num_frames(self) -> int:
        """Length of the timeline in frames."""
        return sum(clip.num_frames for clip in self.clips)

    @property
    def start_frame(self) -> int:
        """Frame number of its start, whose timecode is 01:00:00:00."""
        start = parse_smpte(_START[self.is_drop_frame], self.frame_rate)
        assert start is not None
        return start[0]

    @property
    def media(self) -> tuple[SourceMedia, ...]:
        """The files, each once, in order of their first clip."""
        return tuple({clip.media.path: clip.media for clip in self.clips}.values())


def build_timeline(
    hits: Sequence[Hit], *, name: str = "Search", handles_seconds: float = 0.0
) -> Timeline:
    """Place hits on a timeline, one after the other, in order of rank.

    The files are opened in a process of their own, with limits. Hits whose file cannot be read are
    left out, with a warning. A variable or unusual frame rate is conformed to the nearest standard
    rate, with a warning.

    Args:
        hits: The hits.
        name: Name of the timeline.
        handles_seconds: So much more is taken before and after every hit, where the file has it.

    Raises:
        ValueError: There are no hits, or the handles are negative.
        MediaError: No file can be read.
    """
    if not hits:
        raise ValueError("there are no hits, and a timeline needs at least one")
    if not 0 <= handles_seconds < math.inf:
        raise ValueError(f"handles_seconds must be at least 0 and finite, got {handles_seconds}")
    ordered = sorted(hits, key=lambda hit: hit.rank)
    spans: dict[Path, list[tuple[float, float]]] = {}
    for hit in ordered:
        spans.setdefault(hit.path, []).append((hit.start_seconds, hit.stop_seconds))
    media, failed = read_source_media(spans)
    if not media:
        raise MediaError(
            f"none of the {len(failed)} files can be read; the first problem: "
            f"{next(iter(failed.values()))}"
        )
    rates = Counter(media[hit.path].frame_rate for hit in ordered if hit.path in media)
    frame_rate = rates.most_common(1)[0][0]
    clips: list[TimelineClip] = []
    record_frame = 0
    for hit in ordered:
        if hit.path not in media:
            continue
        clip = _place(hit, media[hit.path], frame_rate, record_frame, handles_seconds)
        clips.append(clip)
        record_frame += clip.num_frames
    counts_with_drop = [
        clip.media.is_drop_frame for clip in clips if clip.media.frame_rate == frame_rate
    ]
    return Timeline(
        name=name,
        frame_rate=frame_rate,
        is_drop_frame=counts_with_drop[0],
        clips=tuple(clips),
        warnings=tuple(_warnings(media, failed, frame_rate)),
    )


def _place(
    hit: Hit, media: SourceMedia, frame_rate: Fraction, record_frame: int, handles_seconds: float
) -> TimelineClip:
    """Return the clip of a hit: all frames that are shown in it, within the file."""
    start = (hit.start_seconds - handles_seconds) * float(media.frame_rate)
    stop = (hit.stop_seconds + handles_seconds) * float(media.frame_rate)
    first = min(max(0, math.floor(start + _SAME_FRAME)), media.num_frames - 1)
    last = min(max(first + 1, math.ceil(stop - _SAME_FRAME)), media.num_frames)
    num_source_frames = last - first
    seconds = num_source_frames / media.frame_rate
    return TimelineClip(
        hit=hit,
        media=media,
        source_frame=first,
        num_source_frames=num_source_frames,
        record_frame=record_frame,
        num_frames=max(1, round(seconds * frame_rate)),
    )


def _warnings(
    media: dict[Path, SourceMedia], failed: dict[Path, str], frame_rate: Fraction
) -> list[str]:
    warnings = [f"{os.fspath(path)!r} is left out: {reason}" for path, reason in failed.items()]
    for path, one in media.items():
        if one.warning:
            warnings.append(f"{os.fspath(path)!r}: {one.warning}")
        if one.frame_rate != frame_rate:
            warnings.append(
                f"{os.fspath(path)!r} has {float(one.frame_rate):.6g} frames per second on a "
                f"timeline of {float(frame_rate):.6g}: its clips are rounded to frames of the "
                "timeline"
            )
    return warnings
