"""Timelines as FCPXML 1.8, which Final Cut Pro (10.4 and later) and DaVinci Resolve read.

Times are exact fractions of a second. Version 1.8 is old enough for every program that reads FCPXML
today. The timeline begins at time zero, because programs differ in whether the start of a sequence
counts for the positions in it (auto-editor issue #1063).
"""

from __future__ import annotations

from fractions import Fraction
from xml.etree import ElementTree

from toomuchtv.search.source_media import SourceMedia
from toomuchtv.search.text import file_url, plain_text
from toomuchtv.search.timecode import STANDARD_FRAME_RATES
from toomuchtv.search.timeline import Timeline, TimelineClip

_VERSION = "1.8"
_AUDIO_RATES = {
    32_000: "32k", 44_100: "44.1k", 48_000: "48k", 88_200: "88.2k", 96_000: "96k",
    176_400: "176.4k", 192_000: "192k",
}  # fmt: skip
_RATE_NAMES = dict(
    zip(
        STANDARD_FRAME_RATES,
        ("23.98", "24", "25", "29.97", "30", "47.95", "48", "50", "59.94", "60"),
        strict=True,
    )
)


def to_fcpxml(timeline: Timeline) -> str:
    """Return a timeline as FCPXML: a format and an asset per file, and one clip per hit.

    The note of a clip has the scores of its hit.
    """
    root = ElementTree.Element("fcpxml", version=_VERSION)
    resources = ElementTree.SubElement(root, "resources")
    formats: dict[tuple[Fraction, int, int], str] = {}
    assets: dict[SourceMedia, str] = {}
    for media in timeline.media:
        key = (media.frame_rate, media.width, media.height)
        if key not in formats:
            formats[key] = f"r{len(resources) + 1}"
            _add_format(resources, formats[key], media)
        assets[media] = f"r{len(resources) + 1}"
        _add_asset(resources, assets[media], formats[key], media)
    name = plain_text(timeline.name)
    library = ElementTree.SubElement(root, "library")
    event = ElementTree.SubElement(library, "event", name=name)
    project = ElementTree.SubElement(event, "project", name=name)
    main = next(m for m in timeline.media if m.frame_rate == timeline.frame_rate)
    sequence = ElementTree.SubElement(
        project,
        "sequence",
        format=formats[main.frame_rate, main.width, main.height],
        duration=_time(timeline.num_frames, timeline.frame_rate),
        tcStart="0s",
        tcFormat=_counting(is_drop_frame=timeline.is_drop_frame),
        audioLayout="stereo",
        audioRate=_AUDIO_RATES.get(main.audio_rate_hz, "48k"),
    )
    spine = ElementTree.SubElement(sequence, "spine")
    for clip in timeline.clips:
        media = clip.media
        format_id = formats[media.frame_rate, media.width, media.height]
        _add_clip(spine, clip, assets[media], format_id, timeline)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n{text}\n'


def _add_format(resources: ElementTree.Element, format_id: str, media: SourceMedia) -> None:
    ElementTree.SubElement(
        resources,
        "format",
        id=format_id,
        frameDuration=_time(1, media.frame_rate),
        width=str(media.width),
        height=str(media.height),
    )


def _add_asset(
    resources: ElementTree.Element, asset_id: str, format_id: str, media: SourceMedia
) -> None:
    asset = ElementTree.SubElement(
        resources,
        "asset",
        id=asset_id,
        name=plain_text(media.path.name),
        src=file_url(media.path),
        start=_time(media.start_frame, media.frame_rate),
        duration=_time(media.num_frames, media.frame_rate),
        hasVideo="1",
        format=format_id,
    )
    if media.audio_channels:
        asset.set("hasAudio", "1")
        asset.set("audioSources", "1")
        asset.set("audioChannels", str(media.audio_channels))
        asset.set("audioRate", str(media.audio_rate_hz))


def _add_clip(
    spine: ElementTree.Element,
    clip: TimelineClip,
    asset_id: str,
    format_id: str,
    timeline: Timeline,
) -> None:
    media, hit = clip.media, clip.hit
    element = ElementTree.SubElement(
        spine,
        "asset-clip",
        name=plain_text(hit.name),
        ref=asset_id,
        offset=_time(clip.record_frame, timeline.frame_rate),
        start=_time(clip.source_timecode_frame, media.frame_rate),
        duration=_time(clip.num_frames, timeline.frame_rate),
        format=format_id,
        tcFormat=_counting(is_drop_frame=media.is_drop_frame),
    )
    scores = "".join(
        f", similarity {match.similarity:.3f} by {plain_text(match.encoder)}"
        for match in hit.matches[:1]
    )
    ElementTree.SubElement(element, "note").text = f"{hit.rank}. {plain_text(hit.name)}{scores}"
    if media.frame_rate != timeline.frame_rate:
        # Without scaling, a second of the file stays a second.
        ElementTree.SubElement(
            element, "conform-rate", scaleEnabled="0", srcFrameRate=_RATE_NAMES[media.frame_rate]
        )


def _time(frames: int, frame_rate: Fraction) -> str:
    """Return the time of a frame as FCPXML writes it: `1001/30000s`, `5s`."""
    seconds = frames / frame_rate
    if seconds.denominator == 1:
        return f"{seconds.numerator}s"
    return f"{seconds.numerator}/{seconds.denominator}s"


def _counting(*, is_drop_frame: bool) -> str:
    return "DF" if is_drop_frame else "NDF"
