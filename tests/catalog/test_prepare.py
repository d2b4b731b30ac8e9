"""Laws of preparing: a proxy is complete or absent, calls resume, and failures are reported."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.catalog.faulty_work import fail_at_first
from tests.media_files import gray_of_frame, keep_part, write_film
from toomuchtv.catalog import prepare as prepare_module
from toomuchtv.catalog.description import describe_catalog
from toomuchtv.catalog.prepare import PrepareResult, estimate_prepare, prepare_catalog
from toomuchtv.catalog.prepare import _make_proxy as make_proxy
from toomuchtv.catalog.proxies import choose_audio_track, choose_audio_tracks, proxy_format_id
from toomuchtv.catalog.records import AudioTrack
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.errors import CatalogError
from toomuchtv.media.clip import ClipFormat
from toomuchtv.media.clip_reader import read_audio
from toomuchtv.media.damage import DamagedInterval
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.proxy_writer import ProxyFormat
from toomuchtv.media.timestamps import read_timeline

FORMAT = ProxyFormat(short_side=32)
CLIP = ClipFormat(frames=2, audio_seconds=0.25)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    (tmp_path / "library").mkdir()
    return tmp_path / "library"


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    return tmp_path / "cat"


def prepare(
    cat: Path, proxy_format: ProxyFormat = FORMAT, *, check_disk: bool = True
) -> PrepareResult:
    return prepare_catalog(cat, proxy_format, check_disk=check_disk)


def counts(result: PrepareResult) -> tuple[int, int, int]:
    return (result.prepared, result.skipped, len(result.failed))


def files(cat: Path) -> dict[str, tuple[int, int]]:
    """Return all files below `proxies` with their sizes and times."""
    return {
        path.name: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in (cat / "proxies").rglob("*")
        if path.is_file()
    }


def check_whole(cat: Path) -> int:
    """Assert that every proxy has all its files, complete, and that there are no other files."""
    with open_catalog(cat) as catalog:
        proxies = catalog.proxies()
        recorded = {
            path.name
            for proxy in proxies.values()
            for path in (proxy.video_path, proxy.audio_path)
            if path is not None
        }
        assert set(files(cat)) == recorded
        for item_id, proxy in proxies.items():
            for start_seconds in (0.0, (proxy.num_frames - 2) / proxy.frame_rate):
                clip = catalog.clip(item_id, start_seconds, CLIP)
                assert clip.video.shape == (2, proxy.height, proxy.width, 3)
    return len(proxies)


def first_gray(cat: Path, name: str, start_seconds: float = 0.0) -> float:
    """Return the gray level of an item's proxy at a time."""
    with open_catalog(cat) as catalog:
        (item,) = (item for item in catalog.items() if item.path.name == name)
        return float(catalog.clip(item.id, start_seconds, CLIP).video[0, -8:].mean())


def gray_shown(number: int) -> object:
    return pytest.approx(gray_of_frame(number), abs=4)


