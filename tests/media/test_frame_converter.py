"""Frames are selected by time and converted to their display orientation, shape and colors."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.media_files import write_audio_file, write_film
from toomuchtv.errors import MediaError
from toomuchtv.media.clip_reader import read_clip
from toomuchtv.media.containers import open_media
from toomuchtv.media.frame_converter import FrameConverter, size_for_short_side
from toomuchtv.media.frame_sampler import FrameSampler
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.proxy_writer import ProxyFormat, write_proxy

RED, GREEN, BLUE, WHITE = (230, 25, 25), (25, 200, 25), (25, 25, 230), (235, 235, 235)


def corners(width: int, height: int) -> NDArray[np.uint8]:
    """Return four colors: red top left, green top right, blue bottom left, white bottom right."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = RED, GREEN
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = BLUE, WHITE
    return image


def seen_corners(image: NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    """Return the nearest of the four colors at each corner: top left and right, then bottom."""
    height, width = image.shape[:2]
    places = [(y, x) for y in (height // 4, -height // 4) for x in (width // 4, -width // 4)]
    colors = np.array([RED, GREEN, BLUE, WHITE])
    nearest = [np.abs(colors - image[y, x].astype(int)).sum(axis=1).argmin() for y, x in places]
    return [(RED, GREEN, BLUE, WHITE)[index] for index in nearest]


def write_corners(
    path: Path,
    *,
    size: tuple[int, int] = (96, 64),
    rotation_degrees: int = 0,
    aspect: Fraction = Fraction(1),
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    matrix: Colorspace | None = None,
) -> Path:
    """Write half a second of the four corners, converted by `matrix` and not tagged."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        assert isinstance(stream, av.VideoStream)
        (stream.width, stream.height), stream.pix_fmt = size, pixel_format
        stream.codec_context.sample_aspect_ratio = aspect
        if rotation_degrees:
            stream.set_display_rotation(-rotation_degrees)
        for number in range(5):
            rgb = VideoFrame.from_ndarray(corners(*size), format="rgb24")
            frame = rgb.reformat(format=pixel_format, dst_colorspace=matrix)
            if matrix is not None:
                frame.colorspace = 2  # unspecified
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


# ---- Frames by time


@pytest.mark.parametrize(
    ("times", "wanted", "picked"),
    [
        ([0.0, 1.0, 2.0], [0.0, 1.0, 2.0], [0, 1, 2]),  # a boundary belongs to the new frame
        ([0.0, 1.0, 2.0], [0.5, 1.5, 9.0], [0, 1, 2]),  # the last frame is held
        ([0.0, 1.0, 2.0], [0.0, 0.3, 0.6, 0.9], [0, 0, 0, 0]),  # one frame, several times
        ([0.0, 0.1, 0.2, 0.3], [0.0, 0.3], [0, 3]),  # some frames never
        (
            [0.5, 1.0],
            [0.0, 0.2, 0.7],
            [0, 0, 0],
        ),  # the first frame is displayed before its timestamp
        ([0.0, 0.5, 3.0], [0.4, 0.6, 2.9, 3.1], [0, 1, 1, 2]),  # variable rate
        ([0.0, 1.0005, 2.0], [1.0], [1]),  # rounded timestamps
        ([0.0, 1.0, 1.0, 2.0], [1.5], [2]),  # two at one time: the later one
        ([0.0], [0.0, 5.0], [0, 0]),
        ([], [0.0], []),
        ([0.0, 1.0], [], []),
    ],
)
def test_sampled_frames(times: list[float], wanted: list[float], picked: list[int]) -> None:
    sampler = FrameSampler(iter(wanted), tolerance_seconds=0.001)
    frames = [VideoFrame(16, 16, "gray") for _ in times]
    out: list[VideoFrame] = []
    for frame, seconds in zip(frames, times, strict=True):
        out.extend(sampler.push(frame, seconds))
    out.extend(sampler.close())
    assert [next(i for i, f in enumerate(frames) if f is frame) for frame in out] == picked
    assert sampler.is_complete == (len(picked) == len(wanted))


@given(
    gaps=st.lists(st.integers(10, 500), min_size=1, max_size=20),
    wanted=st.lists(st.integers(0, 4000), max_size=20),
)
def test_sampled_frames_are_the_last_that_began(gaps: list[int], wanted: list[int]) -> None:
    starts = [int(at) for at in np.cumsum([0, *gaps])]
    wanted.sort()
    sampler = FrameSampler((at / 1000 for at in wanted), tolerance_seconds=1e-6)
    frames = [VideoFrame(16, 16, "gray") for _ in starts]
    numbers = {id(frame): number for number, frame in enumerate(frames)}
    out: list[int] = []
    for frame, start in zip(frames, starts, strict=True):
        out.extend(numbers[id(image)] for image in sampler.push(frame, start / 1000))
    out.extend(numbers[id(image)] for image in sampler.close())
    assert out == [max(i for i, start in enumerate(starts) if start <= at) for at in wanted]


def test_closing_at_a_time_drops_later_requests() -> None:
    sampler = FrameSampler(iter([0.0, 0.5, 1.0]), tolerance_seconds=1e-6)
    assert list(sampler.push(VideoFrame(16, 16, "gray"), 0.0)) == []
    assert len(list(sampler.close(1.0))) == 2
    assert not sampler.is_complete


# ---- Sizes


@given(
    width=st.integers(2, 8000), height=st.integers(2, 8000), short=st.integers(8, 1080)
)  # fmt: skip
def test_size_for_short_side(width: int, height: int, short: int) -> None:
    short *= 2
    out = size_for_short_side((width, height), short)
    assert min(out) == short
    assert all(side % 2 == 0 for side in out)
    assert (out[0] <= out[1]) == (width <= height) or min(out) == max(out)
    # The aspect ratio is kept up to rounding to even sides.
    assert abs(max(out) - short * max(width, height) / min(width, height)) <= 1.0 + 1e-6
    assert size_for_short_side(out, short) == out


# ---- FrameConverter

TURNED = {
    0: [RED, GREEN, BLUE, WHITE],
    90: [BLUE, RED, WHITE, GREEN],  # clockwise: the bottom left corner becomes the top left one
    180: [WHITE, BLUE, GREEN, RED],
    270: [GREEN, WHITE, RED, BLUE],
}


@pytest.mark.parametrize("degrees", TURNED)
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_rotated_films_are_displayed_upright(tmp_path: Path, degrees: int, suffix: str) -> None:
    path = write_corners(tmp_path / f"film{suffix}", rotation_degrees=degrees)
    shape = (96, 64) if degrees % 180 else (64, 96)
    clip = read_clip(path, frames=1)
    assert clip.video.shape == (1, *shape, 3)
    assert seen_corners(clip.video[0]) == TURNED[degrees]
    summary = write_proxy(path, tmp_path / "v.mp4", None, ProxyFormat(short_side=64))
    assert (summary.height, summary.width) == shape
    reader = ProxyReader(tmp_path / "v.mp4", None, frame_rate=8.0, sample_rate_hz=16_000)
    assert seen_corners(reader.read_rgb(first_frame=0, frames=1)[0]) == TURNED[degrees]
    reader.close()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg command here")
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_the_direction_of_rotation_is_that_of_ffmpeg(tmp_path: Path, degrees: int) -> None:
    path = write_corners(tmp_path / "film.mp4", rotation_degrees=degrees)
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", path, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt",
         "rgb24", "-"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    mine = read_clip(path, frames=1).video[0]
    assert seen_corners(np.frombuffer(raw, np.uint8).reshape(mine.shape)) == seen_corners(mine)


@pytest.mark.parametrize(
    ("size", "aspect", "degrees", "shape"),
    [
        ((72, 58), Fraction(16, 11), 0, (58, 105)),  # wide-screen DVD
        ((96, 64), Fraction(2, 1), 0, (64, 192)),
        ((96, 64), Fraction(1, 2), 0, (64, 48)),
        ((96, 64), Fraction(2, 1), 90, (192, 64)),
    ],
)
def test_output_pixels_are_square(
    tmp_path: Path, size: tuple[int, int], aspect: Fraction, degrees: int, shape: tuple[int, int]
) -> None:
    path = write_corners(tmp_path / "film.mp4", size=size, aspect=aspect, rotation_degrees=degrees)
    image = read_clip(path, frames=1).video[0]
    assert image.shape == (*shape, 3)
    assert seen_corners(image) == TURNED[degrees]
    small = read_clip(path, frames=1, short_side=32).video[0]
    assert min(small.shape[:2]) == 32
    assert small.shape[0] / small.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.04)
    assert seen_corners(small) == TURNED[degrees]


@pytest.mark.parametrize(
    ("size", "matrix"),
    [((1280, 720), Colorspace.ITU709), ((720, 576), Colorspace.ITU601)],
    ids=["high definition", "standard definition"],
)
def test_untagged_video_uses_the_matrix_of_its_size(
    tmp_path: Path, size: tuple[int, int], matrix: Colorspace
) -> None:
    path = write_corners(tmp_path / "film.mp4", size=size, matrix=matrix)
    wanted = np.array([RED, GREEN, BLUE, WHITE], int)
    summary = write_proxy(path, tmp_path / "v.mp4", None, ProxyFormat(short_side=64, quantizer=1))
    assert summary.num_frames == 4
    reader = ProxyReader(tmp_path / "v.mp4", None, frame_rate=8.0, sample_rate_hz=16_000)
    for image in (
        read_clip(path, frames=1).video[0],
        reader.read_rgb(first_frame=0, frames=1)[0],
    ):
        height, width = image.shape[:2]
        places = [
            (y, x) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)
        ]
        seen = np.array([image[place] for place in places], int)
        assert np.abs(seen - wanted).max() <= 7
    reader.close()


@pytest.mark.parametrize("pixel_format", ["yuvj420p", "yuv444p", "yuv420p10le", "rgb24", "gray"])
def test_every_pixel_format_gives_the_same_colors(tmp_path: Path, pixel_format: str) -> None:
    codec = {"yuvj420p": "mjpeg", "rgb24": "png"}.get(pixel_format, "ffv1")
    suffix = ".mov" if codec == "png" else ".mkv"
    path = write_corners(tmp_path / f"film{suffix}", codec=codec, pixel_format=pixel_format)
    image = read_clip(path, frames=1).video[0]
    wanted = np.array([RED, GREEN, BLUE, WHITE], float)
    if pixel_format == "gray":
        wanted = np.repeat(wanted @ np.array([[0.299], [0.587], [0.114]]), 3, axis=1)
    seen = np.array([image[y, x] for y in (16, 48) for x in (24, 72)], float)
    assert np.abs(seen - wanted).max() <= 8


def test_planes_are_bt601_limited_range(tmp_path: Path) -> None:
    converter = FrameConverter(width=64, height=64, pixel_format="yuv420p")
    rgb = VideoFrame.from_ndarray(np.full((64, 64, 3), RED, np.uint8), format="rgb24")
    for matrix, color_range in (
        (Colorspace.ITU709, ColorRange.MPEG), (Colorspace.ITU601, ColorRange.JPEG),
        (Colorspace.ITU601, ColorRange.MPEG),
    ):  # fmt: skip
        frame = rgb.reformat(format="yuv444p", dst_colorspace=matrix, dst_color_range=color_range)
        planes = converter.convert(frame).to_ndarray()
        r, g, b = np.array(RED) / 255
        luma = 0.299 * r + 0.587 * g + 0.114 * b
        wanted = (16 + 219 * luma, 128 + 224 * (b - luma) / 1.772, 128 + 224 * (r - luma) / 1.402)
        seen = (planes[:64].mean(), planes[64:80].mean(), planes[80:].mean())
        assert seen == pytest.approx(wanted, abs=2.0), (matrix, color_range)


# ---- Refusals


def test_files_without_video_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"cannot open '.*/gone.mp4'"):
        read_clip(tmp_path / "gone.mp4")
    (tmp_path / "text.mp4").write_text("not a film")
    with pytest.raises(MediaError, match="cannot open"):
        open_media(tmp_path / "text.mp4")
    with pytest.raises(MediaError, match="no video stream: only audio"):
        read_clip(write_audio_file(tmp_path / "song.m4a"))
    with pytest.raises(MediaError, match="no video stream: only cover art and audio"):
        read_clip(write_audio_file(tmp_path / "cover.m4a", cover=True))
    with pytest.raises(MediaError, match="no video stream"):
        write_proxy(tmp_path / "song.m4a", tmp_path / "v.mp4", None, ProxyFormat())
    film = write_film(tmp_path / "film.mp4", seconds=0.5)
    with pytest.raises(MediaError, match=r"no frame at 7\.000 s"):
        read_clip(film, start_seconds=7.0)
