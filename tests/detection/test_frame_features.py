"""Laws of frame features and of the detectors, on constructed frames in real video files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from experiments.rendered_tv.brush import text_mask
from toomuchtv.detection.detectors import (
    detect_black,
    detect_credits,
    detect_cuts,
    detect_logos,
    detect_shots,
    detect_silence,
)
from toomuchtv.detection.fingerprints import FINGERPRINT_RATE_HZ, AudioFingerprint
from toomuchtv.detection.frame_features import FRAME_FEATURES, FrameFeatures, compute_frame_features
from toomuchtv.errors import MediaError

RATE = 8
HEIGHT, WIDTH = 72, 128
Planes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


def write(path: Path, video: Iterable[Planes]) -> Path:
    """Write planes to a lossless proxy."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, planes in enumerate(video):
            stacked = np.concatenate([plane.reshape(-1, WIDTH) for plane in planes])
            frame = av.VideoFrame.from_ndarray(stacked, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def plain(luma: NDArray[np.uint8] | int, u: int = 128, v: int = 128) -> Planes:
    """Return a frame with this luma and one color."""
    half = HEIGHT // 2, WIDTH // 2
    return (
        np.broadcast_to(np.uint8(luma), (HEIGHT, WIDTH)).copy(),
        np.full(half, u, np.uint8),
        np.full(half, v, np.uint8),
    )


def scene(seed: int, num_frames: int, *, speed: int = 2) -> list[Planes]:
    """Return frames of a camera that pans over a textured scene."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 200, (HEIGHT // 8, WIDTH // 2)).astype(np.uint8)
    wide = np.kron(coarse, np.ones((8, 8), np.uint8))
    u, v = rng.integers(90, 166, 2)
    return [
        plain(wide[:, speed * n : speed * n + WIDTH], int(u), int(v)) for n in range(num_frames)
    ]


def features_of(tmp_path: Path, video: Iterable[Planes]) -> FrameFeatures:
    return compute_frame_features(write(tmp_path / "v.mp4", video), frame_rate=RATE)


def made(num_frames: int, **values: float | NDArray[np.float32]) -> FrameFeatures:
    """Return features of an ordinary still scene with some values replaced."""
    ordinary = {"luma_mean": 120.0, "luma_p99": 220.0, "luma_std": 40.0, "frame_difference": 0.5,
                "histogram_distance": 0.01, "stroke_share": 0.0, "flat_share": 0.5}  # fmt: skip
    return FrameFeatures(
        frame_rate=RATE,
        **{
            name: np.broadcast_to(np.float32(values.get(name, ordinary[name])), num_frames).copy()
            for name in FRAME_FEATURES
        },
    )


# ---- Features


def test_features_equal_those_of_numpy(tmp_path: Path) -> None:
    video = [*scene(1, 3), *scene(2, 2), plain(16)]
    features = features_of(tmp_path, video)
    assert len(features) == len(video)
    for n, (luma, u, v) in enumerate(video):
        exact = luma.astype(np.float64)
        assert features.luma_mean[n] == pytest.approx(exact.mean(), rel=1e-5)
        assert features.luma_std[n] == pytest.approx(exact.std(), rel=1e-4, abs=1e-3)
        assert np.mean(luma <= features.luma_p99[n]) >= 0.99
        assert np.mean(luma < features.luma_p99[n]) <= 0.99
        if n == 0:
            assert features.frame_difference[0] == features.histogram_distance[0] == 0
            continue
        before = video[n - 1]
        steps = [np.abs(a.astype(float) - b).mean() for a, b in zip((luma[::2, ::2], u, v),
                 (before[0][::2, ::2], before[1], before[2]), strict=True)]  # fmt: skip
        assert features.frame_difference[n] == pytest.approx(
            np.dot(steps, [0.5, 0.25, 0.25]), rel=1e-4
        )
        assert 0 <= features.histogram_distance[n] <= 1
    # Another scene has another histogram; a pan over one scene hardly changes it.
    assert features.histogram_distance[3] > 3 * features.histogram_distance[1:3].max()


def test_letters_are_strokes_on_a_flat_background_and_texture_is_not(tmp_path: Path) -> None:
    mask = text_mask(("DIRECTED BY", "SOMEBODY", "AND OTHERS"), 2)[:HEIGHT, :WIDTH]
    card = np.full((HEIGHT, WIDTH), 30, np.uint8)
    rows, columns = mask.shape
    card[10 : 10 + rows, 8 : 8 + columns][mask > 0] = 220
    texture = np.random.default_rng(0).integers(30, 220, (HEIGHT, WIDTH)).astype(np.uint8)
    video = [plain(card)] * 8 + [plain(30)] * 8 + [plain(texture)] * 8 + scene(1, 8)
    features = features_of(tmp_path, video)
    card_at, ground_at, texture_at, scene_at = range(0, 32, 8)
    assert features.stroke_share[card_at] > 0.01
    assert features.flat_share[card_at] > 0.95
    assert features.stroke_share[ground_at] == 0
    assert features.flat_share[ground_at] == 1
    assert features.stroke_share[texture_at] > 0.1  # strokes, but no flat background
    assert features.flat_share[texture_at] < 0.8
    assert features.flat_share[scene_at] < 0.7


def test_error_for_a_damaged_proxy_names_it(tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"nothing")
    with pytest.raises(MediaError, match=r"broken\.mp4"):
        compute_frame_features(path, frame_rate=RATE)


# ---- Shots


def test_cuts_are_exact_to_the_frame_and_pans_are_not_cuts(tmp_path: Path) -> None:
    lengths = [9, 17, 6, 25]
    video = [p for seed, n in enumerate(lengths) for p in scene(seed, n, speed=3)]
    features = features_of(tmp_path, video)
    assert detect_cuts(features).tolist() == [9, 26, 32]


def test_fades_and_stills_are_not_cuts(tmp_path: Path) -> None:
    still = scene(3, 1)[0]
    fade = [plain(still[0] // 16 * n, int(still[1][0, 0]), int(still[2][0, 0]))
            for n in range(16)]  # fmt: skip
    assert detect_cuts(features_of(tmp_path, fade + [fade[-1]] * 10)).tolist() == []


@pytest.mark.parametrize("num_frames", [0, 1, 2, 40])
def test_shots_cover_the_item(num_frames: int) -> None:
    rng = np.random.default_rng(num_frames)
    features = made(num_frames, frame_difference=rng.gamma(1, 20, num_frames).astype(np.float32),
                  histogram_distance=rng.uniform(0, 1, num_frames).astype(np.float32))  # fmt: skip
    shots = detect_shots(features)
    edges = [0.0, *(stop for _, stop in shots)]
    assert edges[-1] == num_frames / RATE
    assert [start for start, _ in shots] == edges[:-1]
    assert all(stop - start >= 0.25 for start, stop in shots[:-1])


# ---- Black, silence, logos, credits


def test_black_is_dark_uniform_and_long_enough(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    black = [plain(noise.integers(15, 19, (HEIGHT, WIDTH)).astype(np.uint8)) for _ in range(6)]
    dark = plain(16)
    dark[0][30:40, 30:60] = 90  # a lamp in the night
    video = [*black[:1], *scene(1, 5), *black, *scene(2, 4), dark, dark, dark, *black[:2]]
    assert detect_black(features_of(tmp_path, video)) == [(0.75, 1.5), (19 / 8, 21 / 8)]


def test_silence_is_below_its_level_for_half_a_second() -> None:
    level = np.full(200, -30, np.int8)
    level[10:25] = -90  # 15/32 s
    level[40:56] = -61
    level[70:90] = -60
    level[184:] = -120
    fingerprint = AudioFingerprint(
        words=np.zeros(200, np.uint32), level_dbfs=level, is_distinctive=np.ones(200, np.bool_)
    )
    assert detect_silence(fingerprint) == [
        (40 / FINGERPRINT_RATE_HZ, 56 / FINGERPRINT_RATE_HZ),
        (184 / FINGERPRINT_RATE_HZ, 200 / FINGERPRINT_RATE_HZ),
    ]  # fmt: skip


def frames(*parts: tuple[float, float]) -> NDArray[np.float32]:
    """Return frames of one value for some seconds, then of the next value."""
    return np.concatenate([np.full(round(s * RATE), value, np.float32) for s, value in parts])


def is_black(luma: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return features of frames that are black where luma is 16."""
    return {
        "luma_mean": luma,
        "luma_p99": np.where(luma == 16, 17, 200).astype(np.float32),
        "luma_std": np.where(luma == 16, 1, 30).astype(np.float32),
    }


@pytest.mark.parametrize(
    ("parts", "difference", "expected"),
    [
        # black, logo, black, logo, black, film
        ([(1, 16), (4, 90), (1, 16), (3, 70), (1, 16), (60, 120)], 0.3, [(1, 5), (6, 9)]),
        # the film begins at once and has black later
        ([(8, 120), (1, 16), (5, 90), (1, 16), (60, 120)], 0.3, []),
        # a moving scene between black; one that is too long; one without black after it
        ([(1, 16), (4, 90), (1, 16), (60, 120)], 5.0, []),
        ([(1, 16), (20, 90), (1, 16), (60, 120)], 0.3, []),
        ([(1, 16), (66, 120)], 0.3, []),
    ],
)
def test_logos_are_still_and_between_black_at_the_start(
    parts: list[tuple[float, float]], difference: float, expected: list[tuple[float, float]]
) -> None:
    luma = frames(*parts)
    features = made(len(luma), frame_difference=difference, **is_black(luma))
    assert detect_logos(features, detect_black(features)) == expected


def credits_of(change: Callable[[dict[str, NDArray[np.float32]]], None]) -> object:
    """Detect credits in ten minutes with 40 s of credits before the last 10 s, after a change."""
    values = {
        "stroke_share": frames((550, 0.01), (40, 0.02), (10, 0.01)),
        "flat_share": frames((550, 0.5), (40, 0.97), (10, 0.5)),
        "luma_mean": frames((550, 100), (40, 40), (10, 100)),
    }
    change(values)
    return detect_credits(made(600 * RATE, **values))


def test_film_credits_are_letters_on_a_flat_background_at_the_end() -> None:
    assert credits_of(lambda _: None) == (550, 590)

    def without_letters(values: dict[str, NDArray[np.float32]]) -> None:
        values["stroke_share"][550 * RATE :] = 0.001

    def over_a_scene(values: dict[str, NDArray[np.float32]]) -> None:
        values["flat_share"][:] = 0.6

    def in_the_sky(values: dict[str, NDArray[np.float32]]) -> None:
        values["luma_mean"][:] = 180

    def early(values: dict[str, NDArray[np.float32]]) -> None:
        for value in values.values():
            value[:] = np.roll(value, -300 * RATE)

    def short(values: dict[str, NDArray[np.float32]]) -> None:
        values["stroke_share"][556 * RATE :] = 0.0

    for change in (without_letters, over_a_scene, in_the_sky, early, short):
        assert credits_of(change) is None, change.__name__


def test_cards_with_black_between_them_are_one_interval() -> None:
    def cards(values: dict[str, NDArray[np.float32]]) -> None:
        for begin in range(553 * RATE, 590 * RATE, 4 * RATE):
            values["stroke_share"][begin : begin + RATE] = 0.0

    assert credits_of(cards) == pytest.approx((550, 589), abs=1.2)
