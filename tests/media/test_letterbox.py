"""Black bars are found where they are and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from toomuchtv.media.clip_reader import read_clip
from toomuchtv.media.containers import open_media
from toomuchtv.media.frame_converter import BlackBars
from toomuchtv.media.letterbox import detect_bars_in_frames, detect_black_bars
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.proxy_writer import ProxyFormat, write_proxy

WIDTH, HEIGHT = 192, 108
Picture = NDArray[np.uint8]


def scene(number: int, width: int = WIDTH, height: int = HEIGHT, loudest: int = 230) -> Picture:
    """A textured picture, another each time."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(30, loudest, (height // 6 + 1, width // 6 + 1, 3))
    return np.kron(coarse, np.ones((6, 6, 1)))[:height, :width].astype(np.uint8)


def bright(number: int) -> Picture:
    return scene(number)


def night(number: int) -> Picture:
    """Dark all over but for a lamp that moves about."""
    picture = scene(number, loudest=31) // 3
    x, y = 20 + 37 * number % 150, 20 + 23 * number % 70
    picture[y : y + 12, x : x + 12] = 240
    return picture


def dark_room(number: int) -> Picture:
    """Bright in the middle, black above and below, the edge not always the same."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[14 + 5 * number % 17 : 92 - 7 * number % 13] = 150
    return picture


def spotlight(number: int) -> Picture:
    """A disk of light on a black stage, always at the same place."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    lit = (x - WIDTH / 2) ** 2 + (y - HEIGHT / 2) ** 2 < 35**2
    return np.asarray(scene(number) * lit[..., None], np.uint8)


