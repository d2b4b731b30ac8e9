"""Proxies: planes and RGB agree, random access equals sequential reading, damage is an error."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.media.coded_media import CodedFilm, numbers_of
from tests.media_files import keep_part
from toomuchtv.catalog.proxies import read_proxy_clip
from toomuchtv.catalog.records import Proxy, ProxyAudio
from toomuchtv.data.augmentation import AugmentationConfig, draw_augmentation
from toomuchtv.data.clip_transform import RGB_MEAN, RGB_STD, ClipTransform, TransformConfig
from toomuchtv.errors import MediaError
from toomuchtv.media.clip import ClipFormat, VideoArray
from toomuchtv.media.containers import open_media
from toomuchtv.media.proxy_reader import FrameReader, ProxyPool, ProxyReader
from toomuchtv.media.proxy_writer import ProxyFormat, ProxySummary, write_proxy

PROXY_FORMAT = ProxyFormat(short_side=48)


class Made:
    """A proxy on disk."""

    def __init__(self, folder: Path) -> None:
        film = CodedFilm(
            suffix=".mp4", video_codec="libx264", audio_codec="aac", rate=Fraction(24), seconds=5.0
        )
        self.source = film.write(folder)
        self.video_path, self.audio_path = folder / "v.mp4", folder / "a.mp4"
        self.summary: ProxySummary = write_proxy(
            self.source, self.video_path, self.audio_path, PROXY_FORMAT
        )

    def reader(self) -> ProxyReader:
        return ProxyReader(self.video_path, self.audio_path, frame_rate=8.0, sample_rate_hz=16_000)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("proxy"))


def still_proxy(folder: Path, image: VideoArray) -> ProxyReader:
    """Write a proxy of a film whose frames are all the same image."""
    height, width = image.shape[:2]
    with av.open(str(folder / "still.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=8)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p"
        for number in range(8):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv444p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    proxy_format = ProxyFormat(short_side=min(height, width), quantizer=1)
    write_proxy(folder / "still.mkv", folder / "still.mp4", None, proxy_format)
    return ProxyReader(folder / "still.mp4", None, frame_rate=8.0, sample_rate_hz=16_000)


def smooth(width: int, height: int) -> VideoArray:
    rough = np.random.default_rng(3).integers(90, 166, (3, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(("width", "height"), [(96, 64), (64, 96), (64, 64)])
@pytest.mark.parametrize("crop_position", [0.0, 0.5, 1.0])
def test_planes_are_the_cropped_square_of_rgb(
    tmp_path: Path, width: int, height: int, crop_position: float
) -> None:
    reader = still_proxy(tmp_path, smooth(width, height))
    rgb = reader.read_rgb(first_frame=0, frames=2)
    planes = reader.read_planes(first_frame=0, frames=2, crop_position=crop_position)
    reader.close()
    assert rgb.shape == (2, height, width, 3)
    assert planes.shape == (2, 96, 64)
    assert planes.dtype == np.uint8
    left, top = round((width - 64) * crop_position), round((height - 64) * crop_position)
    square = rgb[:, top : top + 64, left : left + 64].astype(np.float64)
    plain = draw_augmentation(AugmentationConfig.none(), np.zeros(1, np.uint64))
    out = ClipTransform(TransformConfig(size=64)).video(torch.from_numpy(planes)[None], plain)[0]
    levels = out.permute(1, 2, 3, 0).double().numpy() * np.array(RGB_STD) + np.array(RGB_MEAN)
    difference = np.abs(levels * 255 - square)
    # FFmpeg sites chroma a quarter of a luma pixel from where the resize of the square does. In
    # smooth images the difference is small.
    assert difference.mean() < 1.5
    assert np.percentile(difference, 99) < 5


@pytest.mark.parametrize("crop_position", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_crop_position_selects_the_square(made: Made, crop_position: float) -> None:
    """The proxy is 96 x 48, and its gray bars show the column."""
    reader = made.reader()
    whole = reader.read_rgb(first_frame=21, frames=1)[0].mean(axis=(0, 2))
    planes = reader.read_planes(first_frame=21, frames=1, crop_position=crop_position)[0]
    reader.close()
    offset = 2 * round(crop_position * 48 / 2)
    luma = (planes[:48].mean(axis=0) - 16) * 255 / 219
    np.testing.assert_allclose(luma, whole[offset : offset + 48], atol=6)


@pytest.mark.parametrize("stride", [1, 2, 3, 8])
@pytest.mark.parametrize("first_frame", [0, 1, 7, 8, 13])
def test_stride_skips_frames(made: Made, stride: int, first_frame: int) -> None:
    reader = made.reader()
    rgb = reader.read_rgb(first_frame=first_frame, frames=4, stride=stride)
    assert numbers_of(rgb) == [3 * (first_frame + i * stride) for i in range(4)]
    every = reader.read_planes(first_frame=first_frame, frames=3 * stride + 1)
    some = reader.read_planes(first_frame=first_frame, frames=4, stride=stride)
    np.testing.assert_array_equal(some, every[::stride])
    reader.close()


READS = st.tuples(
    st.integers(0, 42), st.integers(1, 6), st.integers(1, 4), st.integers(0, 9).map(bool)
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reads=st.lists(READS, min_size=1, max_size=8), in_order=st.booleans())
def test_continued_reading_gives_the_same_frames_as_seeking(
    made: Made, reads: list[tuple[int, int, int, bool]], in_order: bool
) -> None:
    """Whatever was read before, also beyond the end, frames are those of one pass over the file."""
    reader = made.reader()
    every = reader.read_planes(first_frame=0, frames=40)
    for first_frame, frames, stride, keep in sorted(reads) if in_order else reads:
        if not keep:
            reader.clear_cache()
        stop = first_frame + frames * stride
        if first_frame + (frames - 1) * stride < 40:
            found = reader.read_planes(first_frame=first_frame, frames=frames, stride=stride)
            np.testing.assert_array_equal(found, every[first_frame:stop:stride])
        else:
            with pytest.raises(MediaError, match="has only"):
                reader.read_planes(first_frame=first_frame, frames=frames, stride=stride)
    reader.close()


@pytest.mark.parametrize("way", ["zeros", "noise", "bits"])
def test_damaged_clips_are_refused_or_always_the_same(made: Made, tmp_path: Path, way: str) -> None:
    """Otherwise batches would depend on which worker reads which clip."""
    original, refused = made.video_path.read_bytes(), 0
    begin = original.index(b"mdat") + 4
    stop = begin + int.from_bytes(original[begin - 8 : begin - 4], "big") - 8
    path = tmp_path / "damaged.mp4"
    firsts = [0, 3, 8, 13, 20, 30]

    def read(reader: ProxyReader, first: int) -> VideoArray | None:
        try:
            return reader.read_planes(first_frame=first, frames=8)
        except MediaError:
            return None

    for number in range(40):
        rng = np.random.default_rng(number)
        data, at = bytearray(original), int(rng.integers(begin, stop - 64))
        if way == "bits":
            data[at] ^= 1 << int(rng.integers(8))
        else:
            data[at : at + 64] = bytes(64) if way == "zeros" else rng.bytes(64)
        path.write_bytes(data)
        alone = {}
        for first in firsts:
            reader = ProxyReader(path, None, frame_rate=8.0, sample_rate_hz=16_000)
            alone[first] = read(reader, first)
            reader.close()
        refused += sum(found is None for found in alone.values())
        reader = ProxyReader(path, None, frame_rate=8.0, sample_rate_hz=16_000)
        for first in rng.choice(firsts, 20):
            if rng.random() < 0.7:
                reader.clear_cache()
            found, wanted = read(reader, first), alone[first]
            assert (found is None) == (wanted is None), (number, first)
            if found is not None and wanted is not None:
                np.testing.assert_array_equal(found, wanted, err_msg=f"{number}, {first}")
        reader.close()
    assert refused > 10


@pytest.mark.parametrize("frame_rate", [120.0, 119.88, 59.94, 24_000 / 1001, 12.5, 7.3, 0.5])
def test_every_frame_rate_gives_its_frames(made: Made, tmp_path: Path, frame_rate: float) -> None:
    proxy_format = ProxyFormat(short_side=48, frame_rate=frame_rate)
    summary = write_proxy(made.source, tmp_path / "v.mp4", None, proxy_format)
    assert abs(summary.num_frames - 5 * frame_rate) < 1.01
    reader = ProxyReader(tmp_path / "v.mp4", None, frame_rate=frame_rate, sample_rate_hz=16_000)
    every = numbers_of(reader.read_rgb(first_frame=0, frames=summary.num_frames))
    shown = [int(index / frame_rate * 24 + 1e-3) for index in range(summary.num_frames)]
    assert every == shown
    for first in (summary.num_frames // 2, 1, summary.num_frames - 1):
        assert numbers_of(reader.read_rgb(first_frame=first, frames=1)) == [shown[first]]
    reader.close()


def test_proxies_of_the_same_film_are_identical(made: Made, tmp_path: Path) -> None:
    write_proxy(made.source, tmp_path / "v.mp4", tmp_path / "a.mp4", PROXY_FORMAT)
    assert (tmp_path / "v.mp4").read_bytes() == made.video_path.read_bytes()
    assert (tmp_path / "a.mp4").read_bytes() == made.audio_path.read_bytes()


class CountingContainer:
    """An open proxy that counts seeks and packets; a packet holds one frame."""

    def __init__(self, container: InputContainer) -> None:
        self.container = container
        self.seeks = self.decoded = 0

    def seek(self, *args: Any, **kwargs: Any) -> None:
        self.seeks += 1
        self.container.seek(*args, **kwargs)

    def demux(self, stream: VideoStream) -> Iterator[Packet[Any]]:
        for packet in self.container.demux(stream):
            self.decoded += 1
            yield packet


@pytest.mark.parametrize(
    ("firsts", "seeks", "decoded"),
    [
        ([0, 4, 8, 12], 1, 16),  # one after the other
        ([1, 2, 3, 7], 1, 11),  # overlapping, then on across a keyframe
        ([0, 13], 2, 4 + 9),  # a seek lands at 8, after the position of the decoder
        ([0, 6], 1, 10),
        ([8, 0], 2, 8),
        ([2, 2, 2], 1, 6),
        ([0, 28], 2, 4 + 8),  # frame 24 is a keyframe
    ],
)  # fmt: skip
def test_frames_of_neighboring_clips_are_decoded_once(
    made: Made, firsts: list[int], seeks: int, decoded: int
) -> None:
    with open_media(made.video_path) as container:
        watched = CountingContainer(container)
        stream = container.streams.video[0]
        frames = FrameReader(watched, stream, 8.0)  # type: ignore[arg-type]
        for first in firsts:
            assert len(frames.read(range(first, first + 4))) == 4
        assert (watched.seeks, watched.decoded) == (seeks, decoded)


@pytest.mark.parametrize("crop_position", [-0.1, 1.1, float("nan")])
def test_crop_positions_outside_the_frame_are_refused(made: Made, crop_position: float) -> None:
    reader = made.reader()
    with pytest.raises(ValueError, match=f"crop_position must be in 0..1, got {crop_position}"):
        reader.read_planes(first_frame=0, frames=1, crop_position=crop_position)
    reader.close()


def test_reading_beyond_the_end_is_refused_and_the_reader_stays_usable(made: Made) -> None:
    reader = made.reader()
    assert made.summary.num_frames == 40
    with pytest.raises(MediaError, match="has only 2 of the 4 frames from frame 38 on"):
        reader.read_planes(first_frame=38, frames=4)
    with pytest.raises(MediaError, match="has only 0 of the 1 frames from frame 4000 on"):
        reader.read_rgb(first_frame=4000, frames=1)
    assert numbers_of(reader.read_rgb(first_frame=38, frames=2)) == [114, 117]
    assert not reader.read_waveform(first_sample=10**7, num_samples=50).any()
    assert reader.read_waveform(first_sample=16_000, num_samples=8000).any()
    reader.close()


def test_a_proxy_without_audio_gives_zeros(made: Made) -> None:
    reader = ProxyReader(made.video_path, None, frame_rate=8.0, sample_rate_hz=16_000)
    waveform = reader.read_waveform(first_sample=-10, num_samples=1000)
    reader.close()
    assert waveform.shape == (1000,)
    assert not waveform.any()


@pytest.mark.parametrize("which", ["video", "audio"])
@pytest.mark.parametrize("how", ["missing", "cut", "other"])
def test_missing_and_cut_files_are_refused(
    made: Made, tmp_path: Path, which: str, how: str
) -> None:
    paths = {"video": tmp_path / "v.mp4", "audio": tmp_path / "a.mp4"}
    shutil.copy(made.video_path, paths["video"])
    shutil.copy(made.audio_path, paths["audio"])
    if how == "missing":
        paths[which].unlink()
    elif how == "cut":
        keep_part(paths[which], 0.0, 0.6)
    else:
        shutil.copy(paths["audio" if which == "video" else "video"], paths[which])
    with pytest.raises(MediaError, match=r"cannot open|is not a proxy of this catalog"):
        ProxyReader(paths["video"], paths["audio"], frame_rate=8.0, sample_rate_hz=16_000)


class Opened:
    """Counts which proxies are open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.most = self.openings = 0
        init, close = ProxyReader.__init__, ProxyReader.close
        counted = self

        def counting_init(
            reader: ProxyReader, video_path: Path, *args: Path, **rates: float
        ) -> None:
            init(reader, video_path, *args, **rates)  # type: ignore[arg-type]
            counted.names.append(video_path.name)
            counted.openings += 1
            counted.most = max(counted.most, len(counted.names))

        def counting_close(reader: ProxyReader) -> None:
            counted.names.remove(reader._name)
            close(reader)

        monkeypatch.setattr(ProxyReader, "__init__", counting_init)
        monkeypatch.setattr(ProxyReader, "close", counting_close)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    return Opened(monkeypatch)