@pytest.mark.usefixtures("worker_processes")
def test_every_kind_of_item_is_prepared_once(library: Path, cat: Path) -> None:
    write_film(library / "plain (2001).mp4", seconds=2.0, first_frame=5)
    write_film(library / "silent (2002).mp4", seconds=1.0, languages=())
    write_film(library / "late (2003).mp4", seconds=3.0, audio_start_seconds=1.5)
    write_film(library / "short (2004).mkv", seconds=1.0)
    write_film(library / "two (2005).webm", seconds=1.0, languages=("eng", "deu"))
    scan_library(library, cat)
    reported: list[tuple[float, float]] = []
    with open_catalog(cat) as catalog:
        estimate = estimate_prepare(catalog, FORMAT)
        assert estimate.items == 5
        assert estimate.film_seconds == pytest.approx(8.0, abs=0.5)
        assert estimate.bytes > 0
        result = prepare_catalog(
            catalog,
            FORMAT,
            num_workers=2,
            progress=lambda done, total, _: reported.append((done, total)),
        )
        proxies = catalog.proxies()
        names = {item.path.name.split()[0]: proxies[item.id] for item in catalog.items()}
        late = next(item.id for item in catalog.items() if item.path.name.startswith("late"))
        heard = catalog.clip(late, 0.0, ClipFormat(frames=24, audio_seconds=3.0)).waveform
    assert counts(result) == (5, 0, 0)
    assert reported[-1][0] == pytest.approx(reported[-1][1])
    assert [done for done, _ in reported] == sorted(done for done, _ in reported)
    assert check_whole(cat) == 5
    assert result.bytes == sum(size for size, _ in files(cat).values())
    assert result.film_seconds == pytest.approx(8.0, abs=0.5)
    assert names["silent"].audio_path is None
    assert (names["silent"].num_samples, names["silent"].audio_track) == (0, None)
    assert [names[name].num_frames for name in ("plain", "late", "short")] == [16, 24, 8]
    assert names["plain"].num_samples == 32_000
    assert names["plain"].format_id == proxy_format_id(FORMAT)
    assert first_gray(cat, "plain (2001).mp4", 1.0) == gray_shown(29)
    assert np.flatnonzero(np.abs(heard) > 0.1)[0] / 16_000 == pytest.approx(1.5, abs=0.011)

    before = files(cat)
    assert counts(prepare(cat)) == (0, 5, 0)
    assert files(cat) == before

    # Only proxies with a deleted or cut file are made again.
    deleted = names["plain"].audio_path
    assert deleted is not None
    (cat / deleted).unlink()
    keep_part(cat / names["short"].video_path, 0.0, 0.5)
    assert counts(prepare(cat)) == (2, 3, 0)
    assert check_whole(cat) == 5


def test_changed_sources_and_other_formats_are_prepared_again(library: Path, cat: Path) -> None:
    write_film(library / "a (2001).mp4", seconds=1.0, first_frame=0)
    write_film(library / "b (2002).mp4", seconds=1.0, first_frame=10)
    scan_library(library, cat)
    assert counts(prepare(cat)) == (2, 0, 0)
    before = set(files(cat))
    write_film(library / "a (2001).mp4", seconds=1.25, first_frame=30)
    scan_library(library, cat)
    with pytest.raises(CatalogError, match="no proxy of its present content"):
        first_gray(cat, "a (2001).mp4")
    assert first_gray(cat, "b (2002).mp4") == gray_shown(10)
    assert counts(prepare(cat)) == (1, 1, 0)
    assert first_gray(cat, "a (2001).mp4") == gray_shown(30)
    assert first_gray(cat, "b (2002).mp4") == gray_shown(10)
    assert check_whole(cat) == 2
    assert len(set(files(cat)) & before) == 2
    other = ProxyFormat(short_side=48)
    between = set(files(cat))
    assert counts(prepare(cat, other)) == (2, 0, 0)
    assert check_whole(cat) == 2
    assert not set(files(cat)) & between
    assert proxy_format_id(other) != proxy_format_id(FORMAT)
    assert counts(prepare(cat, other)) == (0, 2, 0)


