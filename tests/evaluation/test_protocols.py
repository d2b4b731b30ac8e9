"""The views that an encoder receives under each protocol, against a table of their sources."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.media_files import BLACK, LEVEL_STEP, write_film
from toomuchtv.errors import MediaError
from toomuchtv.evaluation import features
from toomuchtv.evaluation.benchmark import LabeledClip, Modality
from toomuchtv.evaluation.datasets import read_benchmark
from toomuchtv.evaluation.encoders import AudioEncoder, AudioInput, Encoder, VideoEncoder
from toomuchtv.evaluation.encoders.interface import VideoInput
from toomuchtv.evaluation.features import extract_features
from toomuchtv.evaluation.finetune import learning_rates
from toomuchtv.evaluation.protocols import (
    PROTOCOLS,
    FinetuneProtocol,
    ProbeProtocol,
    RetrievalProtocol,
)
from toomuchtv.evaluation.reading import (
    AudioCache,
    ViewReader,
    read_audio_views,
    read_video_views,
)
from toomuchtv.evaluation.stored_features import StoredFeatures
from toomuchtv.evaluation.views import (
    AudioViews,
    VideoAugment,
    VideoViews,
    covering_starts,
    crop_corners,
    even_starts,
    random_boxes,
    random_starts,
)
from toomuchtv.media.clip_reader import read_audio
from toomuchtv.media.timestamps import read_timeline


@dataclass
class RecordingVideoEncoder(VideoEncoder):
    """A video encoder that stores its inputs."""

    shown: list[Tensor] = field(default_factory=list)
    input = VideoInput(frames=5, frame_rate=12.0, size=20)

    def features(self, video: Tensor) -> Tensor:
        self.shown.append(video)
        return video.float().mean(dim=(1, 2, 3))


@dataclass
class RecordingAudioEncoder(AudioEncoder):
    """An audio encoder that stores its inputs."""

    shown: list[Tensor] = field(default_factory=list)
    input = AudioInput(seconds=1.0, sample_rate_hz=8_000)

    def features(self, waveform: Tensor) -> Tensor:
        self.shown.append(waveform)
        return waveform.std(dim=1, keepdim=True)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one film of 2 s at 24 frames per second, whose gray level counts frames."""
    root = tmp_path_factory.mktemp("film")
    write_film(root / "film.mp4", seconds=2.0, frame_rate=24, size=(320, 240))
    (root / "labels.csv").write_text("path,label,split\nfilm.mp4,a,train\n")
    return root


def shown(film: Path, views: VideoViews | AudioViews) -> tuple[int, tuple[int, ...]]:
    """Return the number of views that an encoder receives, and their shape."""
    eyes, ears = RecordingVideoEncoder(), RecordingAudioEncoder()
    encoder = Encoder(name="x", fingerprint="x", pretraining="x", video=eyes, audio=ears)
    found = extract_features(encoder, read_benchmark("csv", film), views)
    given = torch.cat(eyes.shown or ears.shown)
    assert found.values.shape[1] == (1 if views.mean else len(given))
    return len(given), tuple(given.shape[1:])


# name: frames, frames a second, crop, views to train on, views to test on (times x crops)
VIDEO_TABLE = {
    "avid-8": (8, 16.0, 224, 10, 10 * 1),
    "avid-32": (32, 16.0, 224, 10, 10 * 1),
    "gdt-32x3": (32, 30.0, 128, 10, 10 * 3),
    "crisscross-32": (32, 16.0, 224, 10, 10 * 1),
    "brave-svm": (32, 25.0 / 2, 224, 10, 10 * 3),
    "mmv-svm": (32, 25.0 / 2, 224, 10, 10 * 1),
    "linear": (5, 12.0, 20, 4, 4),
    "knn": (5, 12.0, 20, 4, 4),
    "knn-200": (5, 12.0, 20, 4, 4),
    "linear-1-shot": (5, 12.0, 20, 4, 4),
    "linear-5-shot": (5, 12.0, 20, 4, 4),
    "linear-10-shot": (5, 12.0, 20, 4, 4),
    "attentive": (5, 12.0, 20, 2, 2),
}
# name: seconds, views to train on, views to test on, of two seconds of audio and an encoder of one
AUDIO_TABLE = {
    "crisscross-svm": (2.0, 100, 10),
    "crisscross-svm-peeking": (2.0, 100, 10),
    "hear": (1.0, 3, 3),
    "finetune-audio": (1.0, 5, 10),
    "linear": (1.0, 5, 5),
    "knn": (1.0, 5, 5),
    "knn-200": (1.0, 5, 5),
    "linear-1-shot": (1.0, 5, 5),
    "linear-5-shot": (1.0, 5, 5),
    "linear-10-shot": (1.0, 5, 5),
    "attentive": (1.0, 2, 2),
}


