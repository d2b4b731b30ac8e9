from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.rendered_tv.brush import Brush
from experiments.rendered_tv.events.painters import Ink
from experiments.rendered_tv.events.registry import EVENT_KINDS, EventKind
from experiments.rendered_tv.events.track import Track

KINDS = tuple(EVENT_KINDS.values())


def paint(kind: EventKind, track: Track, seconds: float, ink: Ink) -> np.ndarray:
    canvas = np.full((60, 80, 3), 90.0, np.float32)
    kind.paint(Brush(canvas, 40.0, 52.0, 46.0), track.pose(seconds), ink)
    return canvas


def ink(seed: int) -> Ink:
    colors = np.random.default_rng(seed).uniform(120, 255, (5, 3)).astype(np.float32)
    return Ink(
        body=colors[0], accent=colors[1], dark=colors[2] / 4, light=colors[3], skin=colors[4]
    )


def test_there_are_at_least_twenty_kinds() -> None:
    assert len(KINDS) >= 20
    assert len({kind.label for kind in KINDS}) == len(KINDS)


def test_documented_pairs_of_kinds_share_motion_painter_or_sound() -> None:
    for one, other in (("bounce", "ping"), ("babble", "sing")):
        a, b = EVENT_KINDS[one], EVENT_KINDS[other]
        assert (a.move, a.paint) == (b.move, b.paint)
        assert a.voice is not b.voice
    for one, other in (("knock", "stamp"), ("swing", "windmill"), ("saw", "sweep")):
        a, b = EVENT_KINDS[one], EVENT_KINDS[other]
        assert a.voice is b.voice
        assert a.paint is not b.paint


@given(st.sampled_from(KINDS), st.integers(0, 2**32), st.floats(1.0, 9.0))
@settings(max_examples=60, deadline=None)
def test_tracks_stay_on_the_stage_and_within_their_duration(
    kind: EventKind, seed: int, seconds: float
) -> None:
    track = kind.move(np.random.default_rng(seed), seconds)
    assert np.all((track.impacts >= 0) & (track.impacts < seconds))
    assert np.all(np.diff(track.impacts) > 0)
    assert len(track.weights) == len(track.impacts)
    for name, channel in track.channels.items():
        assert np.all(np.isfinite(channel)), name
        if name in ("drive", "opening", "size"):
            assert channel.min() >= -1e-6
            assert channel.max() <= 1.3, name
    assert np.abs(track.channels["x"]).max() <= 1.0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_is_visible_moves_and_is_audible(kind: EventKind) -> None:
    track = kind.move(np.random.default_rng(1), 4.0)
    wave = kind.sound(track, np.random.default_rng(2), 16000, 1.0)
    assert wave.shape == (64000,)
    assert np.abs(wave).max() <= 0.71
    assert np.sqrt(np.mean(wave**2)) > 0.01
    frames = np.stack([paint(kind, track, t, ink(0)) for t in np.arange(0, 4, 0.125)])
    assert np.isfinite(frames).all()
    moved = np.abs(np.diff(frames, axis=0)).max(axis=-1) > 20
    assert moved.mean(axis=0).max() > 0.05, "nothing moves"
    shown = (np.abs(frames - 90).max(axis=-1) > 15).mean(axis=(1, 2))
    assert shown.max() > 0.03, "too small to see"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_colors_do_not_change_the_motion(kind: EventKind) -> None:
    one = kind.move(np.random.default_rng(3), 3.0)
    other = kind.move(np.random.default_rng(3), 3.0)
    for name in one.channels:
        np.testing.assert_array_equal(one.channels[name], other.channels[name])
    first, second = paint(kind, one, 1.0, ink(0)), paint(kind, other, 1.0, ink(1))
    painted = (np.abs(first - 90).max(-1) > 12) == (np.abs(second - 90).max(-1) > 12)
    assert painted.mean() > 0.93
    assert np.abs(first - second).max() > 20


@pytest.mark.parametrize("name", ["bounce", "drip", "hammer", "knock"])
def test_impacts_coincide_with_the_lowest_position(name: str) -> None:
    track = EVENT_KINDS[name].move(np.random.default_rng(4), 6.0)
    channel = {"bounce": "y", "drip": "y", "hammer": "angle", "knock": "opening"}[name]
    height = track.channels[channel]
    for impact in track.impacts[1:]:
        k = round(float(impact) * 200)
        near = height[max(k - 2, 0) : k + 2]
        assert near.min() < 0.12 * height.max()


@pytest.mark.parametrize("name", ["bounce", "ping", "hammer", "drum", "knock"])
def test_hits_are_louder_after_each_impact_than_before(name: str) -> None:
    kind = EVENT_KINDS[name]
    track = kind.move(np.random.default_rng(6), 6.0)
    wave = kind.sound(track, np.random.default_rng(7), 16000, 1.0)
    for impact in track.impacts:
        at = round(float(impact) * 16000)
        if 400 < at < len(wave) - 800:
            before, after = wave[at - 320 : at], wave[at : at + 320]
            assert np.sum(after**2) > 3 * np.sum(before**2)


@pytest.mark.parametrize("name", ["swing", "saw", "siren", "rattle", "surf", "approach"])
def test_continuous_sounds_follow_the_drive(name: str) -> None:
    kind = EVENT_KINDS[name]
    track = kind.move(np.random.default_rng(8), 6.0)
    wave = kind.sound(track, np.random.default_rng(9), 16000, 1.0)[: 96000 // 800 * 800]
    parts = wave.reshape(-1, 800)
    drive = track.curve("drive", len(wave), 16000).reshape(-1, 800).mean(axis=1)
    if name == "siren":
        follows = (np.diff(np.sign(parts), axis=1) != 0).sum(axis=1)
    else:
        follows = np.sqrt((parts**2).mean(axis=1))
    assert np.corrcoef(drive, follows)[0, 1] > 0.7
