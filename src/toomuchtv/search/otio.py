"""Timelines as OpenTimelineIO.

The format is JSON whose objects name their schema and its version, so that no library is needed to
write it; https://opentimelineio.readthedocs.io/en/stable/tutorials/otio-file-format-specification.html
describes it. The tests read the files with OpenTimelineIO.
"""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

from toomuchtv.search.source_media import SourceMedia
from toomuchtv.search.text import file_url, plain_text
from toomuchtv.search.timeline import Timeline, TimelineClip


def to_otio(timeline: Timeline) -> str:
    """Return a timeline as JSON of OpenTimelineIO, with one track of video and one of audio.

    Source ranges are in the timecode of the file. Frame rates are floating-point numbers in this
    format, and those that are no whole numbers are the nearest to the exact fraction. The metadata
    of a clip has the scores of its hit under `toomuchtv`.
    """
    tracks = [_track("V1", "Video", [_clip(clip) for clip in timeline.clips])]
    if any(clip.media.audio_channels for clip in timeline.clips):
        sounds = [
            _clip(clip) if clip.media.audio_channels else _gap(clip) for clip in timeline.clips
        ]
        tracks.append(_track("A1", "Audio", sounds))
    content = {
        "OTIO_SCHEMA": "Timeline.1",
        "metadata": {},
        "name": plain_text(timeline.name),
        "global_start_time": _time(timeline.start_frame, timeline.frame_rate),
        "tracks": {**_item("Stack.1", "tracks"), "children": tracks},
    }
    return json.dumps(content, indent=4, ensure_ascii=False) + "\n"


def _track(name: str, kind: str, children: list[dict[str, Any]]) -> dict[str, Any]:
    return {**_item("Track.1", name), "children": children, "kind": kind}


def _clip(clip: TimelineClip) -> dict[str, Any]:
    hit, media = clip.hit, clip.media
    rate = media.frame_rate
    return {
        **_item("Clip.2", plain_text(hit.name)),
        "metadata": {"toomuchtv": _scores(clip)},
        "source_range": _range(clip.source_timecode_frame, clip.num_source_frames, rate),
        "media_references": {"DEFAULT_MEDIA": _reference(media)},
        "active_media_reference_key": "DEFAULT_MEDIA",
    }


def _scores(clip: TimelineClip) -> dict[str, Any]:
    hit = clip.hit
    best = hit.matches[0] if hit.matches else None
    return {
        "rank": hit.rank,
        "item_id": hit.item_id,
        "start_seconds": hit.start_seconds,
        "stop_seconds": hit.stop_seconds,
        "score": hit.score,
        "similarity": best.similarity if best else None,
        "z_score": best.z_score if best and math.isfinite(best.z_score) else None,
        "encoder": plain_text(best.encoder) if best else None,
    }


def _reference(media: SourceMedia) -> dict[str, Any]:
    return {
        "OTIO_SCHEMA": "ExternalReference.1",
        "metadata": {},
        "name": plain_text(media.path.name),
        "available_range": _range(media.start_frame, media.num_frames, media.frame_rate),
        "available_image_bounds": None,
        "target_url": file_url(media.path),
    }


def _gap(clip: TimelineClip) -> dict[str, Any]:
    source_range = _range(0, clip.num_source_frames, clip.media.frame_rate)
    return {**_item("Gap.1", ""), "source_range": source_range}


def _item(schema: str, name: str) -> dict[str, Any]:
    return {
        "OTIO_SCHEMA": schema,
        "metadata": {},
        "name": name,
        "source_range": None,
        "effects": [],
        "markers": [],
        "enabled": True,
    }


def _range(start: int, duration: int, rate: Fraction) -> dict[str, Any]:
    return {
        "OTIO_SCHEMA": "TimeRange.1",
        "start_time": _time(start, rate),
        "duration": _time(duration, rate),
    }


def _time(frame: int, rate: Fraction) -> dict[str, Any]:
    return {"OTIO_SCHEMA": "RationalTime.1", "value": float(frame), "rate": float(rate)}
