"""Deinterlaced films have no combing, lose no frame, and do not depend on seeking."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.filter import Graph
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from toomuchtv.media.clip_reader import read_clip
from toomuchtv.media.deinterlace import Deinterlacer
from toomuchtv.media.frame_converter import FrameConverter
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.proxy_writer import ProxyFormat, write_proxy

WIDTH, HEIGHT, NUM_FRAMES, RATE = 160, 96, 24, 25

H264 = ("libx264", {"x264-params": "interlaced=1:keyint=6:bframes=2", "crf": "6"})
MPEG2 = ("mpeg2video", {"flags": "+ildct+ilme", "g": "6", "bf": "2", "b": "8000000"})
PROGRESSIVE = ("libx264", {"x264-params": "keyint=6", "crf": "6"})

CASES = [
    pytest.param(".mp4", H264, "tff", id="H.264 in MP4"),
    pytest.param(".ts", H264, "tff", id="H.264 in TS"),
    pytest.param(".mkv", H264, "bff", id="H.264, bottom field first"),
    pytest.param(".mpg", MPEG2, "tff", id="MPEG-2 in PS"),
    pytest.param(".ts", MPEG2, "bff", id="MPEG-2 in TS, bottom field first"),
]


def scene(field: float) -> NDArray[np.uint8]:
    """Return the scene at the time of a field: soft stripes that move 5 pixels per frame."""
    x, y = np.arange(WIDTH)[None, :, None], np.arange(HEIGHT)[:, None, None]
    phase = (x - 2.5 * field + 0.3 * y) / np.array([9.0, 13.0, 17.0])
    return np.asarray(np.rint(125 + 90 * np.sin(phase)), np.uint8)


def planes(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    frame = VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
    return np.asarray(frame.to_ndarray(), np.uint8)


def woven(number: int, order: str) -> NDArray[np.uint8]:
    """Return the planes of a frame of two fields, the earlier one in the even rows for "tff"."""
    fields = [planes(scene(2 * number + i)) for i in (0, 1)]
    if order == "bff":
        fields.reverse()
    out = np.empty_like(fields[0])
    # Luma, then each chroma plane, whose rows are half as wide: two of them to a row here.
    out[:HEIGHT:2], out[1:HEIGHT:2] = fields[0][:HEIGHT:2], fields[1][1:HEIGHT:2]
    for parity in (0, 1):
        chroma = fields[parity][HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
        out[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)[:, parity::2] = chroma[:, parity::2]
    return out


def flagged(frame: VideoFrame, order: str) -> VideoFrame:
    graph = Graph()
    nodes = [
        graph.add("buffer", f"width={WIDTH}:height={HEIGHT}:pix_fmt=yuv420p:time_base=1/{RATE}"),
        graph.add("setfield", f"mode={order}"),
        graph.add("buffersink"),
    ]
    for one, other in itertools.pairwise(nodes):
        one.link_to(other)
    graph.configure()
    graph.push(frame)
    out = graph.pull()
    assert isinstance(out, VideoFrame)
    return out


def write(
    path: Path, coding: tuple[str, dict[str, str]], images: list[NDArray[np.uint8]], order: str
) -> Path:
    codec, options = coding
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if codec == "mpeg2video":
            stream.bit_rate = 8_000_000
        for number, image in enumerate(images):
            frame = flagged(VideoFrame.from_ndarray(image, format="yuv420p"), order)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def film(tmp_path: Path, suffix: str, coding: tuple[str, dict[str, str]], order: str) -> Path:
    images = [woven(number, order) for number in range(NUM_FRAMES)]
    return write(tmp_path / f"interlaced{suffix}", coding, images, order)


def plain_film(path: Path, num_frames: int = NUM_FRAMES) -> Path:
    """Write the times of the first fields, each as a progressive frame."""
    return write(path, PROGRESSIVE, [planes(scene(2 * i)) for i in range(num_frames)], "prog")


def as_shown(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    frame = VideoFrame.from_ndarray(images, format="yuv420p")
    upright = FrameConverter(width=WIDTH, height=HEIGHT, pixel_format="rgb24")
    return np.asarray(upright.convert(frame).to_ndarray(), np.uint8)


def combing(image: NDArray[np.uint8]) -> float:
    """Return the mean difference of a row from the rows above and below, in levels."""
    rows = image.astype(float)
    return float(np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean())


def difference(one: NDArray[np.uint8], two: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(float) - two).mean())


@pytest.mark.parametrize(("suffix", "coding", "order"), CASES)
def test_frames_have_no_combing_and_are_at_their_time(
    tmp_path: Path, suffix: str, coding: tuple[str, dict[str, str]], order: str
) -> None:
    path = film(tmp_path, suffix, coding, order)
    clip = read_clip(path, frames=NUM_FRAMES, frame_rate=RATE)
    plain = plain_film(tmp_path / "p.mp4")
    reference = read_clip(plain, frames=NUM_FRAMES, frame_rate=RATE).video
    for number, (mine, wanted) in enumerate(zip(clip.video, reference, strict=True)):
        raw = as_shown(woven(number, order))
        assert combing(raw) > 10 * combing(wanted)
        assert combing(mine) < 1.3 * combing(wanted)
        assert difference(mine, wanted) < 2.0 < 0.4 * difference(raw, wanted)
        # A frame off would be much further away.
        nearest = min(range(NUM_FRAMES), key=lambda i: difference(mine, reference[i]))
        assert nearest == number


@pytest.mark.parametrize(("suffix", "coding", "order"), CASES)
def test_seeking_gives_the_same_frames_as_decoding_in_order(
    tmp_path: Path, suffix: str, coding: tuple[str, dict[str, str]], order: str
) -> None:
    path = film(tmp_path, suffix, coding, order)
    whole = read_clip(path, frames=NUM_FRAMES, frame_rate=RATE).video
    for number in range(NUM_FRAMES):  # among them keyframes and the frames before them
        alone = read_clip(path, start_seconds=number / RATE, frames=1, frame_rate=RATE).video[0]
        np.testing.assert_array_equal(alone, whole[number], err_msg=f"frame {number}")
    proxy_format = ProxyFormat(short_side=HEIGHT, frame_rate=RATE, quantizer=1)
    summary = write_proxy(path, tmp_path / "v.mp4", None, proxy_format)
    assert summary.num_frames == NUM_FRAMES
    reader = ProxyReader(tmp_path / "v.mp4", None, frame_rate=RATE, sample_rate_hz=16_000)
    seen = reader.read_rgb(first_frame=0, frames=NUM_FRAMES)
    reader.close()
    assert max(map(difference, seen, whole)) < 2.0


def frames_of(path: Path) -> list[VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def run(frames: list[tuple[VideoFrame, float]]) -> list[tuple[VideoFrame, float]]:
    deinterlacer = Deinterlacer()
    out = [done for frame, at in frames for done in deinterlacer.push(frame, at)]
    return out + list(deinterlacer.close())


def test_progressive_frames_are_neither_changed_nor_delayed(tmp_path: Path) -> None:
    frames = frames_of(plain_film(tmp_path / "p.mp4", 4))
    deinterlacer = Deinterlacer()
    for at, frame in enumerate(frames):
        ((image, seconds),) = deinterlacer.push(frame, float(at))
        assert image is frame
        assert seconds == at
    assert list(deinterlacer.close()) == []


@pytest.mark.parametrize("lengths", [(3, 4, 3), (0, 5, 2), (1, 1, 1), (0, 2, 0), (2, 1, 0)])
def test_mixed_films_lose_no_frame(tmp_path: Path, lengths: tuple[int, int, int]) -> None:
    plain = frames_of(plain_film(tmp_path / "p.mp4", 12))
    woven_ = frames_of(film(tmp_path, ".mp4", H264, "tff"))
    before, middle, after = lengths
    stop = before + middle
    frames = [*plain[:before], *woven_[before:stop], *plain[stop : stop + after]]
    # The times of variable frame rates are kept.
    times = [0.04 * i + 0.01 * (i % 3) for i in range(len(frames))]
    out = run(list(zip(frames, times, strict=True)))
    assert [at for _, at in out] == times
    for number, (frame, (image, _)) in enumerate(zip(frames, out, strict=True)):
        one, other = frame.to_ndarray(), image.to_ndarray()
        assert not image.interlaced_frame
        assert np.array_equal(one, other) == (not before <= number < stop)


def test_a_change_of_size_loses_no_frame(tmp_path: Path) -> None:
    frames = frames_of(film(tmp_path, ".mp4", H264, "tff"))[:4]
    small = VideoFrame(64, 48, "yuv420p")
    sequence = [*frames[:2], small, *frames[2:]]
    out = run(list(zip(sequence, itertools.count(0.0), strict=False)))
    assert [at for _, at in out] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [image.width for image, _ in out] == [WIDTH, WIDTH, 64, WIDTH, WIDTH]
