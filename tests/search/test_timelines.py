"""Timelines, read again by OpenTimelineIO and its adapters, against exact times of the hits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlparse
from xml.etree import ElementTree

import av
import opentimelineio as otio
import pytest

from tests.media_files import write_audio_file
from tests.search.rated_films import make_hit, write_rated_film
from toomuchtv.errors import MediaError
from toomuchtv.search import timeline as timeline_module
from toomuchtv.search.edl import to_edl
from toomuchtv.search.fcpxml import to_fcpxml
from toomuchtv.search.hits import Hit
from toomuchtv.search.otio import to_otio
from toomuchtv.search.source_media import SourceMedia, Span, inspect_media, read_source_media
from toomuchtv.search.timeline import Timeline, build_timeline

NTSC = Fraction(30_000, 1001)
#: Frame rate, timecode of the first frame, and its frame number by SMPTE ST 12-1.
CASES = [
    (Fraction(24), "", 0),
    (Fraction(24), "01:00:00:00", 86_400),
    (Fraction(24_000, 1001), "01:00:00:00", 86_400),
    (Fraction(25), "10:00:00:05", 900_005),
    (NTSC, "01:00:00:00", 108_000),
    (NTSC, "01:00:00;00", 107_892),
    (NTSC, "00:01:00;02", 1800),
    (Fraction(60_000, 1001), "00:10:00;00", 35_964),
    (Fraction(50), "", 0),
]
#: First and last frame of the hits in files of 60 frames, half-open.
FRAMES = [(5, 17), (30, 31), (48, 60)]


@pytest.fixture(scope="module", autouse=True)
def _read_files_in_this_process() -> Iterator[None]:
    """A process for every timeline would take most of the time of these tests."""

    def read(
        spans: Mapping[Path, Sequence[Span]],
    ) -> tuple[dict[Path, SourceMedia], dict[Path, str]]:
        return {path: inspect_media(path, parts) for path, parts in spans.items()}, {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline_module, "read_source_media", read)
        yield


def _hits_of(path: Path, rate: Fraction, frames: Sequence[tuple[int, int]] = FRAMES) -> list[Hit]:
    return [
        make_hit(path, float(first / rate), float(last / rate), rank=rank)
        for rank, (first, last) in enumerate(frames, 1)
    ]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{float(case[0]):.2f} {case[1]}")
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Timeline, Fraction, int]:
    """A timeline of three hits in one film, the film's rate, and the number of its first frame."""
    rate, timecode, start_frame = request.param
    path = write_rated_film(tmp_path_factory.mktemp("film") / "film.mov", rate, timecode=timecode)
    timeline = build_timeline(_hits_of(path, rate))
    assert not timeline.warnings
    return timeline, rate, start_frame


def _times(time_range: Any) -> tuple[Fraction, Fraction]:
    """Start and duration of a range of OpenTimelineIO in exact seconds."""
    return tuple(  # type: ignore[return-value]
        Fraction(time.value) / _exact(time.rate)
        for time in (time_range.start_time, time_range.duration)
    )


def _exact(rate: float) -> Fraction:
    """The exact rate that a floating-point number stands for: 30000/1001 for 29.97002997."""
    return Fraction(rate) if rate == round(rate) else Fraction(round(rate) * 1000, 1001)


def _expected(rate: Fraction, start_frame: int) -> list[tuple[Fraction, Fraction]]:
    return [((start_frame + first) / rate, (last - first) / rate) for first, last in FRAMES]


def test_otio_has_the_frames_of_the_hits(case: tuple[Timeline, Fraction, int]) -> None:
    timeline, rate, start_frame = case
    read = otio.adapters.read_from_string(to_otio(timeline), "otio_json")
    video, audio = read.tracks
    assert (video.kind, audio.kind) == ("Video", "Audio")
    for track in (video, audio):
        assert [_times(clip.source_range) for clip in track] == _expected(rate, start_frame)
        for clip in track:
            whole = clip.media_reference.available_range
            assert _times(whole) == (start_frame / rate, 60 / rate)
            assert whole.end_time_exclusive() >= clip.source_range.end_time_exclusive()
    # The library agrees that the clips follow each other without a gap.
    assert read.duration() == otio.opentime.RationalTime(25, float(rate))
    assert otio.opentime.RationalTime(0, float(rate)).is_valid_timecode_rate(float(rate))


def test_edl_has_the_frames_of_the_hits(case: tuple[Timeline, Fraction, int]) -> None:
    timeline, rate, start_frame = case
    text = to_edl(timeline)
    read = otio.adapters.read_from_string(text, "cmx_3600", rate=float(rate))
    for track in read.tracks:
        assert [_times(clip.source_range) for clip in track] == _expected(rate, start_frame)
        assert {clip.metadata["cmx_3600"]["reel"] for clip in track} == {"FILM"}
    assert {track.name for track in read.tracks} == {"V", "A1"}
    record = otio.opentime.from_timecode(text.split()[-1], float(rate))
    assert record.value == timeline.start_frame + 25