def test_the_pool_closes_the_least_recently_used_proxy(
    made: Made, tmp_path: Path, opened: Opened
) -> None:
    paths = {name: tmp_path / name for name in "abcde"}
    for path in paths.values():
        shutil.copy(made.video_path, path)
    pool = ProxyPool(max_open=3)

    def use(name: str) -> ProxyReader:
        return pool.get(paths[name], None, frame_rate=8.0, sample_rate_hz=16_000)

    first = use("a")
    use("b")
    use("c")
    assert use("a") is first  # still open, and now the most recently used
    use("d")
    assert sorted(opened.names) == ["a", "c", "d"]
    use("c")
    use("e")
    assert sorted(opened.names) == ["c", "d", "e"]
    pool.evict(paths["d"])
    pool.evict(paths["a"])  # not open: harmless
    assert sorted(opened.names) == ["c", "e"]
    rng = np.random.default_rng(0)
    for name in rng.choice(list("abcde"), 40):
        assert numbers_of(use(str(name)).read_rgb(first_frame=2, frames=1)) == [6]
    assert opened.most == 3
    with pytest.raises(MediaError, match="cannot open"):
        pool.get(tmp_path / "gone", None, frame_rate=8.0, sample_rate_hz=16_000)
    assert len(opened.names) <= 3
    pool.close()
    assert opened.names == []
    with pytest.raises(ValueError, match="max_open must be at least 1, got 0"):
        ProxyPool(0)


