"""A recording cut from the catalog is found there by its sound; another, and silence, are not."""

from __future__ import annotations

import re
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.detection.random_fingerprints import encoded, random_words, silence
from tests.media_files import picture
from tests.prepared import RECIPE
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.detection.features_on_disk import compute_features, features_path, write_features
from toomuchtv.detection.fingerprints import FINGERPRINT_RATE_HZ
from toomuchtv.evaluation.datasets import read_benchmark
from toomuchtv.evaluation.leakage import find_leakage
from toomuchtv.evaluation.sound_leakage import (
    LEAST_TELLING,
    MOST_ERROR,
    SoundIndex,
    best_place,
    can_tell,
    index_catalog_sounds,
    index_sounds,
)

RATE = 16_000


@pytest.fixture(scope="module")
def index() -> SoundIndex:
    """Three items of two minutes; the second ends in silence."""
    prints = [encoded(random_words(seed, 120.0), seed=seed) for seed in range(3)]
    prints[1] = encoded(random_words(1, 100.0), seed=1)
    return index_sounds(["a", "b", "c"], prints)


@pytest.mark.parametrize("seconds", [1.0, 3.0, 10.0])
@pytest.mark.parametrize("item", [0, 1, 2])
def test_a_copy_is_found_where_it_was_cut(index: SoundIndex, seconds: float, item: int) -> None:
    begin = 40 * FINGERPRINT_RATE_HZ + 7
    words = random_words(item, 120.0 if item != 1 else 100.0)[begin : begin + round(seconds * 32)]
    found = best_place(encoded(words, seed=50), index)
    assert found is not None
    assert found.item == "abc"[item]
    assert found.seconds == pytest.approx(begin / FINGERPRINT_RATE_HZ, abs=1 / FINGERPRINT_RATE_HZ)
    # A bit differs where one of the two was turned, and not both: 2 p (1 - p).
    assert found.error == pytest.approx(2 * 0.036 * 0.964, abs=0.03)


def test_half_of_a_recording_is_enough_and_a_third_is_not(index: SoundIndex) -> None:
    begin = 10 * FINGERPRINT_RATE_HZ
    for share, is_found in ((0.65, True), (0.35, False)):
        own = round(share * 320)
        mixed = encoded(
            random_words(2, 120.0)[begin : begin + own],
            random_words(99, 10.0)[: 320 - own],
            seed=51,
        )
        found = best_place(mixed, index)
        assert found is not None
        assert (found.error <= MOST_ERROR) == is_found


def test_other_sound_lies_nowhere(index: SoundIndex) -> None:
    for seed in range(60, 80):
        found = best_place(encoded(random_words(seed, 5.0), seed=seed), index)
        assert found is None or found.error > MOST_ERROR + 0.1


def test_silence_says_nothing() -> None:
    assert not can_tell(silence(5.0))
    assert can_tell(encoded(random_words(1, LEAST_TELLING / FINGERPRINT_RATE_HZ)))
    assert best_place(encoded(random_words(1, 2.0)), index_sounds([], [])) is None


def clatter(seconds: float, seed: int) -> NDArray[np.float32]:
    """Bursts of noise in ever other bands, 20 a second."""
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


def write(path: Path, sound: NDArray[np.float32], codec: str, *, film: bool = False) -> None:
    """Write sound, and with it gray pictures if it is to be a film."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        audio = container.add_stream(codec, rate=RATE, layout="mono")
        assert isinstance(audio, av.AudioStream)
        if film:
            video = container.add_stream("libx264", rate=8, options={"preset": "ultrafast"})
            assert isinstance(video, av.VideoStream)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            for number in range(len(sound) * 8 // RATE):
                frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
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
    folder = tmp_path_factory.mktemp("heard")
    for seed, name in ((1, "One"), (2, "Two")):
        path = folder / "library" / f"{name} (2001)" / f"{name} (2001).mp4"
        write(path, clatter(20.0, seed), "aac", film=True)
    scan_library(folder / "library", folder / "catalog")
    with open_catalog(folder / "catalog") as opened:
        assert prepare_catalog(opened, RECIPE).prepared == 2
    return folder / "catalog"


def test_a_result_says_what_was_found_by_sound(catalog: Path, tmp_path: Path) -> None:
    cut = clatter(20.0, 2)[6 * RATE + 331 : 10 * RATE + 331]
    write(tmp_path / "train" / "x" / "copied.mp3", 0.2 * cut, "libmp3lame")
    write(tmp_path / "test" / "x" / "copied.ogg", cut, "libopus")
    write(tmp_path / "test" / "y" / "other.ogg", clatter(4.0, 3), "libopus")
    write(tmp_path / "test" / "y" / "silent.wav", np.zeros(4 * RATE, np.float32), "pcm_s16le")
    found = find_leakage(read_benchmark("folder", tmp_path), catalog)
    assert found["looked"] == "by sight and by sound"
    assert (found["items"], found["clips"], found["test_clips"]) == (2, 4, 3)
    assert (found["found"], found["found_by_sight"], found["found_by_sound"]) == (2, 0, 2)
    assert (found["found_among_test"], found["say_too_little"]) == (1, 1)
    assert {text.partition(" in ")[0] for text in found["first"]} == {
        "train/x/copied.mp3", "test/x/copied.ogg",
    }  # fmt: skip
    for text in found["first"]:
        place = re.search(r"Two \(2001\)\.mp4 at ([\d.]+) s", text)
        assert place is not None
        assert float(place[1]) == pytest.approx(6.0, abs=0.15)  # codecs delay


def test_sounds_are_indexed_alike_with_and_without_a_stored_analysis(catalog: Path) -> None:
    with open_catalog(catalog) as opened:
        one = index_catalog_sounds(opened)
        for proxy in opened.proxies().values():
            write_features(
                catalog / features_path(proxy), compute_features(catalog, proxy, lambda _: None)
            )
        other = index_catalog_sounds(opened)
    assert len(one.words) == pytest.approx(2 * 20 * FINGERPRINT_RATE_HZ, abs=8)
    np.testing.assert_array_equal(one.words, other.words)
    np.testing.assert_array_equal(one.telling, other.telling)
