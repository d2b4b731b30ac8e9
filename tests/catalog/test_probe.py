"""Laws of the probe, on real files: streams are found, and declared durations are checked."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from tests.media_files import keep_part, write_audio_file, write_film, write_still
from toomuchtv.catalog.probe import probe_file
from toomuchtv.catalog.records import Probe
from toomuchtv.errors import MediaError


def refusal(path: Path) -> str:
    with pytest.raises(MediaError) as caught:
        probe_file(path)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm", "avi", "ts", "flv"])
def test_duration_is_that_of_the_video_in_every_container(tmp_path: Path, suffix: str) -> None:
    probe = probe_file(write_film(tmp_path / f"film.{suffix}", seconds=3.0))
    assert probe.duration_seconds == pytest.approx(3.0, abs=1.5e-3)  # a millisecond clock
    assert probe.video.frame_rate == pytest.approx(24.0)
    assert (probe.video.width, probe.video.height) == (64, 48)
    assert probe.video.pixel_format == "yuv420p"
    assert len(probe.audio_tracks) == 1
    assert probe.warnings == ()


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_longer_audio_does_not_change_the_duration(tmp_path: Path, suffix: str) -> None:
    path = write_film(tmp_path / f"film.{suffix}", seconds=2.0, audio_stop_seconds=9.0)
    assert probe_file(path).duration_seconds == pytest.approx(2.0, abs=1.5e-3)


def test_frames_of_a_raw_stream_without_timestamps_are_counted(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.h264", seconds=4.0, frame_rate=25, languages=())
    probe = probe_file(path)
    assert probe.duration_seconds == pytest.approx(4.0)


def test_a_film_of_one_second(tmp_path: Path) -> None:
    assert probe_file(write_film(tmp_path / "a.mp4", seconds=1.0)).duration_seconds == 1.0


def test_a_film_without_audio_has_no_warnings(tmp_path: Path) -> None:
    probe = probe_file(write_film(tmp_path / "a.mp4", languages=()))
    assert probe.audio_tracks == ()
    assert probe.warnings == ()


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_late_audio_has_its_start_time(tmp_path: Path, suffix: str) -> None:
    path = write_film(tmp_path / f"a.{suffix}", seconds=5.0, audio_start_seconds=3.0)
    probe = probe_file(path)
    # The priming of the encoder, 1024 samples, may count as audio.
    assert probe.audio_tracks[0].start_seconds == pytest.approx(3.0, abs=1024 / 16_000 + 1e-3)
    assert probe.duration_seconds == pytest.approx(5.0, abs=1.5e-3)


@pytest.mark.parametrize("rotation_degrees", [0, 90, 180, 270])
def test_rotation_is_clockwise(tmp_path: Path, rotation_degrees: int) -> None:
    path = write_film(tmp_path / "a.mp4", seconds=0.5, rotation_degrees=rotation_degrees)
    assert probe_file(path).video.rotation_degrees == rotation_degrees


def test_audio_tracks_have_their_languages(tmp_path: Path) -> None:
    probe = probe_file(write_film(tmp_path / "a.mkv", languages=("eng", "jpn", None)))
    assert [track.language for track in probe.audio_tracks] == ["eng", "jpn", None]
    assert [track.index for track in probe.audio_tracks] == [0, 1, 2]
    assert {track.sample_rate_hz for track in probe.audio_tracks} == {16_000}


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_a_film_that_was_cut_is_used_up_to_the_cut(
    tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    options = {"movflags": "faststart"} if suffix == "mp4" else {}
    whole = write_film(tmp_path / f"a.{suffix}", seconds=12.0, options=options)
    probe = probe_file(keep_part(whole, 0.0, 0.5))
    assert 4.0 < probe.duration_seconds < 8.0
    (warning,) = probe.warnings
    assert "of the 12.0 s that the file declares" in warning
    with av.open(str(whole)) as container:
        num_frames = sum(1 for _ in container.decode(video=0))
    assert num_frames / 24 == pytest.approx(probe.duration_seconds, abs=2 / 24)
    assert capfd.readouterr() == ("", "")


def test_film_cut_before_its_index_is_refused(tmp_path: Path) -> None:
    whole = write_film(tmp_path / "a.mp4", seconds=4.0)  # the index is at the end
    assert "index (the moov box) is missing" in refusal(keep_part(whole, 0.0, 0.5))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_cut_header_is_refused(
    tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = keep_part(write_film(tmp_path / f"a.{suffix}", seconds=4.0), 0.1, 1.0)
    assert refusal(path) in (
        "not a media file, or its header is missing",
        "no frame of it can be decoded",
    )
    assert capfd.readouterr() == ("", "")


def test_audio_only_is_refused(tmp_path: Path) -> None:
    assert refusal(write_audio_file(tmp_path / "a.mp4")) == "no video stream: only audio"


def test_cover_art_is_not_video(tmp_path: Path) -> None:
    path = write_audio_file(tmp_path / "a.mp4", cover=True)
    assert refusal(path) == "no video stream: only cover art and audio"


def test_still_images_are_refused(tmp_path: Path) -> None:
    image = write_still(tmp_path / "a.png")
    assert refusal(image) == "a still image, not a film"
    assert refusal(image.rename(tmp_path / "a.mp4")) == "a still image, not a film"
    assert refusal(write_still(tmp_path / "b.mp4")) == "a still image: it has only one frame"


def test_empty_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("Once upon a time\n" * 100)
    assert refusal(tmp_path / "empty.mp4") == "the file is empty (0 bytes)"
    assert refusal(tmp_path / "text.mp4") == "not a media file, or its header is missing"
    assert refusal(tmp_path / "none.mp4") == "cannot be read: No such file or directory"


def test_a_playlist_with_the_name_of_a_film_is_refused(tmp_path: Path) -> None:
    write_film(tmp_path / "part.ts")
    (tmp_path / "list.mp4").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\npart.ts\n#EXT-X-ENDLIST\n"
    )
    assert refusal(tmp_path / "list.mp4")


def test_a_name_with_a_colon_is_not_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_film(tmp_path / "http:a.mp4")
    monkeypatch.chdir(tmp_path)
    assert isinstance(probe_file(Path("http:a.mp4")), Probe)