def test_one_clip_reads_the_record_of_one_proxy(
    library: Path, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_film(library / "a (2001).mp4", seconds=0.5)
    scan_library(library, cat)
    prepare(cat)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the records of all proxies were read")

    monkeypatch.setattr(Catalog, "proxies", refuse)
    with open_catalog(cat) as catalog:
        assert catalog.clip(1, 0.0, CLIP).video.shape[0] == CLIP.frames


def test_sources_that_changed_after_the_scan_are_listed_and_the_rest_done(
    library: Path, cat: Path
) -> None:
    write_film(library / "good (2001).mp4", seconds=1.0)
    write_film(library / "cut (2002).ts", seconds=4.0, first_frame=10)
    write_film(library / "vanished (2003).mp4", seconds=1.0, first_frame=20)
    write_film(library / "spoiled (2004).mp4", seconds=1.0, first_frame=30)
    other = write_film(library / "other (2005).mp4", seconds=1.0, first_frame=3)
    write_film(library / "replaced (2006).mp4", seconds=1.0, first_frame=14)
    write_film(library / "touched (2007).mp4", seconds=1.0, first_frame=25)
    scan_library(library, cat)
    keep_part(library / "cut (2002).ts", 0.0, 0.5)
    (library / "vanished (2003).mp4").rename(library / "away")
    (library / "spoiled (2004).mp4").write_bytes(b"no film any more")
    (library / "replaced (2006).mp4").rename(library / "was replaced")
    other.rename(library / "replaced (2006).mp4")
    os.utime(library / "touched (2007).mp4", ns=(1, 1))
    result = prepare(cat)
    failed = {str(file.path).split()[0] for file in result.failed}
    assert failed == {"cut", "vanished", "spoiled", "other", "replaced", "touched"}
    assert check_whole(cat) == 1
    (library / "away").rename(library / "vanished (2003).mp4")
    (library / "replaced (2006).mp4").rename(other)
    (library / "was replaced").rename(library / "replaced (2006).mp4")
    assert counts(prepare(cat)) == (3, 1, 3)
    assert first_gray(cat, "other (2005).mp4") == gray_shown(3)
    assert first_gray(cat, "replaced (2006).mp4") == gray_shown(14)
    scan_library(library, cat)
    assert counts(prepare(cat)) == (2, 4, 0)
    assert first_gray(cat, "cut (2002).ts", 0.5) == gray_shown(22)


def test_a_source_that_changes_while_it_is_prepared_gets_no_proxy(
    library: Path, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_film(library / "a (2001).mp4", seconds=1.0)
    write_film(library / "b (2002).ts", seconds=1.0, first_frame=10)
    scan_library(library, cat)
    monkeypatch.setattr(prepare_module, "_make_proxy", make_proxy_of_a_growing_file)
    result = prepare(cat)
    assert [str(file.path) for file in result.failed] == ["b (2002).ts"]
    assert check_whole(cat) == 1
    monkeypatch.undo()
    scan_library(library, cat)
    assert counts(prepare(cat)) == (1, 1, 0)


def make_proxy_of_a_growing_file(*arguments: Any) -> Any:
    """Let a source grow while its proxy is written; runs in the worker."""
    write_files = prepare_module._write_files

    def write_and_grow(*arguments: Any) -> Any:
        facts, job = write_files(*arguments), arguments[3]
        if job.source.suffix == ".ts":
            with job.source.open("ab") as file:
                file.write(bytes(188))
        return facts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare_module, "_write_files", write_and_grow)
        return make_proxy(*arguments)


@pytest.mark.parametrize("how", ["killed", "I/O error"])
@pytest.mark.usefixtures("worker_processes")
def test_a_fault_of_the_machine_is_tried_again(
    library: Path, cat: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    write_film(library / "a (2001).mp4", seconds=0.5)
    scan_library(library, cat)
    monkeypatch.setattr(prepare_module, "_make_proxy", functools.partial(fail_at_first, how))
    assert counts(prepare(cat)) == ((1, 0, 0) if how == "killed" else (0, 0, 1))
    monkeypatch.undo()
    assert counts(prepare(cat))[2] == 0
    assert check_whole(cat) == 1


KILLED = """
import os, signal, sys
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.store import open_catalog
from toomuchtv.media.proxy_writer import ProxyFormat
from toomuchtv.media.timestamps import read_timeline
def die(done, total, what):
    if done > float(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
with open_catalog(sys.argv[1]) as catalog:
    prepare_catalog(catalog, ProxyFormat(short_side=32), progress=die)
"""


@pytest.mark.parametrize(("seconds", "done"), [(1.0, 0), (13.0, 1)])
def test_a_killed_call_is_resumed(library: Path, cat: Path, seconds: float, done: int) -> None:
    """After a kill in the first or second film, complete proxies stay and the rest is made."""
    for number in range(3):
        write_film(library / f"film {number} (200{number}).mp4", seconds=11.0 - number / 2)
    scan_library(library, cat)
    command = [sys.executable, "-c", KILLED, str(cat), str(seconds)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with open_catalog(cat) as catalog:
        assert len(catalog.proxies()) == done
    kept = {name: state for name, state in files(cat).items() if not name.endswith(".partial")}
    assert len(kept) >= 2 * done
    assert counts(prepare(cat)) == (3 - done, done, 0)
    assert check_whole(cat) == 3
    assert len(kept.items() & files(cat).items()) >= 2 * done


def test_damage_and_missing_parts_are_listed_and_recorded(
    library: Path, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_film(library / "damaged (2001).mp4", seconds=2.0)
    write_film(library / "short (2002).mp4", seconds=2.0, first_frame=10)
    write_film(library / "whole (2003).mp4", seconds=2.0, first_frame=20)
    scan_library(library, cat)
    with open_catalog(cat) as catalog, catalog.writing(), catalog.transaction():
        short = catalog.items()[1]
        probe = replace(short.probe, duration_seconds=5.0)
        catalog.put_item(replace(short, probe=probe))
    monkeypatch.setattr(prepare_module, "_make_proxy", make_proxy_of_a_damaged_file)
    result = prepare(cat)
    assert counts(result) == (3, 0, 0)
    damaged, short_one = result.damaged
    assert (str(damaged.path), damaged.is_short) == ("damaged (2001).mp4", False)
    assert damaged.video == (DamagedInterval(0.5, 1.0),)
    assert damaged.audio == (DamagedInterval(0.25, 0.75),)
    assert (str(short_one.path), short_one.is_short) == ("short (2002).mp4", True)
    assert (short_one.seconds, short_one.proxy_seconds) == (5.0, 2.0)
    assert prepare(cat).damaged == result.damaged  # the record has it
    (shown,) = (title for title in describe_catalog(cat).titles if title.name == "damaged")
    assert "00:00:00.5" in shown.items[0].damage


def make_proxy_of_a_damaged_file(*arguments: Any) -> Any:
    """Stand in for the decoding of a damaged file; runs in the worker."""
    facts, digest = make_proxy(*arguments)
    if "damaged" in arguments[4].source.name:
        facts = replace(
            facts,
            video_damage=(DamagedInterval(0.5, 1.0),),
            audio_damage=(DamagedInterval(0.25, 0.75),),
        )
    return facts, digest


def test_there_is_one_writer_at_a_time(library: Path, cat: Path) -> None:
    write_film(library / "a (2001).mp4", seconds=0.5)
    scan_library(library, cat)
    with open_catalog(cat) as other, other.writing():
        with pytest.raises(CatalogError, match=f"being written by process {os.getpid()}"):
            prepare(cat)
        assert files(cat) == {}
    assert counts(prepare(cat)) == (1, 0, 0)


def test_too_small_a_disk_is_refused_before_work_starts(
    library: Path, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_film(library / "a (2001).mp4", seconds=0.5)
    scan_library(library, cat)
    usage = shutil.disk_usage(cat)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(CatalogError, match=r"the proxies will take about .* free: free some space"):
        prepare(cat)
    assert files(cat) == {}
    assert counts(prepare(cat, check_disk=False)) == (1, 0, 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of 1 MB in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.usefixtures("worker_processes")
def test_a_full_disk_stops_the_call_and_free_space_lets_it_resume(
    library: Path, small_disk: Path
) -> None:
    cat = small_disk / "cat"
    for number in range(4):
        write_film(library / f"film {number} (200{number}).mp4", seconds=10.0 - number)
    scan_library(library, cat)
    # There is space for about two of the four proxies, and for the growth of the catalog.
    proxy_format = ProxyFormat(short_side=64)
    with open_catalog(cat) as catalog:
        stuffing = small_disk / "stuffing"
        free = shutil.disk_usage(small_disk).free
        stuffing.write_bytes(bytes(free - 200_000))
        result = prepare_catalog(catalog, proxy_format, num_workers=2, check_disk=False)
    assert result.failed
    assert result.prepared + len(result.failed) == 4
    assert any(file.reason.startswith("the disk is full: free some") for file in result.failed)
    assert all("the disk is full" in file.reason for file in result.failed)
    assert not [name for name in files(cat) if name.endswith(".partial")]
    assert check_whole(cat) == result.prepared
    kept = files(cat)
    with open_catalog(cat) as catalog:
        stuffing.write_bytes(bytes(stuffing.stat().st_size + shutil.disk_usage(small_disk).free))
        with pytest.raises(CatalogError, match="the proxies will take"):
            prepare_catalog(catalog, proxy_format)
    stuffing.unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert counts(prepare(cat, proxy_format)) == (len(result.failed), result.prepared, 0)
    assert check_whole(cat) == 4
    assert kept.items() <= files(cat).items()


def test_a_disk_without_space_for_the_record_counts_as_full(
    library: Path, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files may still fit on a disk on which the catalog cannot grow."""
    write_film(library / "a (2001).mp4", seconds=0.5)
    scan_library(library, cat)

    def full(*_: object, **__: object) -> None:
        cause = sqlite3.OperationalError("database or disk is full")
        cause.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise CatalogError("cannot write to the catalog") from cause

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "record_proxy", full)
        result = prepare(cat)
    assert "the disk is full" in result.failed[0].reason
    assert files(cat) == {}
    assert counts(prepare(cat)) == (1, 0, 0)


# ---- Choice of audio tracks


def track(index: int, *flags: str, language: str | None = None) -> AudioTrack:
    return AudioTrack(
        index=index, codec="aac", channels=2, sample_rate_hz=48_000, language=language, title=None,
        dispositions=frozenset(flags), start_seconds=0.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("tracks", "chosen"),
    [
        ([], None),
        ([track(0)], 0),
        ([track(0), track(1, "default")], 1),
        ([track(0, "comment", "default"), track(1)], 1),
        ([track(0, "dub", "default"), track(1, "original")], 1),
        ([track(0, "visual_impaired"), track(1, "dub")], 1),
        ([track(0, "comment")], 0),
        ([track(0, "default"), track(1, "default")], 0),
    ],
)
def test_choice_of_the_audio_track(tracks: list[AudioTrack], chosen: int | None) -> None:
    assert choose_audio_track(tracks) == (None if chosen is None else tracks[chosen])


def test_every_requested_language_is_prepared(tmp_path: Path) -> None:
    library, cat = tmp_path / "library", tmp_path / "cat"
    film = library / "Film (2001).mkv"
    write_film(film, seconds=3.0, languages=("eng", "fra", None))
    scan_library(library, cat)
    with open_catalog(cat) as catalog:
        (item,) = catalog.items()
        proxy_format = ProxyFormat(short_side=32, languages=("fra", "deu", "eng"))
        result = prepare_catalog(catalog, proxy_format)
        assert (result.prepared, result.failed) == (1, ())
        proxy = catalog.proxies()[item.id]
        assert [(a.language, a.audio_track) for a in proxy.audio_files] == [("fra", 1), ("eng", 0)]
        for audio in proxy.audio_files:
            reader = ProxyReader(
                cat / proxy.video_path, cat / audio.path, frame_rate=8.0, sample_rate_hz=16_000
            )
            ours = reader.read_waveform(first_sample=0, num_samples=proxy.num_samples)
            theirs = read_audio(
                film, timeline=read_timeline(film), first_sample=0, sample_rate_hz=16_000,
                num_samples=proxy.num_samples, audio_track=audio.audio_track,
            )  # fmt: skip
            reader.close()
            np.testing.assert_allclose(ours, theirs, atol=2**-14)
        # Other languages are another format, whose preparation deletes the files of the first.
        before = set(proxy.paths)
        prepare_catalog(catalog, ProxyFormat(short_side=32))
        (after,) = catalog.proxies().values()
        assert [audio.language for audio in after.audio_files] == ["eng"]
        assert not [path for path in before if (cat / path).exists()]


def test_audio_tracks_are_chosen_by_language_and_flags() -> None:
    commentary = track(0, "default", "comment", language="eng")
    dub = track(1, "dub", language="eng")
    original = track(2, "original", language="jpn")
    described = track(3, "visual_impaired", language="jpn")
    tracks = (commentary, dub, original, described)
    assert choose_audio_track(()) is None
    assert choose_audio_track(tracks) == original
    assert choose_audio_tracks(tracks, ("eng",)) == (dub,)
    assert choose_audio_track((commentary,)) == commentary
    assert choose_audio_tracks(tracks, ("eng", "jpn", "fra")) == (dub, original)
    assert choose_audio_tracks(tracks, ("fra",)) == (original,)
    assert choose_audio_tracks((commentary, original), ("eng",)) == (original,)
    assert choose_audio_tracks((), ("eng",)) == ()
