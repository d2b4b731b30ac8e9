"""Laws of scanning, on real files: usable files are used, and all others are reported."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.catalog.faulty_work import crash_on_evil, examine_badly
from tests.media_files import keep_part, write_audio_file, write_film, write_still
from toomuchtv.catalog import scanner as scanner_module
from toomuchtv.catalog import walk as walk_module
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.records import Item, Segment, TitleKind
from toomuchtv.catalog.scan import ScanResult, scan_library
from toomuchtv.catalog.scanner import _examine as examine
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.catalog.walk import WalkedFolder
from toomuchtv.errors import CatalogError
from toomuchtv.media.proxy_writer import ProxyFormat


@pytest.fixture
def library(tmp_path: Path) -> Path:
    (tmp_path / "library").mkdir()
    return tmp_path / "library"


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    return tmp_path / "cat"


def film(library: Path, name: str, number: int = 0) -> Path:
    """Write a small film whose content depends on `number`."""
    return write_film(library / name, seconds=0.5, first_frame=number, languages=())


def reasons(result: ScanResult) -> dict[str, str]:
    return {str(file.path): file.reason for file in result.skipped}


def paths_by_id(cat: Path) -> dict[int, str]:
    with open_catalog(cat) as catalog:
        return {item.id: str(item.path) for item in catalog.items(include_extras=True)}


def counts(result: ScanResult) -> tuple[int, int, int, int, int]:
    return (result.added, result.updated, result.renamed, result.unchanged, result.vanished)


# ---- The real library


def test_real_library(media_root: Path, cat: Path) -> None:
    result = scan_library(media_root / "library", cat)
    assert (result.titles, result.items, result.extras) == (6, 6, 1)
    assert result.skipped == ()
    assert result.warnings == ()
    with open_catalog(cat) as catalog:
        titles = {title.id: title for title in catalog.titles()}
        found = {
            (
                titles[item.title_id].kind,
                titles[item.title_id].name,
                titles[item.title_id].year,
                item.season,
                item.episode,
                item.extra,
            ): round(item.probe.duration_seconds)
            for item in catalog.items(include_extras=True)
        }
    assert found == {
        ("movie", "Big Buck Bunny", 2008, None, None, None): 596,
        ("movie", "Elephants Dream", 2006, None, None, None): 66,
        ("movie", "Tears of Steel", 2012, None, None, None): 70,
        ("movie", "Sintel", 2010, None, None, None): 26,
        ("movie", "Sintel", 2010, None, None, "trailer"): 52,
        ("show", "Caminandes", None, 1, 3, None): 150,
        ("show", "Kids Science News Network", None, 1, 1, None): 31,
    }
    assert result.seconds == pytest.approx(sum(found.values()) - 52, abs=3)


@pytest.mark.usefixtures("worker_processes")
def test_the_catalog_does_not_depend_on_the_number_of_workers(
    media_root: Path, tmp_path: Path
) -> None:
    for num_workers in (1, 3):
        scan_library(
            media_root / "library", tmp_path / f"cat{num_workers}", num_workers=num_workers
        )
    with open_catalog(tmp_path / "cat1") as one, open_catalog(tmp_path / "cat3") as three:
        assert one.titles() == three.titles()
        assert one.items(include_extras=True) == three.items(include_extras=True)


# ---- Titles


def test_seasons_of_a_show_are_one_title(library: Path, cat: Path) -> None:
    for season in (1, 2):
        for episode in (1, 2):
            name = f"TV/Show/Season {season:02}/Show - S{season:02}E{episode:02}.mp4"
            film(library, name, number=2 * season + episode)
    result = scan_library(library, cat)
    assert (result.titles, result.items) == (1, 4)


def test_short_files_without_year_or_episode_are_clips(library: Path, cat: Path) -> None:
    film(library, "dog/1.mp4", 1)
    film(library, "cat/1.mp4", 2)
    film(library, "Short (2010).mp4", 3)
    write_film(library / "long.avi", seconds=91, frame_rate=2, languages=())
    scan_library(library, cat)
    with open_catalog(cat) as catalog:
        kinds = sorted((title.name, title.kind) for title in catalog.titles())
    assert kinds == [
        ("1", TitleKind.CLIP),
        ("1", TitleKind.CLIP),
        ("Short", TitleKind.MOVIE),
        ("long", TitleKind.MOVIE),
    ]


def test_extras_join_the_title_they_belong_to(library: Path, cat: Path) -> None:
    film(library, "Up (2009)/Up (2009)-trailer.mp4", 1)
    film(library, "Up (2009)/Up (2009).mp4", 2)
    film(library, "Show/Extras/Bloopers.mp4", 3)
    film(library, "Show/Season 1/Show S01E01.mp4", 4)
    result = scan_library(library, cat)
    assert (result.titles, result.items, result.extras) == (2, 2, 2)
    assert result.extra_kinds == {"other": 1, "trailer": 1}
    with open_catalog(cat) as catalog:
        items = catalog.items(include_extras=True)
        assert len({item.title_id for item in items}) == 2


# ---- Bad input, always beside a good film that must be used


@pytest.mark.usefixtures("worker_processes")
def test_bad_files_are_skipped_with_their_reasons(
    library: Path, cat: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    film(library, "Good (2001).mp4")
    (library / "empty.mp4").touch()
    (library / "text.mp4").write_text("Once upon a time\n" * 100)
    keep_part(write_film(library / "header cut.mp4"), 0.1, 1.0)
    keep_part(write_film(library / "index cut.mp4"), 0.0, 0.5)
    write_audio_file(library / "sound.m4a")
    write_audio_file(library / "song.m4a", cover=True)
    write_still(library / "holiday.png")
    shutil.copy(library / "holiday.png", library / "image.mp4")
    write_still(library / "one frame.mp4")
    result = scan_library(library, cat, num_workers=2)
    assert (result.titles, result.items) == (1, 1)
    assert reasons(result) == {
        "empty.mp4": "the file is empty (0 bytes)",
        "text.mp4": "not a media file, or its header is missing",
        "header cut.mp4": "not a media file, or its header is missing",
        "index cut.mp4": "its index (the moov box) is missing or damaged: the file was cut, or its "
        "recording or download never finished",
        "sound.m4a": "no video stream: only audio",
        "song.m4a": "no video stream: only cover art and audio",
        "holiday.png": "a still image, not a film",
        "image.mp4": "a still image, not a film",
        "one frame.mp4": "a still image: it has only one frame",
    }
    assert capfd.readouterr() == ("", "")
    monkeypatch.undo()
    again = scan_library(library, cat)
    assert again.skipped == result.skipped
    assert counts(again) == (0, 0, 0, 1, 0)


def test_a_cut_film_is_used_up_to_the_cut_with_a_warning(library: Path, cat: Path) -> None:
    keep_part(write_film(library / "Cut (2001).mkv", seconds=20.0), 0.0, 0.5)
    for _ in range(2):  # the second scan does not probe again but repeats the warning
        result = scan_library(library, cat)
        assert result.items == 1
        assert 8 < result.seconds < 12
        (warning,) = result.warnings
        assert warning.startswith("Cut (2001).mkv: the video ends at")


def test_unusual_but_usable_films_are_used(library: Path, cat: Path) -> None:
    write_film(library / "Silent (1920).mp4", languages=())
    write_film(library / "Second (2001).mp4", seconds=1.0)
    write_film(library / "Late (2002).mkv", seconds=5.0, audio_start_seconds=3.0)
    result = scan_library(library, cat)
    assert (result.items, result.skipped, result.warnings) == (3, (), ())
    with open_catalog(cat) as catalog:
        late, second, silent = catalog.items()
    assert late.probe.audio_tracks[0].start_seconds == pytest.approx(3.0, abs=0.07)
    assert second.probe.duration_seconds == 1.0
    assert silent.probe.audio_tracks == ()


def test_unusual_names_are_used(library: Path, cat: Path) -> None:
    latin1 = os.fsdecode(b"Am\xe9lie (2001).mp4")
    try:
        film(library, "plain.mp4", 4).rename(library / latin1)
    except OSError:
        pytest.skip("this file system refuses names that are not UTF-8")
    film(library, "七人の侍 (1954).mp4", 2)
    film(library, "two\nlines (2003).mp4", 3)
    shutil.copy(library / latin1, library / os.fsdecode(b"copy \xff.mp4"))
    result = scan_library(library, cat)
    with open_catalog(cat) as catalog:
        assert {title.name for title in catalog.titles()} == {"Amélie", "七人の侍", "two lines"}
        for item in catalog.items():
            assert catalog.source_path(item).is_file()
    (copy,) = result.skipped
    assert copy.reason == "same content as Amélie (2001).mp4"


@pytest.mark.usefixtures("worker_processes")
def test_a_crash_of_the_decoder_loses_one_file_only(
    library: Path, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanner_module, "_examine", crash_on_evil)
    for number, name in enumerate(["a (2001).mp4", "evil (2002).mp4", "z (2003).mp4"]):
        film(library, name, number)
    result = scan_library(library, cat)
    assert result.items == 2
    assert reasons(result).keys() == {"evil (2002).mp4"}
    # What killed the worker may not have been the file, so the next scan tries it again.
    monkeypatch.undo()
    assert scan_library(library, cat).items == 3


def test_a_folder_without_permission_is_skipped(
    library: Path, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(library, "Good (2001).mp4", 1)
    film(library, "locked/Hidden (2002).mp4", 2)
    scan_library(library, cat)
    with without_permission(library / "locked", monkeypatch):
        result = scan_library(library, cat)
    assert reasons(result) == {"locked": "folder cannot be read: Permission denied"}
    assert counts(result) == (0, 0, 0, 1, 1)
    result = scan_library(library, cat)  # with permission again, the film is the same item
    assert (result.items, result.skipped) == (2, ())
    assert counts(result) == (0, 0, 0, 2, 0)


@contextmanager
def without_permission(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Remove the permission to read a folder, or simulate that for root."""
    if os.geteuid() != 0:
        folder.chmod(0)
        yield
        folder.chmod(0o755)
        return
    scandir = os.scandir

    def refuse(path: Path) -> Any:
        if path == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        yield


