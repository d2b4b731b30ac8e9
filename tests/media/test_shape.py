"""A disc stays round, whatever the shape of each frame."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from toomuchtv.media.clip_reader import iterate_frames, read_clip
from toomuchtv.media.letterbox import bars_to_crop
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.proxy_writer import ProxyFormat, write_proxy
from toomuchtv.media.shape import AspectReader
from toomuchtv.media.timestamps import read_timeline


@dataclass(frozen=True)
class Part:
    """A part of a film: coded size, sample aspect ratio, and whether a disc is low in the frame."""

    size: tuple[int, int]
    aspect: Fraction = Fraction(1)

    def image(self) -> NDArray[np.uint8]:
        """Return a white disc on gray, round on display, of two thirds of the frame's height."""
        width, height = self.size
        y, x = np.mgrid[:height, :width]
        x = (x + 0.5 - width / 2) * float(self.aspect)
        inside = x**2 + (y + 0.5 - height / 2) ** 2 < (height / 3) ** 2
        return np.where(inside[..., None], 235, 90).astype(np.uint8).repeat(3, 2)


NARROW, WIDE = Part((80, 64), Fraction(16, 15)), Part((80, 64), Fraction(64, 45))
PER_PART = 12


def write(path: Path, parts: list[Part], codec: str = "mpeg2video") -> Path:
    """Write parts of 12 frames each at 25 frames per second, with B-frames."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height = parts[0].size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = parts[0].aspect
        packets = []
        for number, part in enumerate(parts):
            options = {"preset": "ultrafast"} if codec == "libx264" else {"qscale": "2"}
            encoder: Any = av.CodecContext.create(codec, "w")
            encoder.options = {**options, "bf": "2"}
            encoder.width, encoder.height = part.size
            encoder.pix_fmt = "yuv420p"
            encoder.sample_aspect_ratio = part.aspect
            encoder.framerate, encoder.time_base = Fraction(25), Fraction(1, 25)
            encoder.gop_size = PER_PART
            for index in range(PER_PART):
                frame = av.VideoFrame.from_ndarray(part.image(), format="rgb24")
                frame.pts, frame.time_base = number * PER_PART + index, Fraction(1, 25)
                packets += encoder.encode(frame)
            packets += encoder.encode(None)
        for packet in packets:
            packet.stream = stream
            container.mux(packet)
    return path


def disc(image: NDArray[Any]) -> tuple[float, float]:
    """Return width and height of the white disc in a gray or an RGB image."""
    gray = image if image.ndim == 2 else image.mean(axis=2)
    white = gray > 165
    return float(white.any(0).sum()), float(white.any(1).sum())


PARTS = {
    "4:3 to 16:9": [NARROW, WIDE],
    "16:9 to 4:3": [WIDE, NARROW],
    "there and back": [NARROW, WIDE, NARROW],
    "another size": [Part((96, 96)), Part((64, 48)), Part((48, 64))],
    "another size of the same shape": [Part((64, 48)), Part((128, 96))],
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_a_disc_stays_round_in_clips_frames_and_proxies(tmp_path: Path, parts: list[Part]) -> None:
    path = write(tmp_path / "film.ts", parts)
    first = parts[0]
    canvas = (first.size[1], round(first.size[0] * float(first.aspect)))
    whole = list(iterate_frames(path, timeline=read_timeline(path), frame_rate=25.0))
    assert len(whole) == PER_PART * len(parts)
    proxy_format = ProxyFormat(short_side=64, frame_rate=25.0, quantizer=2)
    made = write_proxy(path, tmp_path / "v.mp4", None, proxy_format)
    reader = ProxyReader(tmp_path / "v.mp4", None, frame_rate=25.0, sample_rate_hz=16_000)
    luma = reader.read_planes(first_frame=0, frames=made.num_frames)[:, : made.height]
    reader.close()
    assert len(luma) == len(whole)
    for number, (frame, proxy) in enumerate(zip(whole, luma, strict=True)):
        assert frame.shape[:2] == canvas
        width, height = disc(frame)
        assert abs(width - height) <= 2.5
        width, height = disc(proxy)
        assert abs(width - height) <= 4
        if number % 5 == 0:  # wherever reading begins
            clip = read_clip(path, start_seconds=(number + 0.2) / 25, frames=1, audio_seconds=0.1)
            np.testing.assert_array_equal(clip.video[0], frame)
    # The switch is seen at its frame and not at a neighbor, although frames are reordered.
    changes = [
        n for n, (a, b) in enumerate(pairwise(whole), 1) if np.abs(a - b.astype(int)).max() > 99
    ]
    if parts[0].size == (80, 64):
        assert changes == [PER_PART * n for n in range(1, len(parts))]


def test_the_container_speaks_of_the_first_shape_only(tmp_path: Path) -> None:
    """MP4 states a ratio for the whole film; the stream's own is used once it changes."""
    path = write(tmp_path / "film.mp4", [NARROW, WIDE], codec="libx264")
    for frame in iterate_frames(path, timeline=read_timeline(path), frame_rate=25.0):
        assert frame.shape[:2] == (64, 85)
        width, height = disc(frame)
        assert abs(width - height) <= 2.5


def test_a_film_that_changes_its_shape_has_no_bars(tmp_path: Path) -> None:
    path = write(tmp_path / "film.ts", [NARROW, WIDE])
    assert bars_to_crop(path, "crop") is None


@pytest.mark.parametrize("aspect", ["0/1", "1/1", "16/15", "64/45", "8/9", "1/2", "4/3"])
def test_the_aspect_of_a_frame_is_read(tmp_path: Path, aspect: str) -> None:
    """The expected value is what FFmpeg's own setsar wrote into the frame."""
    graph = av.filter.Graph()
    source = graph.add("buffer", "width=64:height=48:pix_fmt=yuv420p:time_base=1/25")
    sar, sink = graph.add("setsar", aspect), graph.add("buffersink")
    source.link_to(sar)
    sar.link_to(sink)
    graph.configure()
    graph.push(av.VideoFrame(64, 48, "yuv420p"))
    frame: Any = graph.pull()
    assert AspectReader().read(frame) == pytest.approx(float(Fraction(aspect)) or 1.0, rel=6e-4)