def test_the_pool_takes_paths_of_any_type(made: Made, opened: Opened) -> None:
    pool = ProxyPool()
    rates: dict[str, Any] = {"frame_rate": 8.0, "sample_rate_hz": 16_000}
    reader = pool.get(str(made.video_path), str(made.audio_path), **rates)
    assert pool.get(made.video_path, made.audio_path, **rates) is reader
    pool.evict(str(made.video_path))
    assert opened.names == []


def test_clips_of_a_catalog_are_read_from_the_proxy(made: Made) -> None:
    proxy = Proxy(
        item_id=1, fingerprint="", format_id="", video_path=Path("v.mp4"), num_frames=40,
        frame_rate=8.0, width=96, height=48,
        audio_files=(ProxyAudio(audio_track=0, language=None, path=Path("a.mp4")),),
        num_samples=80_000, sample_rate_hz=16_000, size_bytes=0,
    )  # fmt: skip
    folder = made.video_path.parent
    clip_format = ClipFormat(frames=3, frame_rate=4.0, audio_seconds=0.5)
    clip = read_proxy_clip(folder, proxy, 1.3, clip_format)
    assert clip.start_seconds == 1.25  # on the grid of the proxy
    assert numbers_of(clip.video) == [30, 36, 42]
    reader = made.reader()
    first = round((1.25 + 3 / 4 / 2 - 0.25) * 16_000)
    np.testing.assert_array_equal(
        clip.waveform, reader.read_waveform(first_sample=first, num_samples=8000)
    )
    reader.close()
    with pytest.raises(ValueError, match="the proxy has 8 frames per second and 16000 Hz"):
        read_proxy_clip(folder, proxy, 0.0, ClipFormat(frame_rate=3.0))
    with pytest.raises(ValueError, match="start_seconds must be at least 0, got -1"):
        read_proxy_clip(folder, proxy, -1, clip_format)
    with pytest.raises(MediaError, match="has only"):
        read_proxy_clip(folder, proxy, 4.9, clip_format)