def views_of(
    name: str, modality: Modality
) -> tuple[VideoViews | AudioViews, VideoViews | AudioViews]:
    protocol = PROTOCOLS[name]
    if isinstance(protocol, FinetuneProtocol):
        return protocol.train, protocol.test
    assert isinstance(protocol, ProbeProtocol)
    pair = (
        (protocol.video_train, protocol.video_test)
        if modality == "video"
        else (protocol.audio_train, protocol.audio_test)
    )
    assert pair[0] is not None
    assert pair[1] is not None
    return pair[0], pair[1]


@pytest.mark.parametrize("name", VIDEO_TABLE)
def test_a_video_encoder_gets_the_views_of_the_table(name: str, film: Path) -> None:
    frames, rate, crop, of_train, of_test = VIDEO_TABLE[name]
    train, test = views_of(name, "video")
    assert shown(film, train) == (of_train, (frames, crop, crop, 3))
    assert shown(film, test) == (of_test, (frames, crop, crop, 3))
    for views in (train, test):
        assert isinstance(views, VideoViews)
        assert views.of(RecordingVideoEncoder.input).frame_rate == rate


@pytest.mark.parametrize("name", AUDIO_TABLE)
def test_an_audio_encoder_gets_the_views_of_the_table(name: str, film: Path) -> None:
    seconds, of_train, of_test = AUDIO_TABLE[name]
    train, test = views_of(name, "audio")
    samples = (round(seconds * 8_000),)
    assert shown(film, train) == (of_train, samples)
    assert shown(film, test) == (of_test, samples)


def test_every_protocol_is_in_a_table() -> None:
    pairs = {name for name, made in PROTOCOLS.items() if isinstance(made, RetrievalProtocol)}
    assert pairs == {"cavmae-retrieval", "retrieval"}
    assert PROTOCOLS.keys() - pairs == VIDEO_TABLE.keys() | AUDIO_TABLE.keys()
    assert all(protocol.source for protocol in PROTOCOLS.values())


