"""Times of MPEG-1 and MPEG-2 video by the order of its pictures.

In MPEG-PS at a low rate, several pictures share one packet (PES) with one timestamp, which belongs
to the first picture that begins in it. FFmpeg may give it to the picture before, and counts on
from there. Every picture states its place in its group of pictures (`temporal_reference`,
ISO/IEC 13818-2, 6.3.9), which tells where the times are wrong:

    packets             I   B   B   P   B   B  | I   B   B   P
    reference           2   0   1   5   3   4  | 2   0   1   5
    time in frames     58  58  59  61  59  60  | 66  64  65  69     58 is the time of the first B
    time - reference   56  58  58  56  56  56  | 64  64  64  64
    mended             60  58  59  63  61  62  | 66  64  65  69
"""

from __future__ import annotations

from typing import Any

import numpy as np
from av.packet import Packet
from numpy.typing import NDArray

_CODECS = frozenset({"mpeg1video", "mpeg2video"})
_PICTURE_START = b"\x00\x00\x01\x00"
# A sequence header with two matrices, its extensions and a group header come before the picture.
_SEARCHED_BYTES = 512
_MAX_ROUNDING = 0.25  # of a frame

Times = NDArray[np.float64]


def temporal_reference(packet: Packet[Any]) -> int | None:
    """Return the place of a picture in its group in order of display; None for other codecs."""
    if packet.stream.codec_context.name not in _CODECS:
        return None
    head = bytes(memoryview(packet)[:_SEARCHED_BYTES])
    at = head.find(_PICTURE_START)
    return None if at < 0 or at + 6 > len(head) else head[at + 4] << 2 | head[at + 5] >> 6


def mend_times(
    seconds: Times, references: list[int | None], keyframes: list[int], frame_seconds: float
) -> Times:
    """Return the times of packets, with those of groups mended that contradict themselves.

    A group is mended only if it has all of its pictures, the group before is whole, and one of its
    own times, and one of those of the group after, say where that ended.

    Args:
        seconds: Time of each packet in file order, `[N]`.
        references: See `temporal_reference`, `[N]`.
        keyframes: Numbers of the packets that begin a group, ascending.
        frame_seconds: Duration of a frame.
    """
    mended = seconds.copy()
    # Audio has no pictures, and a damaged file may have no key frame and no frame rate.
    states_order = keyframes and any(reference is not None for reference in references)
    if not states_order or not frame_seconds > 0 or np.isnan(seconds).all():
        return mended
    frames = (seconds - np.nanmin(seconds)) / frame_seconds
    bounds = zip(keyframes, [*keyframes[1:], len(seconds)], strict=True)
    groups = [_places(frames[slice(*bound)], references[slice(*bound)]) for bound in bounds]
    expected: int | None = None  # where the group begins, in frames
    for number, places in enumerate(groups):
        if places is None:
            expected = None
            continue
        after = groups[number + 1] if number + 1 < len(groups) else None
        first = keyframes[number]
        if len(set(places)) == 1:
            expected = places[0]
        elif expected in places and (after is None or expected + len(places) in after):
            order = np.array(references[first : first + len(places)])
            zero = frames[first : first + len(places)][places.index(expected)]
            zero -= order[places.index(expected)]
            mended[first : first + len(places)] = (
                np.nanmin(seconds) + (zero + order) * frame_seconds
            )
        else:
            expected = None
            continue
        expected += len(places)
    return mended


def _places(frames: Times, order: list[int | None]) -> list[int] | None:
    """Return where each packet of a group says that the group begins, in frames.

    The result is None if a picture of the group is missing, or if its frames differ in duration.
    """
    if None in order or sorted(filter(None, order)) != list(range(1, len(order))):
        return None
    begins = frames - np.array(order, np.float64)
    if not np.all(np.abs(begins - np.round(begins)) < _MAX_ROUNDING):  # NaN too
        return None
    return [int(one) for one in np.round(begins)]