def test_links_are_not_followed_in_circles_or_out_of_the_library(
    library: Path, cat: Path, tmp_path: Path
) -> None:
    film(library, "a/Good (2001).mp4", 1)
    outside = film(tmp_path, "outside/Secret (2002).mp4", 2)
    (library / "a" / "loop").symlink_to(library)
    (library / "circle.mp4").symlink_to("circle.mp4")
    (library / "nowhere.mp4").symlink_to("none.mp4")
    (library / "out.mp4").symlink_to(outside)
    (library / "out").symlink_to(outside.parent)
    (library / "again.mp4").symlink_to(library / "a" / "Good (2001).mp4")
    os.mkfifo(library / "pipe.mp4")
    result = scan_library(library, cat)
    assert result.items == 1
    found = reasons(result)
    assert found.pop("out").startswith(
        "a link that leads out of the library"
    )  # and so does out.mp4
    assert found == {
        "circle.mp4": "a link that leads in a circle",
        "nowhere.mp4": "a link that leads nowhere",
        "pipe.mp4": "not a regular file (a pipe, socket or device)",
    }


def test_a_link_that_is_followed_again_is_not_listed(
    library: Path, cat: Path, tmp_path: Path
) -> None:
    film(library, "Beta (2002).mp4", 1)
    target = film(tmp_path / "elsewhere", "Alpha (2001).mp4")
    (library / "Alpha (2001).mp4").symlink_to(target)
    for follow_links in (True, False, True):
        result = scan_library(library, cat, follow_links=follow_links)
        assert ("Alpha (2001).mp4" in reasons(result)) is not follow_links
    assert len(paths_by_id(cat)) == 2


