"""Frame rates of editing programs, and SMPTE timecode with and without drop-frame counting.

A frame rate is an exact fraction. A frame number counts from the frame with the timecode
00:00:00:00. Drop-frame counting skips the numbers :00 and :01 (at 60 frames per second also :02 and
:03) of every minute that is not a multiple of ten, so that the timecode of 29.97 frames per second
stays near the clock. No frame is skipped, only its number (SMPTE ST 12-1).
"""

from __future__ import annotations

import re
from fractions import Fraction

#: The frame rates that the common editing programs share.
STANDARD_FRAME_RATES = (
    Fraction(24_000, 1001),
    Fraction(24),
    Fraction(25),
    Fraction(30_000, 1001),
    Fraction(30),
    Fraction(48_000, 1001),
    Fraction(48),
    Fraction(50),
    Fraction(60_000, 1001),
    Fraction(60),
)
#: Numbers that drop-frame counting skips in a minute, by frame rate.
_DROPPED = {Fraction(30_000, 1001): 2, Fraction(60_000, 1001): 4}
_TIMECODE = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})([:;.,])(\d{1,3})")


def nearest_standard_rate(frame_rate: Fraction) -> Fraction:
    """Return the standard frame rate with the smallest ratio to `frame_rate`."""
    return min(STANDARD_FRAME_RATES, key=lambda rate: max(rate / frame_rate, frame_rate / rate))


def nominal_rate(frame_rate: Fraction) -> int:
    """Return the number of frames that timecode counts in a second: 30 for 29.97."""
    return round(frame_rate)


def has_drop_frame(frame_rate: Fraction) -> bool:
    """Return whether drop-frame counting exists for a frame rate: 29.97 and 59.94."""
    return frame_rate in _DROPPED


def format_smpte(frame: int, frame_rate: Fraction, *, is_drop_frame: bool) -> str:
    """Return the timecode of a frame: `01:00:00:00`, and `01:00:00;00` with drop-frame counting.

    Args:
        frame: Frame number. Numbers of a day and more start over.
        frame_rate: Frames per second.
        is_drop_frame: Whether numbers are skipped.

    Raises:
        ValueError: The frame number is negative, or the frame rate has no drop-frame counting.
    """
    if frame < 0:
        raise ValueError(f"frame must be at least 0, got {frame}")
    nominal = nominal_rate(frame_rate)
    if is_drop_frame:
        frame += _num_dropped(frame, frame_rate)
    frame %= 24 * 3600 * nominal
    seconds, frames = divmod(frame, nominal)
    separator = ";" if is_drop_frame else ":"
    return (
        f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{separator}{frames:02d}"
    )


def parse_smpte(text: str, frame_rate: Fraction) -> tuple[int, bool] | None:
    """Return the frame number of a timecode, and whether it is a drop-frame timecode.

    A semicolon, comma or period before the frames means drop-frame counting, where the frame rate
    has it.

    Returns:
        None if the text is no timecode at this frame rate.
    """
    match = _TIMECODE.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds, frames = (int(match[group]) for group in (1, 2, 3, 5))
    nominal = nominal_rate(frame_rate)
    if hours >= 24 or minutes >= 60 or seconds >= 60 or frames >= nominal:
        return None
    frame = ((hours * 60 + minutes) * 60 + seconds) * nominal + frames
    is_drop_frame = match[4] != ":" and has_drop_frame(frame_rate)
    if is_drop_frame:
        total_minutes = hours * 60 + minutes
        frame -= _DROPPED[frame_rate] * (total_minutes - total_minutes // 10)
    return frame, is_drop_frame


def _num_dropped(frame: int, frame_rate: Fraction) -> int:
    """Return how many numbers are skipped up to a frame."""
    if frame_rate not in _DROPPED:
        rates = ", ".join(f"{float(rate):.2f}" for rate in _DROPPED)
        raise ValueError(
            f"drop-frame counting exists for {rates} frames per second, got {float(frame_rate):.3f}"
        )
    dropped = _DROPPED[frame_rate]
    per_minute = nominal_rate(frame_rate) * 60 - dropped
    per_ten_minutes = per_minute * 10 + dropped  # its first minute skips nothing
    tens, rest = divmod(frame, per_ten_minutes)
    minutes_after_first = max(0, rest - dropped) // per_minute
    return dropped * (9 * tens + minutes_after_first)
