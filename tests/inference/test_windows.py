"""`embed` gives the embeddings of `embed_video` and `embed_audio` in one pass over a file."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tests.inference.test_pretrained import CONFIG
from tests.media_files import SAMPLE_RATE_HZ, encode_audio, tone, write_film
from toomuchtv.errors import MediaError
from toomuchtv.inference import pretrained as pretrained_module
from toomuchtv.inference.pretrained import PretrainedEncoder
from toomuchtv.inference.windows import WindowGrid, audio_windows
from toomuchtv.media.clip import ClipFormat
from toomuchtv.media.clip_reader import read_clip
from toomuchtv.models import TwoTower


@pytest.fixture(scope="module")
def encoder() -> PretrainedEncoder:
    return PretrainedEncoder(TwoTower.from_config(CONFIG.model, seed=3), CONFIG)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("film") / "film.mp4", seconds=3.0)


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes((tone(3.0) * 32767).astype("<i2").tobytes())
    return path


def close(one: torch.Tensor, two: torch.Tensor) -> None:
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_windows_equal_the_clips_at_the_same_times(encoder: PretrainedEncoder, film: Path) -> None:
    """The span of a trained clip is 0.5 s."""
    seen: list[str] = []
    found = encoder.embed(
        str(film),
        window_seconds=0.5,
        stride_seconds=0.75,
        progress=lambda done, total, what: seen.append(what),
    )
    assert found.times.tolist() == [0.0, 0.75, 1.5, 2.25]
    assert seen == ["video", "audio"]
    assert repr(found) == "WindowEmbeddings(times=[4], video=[4, 16], audio=[4, 16])"
    assert found.video is not None
    assert found.audio is not None
    for index, start in enumerate(found.times.tolist()):
        close(found.video[index], encoder.embed_video(film, start_seconds=start))
        close(found.audio[index], encoder.embed_audio(film, start_seconds=start))


def test_a_longer_window_spreads_its_frames_and_centers_its_audio(
    encoder: PretrainedEncoder, film: Path
) -> None:
    found = encoder.embed(film, window_seconds=2.0, stride_seconds=0.7)
    # Starts are on the grid of frames, 0.5 s apart.
    assert found.times.tolist() == [0.0, 0.5]
    clip = ClipFormat(frames=4, frame_rate=2.0, audio_seconds=0.5)
    for index, start in enumerate(found.times.tolist()):
        wanted = read_clip(film, start_seconds=start, **clip.model_dump())
        assert found.video is not None
        assert found.audio is not None
        close(found.video[index], encoder.embed_video(torch.from_numpy(wanted.video)))
        close(found.audio[index], encoder.embed_audio(torch.from_numpy(wanted.waveform)))


def test_a_file_that_is_shorter_than_a_window_has_one(
    encoder: PretrainedEncoder, tmp_path: Path
) -> None:
    short = write_film(tmp_path / "short.mp4", seconds=0.4)
    found = encoder.embed(short, window_seconds=0.5, stride_seconds=0.5)
    assert found.times.tolist() == [0.0]
    assert found.video is not None
    assert found.audio is not None
    close(found.video[0], encoder.embed_video(short))
    close(found.audio[0], encoder.embed_audio(short))


def test_audio_files_are_embedded(encoder: PretrainedEncoder, wav: Path, tmp_path: Path) -> None:
    ogg = tmp_path / "sound.ogg"
    with av.open(str(ogg), "w") as file:
        stream = file.add_stream("flac", rate=SAMPLE_RATE_HZ, layout="mono")
        assert isinstance(stream, av.AudioStream)
        encode_audio(file, stream, tone(3.0), 0.0)
    for path in (wav, ogg):
        found = encoder.embed(path, window_seconds=0.5, stride_seconds=0.5)
        assert found.video is None
        assert found.audio is not None
        assert found.times.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
        for index, start in enumerate(found.times.tolist()):
            close(found.audio[index], encoder.embed_audio(path, start_seconds=start))
        with pytest.raises(MediaError, match="no video stream"):
            encoder.embed_video(path)


def test_no_stream_is_decoded_twice(
    encoder: PretrainedEncoder, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("iterate_frames", "iterate_audio", "read_clip", "read_audio"):
        original = getattr(pretrained_module, name)

        def counted(*args: object, name: str = name, original: object = original, **kwargs: object):  # type: ignore[no-untyped-def]
            calls.append(name)
            return original(*args, **kwargs)  # type: ignore[operator]

        monkeypatch.setattr(pretrained_module, name, counted)
    encoder.embed(film, window_seconds=0.5, stride_seconds=0.125)
    assert calls == ["iterate_frames", "iterate_audio"]


@pytest.mark.parametrize("block", [100, 1000, 100_000])
def test_audio_windows_equal_slices_of_the_padded_track(block: int) -> None:
    clip = ClipFormat(frames=4, frame_rate=8.0, audio_seconds=1.0, sample_rate_hz=2000)
    grid = WindowGrid.for_clips(clip, window_seconds=0.5, stride_seconds=0.25)
    track = np.random.default_rng(0).random(5100).astype(np.float32)
    blocks = [track[start : start + block] for start in range(0, len(track), block)]
    padded = np.concatenate([np.zeros(2000, np.float32), track, np.zeros(9000, np.float32)])
    for num_windows, expected in ((None, 9), (14, 14)):
        found = list(audio_windows(blocks, grid, num_windows))
        assert len(found) == expected
        for index, waveform in enumerate(found):
            first = 2000 + round((index * 0.25 + 0.25) * 2000) - 1000
            assert np.array_equal(waveform, padded[first : first + 2000])


def test_wrong_durations_and_files_are_refused(encoder: PretrainedEncoder, tmp_path: Path) -> None:
    for window, stride in ((0.0, 1.0), (2.0, 0.4)):
        with pytest.raises(ValueError, match=r"_seconds must be .*, got"):
            encoder.embed(tmp_path / "none.mp4", window_seconds=window, stride_seconds=stride)
    with pytest.raises(MediaError, match=r"none\.mp4"):
        encoder.embed(tmp_path / "none.mp4")