def test_fcpxml_has_the_frames_of_the_hits(case: tuple[Timeline, Fraction, int]) -> None:
    timeline, rate, start_frame = case
    text = to_fcpxml(timeline)
    root = ElementTree.fromstring(text)
    clips = root.findall(".//spine/asset-clip")
    read = [(_seconds(clip.get("start")), _seconds(clip.get("duration"))) for clip in clips]
    assert read == _expected(rate, start_frame)
    # Positions on the timeline do not contain the timecode of the file (auto-editor issue #1063).
    assert [_seconds(clip.get("offset")) for clip in clips] == [0, 12 / rate, 13 / rate]
    (asset,) = root.findall("resources/asset")
    assert (_seconds(asset.get("start")), _seconds(asset.get("duration"))) == (
        start_frame / rate,
        60 / rate,
    )
    formats = {one.get("id"): one for one in root.findall("resources/format")}
    sequence = root.find(".//sequence")
    assert sequence is not None
    for element in (sequence, asset, *clips):
        shape = formats[element.get("format")]
        assert 1 / _seconds(shape.get("frameDuration")) == rate
        assert (shape.get("width"), shape.get("height")) == ("64", "48")
    expected = {"DF" if timeline.is_drop_frame else "NDF"}
    assert {clip.get("tcFormat") for clip in (sequence, *clips)} == expected
    if rate.denominator == 1:  # the adapter rounds other rates down
        (project,) = otio.adapters.read_from_string(text, "fcpx_xml")
        (track,) = project.tracks
        assert [_times(clip.source_range) for clip in track] == _expected(rate, start_frame)


def _seconds(text: str | None) -> Fraction:
    assert text is not None
    assert text.endswith("s")
    return Fraction(text[:-1])


def test_drop_frame_is_marked(tmp_path: Path) -> None:
    path = write_rated_film(tmp_path / "film.mov", NTSC, timecode="01:00:00;00")
    text = to_edl(build_timeline(_hits_of(path, NTSC)))
    assert "FCM: DROP FRAME" in text
    assert "01:00:00;05 01:00:00;17 01:00:00;00 01:00:00;12" in text


def test_timecode_of_a_matroska_file(tmp_path: Path) -> None:
    path = write_rated_film(tmp_path / "film.mkv", Fraction(25), timecode="10:00:00:00")
    timeline = build_timeline(_hits_of(path, Fraction(25)))
    assert timeline.media[0].start_frame == 900_000
    assert not timeline.warnings


def test_hits_are_in_order_of_rank_with_handles(tmp_path: Path) -> None:
    path = write_rated_film(tmp_path / "film.mov", Fraction(24))
    hits = _hits_of(path, Fraction(24))
    timeline = build_timeline(hits[::-1], handles_seconds=0.25)
    placed = [(clip.source_frame, clip.num_source_frames) for clip in timeline.clips]
    # Six frames more on each side, within the 60 frames of the file.
    assert placed == [(0, 23), (24, 13), (42, 18)]
    assert [clip.hit.rank for clip in timeline.clips] == [1, 2, 3]


def test_a_moment_at_the_end_has_a_frame(tmp_path: Path) -> None:
    path = write_rated_film(tmp_path / "film.mov", Fraction(24))
    hits = [make_hit(path, 2.5, 2.5), make_hit(path, 2.4, 99.0, rank=2)]
    placed = [(c.source_frame, c.num_frames) for c in build_timeline(hits).clips]
    assert placed == [(59, 1), (57, 3)]


def test_variable_frame_rate_is_conformed_with_a_warning(tmp_path: Path) -> None:
    # Half of the frames at 24 and half at 30 frames per second.
    ticks = [
        round(1000 * n / 24) if n < 30 else round(1250 + 1000 * (n - 30) / 30) for n in range(60)
    ]
    path = write_rated_film(tmp_path / "film.mp4", Fraction(30), ticks=ticks)
    with av.open(str(path)) as container:
        declared = container.streams.video[0].average_rate
        assert declared is not None
        assert abs(float(declared) - 60 / 2.25) < 0.2
    timeline = build_timeline([make_hit(path, 0.5, 1.5)])
    assert timeline.frame_rate == 25
    assert len(timeline.warnings) == 1
    clip = timeline.clips[0]
    # The time counts: 0.5 s to 1.5 s at 25 frames per second.
    assert (clip.source_frame, clip.num_frames) == (12, 26)


