"""Timecode against OpenTimelineIO's, which is independent of ours."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentimelineio import opentime

from toomuchtv.search.timecode import (
    STANDARD_FRAME_RATES,
    format_smpte,
    has_drop_frame,
    nearest_standard_rate,
    parse_smpte,
)

_COUNTINGS = [
    (rate, is_drop_frame)
    for rate in STANDARD_FRAME_RATES
    for is_drop_frame in (False, True)
    if has_drop_frame(rate) or not is_drop_frame
]


@given(st.sampled_from(_COUNTINGS), st.integers(0, 24 * 3600 * 23))
def test_timecode_is_that_of_opentimelineio(counting: tuple[Fraction, bool], frame: int) -> None:
    rate, is_drop_frame = counting
    expected = opentime.to_timecode(
        opentime.RationalTime(frame, float(rate)), float(rate), drop_frame=is_drop_frame
    )
    text = format_smpte(frame, rate, is_drop_frame=is_drop_frame)
    assert text == expected
    assert parse_smpte(text, rate) == (frame, is_drop_frame)


def test_drop_frame_skips_numbers_except_every_tenth_minute() -> None:
    # SMPTE ST 12-1: after 00:00:59;29 comes 00:01:00;02, and minute ten is whole.
    rate = Fraction(30_000, 1001)
    texts = [format_smpte(frame, rate, is_drop_frame=True) for frame in (1799, 1800, 17_982)]
    assert texts == ["00:00:59;29", "00:01:00;02", "00:10:00;00"]
    double = Fraction(60_000, 1001)
    assert format_smpte(3600, double, is_drop_frame=True) == "00:01:00;04"


@pytest.mark.parametrize("text", ["", "01:00", "25:00:00:00", "00:61:00:00", "00:00:00:24", "abc"])
def test_text_that_is_no_timecode(text: str) -> None:
    assert parse_smpte(text, Fraction(24)) is None


def test_a_semicolon_means_nothing_where_there_is_no_drop_frame() -> None:
    assert parse_smpte("00:01:00;00", Fraction(25)) == (1500, False)


def test_wrong_values_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        format_smpte(-1, Fraction(24), is_drop_frame=False)
    with pytest.raises(ValueError, match="drop-frame"):
        format_smpte(1, Fraction(24), is_drop_frame=True)


def test_nearest_rate() -> None:
    assert nearest_standard_rate(Fraction("23.976")) == Fraction(24_000, 1001)
    assert nearest_standard_rate(Fraction("29.9")) == Fraction(30_000, 1001)
    assert nearest_standard_rate(Fraction(28)) == Fraction(30_000, 1001)
    assert nearest_standard_rate(Fraction(120)) == 60