def levels(views: Tensor) -> list[list[int]]:
    """Return the frame numbers of the film, read from the gray level of its frames."""
    middle = views[:, :, views.shape[2] // 2, views.shape[3] // 2].float().mean(dim=-1)
    number = ((middle - BLACK) / LEVEL_STEP).round().int()
    return [[int(value) for value in row] for row in number.tolist()]


def test_frames_have_the_stride_and_views_are_spread_over_the_film(film: Path) -> None:
    clip = LabeledClip(path=film / "film.mp4", labels=("a",), source="a", group="a")
    views = VideoViews(frames=4, frame_rate=12.0, short_side=64, crop=64, times=3)
    found = levels(read_video_views(clip, views, seed=0))
    strides = {int(step) for row in found for step in np.diff(row)}
    assert strides == {2}  # 24 a second, every other one
    starts = [row[0] for row in found]
    # 2 s less a window of a third: starts at 0, 5/6 and 5/3 s.
    assert starts == [0, 20, 40]


def test_views_of_an_interval_stay_inside_it(film: Path) -> None:
    clip = LabeledClip(
        path=film / "film.mp4", labels=("a",), source="a", group="a",
        start_seconds=0.5, stop_seconds=1.0,
    )  # fmt: skip
    views = VideoViews(frames=3, frame_rate=12.0, short_side=64, crop=64, times=2)
    found = levels(read_video_views(clip, views, seed=0))
    assert found == [[12, 14, 16], [18, 20, 22]]


def test_views_longer_than_an_interval_do_not_reach_the_next_one(film: Path) -> None:
    """The last frame is repeated and the audio is followed by zeros, as at the end of a file."""
    clip = LabeledClip(
        path=film / "film.mp4", labels=("a",), source="a", group="a",
        start_seconds=0.5, stop_seconds=0.75,
    )  # fmt: skip
    views = VideoViews(frames=5, frame_rate=12.0, short_side=64, crop=64, times=2)
    assert levels(read_video_views(clip, views, seed=0)) == [[12, 14, 16, 16, 16]] * 2
    waveforms = read_audio_views(clip, AudioViews(seconds=0.5, times=2), 8_000, seed=0)
    expected = read_audio(
        clip.path,
        timeline=read_timeline(clip.path),
        first_sample=4_000,
        num_samples=2_000,
        sample_rate_hz=8_000,
    )
    assert np.abs(expected).max() > 0.01
    for row in waveforms.numpy():
        np.testing.assert_array_equal(row[:2_000], expected)
        np.testing.assert_array_equal(row[2_000:], 0)


def test_random_views_depend_on_the_seed_only(film: Path) -> None:
    clip = LabeledClip(path=film / "film.mp4", labels=("a",), source="a", group="a")
    views = VideoViews(
        frames=2, frame_rate=12.0, short_side=32, crop=24, times=4, augment=VideoAugment()
    )
    first = read_video_views(clip, views, seed=3)
    assert torch.equal(first, read_video_views(clip, views, seed=3))
    assert not torch.equal(first, read_video_views(clip, views, seed=4))
    assert first.shape == (4, 2, 24, 24, 3)


@pytest.mark.parametrize(
    ("total", "view", "count", "expected"),
    [
        (5.0, 1.0, 5, [0.0, 1.0, 2.0, 3.0, 4.0]),
        (5.0, 1.0, 1, [2.0]),
        (1.0, 2.0, 3, [0.0, 0.0, 0.0]),
        (2.0, 2.0, 2, [0.0, 0.0]),
    ],
)
def test_test_views_are_spread_evenly(
    total: float, view: float, count: int, expected: list[float]
) -> None:
    assert even_starts(total, view, count) == expected


def test_covering_views_overlap_by_half() -> None:
    assert covering_starts(5.0, 1.0) == pytest.approx(np.arange(9) * 0.5)
    assert covering_starts(0.3, 1.0) == [0.0]


def test_random_views_are_inside_the_clip_and_cover_it() -> None:
    starts = random_starts(5.0, 2.0, 400, seed=1)
    assert 0 <= min(starts) < 0.1
    assert 2.9 < max(starts) <= 3.0


def test_crops_go_from_corner_to_corner() -> None:
    assert crop_corners(256, 340, 224, 3) == [(0, 0), (16, 58), (32, 116)]
    assert crop_corners(240, 320, 224, 1) == [(8, 48)]


def test_random_crops_have_the_configured_area_and_aspect() -> None:
    augment = VideoAugment(min_area=0.3, max_aspect=2.0, flip=0.5)
    boxes = random_boxes(augment, 100, 100, 4000, seed=0)
    width, height = np.abs(boxes[:, 2]), boxes[:, 3]
    area = width * height
    assert area.max() <= 1.0 + 1e-9
    assert area.min() >= 0.25  # a box that would stick out is cut off
    assert 0.48 < (boxes[:, 2] < 0).mean() < 0.52
    left = np.minimum(boxes[:, 0], boxes[:, 0] + boxes[:, 2])
    assert left.min() >= -1e-9
    assert (left + width).max() <= 1 + 1e-9


def finetune(name: str) -> FinetuneProtocol:
    protocol = PROTOCOLS[name]
    assert isinstance(protocol, FinetuneProtocol)
    return protocol


def test_learning_rates_follow_the_schedules_of_the_table() -> None:
    avid = finetune("avid-8")
    rates = [learning_rates(avid, epoch) for epoch in range(5 + 16)]
    assert rates[:5] == [(0.0, 1e-4)] * 5
    body = [rate for rate, _ in rates[5:]]
    assert body[:6] == pytest.approx([1e-4] * 6)
    assert body[6] == pytest.approx(3e-5)
    assert body[10] == pytest.approx(9e-6)
    assert body[14] == pytest.approx(2.7e-6)
    hmdb = avid.on("hmdb51")
    assert (hmdb.epochs, hmdb.milestones) == (10, (3, 6, 8))
    gdt = finetune("gdt-32x3")
    assert learning_rates(gdt, 0) == pytest.approx((2.5e-4, 2.5e-3))
    assert learning_rates(gdt, 2) == pytest.approx((8 * 2.5e-4, 8 * 2.5e-3))
    assert learning_rates(gdt, 6) == pytest.approx((8 * 2.5e-4 * 0.05, 8 * 2.5e-3 * 0.05))
    crisscross = finetune("crisscross-32")
    assert crisscross.on("hmdb51").learning_rate == 1e-4
    assert crisscross.on("ucf101").learning_rate == 7e-5
    assert (avid.batch_size, finetune("avid-32").batch_size) == (64, 32)
    assert (avid.optimizer, gdt.optimizer, crisscross.optimizer) == ("adam", "sgd", "sgd")
    assert (gdt.weight_decay, avid.weight_decay, avid.dropout) == (5e-3, 0.0, 0.5)


def test_cached_features_are_reused_and_damaged_ones_are_extracted_again(
    film: Path, tmp_path: Path
) -> None:
    eyes = RecordingVideoEncoder()
    encoder = Encoder(name="x", fingerprint="x", pretraining="x", video=eyes)
    benchmark, views = read_benchmark("csv", film), VideoViews(times=2)
    first = extract_features(encoder, benchmark, views, cache=tmp_path)
    calls = len(eyes.shown)
    again = extract_features(encoder, benchmark, views, cache=tmp_path)
    assert len(eyes.shown) == calls
    np.testing.assert_array_equal(first.values, again.values)
    other = Encoder(name="x", fingerprint="y", pretraining="x", video=eyes)
    extract_features(other, benchmark, views, cache=tmp_path)
    assert len(eyes.shown) == 2 * calls
    # A truncated shard is extracted again.
    for shard in tmp_path.rglob("*.safetensors"):
        shard.write_bytes(shard.read_bytes()[:-5])
    mended = extract_features(encoder, benchmark, views, cache=tmp_path)
    np.testing.assert_array_equal(first.values, mended.values)


def test_large_features_stay_in_the_cache(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder(name="x", fingerprint="x", pretraining="x", video=RecordingVideoEncoder())
    benchmark, views = read_benchmark("csv", film), VideoViews(times=3)
    expected = extract_features(encoder, benchmark, views, cache=tmp_path)
    monkeypatch.setattr(features, "_MAX_BYTES_IN_MEMORY", 10)
    found = extract_features(encoder, benchmark, views, cache=tmp_path)
    values: object = found.values
    assert isinstance(values, StoredFeatures)
    assert found.rows == expected.rows
    np.testing.assert_array_equal(np.asarray(found.values), expected.values)
    np.testing.assert_array_equal(np.asarray(found.select(found.rows[:1])), expected.values[:1])


def test_a_failed_decode_is_not_cached_but_tried_again(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eyes = RecordingVideoEncoder()
    encoder = Encoder(name="x", fingerprint="x", pretraining="x", video=eyes)
    rows = [f"film.mp4,a,train,{start},{start + 1}" for start in (0, 1)]
    table = film / "two.csv"
    table.write_text("path,label,split,start_seconds,stop_seconds\n" + "\n".join(rows) + "\n")
    benchmark = read_benchmark("csv", table)

    read = ViewReader.read

    def failing_read(reader: ViewReader, clip: LabeledClip, *, seed: int) -> Tensor:
        if clip.start_seconds == 1.0:
            raise MediaError("the disk is not available")
        return read(reader, clip, seed=seed)

    monkeypatch.setattr(ViewReader, "read", failing_read)
    first = extract_features(encoder, benchmark, VideoViews(), cache=tmp_path)
    assert (first.rows, list(first.failed)) == ((0,), [1])
    num_shown = len(eyes.shown)
    monkeypatch.setattr(ViewReader, "read", read)
    again = extract_features(encoder, benchmark, VideoViews(), cache=tmp_path)
    assert (again.rows, again.failed) == ((0, 1), {})
    assert len(eyes.shown) == num_shown + 1  # the first clip came from the cache
    np.testing.assert_array_equal(again.values[0], first.values[0])


def test_the_audio_cache_is_bounded_in_bytes(film: Path) -> None:
    cache = AudioCache(max_bytes=3 * 4 * 8_000)  # three seconds at 8 kHz
    whole = cache.read(film / "film.mp4", 0, 16_000, 8_000)
    assert cache.read(film / "film.mp4", 0, 16_000, 8_000) is whole
    cache.read(film / "film.mp4", 0, 8_000, 8_000)
    assert cache.num_bytes == 3 * 4 * 8_000
    cache.read(film / "film.mp4", 8_000, 8_000, 8_000)  # the oldest waveform is forgotten
    assert cache.num_bytes == 2 * 4 * 8_000
    assert cache.read(film / "film.mp4", 0, 16_000, 8_000) is not whole
    cache.read(film / "film.mp4", 0, 32_000, 8_000)  # larger than the cache
    assert cache.num_bytes <= 3 * 4 * 8_000


def test_readers_do_not_share_a_cache() -> None:
    readers = [ViewReader(AudioViews(), RecordingAudioEncoder()) for _ in range(2)]
    assert readers[0]._cache is not readers[1]._cache
