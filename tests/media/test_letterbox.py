"""Black bars are detected where there are any, and nowhere else."""

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

from tests.media.coded_media import splice
from toomuchtv.media.clip_reader import read_clip
from toomuchtv.media.frame_converter import BlackBars
from toomuchtv.media.letterbox import detect_bars_in_frames, detect_black_bars
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.proxy_writer import ProxyFormat, write_proxy

WIDTH, HEIGHT = 192, 108
Image = NDArray[np.uint8]


def scene(number: int, width: int = WIDTH, height: int = HEIGHT, loudest: int = 230) -> Image:
    """Return a textured image, which differs for each number."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(30, loudest, (height // 6 + 1, width // 6 + 1, 3))
    return np.kron(coarse, np.ones((6, 6, 1)))[:height, :width].astype(np.uint8)


def bright(number: int) -> Image:
    return scene(number)


def night(number: int) -> Image:
    """Return a dark image with a lamp that moves."""
    image = scene(number, loudest=31) // 3
    x, y = 20 + 37 * number % 150, 20 + 23 * number % 70
    image[y : y + 12, x : x + 12] = 240
    return image


def dark_room(number: int) -> Image:
    """Return an image that is bright in the middle and black above and below, with moving edges."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[14 + 5 * number % 17 : 92 - 7 * number % 13] = 150
    return image


def spotlight(number: int) -> Image:
    """Return a disk of light on a black stage, always at the same position."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    lit = (x - WIDTH / 2) ** 2 + (y - HEIGHT / 2) ** 2 < 35**2
    return np.asarray(scene(number) * lit[..., None], np.uint8)


def credits_(number: int) -> Image:
    """Return lines of white text on black."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[30 + number % 7 : 80 : 8, 60:130:2] = 255
    return image


def two_shapes(number: int) -> Image:
    """Return letterboxed images, except for every eighth scene."""
    return letterboxed(number) if number % 8 else bright(number)


def with_subtitles(number: int) -> Image:
    """Return letterboxed images, some with subtitles in the lower bar."""
    image = letterboxed(number)
    if number % 4 == 0:
        image[96:102, 50:150:3] = 220
    return image


def barred(image: Image, left: int, top: int, right: int, bottom: int) -> Image:
    out = image.copy()
    out[:top], out[HEIGHT - bottom :] = 0, 0
    out[:, :left], out[:, WIDTH - right :] = 0, 0
    return out


def letterboxed(number: int) -> Image:
    return barred(bright(number), 0, 14, 0, 14)


def mixed_letterboxed(number: int) -> Image:
    """Return letterboxed images, most of them at night, in dark rooms, or credits."""
    kinds: list[Callable[[int], Image]] = [bright, night, dark_room, credits_, night, bright]
    return barred(kinds[number % 6](number), 0, 14, 0, 14)


def pillarboxed(number: int) -> Image:
    return barred(bright(number), 24, 0, 24, 0)


def windowboxed(number: int) -> Image:
    return barred(bright(number), 24, 12, 24, 12)


def gray_of(images: list[Image]) -> list[Image]:
    return [image.mean(axis=2).astype(np.uint8) for image in images]


def write(path: Path, of_number: Callable[[int], Image], *, seconds: int, rate: int = 4) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "26", "g": "8"}
        for index in range(seconds * rate):
            image = of_number(index // 2)
            frame = VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
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
def test_bars_of_films_are_detected(
    tmp_path: Path,
    of_number: Callable[[int], Image],
    wanted: tuple[int, int, int, int] | None,
    seconds: int,
) -> None:
    bars = detect_black_bars(write(tmp_path / "film.mkv", of_number, seconds=seconds))
    if wanted is None:
        assert bars is None
    else:
        assert bars is not None
        assert (bars.left, bars.top, bars.right, bars.bottom) == wanted
        assert (bars.frame_width, bars.frame_height) == (WIDTH, HEIGHT)


def test_bars_are_found_where_a_clock_jumps(tmp_path: Path) -> None:
    path = write(tmp_path / "film.ts", letterboxed, seconds=45)
    jumping = splice(path, tmp_path / "jumping.ts", at_seconds=22.0, shift_seconds=90_000.0)
    bars = detect_black_bars(jumping)
    assert bars is not None
    assert (bars.left, bars.top, bars.right, bars.bottom) == (0, 14, 0, 14)


@settings(max_examples=40, deadline=None)
@given(
    top=st.integers(3, 24), more=st.integers(-2, 2), side=st.sampled_from([0, 0, 6, 20]),
    noise=st.integers(0, 12), seed=st.integers(0, 1000),
)  # fmt: skip
def test_bars_are_rounded_to_whole_chroma_samples(
    top: int, more: int, side: int, noise: int, seed: int
) -> None:
    bottom = top + more
    images = [barred(scene(seed + i), side, top, side, bottom) for i in range(6)]
    rng = np.random.default_rng(seed)
    noisy = [p + rng.integers(0, noise + 1, p.shape, dtype=np.uint8) for p in images]
    bars = detect_bars_in_frames(gray_of(noisy))
    assert bars is not None
    even = [size + size % 2 for size in (side, top, side, bottom)]
    assert [bars.left, bars.top, bars.right, bars.bottom] == even


def test_too_few_frames_give_no_bars() -> None:
    assert detect_bars_in_frames([]) is None
    assert detect_bars_in_frames(gray_of([letterboxed(0), letterboxed(1)])) is None
    assert detect_bars_in_frames([np.zeros((HEIGHT, WIDTH), np.uint8)] * 9) is None


def test_frames_of_another_size_are_not_cropped() -> None:
    bars = BlackBars(frame_width=192, frame_height=108, left=0, top=14, right=0, bottom=16)
    assert bars.active_area(192, 108) == (0, 14, 192, 78)
    assert bars.active_area(96, 54) == (0, 0, 96, 54)


def test_cropping_is_optional_and_equal_for_clips_and_proxies(tmp_path: Path) -> None:
    path = write(tmp_path / "film.mkv", letterboxed, seconds=6)
    assert read_clip(path, frames=1).video.shape[1:] == (HEIGHT, WIDTH, 3)
    clip = read_clip(path, frames=8, frame_rate=4.0, letterbox="crop")
    assert clip.video.shape[1:] == (80, WIDTH, 3)
    assert clip.video[:, [0, -1]].mean(axis=(2, 3)).min() > 60
    for letterbox, size in (("keep", (80, 142)), ("crop", (80, 192))):
        proxy_format = ProxyFormat.model_validate(
            {"short_side": 80, "frame_rate": 4.0, "quantizer": 1, "letterbox": letterbox}
        )
        summary = write_proxy(path, tmp_path / f"{letterbox}.mp4", None, proxy_format)
        assert (summary.height, summary.width) == size
    reader = ProxyReader(tmp_path / "crop.mp4", None, frame_rate=4.0, sample_rate_hz=16_000)
    seen = reader.read_rgb(first_frame=0, frames=8)
    reader.close()
    assert np.abs(seen.astype(float) - clip.video).mean() < 3.0


def test_a_film_without_bars_is_not_cropped(tmp_path: Path) -> None:
    path = write(tmp_path / "film.mkv", bright, seconds=4)
    kept = read_clip(path, frames=2)
    np.testing.assert_array_equal(read_clip(path, frames=2, letterbox="crop").video, kept.video)


def test_unknown_values_of_letterbox_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="letterbox must be 'keep' or 'crop', got 'cut'"):
        read_clip(tmp_path / "film.mkv", letterbox="cut")  # type: ignore[arg-type]
