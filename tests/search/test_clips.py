"""Clips that were cut out of films show and sound as the films do."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.media.coded_media import CodedFilm, numbers_of, trim
from tests.media_files import BLACK, LEVEL_STEP, write_audio_file, write_film
from tests.search.rated_films import make_hit, write_rated_film
from toomuchtv.errors import MediaError
from toomuchtv.media import cutting
from toomuchtv.media.clip_reader import read_clip
from toomuchtv.media.cutting import cut_film
from toomuchtv.media.extent import measure_extent
from toomuchtv.search.clips import clip_file_name, write_clips

RATE = Fraction(24)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 frames of H.264 with B-frames, a key frame every half second, and a tone."""
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    return write_rated_film(path, RATE, num_frames=48, codec="libx264")


def _levels(path: Path, start_seconds: float, num_frames: int) -> NDArray[np.float64]:
    """Gray levels, in numbers of frames, in the middle of the time of each frame."""
    middle_seconds = start_seconds + 0.5 / 24
    video = read_clip(path, start_seconds=middle_seconds, frames=num_frames, frame_rate=24.0).video
    height, width = video.shape[1:3]
    gray = video[:, height // 2 :, width // 2 :].mean(axis=(1, 2, 3))
    return np.asarray((gray - BLACK) / LEVEL_STEP, np.float64)


def _shown(path: Path, start_seconds: float, num_frames: int) -> list[int]:
    """Numbers of the frames that a film shows."""
    levels = _levels(path, start_seconds, num_frames)
    assert np.abs(levels - np.rint(levels)).max() < 0.4
    return [int(level) for level in np.rint(levels)]


def _assert_sounds_like(cut: Path, film: Path, start_seconds: float, seconds: float) -> None:
    """The sound of a cut is that of the film from `start_seconds` on.

    Half a millisecond more or less would turn the phase of the tone by 70 degrees and more.
    """
    cut_wave, wave = (
        read_clip(
            path, start_seconds=start, frames=1, frame_rate=1 / seconds, audio_seconds=seconds
        ).waveform[800:-800]
        for path, start in ((cut, 0.0), (film, start_seconds))
    )
    assert np.corrcoef(cut_wave, wave)[0, 1] > 0.98


@pytest.mark.parametrize(
    ("first", "is_copied"), [(12, True), (0, True), (5, False), (13, True), (30, False)]
)
def test_frames_and_sound_are_those_of_the_film(
    first: int, is_copied: bool, film: Path, tmp_path: Path
) -> None:
    target = tmp_path / "cut.mp4"
    start_seconds = first / 24
    result = cut_film(film, target, start_seconds=start_seconds, stop_seconds=start_seconds + 0.5)
    assert (result.is_copied, result.has_audio) == (is_copied, True)
    # A key frame that is a frame away is near enough.
    shown_first = round(result.start_seconds * 24)
    assert abs(shown_first - first) <= (1 if is_copied else 0)
    num_frames = first + 12 - shown_first
    assert _shown(target, 0.0, num_frames) == list(range(shown_first, first + 12))
    seconds = measure_extent(target, "video")[1]
    # The codec may need some of the next frames.
    assert num_frames <= round(seconds * 24) <= num_frames + (3 if is_copied else 0)
    _assert_sounds_like(target, film, result.start_seconds, 0.5)


@pytest.mark.parametrize(("first", "is_copied"), [(30, True), (31, False)])
def test_what_an_edit_list_leaves_out_is_not_shown(
    first: int, is_copied: bool, tmp_path: Path
) -> None:
    coded = CodedFilm(suffix=".mp4", video_codec="libx264", audio_codec="aac", rate=RATE)
    film = trim(coded.write(tmp_path), first / 24, 60 / 24)
    target = tmp_path / "cut.mp4"
    result = cut_film(film, target, start_seconds=0.0, stop_seconds=3.0)
    assert result.is_copied == is_copied
    with av.open(str(target)) as container:
        images = [one.to_ndarray(format="rgb24") for one in container.decode(video=0)]
    assert numbers_of(np.array(images, np.uint8)) == list(range(first, 60))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_copy_is_not_encoded_again(suffix: str, tmp_path: Path) -> None:
    film = tmp_path / f"film{suffix}"
    write_rated_film(film, RATE, num_frames=48, codec="libx264")
    target = tmp_path / "cut.mp4"
    assert cut_film(film, target, start_seconds=0.5, stop_seconds=1.5).is_copied
    # In the middle of each frame, because Matroska rounds its times to milliseconds.
    original, copied = (
        read_clip(path, start_seconds=start + 0.5 / 24, frames=24, frame_rate=24.0).video
        for path, start in ((film, 0.5), (target, 0.0))
    )
    np.testing.assert_array_equal(copied, original)
    encoded = cut_film(film, target, start_seconds=0.5, stop_seconds=1.5, copy=False)
    assert not encoded.is_copied
    assert _shown(target, 0.0, 24) == list(range(12, 36))


@pytest.mark.parametrize("name", ["film.webm", "film.avi", "film.mkv", "film.ts"])
def test_other_containers(name: str, tmp_path: Path) -> None:
    film = write_film(tmp_path / name, seconds=2.0)
    target = tmp_path / "cut.mp4"
    result = cut_film(film, target, start_seconds=0.75, stop_seconds=1.5)
    assert not result.is_copied
    np.testing.assert_allclose(_levels(target, 0.0, 18), _levels(film, 0.75, 18), atol=0.5)
    _assert_sounds_like(target, film, 0.75, 0.75)


@pytest.mark.parametrize("start_seconds", [0.0, 0.25])
def test_a_turned_film_stays_upright(start_seconds: float, tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", seconds=1.0, rotation_degrees=90)
    target = tmp_path / "cut.mp4"
    stop_seconds = start_seconds + 0.5
    cut_film(film, target, start_seconds=start_seconds, stop_seconds=stop_seconds)
    cut, original = (
        read_clip(path, start_seconds=start, frames=1).video[0].astype(int)
        for path, start in ((target, 0.0), (film, start_seconds))
    )
    assert cut.shape == original.shape == (64, 48, 3)
    assert np.abs(cut - original).mean() < 4


def test_without_sound_and_without_an_encoder_for_h264(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = write_film(tmp_path / "film.mp4", seconds=1.0, languages=(), size=(64, 48))
    monkeypatch.setattr(cutting, "_H264", "no such encoder")
    target = tmp_path / "cut.mp4"
    result = cut_film(film, target, start_seconds=0.25, stop_seconds=0.75)
    assert not result.has_audio
    with av.open(str(target)) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["mpeg4"]
    assert _shown(target, 0.0, 12) == list(range(6, 18))


def test_sound_that_starts_late_stays_in_place(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", seconds=2.0, audio_start_seconds=0.5)
    target = tmp_path / "cut.mp4"
    cut_film(film, target, start_seconds=0.25, stop_seconds=1.25)
    wave = read_clip(target, frames=1, frame_rate=1.0, audio_seconds=1.0).waveform
    loud = np.abs(wave) > 0.1
    assert abs(int(np.argmax(loud)) / 16_000 - 0.25) < 0.05
    _assert_sounds_like(target, film, 0.25, 1.0)


def test_wrong_intervals(film: Path, tmp_path: Path) -> None:
    for start, stop in ((-1.0, 1.0), (1.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match="start_seconds"):
            cut_film(film, tmp_path / "cut.mp4", start_seconds=start, stop_seconds=stop)


def test_hits_are_written_and_failures_listed(film: Path, tmp_path: Path) -> None:
    sound = write_audio_file(tmp_path / "sound.mp4")
    text = tmp_path / "text.mp4"
    text.write_text("no film")
    folder = tmp_path / "out"
    hits = [
        make_hit(film, 0.5, 1.0, rank=1, name='a/b: "c"?'),
        make_hit(tmp_path / "gone.mp4", 0.0, 1.0, rank=2),
        make_hit(sound, 0.0, 1.0, rank=3),
        make_hit(text, 0.0, 1.0, rank=4),
        make_hit(film, 1.99, 60.0, rank=5, name="the end"),
        make_hit(film, 1.0, 1.0, rank=12, name="empty"),
    ]
    stale = folder / f"{clip_file_name(hits[1], 12)}.0123abcd.partial"
    other = folder / "other.partial"
    folder.mkdir()
    stale.write_text("what a killed process left")
    other.write_text("somebody's")
    existing = folder / clip_file_name(hits[0], 12)
    existing.write_text("old")
    calls: list[tuple[float, float]] = []
    result = write_clips(
        hits, folder, progress=lambda done, total, what: calls.append((done, total))
    )
    assert [one.hit.rank for one in result.written] == [1, 5, 12]
    assert [hit.rank for hit, _ in result.failed] == [2, 3, 4]
    assert calls == [(number, 6) for number in range(1, 7)]
    names = {path.name for path in folder.iterdir()}
    assert names == {one.path.name for one in result.written} | {"other.partial"}
    assert result.written[0].path == existing
    assert _shown(existing, 0.0, 12) == list(range(12, 24))
    assert _shown(result.written[1].path, 0.0, 1)[0] in (45, 46, 47)
    for one in result.written:
        assert measure_extent(one.path, "video")[1] > 0


def test_no_hits_and_folders_that_cannot_be_written(film: Path, tmp_path: Path) -> None:
    assert write_clips([], tmp_path / "out").written == ()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_clips([make_hit(film, 0.0, 1.0)], tmp_path / "file")
    with pytest.raises(ValueError, match="handles_seconds"):
        write_clips([make_hit(film, 0.0, 1.0)], tmp_path / "out", handles_seconds=-1.0)


def test_a_file_that_cannot_be_written_is_an_error(film: Path, tmp_path: Path) -> None:
    with contextlib.suppress(MediaError), pytest.raises(OSError, match="directory"):
        cut_film(film, tmp_path / "no" / "cut.mp4", start_seconds=0.5, stop_seconds=1.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Caminandes S01E03", "01 Caminandes S01E03 00-01-12.mp4"),
        ('a/b\\c:d*e?f"g<h>i|j', "01 a-b-c-d-e-f-g-h-i-j 00-01-12.mp4"),
        ("映画", "01 映画 00-01-12.mp4"),
        ("dots...", "01 dots 00-01-12.mp4"),
        ("new\nline\x00\x1f", "01 new line 00-01-12.mp4"),
    ],
)
def test_names_are_safe(name: str, expected: str) -> None:
    assert clip_file_name(make_hit(Path("/film.mkv"), 72.0, 73.0, name=name), 9) == expected


def test_long_names_keep_their_time() -> None:
    hit = make_hit(Path("/film.mkv"), 3725.0, 3726.0, rank=7, name=100 * "長い")
    name = clip_file_name(hit, 1000)
    assert name.startswith("0007 長い")
    assert name.endswith(" 01-02-05.mp4")
    assert len(name.encode()) <= 143
