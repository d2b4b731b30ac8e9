"""Timelines as edit decision lists (CMX 3600), the format that every editing program reads.

An EDL knows one frame rate, reels of eight characters, and at most 999 events.
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from toomuchtv.search.text import ascii_text, plain_text
from toomuchtv.search.timecode import format_smpte, nominal_rate, parse_smpte
from toomuchtv.search.timeline import Timeline, TimelineClip

_MAX_EVENTS = 999
_REEL_LENGTH = 8
_MAX_TITLE_LENGTH = 70


def to_edl(timeline: Timeline, *, comments: bool = False) -> str:
    """Return a timeline as an EDL with one event per clip: video and, where there is any, audio.

    Args:
        timeline: The timeline. Source timecodes are those of the files, record timecodes begin at
            01:00:00:00. Both are at the frame rate of the timeline; in files with another frame
            rate, a clip may begin up to a frame too early.
        comments: Whether the name of the file and the scores follow each event as comments.
            Without them an event names its file by the reel alone. Premiere Pro may name clips
            `UNKNOWN` because of such comments (OpenTimelineIO issue #1178).

    Raises:
        ValueError: There are more clips than an EDL can hold.
    """
    if len(timeline.clips) > _MAX_EVENTS:
        raise ValueError(
            f"an EDL holds at most {_MAX_EVENTS} events, got {len(timeline.clips)}: write fewer "
            "hits, or OpenTimelineIO (.otio)"
        )
    title = ascii_text(timeline.name)[:_MAX_TITLE_LENGTH].strip() or "UNTITLED"
    counting = "DROP FRAME" if timeline.is_drop_frame else "NON-DROP FRAME"
    reels = reel_names([media.path for media in timeline.media])
    lines = [f"TITLE: {title}", f"FCM: {counting}", ""]
    for number, clip in enumerate(timeline.clips, 1):
        lines.append(_event(number, clip, reels[clip.media.path], timeline))
        if comments:
            lines.extend(_comments(clip))
    return "\r\n".join(lines) + "\r\n"


def reel_names(paths: list[Path]) -> dict[Path, str]:
    """Return a different reel name of at most eight capital letters and digits for every file.

    It is the beginning of the file's name, with a number where two files would have the same.
    """
    names: dict[Path, str] = {}
    taken = {"AX", "BL"}  # CMX 3600 means an unnamed source and black by them
    for path in paths:
        stem = re.sub(r"[^A-Z0-9]", "", ascii_text(path.stem).upper()) or "REEL"
        name, number = stem[:_REEL_LENGTH], 1
        while name in taken:
            number += 1
            name = stem[: _REEL_LENGTH - len(str(number))] + str(number)
        taken.add(name)
        names[path] = name
    return names


def _event(number: int, clip: TimelineClip, reel: str, timeline: Timeline) -> str:
    channels = "B" if clip.media.audio_channels else "V"
    record = timeline.start_frame + clip.record_frame
    record_times = " ".join(
        format_smpte(frame, timeline.frame_rate, is_drop_frame=timeline.is_drop_frame)
        for frame in (record, record + clip.num_frames)
    )
    source, is_drop_frame = _source_frame(clip, timeline.frame_rate)
    source_times = " ".join(
        format_smpte(frame, timeline.frame_rate, is_drop_frame=is_drop_frame)
        for frame in (source, source + clip.num_frames)
    )
    return f"{number:03d}  {reel:<8} {channels:<5} C        {source_times} {record_times}"


def _source_frame(clip: TimelineClip, frame_rate: Fraction) -> tuple[int, bool]:
    """Return the first frame of a clip at the frame rate of the EDL, and if it counts with drop.

    In a file with another frame rate, the second of its timecode is kept and the frame within the
    second is converted. The times would drift apart if they were converted as seconds: an hour of
    timecode lasts 3603.6 s at 23.976 frames per second.
    """
    media, frame = clip.media, clip.source_timecode_frame
    if media.frame_rate == frame_rate:
        return frame, media.is_drop_frame
    text = format_smpte(frame, media.frame_rate, is_drop_frame=media.is_drop_frame)
    nominal = nominal_rate(frame_rate)
    frames = int(text[9:]) * nominal // nominal_rate(media.frame_rate)
    converted = parse_smpte(f"{text[:8]}:{frames:02d}", frame_rate)
    assert converted is not None
    return converted


def _comments(clip: TimelineClip) -> list[str]:
    hit = clip.hit
    scores = "".join(
        f", similarity {match.similarity:.3f} by {plain_text(match.encoder)}"
        for match in hit.matches[:1]
    )
    return [
        f"* FROM CLIP NAME: {plain_text(clip.media.path.name)}",
        f"* COMMENT: {hit.rank}. {plain_text(hit.name)}{scores}",
    ]
