"""A clip cut from the catalog is found there in either modality; other clips are not."""

from __future__ import annotations

import re
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.detection.random_fingerprints import encoded, random_words, silence
from tests.media_files import frame_image, write_film
from tests.prepared import RECIPE
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.detection.features_on_disk import compute_features, features_path, write_features
from toomuchtv.detection.fingerprints import FINGERPRINT_RATE_HZ, AudioFingerprint
from toomuchtv.evaluation.benchmark import Modality
from toomuchtv.evaluation.datasets import read_benchmark
from toomuchtv.evaluation.leakage import (
    MAX_ERROR,
    MIN_DISTINCTIVE,
    WordIndex,
    find_leakage,
    index_words,
    is_searchable,
    locate,
)
from toomuchtv.evaluation.signatures import Words, catalog_words, frame_words, video_words
from toomuchtv.media.proxy_writer import ProxyFormat

RATE = 16_000


def scenery(seconds: float, seed: int) -> NDArray[np.uint8]:
    """Moving blobs, 8 frames per second, uint8 `[T, 72, 128, 3]`: all frames differ."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:72, 0:128]
    frames = []
    places = rng.uniform(0, 1, (12, 2)) * (72, 128)
    speed, size = rng.normal(0, 6, (12, 2)), rng.uniform(6, 20, 12)
    color = rng.uniform(-120, 120, (12, 3))
    for _ in range(round(seconds * 8)):
        frame = np.full((72, 128, 3), 120.0)
        for place, width, tint in zip(places, size, color, strict=True):
            squared_distance = (rows - place[0]) ** 2 + (columns - place[1]) ** 2
            frame += np.exp(-squared_distance / width**2)[..., None] * tint
        places = (places + speed) % (72, 128)
        frames.append(frame.clip(0, 255).astype(np.uint8))
    return np.stack(frames)


def write_video(
    path: Path, video: NDArray[np.uint8], *, quality: str = "18", width: int = 128
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": quality})
        stream.width, stream.height, stream.pix_fmt = width, width * 72 // 128, "yuv420p"
        for rgb in video:
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            container.mux(stream.encode(frame.reformat(stream.width, stream.height)))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> WordIndex:
    """Two films of 20 s."""
    folder = tmp_path_factory.mktemp("films")
    items = []
    for seed in (1, 2):
        path = write_video(folder / f"{seed}.mp4", scenery(20, seed))
        words = video_words(path, start_seconds=0.0, stop_seconds=20.0, frame_rate=4.0)
        items.append((f"film {seed}", words))
    return index_words(items, "video")


@pytest.mark.parametrize(("quality", "width"), [("18", 128), ("35", 128), ("23", 96)])
def test_video_that_was_encoded_again_is_found_at_its_time(
    videos: WordIndex, tmp_path: Path, quality: str, width: int
) -> None:
    video = scenery(20, 2)[6 * 8 : 10 * 8]
    path = write_video(tmp_path / "cut.mp4", video, quality=quality, width=width)
    words = video_words(path, start_seconds=0.0, stop_seconds=4.0, frame_rate=2.0)
    match = locate(words, videos)
    assert match is not None
    assert match.item == "film 2"
    assert match.seconds == pytest.approx(6.0, abs=0.6)
    assert match.error < 0.3


def test_video_of_another_film_is_not_found(videos: WordIndex, tmp_path: Path) -> None:
    for seed in range(3, 8):
        path = write_video(tmp_path / f"{seed}.mp4", scenery(4, seed))
        words = video_words(path, start_seconds=0.0, stop_seconds=4.0, frame_rate=2.0)
        match = locate(words, videos)
        assert match is None or match.error > MAX_ERROR["video"]


def error_by_brute_force(clip: Words, items: list[Words]) -> float | None:
    """Return the smallest error over all offsets of all items, one after the other."""
    errors = []
    for item in items:
        pairs = [
            (frame, item_seconds - seconds)
            for frame, (word, seconds) in enumerate(zip(clip.words, clip.seconds, strict=True))
            for other, item_seconds in zip(item.words, item.seconds, strict=True)
            if int(word ^ other).bit_count() <= 10
        ]
        for offset in {round(2 * seconds) / 2 for _, seconds in pairs}:
            matched = {frame for frame, seconds in pairs if abs(seconds - offset) <= 0.5}
            errors.append(1 - len(matched) / len(clip.words))
    return min(errors, default=None)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.sampled_from([0.0, 0.1, 0.25]))
def test_all_offsets_of_video_are_verified(seed: int, num_different: int, shift: float) -> None:
    """Frames that repeat, as in a still shot, make many offsets more frequent than the best."""
    rng = np.random.default_rng(seed)
    known = rng.integers(0, 2**63, num_different).astype(np.uint64)

    def drawn(num: int, frame_rate: float, start: float) -> Words:
        words = known[rng.integers(0, num_different, num)]
        return Words(words, start + np.arange(num) / frame_rate, np.ones(num, np.bool_))

    clip = drawn(6, 2.0, 0.0)
    items = [drawn(int(rng.integers(20, 90)), 4.0, shift) for _ in range(2)]
    match = locate(clip, index_words(list(zip("ab", items, strict=True)), "video"))
    expected = error_by_brute_force(clip, items)
    assert (match is None) == (expected is None)
    if match is not None:
        assert match.error == pytest.approx(expected)


def test_plain_frames_are_not_distinctive() -> None:
    words, is_distinctive = frame_words(np.zeros((8, 72, 128, 3), np.uint8))
    assert words.shape == (8,)
    assert not is_distinctive.any()


def test_brightness_and_contrast_change_few_bits() -> None:
    video = scenery(2, 5)
    words, _ = frame_words(video)
    dull, _ = frame_words((video * 0.7 + 40).astype(np.uint8))
    assert int(np.bitwise_count(words ^ dull).max()) <= 6


def as_words(fingerprint: AudioFingerprint) -> Words:
    seconds = np.arange(len(fingerprint)) / FINGERPRINT_RATE_HZ
    return Words(fingerprint.words, seconds, fingerprint.is_distinctive)


@pytest.fixture(scope="module")
def recordings() -> WordIndex:
    """Audio of three items of two minutes; the second ends in silence."""
    durations = (120.0, 100.0, 120.0)
    items = [
        (name, as_words(encoded(random_words(seed, seconds), seed=seed)))
        for seed, (name, seconds) in enumerate(zip("abc", durations, strict=True))
    ]
    return index_words(items, "audio")


@pytest.mark.parametrize("seconds", [1.0, 3.0, 10.0])
@pytest.mark.parametrize("item", [0, 1, 2])
def test_a_copy_of_audio_is_found_at_its_time(
    recordings: WordIndex, seconds: float, item: int
) -> None:
    begin = 40 * FINGERPRINT_RATE_HZ + 7
    words = random_words(item, 120.0 if item != 1 else 100.0)[begin : begin + round(seconds * 32)]
    match = locate(as_words(encoded(words, seed=50)), recordings)
    assert match is not None
    assert match.item == "abc"[item]
    expected = begin / FINGERPRINT_RATE_HZ
    assert match.seconds == pytest.approx(expected, abs=1 / FINGERPRINT_RATE_HZ)
    # A bit differs if it is flipped in one of the two and not in both: 2 p (1 - p).
    assert match.error == pytest.approx(2 * 0.036 * 0.964, abs=0.03)


def test_half_of_a_recording_is_enough_and_a_third_is_not(recordings: WordIndex) -> None:
    begin = 10 * FINGERPRINT_RATE_HZ
    for share, is_found in ((0.65, True), (0.35, False)):
        num = round(share * 320)
        mixed = encoded(
            random_words(2, 120.0)[begin : begin + num],
            random_words(99, 10.0)[: 320 - num],
            seed=51,
        )
        match = locate(as_words(mixed), recordings)
        assert match is not None
        assert (match.error <= MAX_ERROR["audio"]) == is_found


def test_other_audio_is_not_found(recordings: WordIndex) -> None:
    for seed in range(60, 80):
        match = locate(as_words(encoded(random_words(seed, 5.0), seed=seed)), recordings)
        assert match is None or match.error > MAX_ERROR["audio"] + 0.1


def test_silence_is_not_searched() -> None:
    assert not is_searchable(as_words(silence(5.0)), "audio")
    shortest = MIN_DISTINCTIVE["audio"] / FINGERPRINT_RATE_HZ
    assert is_searchable(as_words(encoded(random_words(1, shortest))), "audio")
    assert locate(as_words(encoded(random_words(1, 2.0))), index_words([], "audio")) is None


def clatter(seconds: float, seed: int) -> NDArray[np.float32]:
    """Bursts of noise in changing bands, 20 per second."""
    rng = np.random.default_rng([3, seed])
    size = RATE // 20
    spectrum_hz = np.fft.rfftfreq(2 * size, 1 / RATE)
    out = np.zeros(round(seconds * RATE) + 2 * size, np.float32)
    for begin in range(0, len(out) - 2 * size, size):
        noise = np.fft.rfft(rng.normal(0, 1, 2 * size))
        center = rng.uniform(300, 2000, 3)
        gain = np.exp(-((spectrum_hz[:, None] / center - 1) ** 2) / 0.01).sum(axis=1)
        burst = np.fft.irfft(noise * gain) * np.hanning(2 * size) * rng.uniform(0.2, 2)
        out[begin : begin + 2 * size] += burst.astype(np.float32)
    return np.asarray(0.5 * out[: round(seconds * RATE)] / np.abs(out).max(), np.float32)


def write_audio(path: Path, sound: NDArray[np.float32], codec: str, *, film: bool = False) -> None:
    """Write audio, and with it gray frames if it is to be a film."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        audio = container.add_stream(codec, rate=RATE, layout="mono")
        assert isinstance(audio, av.AudioStream)
        if film:
            video = container.add_stream("libx264", rate=8, options={"preset": "ultrafast"})
            assert isinstance(video, av.VideoStream)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            for number in range(len(sound) * 8 // RATE):
                frame = av.VideoFrame.from_ndarray(frame_image(number), format="rgb24")
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        whole = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        whole.sample_rate = RATE
        size = audio.codec_context.frame_size or None
        resampler = av.AudioResampler(audio.format, audio.layout, RATE, size)
        for part in [*resampler.resample(whole), *resampler.resample(None)]:
            container.mux(audio.encode(part))
        container.mux(audio.encode(None))


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two prepared films of 20 s."""
    folder = tmp_path_factory.mktemp("films")
    for seed, name in ((1, "One"), (2, "Two")):
        path = folder / "library" / f"{name} (2001)" / f"{name} (2001).mp4"
        write_audio(path, clatter(20.0, seed), "aac", film=True)
    scan_library(folder / "library", folder / "catalog")
    assert prepare_catalog(folder / "catalog", RECIPE).prepared == 2
    return folder / "catalog"


def test_a_result_counts_the_clips_that_were_found(catalog: Path, tmp_path: Path) -> None:
    cut = clatter(20.0, 2)[6 * RATE + 331 : 10 * RATE + 331]
    write_audio(tmp_path / "train" / "x" / "copied.mp3", 0.2 * cut, "libmp3lame")
    write_audio(tmp_path / "test" / "x" / "copied.ogg", cut, "libopus")
    write_audio(tmp_path / "test" / "y" / "other.ogg", clatter(4.0, 3), "libopus")
    write_audio(tmp_path / "test" / "y" / "silent.wav", np.zeros(4 * RATE, "f4"), "pcm_s16le")
    write_audio(tmp_path / "train" / "y" / "another.ogg", clatter(4.0, 4), "libopus")
    found = find_leakage(read_benchmark("folder", tmp_path), catalog)
    assert found["looked"] == "by sound"
    assert (found["items"], found["clips"], found["test_clips"]) == (2, 5, 3)
    assert (found["found"], found["found_by_sound"]) == (2, 2)
    assert (found["found_among_test"], found["say_too_little"]) == (1, 1)
    assert {text.partition(" in ")[0] for text in found["first"]} == {
        "train/x/copied.mp3", "test/x/copied.ogg",
    }  # fmt: skip
    for text in found["first"]:
        place = re.search(r"Two \(2001\)\.mp4 at ([\d.]+) s", text)
        assert place is not None
        assert float(place[1]) == pytest.approx(6.0, abs=0.15)  # codecs delay


def test_a_file_that_changed_is_not_searched_by_its_old_proxy(tmp_path: Path) -> None:
    library, folder = tmp_path / "library", tmp_path / "catalog"
    write_film(library / "a (2001).mp4", seconds=1.0, first_frame=0)
    write_film(library / "b (2002).mp4", seconds=1.0, first_frame=10)
    scan_library(library, folder)
    prepare_catalog(folder, ProxyFormat(short_side=32))

    def indexed(modality: Modality) -> list[str]:
        with open_catalog(folder) as catalog:
            return sorted(name for name, _ in catalog_words(catalog, modality))

    assert indexed("video") == indexed("audio") == ["a (2001).mp4", "b (2002).mp4"]
    write_film(library / "a (2001).mp4", seconds=1.25, first_frame=30)
    scan_library(library, folder)
    assert indexed("video") == indexed("audio") == ["b (2002).mp4"]


def test_audio_words_are_equal_with_and_without_stored_fingerprints(catalog: Path) -> None:
    with open_catalog(catalog) as opened:
        computed = index_words(catalog_words(opened, "audio"), "audio")
        for proxy in opened.proxies().values():
            features = compute_features(catalog, proxy, lambda _: None)
            write_features(catalog / features_path(proxy), features)
        stored = index_words(catalog_words(opened, "audio"), "audio")
    assert len(computed.words) == pytest.approx(2 * 20 * FINGERPRINT_RATE_HZ, abs=8)
    np.testing.assert_array_equal(computed.words, stored.words)
    np.testing.assert_array_equal(computed.is_distinctive, stored.is_distinctive)