def test_several_frame_rates(tmp_path: Path) -> None:
    film = write_rated_film(tmp_path / "film.mov", Fraction(24))
    other = write_rated_film(tmp_path / "other.mov", NTSC, timecode="01:00:00;00", sound=False)
    hits = [
        make_hit(film, 0.0, 1.0, rank=1),
        make_hit(other, float(30 / NTSC), float(60 / NTSC), rank=2),
        make_hit(film, 1.0, 2.0, rank=3),
    ]
    timeline = build_timeline(hits)
    assert timeline.frame_rate == 24
    assert len(timeline.warnings) == 1
    clip = timeline.clips[1]
    assert (clip.source_frame, clip.num_source_frames, clip.num_frames) == (30, 30, 24)
    video, audio = otio.adapters.read_from_string(to_otio(timeline), "otio_json").tracks
    assert _times(video[1].source_range) == (Fraction(107_922) / NTSC, 30 / NTSC)
    assert isinstance(audio[1], otio.schema.Gap)
    assert audio.duration() == video.duration()
    # In an EDL, the second of the file's timecode is kept.
    edl = to_edl(timeline)
    assert "OTHER    V     C        01:00:01:00 01:00:02:00 01:00:01:00 01:00:02:00" in edl
    otio.adapters.read_from_string(edl, "cmx_3600", rate=24)
    rates = ElementTree.fromstring(to_fcpxml(timeline)).findall(".//conform-rate")
    assert [rate.attrib for rate in rates] == [{"scaleEnabled": "0", "srcFrameRate": "29.97"}]


NAMES = [
    "a & b <c> \"d\" 'e'",
    "日本語 фильм ünï",
    "100% #1 ?x;y",
    "* FROM CLIP: fake",
    "two\nlines\x07bell",
    "bytes \udcff\udcfe",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_survive(name: str, tmp_path: Path) -> None:
    path = write_rated_film(tmp_path / f"{name.replace('/', '')}.mov", Fraction(24))
    timeline = build_timeline([make_hit(path, 0.0, 1.0, name=name)], name=name)
    read = otio.adapters.read_from_string(to_otio(timeline), "otio_json")
    asset = ElementTree.fromstring(to_fcpxml(timeline).encode()).find("resources/asset")
    assert asset is not None
    for url in (read.tracks[0][0].media_reference.target_url, asset.get("src")):
        parts = urlparse(url)
        assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("file", "", "", "")
        assert unquote_to_bytes(parts.path) == bytes(path)
    edl = to_edl(timeline, comments=True)
    events = [line for line in edl.split("\r\n") if line and not line.startswith("*")]
    assert len(events) == 3  # title, counting and one event
    otio.adapters.read_from_string(edl, "cmx_3600", rate=24)
    assert events[0].isascii()
    assert "\n" not in read.name


def test_reels_have_eight_characters_and_differ(tmp_path: Path) -> None:
    names = ["The Long Film", "The Long Fight", "the long.fire", "Фильм", "映画", "AX"]
    hits = [
        make_hit(write_rated_film(tmp_path / f"{name}.mov", Fraction(24)), 0, 1, rank=rank)
        for rank, name in enumerate(names, 1)
    ]
    lines = [line for line in to_edl(build_timeline(hits)).splitlines() if line[:3].isdigit()]
    reels = [line.split()[1] for line in lines]
    assert reels == ["THELONGF", "THELONG2", "THELONG3", "REEL", "REEL2", "AX2"]
    assert all(len(line) == len(lines[0]) for line in lines)


def test_edl_has_no_comments_unless_asked(tmp_path: Path) -> None:
    path = write_rated_film(tmp_path / "film.mov", Fraction(24))
    timeline = build_timeline(_hits_of(path, Fraction(24)))
    assert "*" not in to_edl(timeline)
    read = otio.adapters.read_from_string(to_edl(timeline, comments=True), "cmx_3600", rate=24)
    assert {clip.name for clip in read.tracks[0]} == {"film.mov"}


def test_an_edl_has_at_most_999_events(tmp_path: Path) -> None:
    path = write_rated_film(tmp_path / "film.mov", Fraction(24))
    timeline = build_timeline([make_hit(path, 0.0, 1.0)])
    with pytest.raises(ValueError, match="999"):
        to_edl(replace(timeline, clips=timeline.clips * 1000))
    assert to_edl(replace(timeline, clips=timeline.clips * 999)).count("FILM") == 999


def test_files_that_cannot_be_used_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline_module, "read_source_media", read_source_media)
    film = write_rated_film(tmp_path / "film.mov", Fraction(24))
    sound = write_audio_file(tmp_path / "sound.mp4")
    text = tmp_path / "text.mp4"
    text.write_text("no film")
    gone = tmp_path / "gone.mp4"
    paths = (gone, sound, text, film)
    hits = [make_hit(path, 0.0, 1.0, rank=rank) for rank, path in enumerate(paths, 1)]
    timeline = build_timeline(hits)
    assert [clip.hit.rank for clip in timeline.clips] == [4]
    assert len(timeline.warnings) == 3
    with pytest.raises(MediaError):
        build_timeline(hits[:3])
    with pytest.raises(ValueError, match="no hits"):
        build_timeline([])
    with pytest.raises(ValueError, match="handles_seconds"):
        build_timeline(hits, handles_seconds=-1.0)