def test_subtitles_artwork_and_hidden_files_are_only_counted(library: Path, cat: Path) -> None:
    film(library, "Up (2009)/Up (2009).mp4")
    for name in ("Up (2009).nfo", "Up (2009).en.srt", "Up (2009).jpg", "poster.jpg", ".hidden.mp4"):
        (library / "Up (2009)" / name).write_text("beside")
    result = scan_library(library, cat)
    assert (result.items, result.ignored, result.skipped) == (1, 5, ())


def test_the_same_film_twice_is_one_item(library: Path, cat: Path) -> None:
    shutil.copy(film(library, "a (2001).mp4"), library / "b (2001).mp4")
    for _ in range(2):
        result = scan_library(library, cat)
        assert result.items == 1
        assert reasons(result) == {"b (2001).mp4": "same content as a (2001).mp4"}
    (library / "a (2001).mp4").unlink()  # then the copy becomes the item
    before = paths_by_id(cat)
    result = scan_library(library, cat)
    assert (result.items, result.skipped, result.renamed) == (1, (), 1)
    assert paths_by_id(cat).keys() == before.keys()


# ---- Incremental


def refuse(path: Path, report: Any) -> Any:
    """Stand in for the work on a file where no file may be opened; runs in the worker."""
    raise AssertionError(path)