def credits_(number: int) -> Picture:
    """Lines of white text in the middle of black."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[30 + number % 7 : 80 : 8, 60:130:2] = 255
    return picture


def two_shapes(number: int) -> Picture:
    """Letterboxed, but for every eighth scene."""
    return letterboxed(number) if number % 8 else bright(number)


def with_subtitles(number: int) -> Picture:
    """Letterboxed, with writing in the lower bar now and then."""
    picture = letterboxed(number)
    if number % 4 == 0:
        picture[96:102, 50:150:3] = 220
    return picture


def barred(picture: Picture, left: int, top: int, right: int, bottom: int) -> Picture:
    out = picture.copy()
    out[:top], out[HEIGHT - bottom :] = 0, 0
    out[:, :left], out[:, WIDTH - right :] = 0, 0
    return out


def letterboxed(number: int) -> Picture:
    return barred(bright(number), 0, 14, 0, 14)


def mixed_letterboxed(number: int) -> Picture:
    """Letterboxed, most of it at night, in dark rooms, black or credits."""
    kinds: list[Callable[[int], Picture]] = [bright, night, dark_room, credits_, night, bright]
    return barred(kinds[number % 6](number), 0, 14, 0, 14)


def pillarboxed(number: int) -> Picture:
    return barred(bright(number), 24, 0, 24, 0)


def windowboxed(number: int) -> Picture:
    return barred(bright(number), 24, 12, 24, 12)


def gray_of(pictures: list[Picture]) -> list[Picture]:
    return [picture.mean(axis=2).astype(np.uint8) for picture in pictures]


def write(path: Path, of_number: Callable[[int], Picture], *, seconds: int, rate: int = 4) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "26", "g": "8"}
        for index in range(seconds * rate):
            picture = of_number(index // 2)
            frame = VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("seconds", [6, 45], ids=["read through", "by seeking"])
@pytest.mark.parametrize(
    ("of_number", "wanted"),
    [
        (letterboxed, (0, 14, 0, 14)), (mixed_letterboxed, (0, 14, 0, 14)),
        (pillarboxed, (24, 0, 24, 0)), (windowboxed, (24, 12, 24, 12)),
        (bright, None), (night, None), (dark_room, None), (spotlight, None), (credits_, None),
        (two_shapes, None), (with_subtitles, None),
    ],
)  # fmt: skip
def test_bars_are_found_in_films(
    tmp_path: Path,
    of_number: Callable[[int], Picture],
    wanted: tuple[int, int, int, int] | None,
    seconds: int,
) -> None:
    path = write(tmp_path / "film.mkv", of_number, seconds=seconds)
    with open_media(path) as container:
        bars = detect_black_bars(container)
    if wanted is None:
        assert bars is None
    else:
        assert bars is not None
        assert (bars.left, bars.top, bars.right, bars.bottom) == wanted
        assert (bars.frame_width, bars.frame_height) == (WIDTH, HEIGHT)


@settings(max_examples=40, deadline=None)
@given(
    top=st.integers(3, 24), more=st.integers(-2, 2), side=st.sampled_from([0, 0, 6, 20]),
    noise=st.integers(0, 12), seed=st.integers(0, 1000),
)  # fmt: skip
def test_bars_are_cut_to_whole_chroma_samples(
    top: int, more: int, side: int, noise: int, seed: int
) -> None:
    bottom = top + more
    pictures = [barred(scene(seed + i), side, top, side, bottom) for i in range(6)]
    rng = np.random.default_rng(seed)
    noisy = [p + rng.integers(0, noise + 1, p.shape, dtype=np.uint8) for p in pictures]
    bars = detect_bars_in_frames(gray_of(noisy))
    assert bars is not None
    even = [size + size % 2 for size in (side, top, side, bottom)]
    assert [bars.left, bars.top, bars.right, bars.bottom] == even


def test_few_or_no_pictures_tell_nothing() -> None:
    assert detect_bars_in_frames([]) is None
    assert detect_bars_in_frames(gray_of([letterboxed(0), letterboxed(1)])) is None
    assert detect_bars_in_frames([np.zeros((HEIGHT, WIDTH), np.uint8)] * 9) is None


def test_a_picture_of_another_size_is_left_whole() -> None:
    bars = BlackBars(frame_width=192, frame_height=108, left=0, top=14, right=0, bottom=16)
    assert bars.active_area(192, 108) == (0, 14, 192, 78)
    assert bars.active_area(96, 54) == (0, 0, 96, 54)


def test_cropping_is_asked_for_and_the_same_both_ways(tmp_path: Path) -> None:
    path = write(tmp_path / "film.mkv", letterboxed, seconds=6)
    assert read_clip(path, frames=1).video.shape[1:] == (HEIGHT, WIDTH, 3)
    clip = read_clip(path, frames=8, frame_rate=4.0, letterbox="crop")
    assert clip.video.shape[1:] == (80, WIDTH, 3)
    assert clip.video[:, [0, -1]].mean(axis=(2, 3)).min() > 60
    for letterbox, size in (("keep", (80, 142)), ("crop", (80, 192))):
        recipe = ProxyFormat.model_validate(
            {"short_side": 80, "frame_rate": 4.0, "quantizer": 1, "letterbox": letterbox}
        )
        facts = write_proxy(path, tmp_path / f"{letterbox}.mp4", None, recipe)
        assert (facts.height, facts.width) == size
    reader = ProxyReader(tmp_path / "crop.mp4", None, frame_rate=4.0, sample_rate_hz=16_000)
    seen = reader.read_rgb(first_frame=0, frames=8)
    reader.close()
    assert np.abs(seen.astype(float) - clip.video).mean() < 3.0


def test_a_film_without_bars_is_not_cropped(tmp_path: Path) -> None:
    path = write(tmp_path / "film.mkv", bright, seconds=4)
    kept = read_clip(path, frames=2)
    np.testing.assert_array_equal(read_clip(path, frames=2, letterbox="crop").video, kept.video)


def test_the_option_has_two_values(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="letterbox must be 'keep' or 'crop', got 'cut'"):
        read_clip(tmp_path / "film.mkv", letterbox="cut")  # type: ignore[arg-type]