def test_an_unchanged_library_is_not_opened(
    library: Path, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(library, "a (2001).mp4")
    (library / "bad.mp4").write_text("text")
    first = scan_library(library, cat)
    monkeypatch.setattr(scanner_module, "_examine", refuse)
    again = scan_library(library, cat)
    assert counts(first) == (1, 0, 0, 0, 0)
    assert counts(again) == (0, 0, 0, 1, 0)
    assert again.skipped == first.skipped


@pytest.mark.parametrize("is_known", [True, False])
def test_a_touched_file_is_the_same_only_if_all_of_it_was_read_before(
    library: Path, cat: Path, is_known: bool
) -> None:
    path = film(library, "a (2001).mp4")
    scan_library(library, cat)
    if is_known:
        prepare_catalog(cat, ProxyFormat(short_side=32))
    with open_catalog(cat) as catalog:
        before = catalog.item(1)
    assert (before.full_digest is not None) == is_known
    os.utime(path, ns=(0, 0))
    assert counts(scan_library(library, cat)) == ((0, 0, 0, 1, 0) if is_known else (0, 1, 0, 0, 0))
    with open_catalog(cat) as catalog:
        assert len(catalog.proxies()) == is_known
        assert (catalog.item(1).fingerprint == before.fingerprint) == is_known
    # From now on, all of it is known.
    os.utime(path, ns=(1, 1))
    assert counts(scan_library(library, cat)) == (0, 0, 0, 1, 0)


def same_size_and_samples(path: Path) -> bytes:
    """Return the content of a long film with one byte changed that no sampled digest covers."""
    data = bytearray(path.read_bytes())
    assert len(data) > 20 << 16
    data[5 << 15] ^= 255
    return bytes(data)


@pytest.fixture
def padded(library: Path) -> Path:
    """A small film in a file of 1.5 MB, of which a sampled digest reads a third."""
    path = film(library, "a (2001).mp4")
    box = struct.pack(">I4s", 24 << 16, b"free") + bytes((24 << 16) - 8)
    path.write_bytes(path.read_bytes() + box)
    return path


def test_a_download_that_had_its_full_size_is_read_again(
    library: Path, cat: Path, padded: Path
) -> None:
    whole = padded.read_bytes()
    padded.write_bytes(same_size_and_samples(padded))
    scan_library(library, cat)
    prepare_catalog(cat, ProxyFormat(short_side=32))
    padded.write_bytes(whole)
    assert counts(scan_library(library, cat)) == (0, 1, 0, 0, 0)
    assert prepare_catalog(cat, ProxyFormat(short_side=32)).prepared == 1


def test_files_that_differ_in_one_byte_are_not_copies(
    library: Path, cat: Path, padded: Path
) -> None:
    scan_library(library, cat)
    (library / "b (2002).mp4").write_bytes(same_size_and_samples(padded))
    shutil.copy(padded, library / "c (2003).mp4")
    result = scan_library(library, cat)
    assert counts(result) == (1, 0, 0, 1, 0)
    assert reasons(result).keys() == {"c (2003).mp4"}
    assert scan_library(library, cat).items == 2


def test_files_that_differ_in_one_byte_are_not_renames(
    library: Path, cat: Path, padded: Path
) -> None:
    other = same_size_and_samples(padded)
    scan_library(library, cat)
    prepare_catalog(cat, ProxyFormat(short_side=32))
    padded.unlink()
    (library / "b (2002).mp4").write_bytes(other)
    assert counts(scan_library(library, cat)) == (1, 0, 0, 0, 1)
    with open_catalog(cat) as catalog:
        assert catalog.proxies(include_stale=True).keys() == {1}
        assert [item.id for item in catalog.items()] == [2]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_copies_in_one_first_scan_are_compared_whole(
    library: Path,
    cat: Path,
    padded: Path,
    num_workers: int,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if num_workers > 1:
        request.getfixturevalue("worker_processes")
    (library / "b (2002).mp4").write_bytes(same_size_and_samples(padded))
    shutil.copy(padded, library / "c (2003).mp4")
    (library / "Up (2009)").mkdir()
    shutil.copy(padded, library / "Up (2009)" / "Up (2009)-trailer.mp4")
    result = scan_library(library, cat, num_workers=num_workers)
    monkeypatch.undo()  # the other scans need no worker processes
    assert (result.items, result.extras) == (2, 0)
    assert reasons(result).keys() == {"c (2003).mp4", "Up (2009)/Up (2009)-trailer.mp4"}
    again = scan_library(library, cat)
    assert (again.unchanged, again.skipped) == (2, result.skipped)
    padded.unlink()  # then a copy becomes the item, because all of it is known
    with open_catalog(cat) as catalog:
        before = catalog.item(1)
    assert scan_library(library, cat).renamed == 1
    with open_catalog(cat) as catalog:
        assert catalog.item(1).fingerprint == before.fingerprint


def test_a_first_scan_does_not_read_whole_files(
    library: Path, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(library, "a (2001).mp4", 1)
    film(library, "b (2002).mp4", 2)
    monkeypatch.setattr(scanner_module, "_digest_all", refuse)
    assert scan_library(library, cat).items == 2


def test_a_file_that_grows_is_skipped_until_it_is_whole(
    library: Path, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(library, "a (2001).mp4", 1)
    path = film(library, "b (2002).mp4", 2)
    monkeypatch.setattr(scanner_module, "_examine", examine_and_grow)
    result = scan_library(library, cat)
    assert (result.items, list(reasons(result))) == (1, ["b (2002).mp4"])
    monkeypatch.undo()
    result = scan_library(library, cat)
    assert (result.items, result.skipped) == (2, ())
    with open_catalog(cat) as catalog:
        assert catalog.items()[1].size_bytes == path.stat().st_size


def examine_and_grow(path: Path, report: Any) -> Any:
    """Stand in for a download that goes on while its file is examined; runs in the worker."""
    result = examine(path, report)
    if path.name.startswith("b "):
        with path.open("ab") as file:
            file.write(bytes(188))
    return result


@pytest.mark.parametrize("how", ["killed", "killed twice", "no memory", "silent", "I/O error"])
@pytest.mark.usefixtures("worker_processes")
def test_a_fault_of_the_machine_is_not_held_against_the_file(
    library: Path, cat: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    path = film(library, "a (2001).mp4", 1)
    film(library, "b (2002).mp4", 2)
    monkeypatch.setattr(scanner_module, "_examine", partial(examine_badly, how))
    monkeypatch.setattr(scanner_module, "_TIMEOUT_SECONDS", 2.0)
    result = scan_library(library, cat)
    assert result.items == (2 if how == "killed" else 1)
    monkeypatch.undo()
    assert scan_library(library, cat).items == 2
    path.rename(library / "c (2003).mp4")
    assert scan_library(library, cat).items == 2


@pytest.mark.parametrize("seconds", [10**10, -(10**10), 2**62, -1])
def test_any_time_of_modification_can_be_recorded(
    library: Path, cat: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    film(library, "a (2001).mp4", 1)
    film(library, "b (2002).mp4", 2)
    stat = os.stat

    class Odd:
        """The status of a file whose time of modification no file system of a test may have."""

        def __init__(self, status: os.stat_result) -> None:
            self.st_size, self.st_mode = status.st_size, status.st_mode
            self.st_mtime_ns = seconds * 10**9

    def odd(path: Any, **options: Any) -> Any:
        status = stat(path, **options)
        return Odd(status) if str(path).endswith("a (2001).mp4") else status

    monkeypatch.setattr(os, "stat", odd)
    assert (scan_library(library, cat).items, scan_library(library, cat).unchanged) == (2, 2)


def test_a_file_that_cannot_be_recorded_costs_only_itself(
    library: Path, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(library, "a (2001).mp4", 1)
    film(library, "b (2002).mp4", 2)
    put_item = Catalog.put_item

    def put(catalog: Catalog, item: Item) -> int:
        too_large = 2**63 if item.path.name.startswith("a ") else item.size_bytes
        return put_item(catalog, replace(item, size_bytes=too_large))

    monkeypatch.setattr(Catalog, "put_item", put)
    result = scan_library(library, cat)
    assert (result.items, list(reasons(result))) == (1, ["a (2001).mp4"])
    monkeypatch.undo()
    assert scan_library(library, cat).items == 2


@pytest.mark.usefixtures("worker_processes")
def test_files_are_recorded_while_the_walk_goes_on(
    library: Path, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        film(library, f"{number}/{number} Film (200{number}).mp4", number)
        os.utime(library / f"{number}/{number} Film (200{number}).mp4", (0, 0))
    recorded: list[int] = []
    walk = walk_module.walk_library

    def slow_walk(*arguments: Any, **options: Any) -> Iterator[WalkedFolder]:
        for folder in walk(*arguments, **options):
            if folder.path == Path("2"):
                for _ in range(100):  # the walk stops whenever a worker waits
                    recorded.append(len(paths_by_id(cat)))
                    if recorded[-1] == 2:
                        break
                    time.sleep(scanner_module._WALK_SECONDS)
                    yield WalkedFolder(Path("2"), [], [])
            yield folder

    monkeypatch.setattr(scanner_module, "walk_library", slow_walk)
    assert scan_library(library, cat).items == 3
    assert recorded[-1] == 2


def test_a_renamed_file_keeps_its_item_proxy_and_segments(library: Path, cat: Path) -> None:
    film(library, "a (2001).mp4", 1)
    film(library, "b (2002).mp4", 2)
    scan_library(library, cat)
    prepare_catalog(cat, ProxyFormat(short_side=32))
    segment = Segment(item_id=1, start_seconds=0.0, stop_seconds=0.2, kind="black")
    with open_catalog(cat) as catalog:
        catalog.record_segments("item 1", "a", [1], ["black"], [segment])
        proxies = catalog.proxies()
    (library / "a (2001).mp4").rename(library / "Other Name (1999).mp4")
    assert counts(scan_library(library, cat)) == (0, 0, 1, 1, 0)
    assert paths_by_id(cat) == {1: "Other Name (1999).mp4", 2: "b (2002).mp4"}
    with open_catalog(cat) as catalog:
        assert catalog.title(catalog.item(1).title_id).name == "Other Name"
        assert [title.name for title in catalog.titles()] == ["Other Name", "b"]
        assert catalog.segments(1) == [segment]
        assert catalog.proxies() == proxies


def test_swapped_names_follow_the_content(library: Path, cat: Path) -> None:
    film(library, "a (2001).mp4", 1)
    write_film(library / "b (2002).mp4", seconds=1.0)
    scan_library(library, cat)
    (library / "a (2001).mp4").rename(library / "c")
    (library / "b (2002).mp4").rename(library / "a (2001).mp4")
    (library / "c").rename(library / "b (2002).mp4")
    assert counts(scan_library(library, cat)) == (0, 0, 2, 0, 0)
    assert paths_by_id(cat) == {1: "b (2002).mp4", 2: "a (2001).mp4"}


def test_new_content_at_a_known_path_is_an_update(library: Path, cat: Path) -> None:
    film(library, "a (2001).mp4", 1)
    scan_library(library, cat)
    write_film(library / "a (2001).mp4", seconds=2.0)
    result = scan_library(library, cat)
    assert counts(result) == (0, 1, 0, 0, 0)
    assert result.seconds == 2.0
    assert paths_by_id(cat) == {1: "a (2001).mp4"}


def test_content_that_is_moved_before_its_path_is_reused_keeps_its_item(
    library: Path, cat: Path
) -> None:
    film(library, "a (2001).mp4", 1)
    scan_library(library, cat)
    (library / "a (2001).mp4").rename(library / "old (2001).mp4")
    write_film(library / "a (2001).mp4", seconds=2.0)
    assert counts(scan_library(library, cat)) == (1, 0, 1, 0, 0)
    assert paths_by_id(cat) == {1: "old (2001).mp4", 2: "a (2001).mp4"}


def test_a_damaged_film_is_missing_until_it_is_restored(library: Path, cat: Path) -> None:
    path = film(library, "a (2001).mp4")
    data = path.read_bytes()
    scan_library(library, cat)
    path.write_bytes(b"")
    result = scan_library(library, cat)
    assert (result.items, result.vanished, len(result.skipped)) == (0, 1, 1)
    path.write_bytes(data)
    result = scan_library(library, cat)
    assert (result.items, result.skipped) == (1, ())
    assert paths_by_id(cat) == {1: "a (2001).mp4"}


def test_vanished_files_are_marked_and_keep_their_items(
    library: Path, cat: Path, tmp_path: Path
) -> None:
    path = film(library, "a (2001).mp4", 1)
    film(library, "b (2002).mp4", 2)
    scan_library(library, cat)
    path.rename(tmp_path / "away.mp4")
    result = scan_library(library, cat)
    assert (result.items, result.titles, result.vanished) == (1, 1, 1)
    with open_catalog(cat) as catalog:
        assert [item.missing for item in catalog.items(include_missing=True)] == [True, False]
    assert scan_library(library, cat).vanished == 0
    (tmp_path / "away.mp4").rename(path)
    result = scan_library(library, cat)
    assert (result.items, result.added) == (2, 0)
    assert paths_by_id(cat) == {1: "a (2001).mp4", 2: "b (2002).mp4"}


def test_a_killed_scan_loses_nothing(library: Path, cat: Path) -> None:
    for number in range(4):
        film(library, f"{number} Film (200{number}).mp4", number)
    script = (
        "import os, signal, sys; from toomuchtv.catalog.scan import scan_library\n"
        "def die(done, total, what):\n"
        "    if done == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "scan_library(sys.argv[1], sys.argv[2], progress=die)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(library), str(cat)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(paths_by_id(cat)) == 2
    assert counts(scan_library(library, cat)) == (2, 0, 0, 2, 0)


# ---- Where the catalog and the library are


def test_a_scan_only_reads_the_library(library: Path, cat: Path) -> None:
    film(library, "a (2001).mp4")
    (library / "bad.mp4").write_text("text")

    def state() -> dict[Path, tuple[int, int]]:
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_size)
            for path in [library, *library.rglob("*")]
        }

    before = state()
    scan_library(library, cat)
    assert state() == before


def test_a_catalog_inside_the_library_is_refused(library: Path) -> None:
    with pytest.raises(CatalogError, match="would lie inside the library"):
        scan_library(library, library / "cat")
    assert list(library.iterdir()) == []


def test_a_library_that_is_no_folder_is_refused(tmp_path: Path, cat: Path) -> None:
    with pytest.raises(CatalogError, match="is not a folder"):
        scan_library(tmp_path / "none", cat)
    assert not cat.exists()


def test_another_library_is_refused_but_a_moved_one_is_followed(
    library: Path, cat: Path, tmp_path: Path
) -> None:
    film(library, "a (2001).mp4")
    (tmp_path / "other").mkdir()
    scan_library(library, cat)
    with pytest.raises(CatalogError, match="use another catalog folder"):
        scan_library(tmp_path / "other", cat)
    moved = library.rename(tmp_path / "moved")
    with pytest.raises(CatalogError, match="use another catalog folder"):
        scan_library(tmp_path / "other", cat)  # while the disk of the library is not connected
    assert counts(scan_library(moved, cat)) == (0, 0, 0, 1, 0)
    with open_catalog(cat) as catalog:
        assert catalog.library == moved


def test_a_newer_catalog_is_refused(library: Path, cat: Path) -> None:
    scan_library(library, cat)
    connection = sqlite3.connect(cat / "catalog.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(CatalogError, match="upgrade toomuchtv"):
        scan_library(library, cat)


def test_a_second_scan_at_the_same_time_is_refused(library: Path, cat: Path) -> None:
    with (
        open_catalog(cat, create=True) as catalog,
        catalog.writing(),
        pytest.raises(CatalogError, match="being written by process"),
    ):
        scan_library(library, cat)


def test_progress_runs_from_start_to_end(library: Path, cat: Path) -> None:
    for number in range(3):
        film(library, f"{number} (200{number}).mp4", number)
    reported: list[tuple[float, float]] = []
    scan_library(library, cat, progress=lambda done, total, _: reported.append((done, total)))
    assert reported == sorted(reported)
    assert reported[-1] == (3, 3)
