"""Laws of the catalog's database: records come back unchanged, and readers and writers coexist."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, fields, replace
from functools import partial
from pathlib import Path

import pytest

from toomuchtv.catalog import database
from toomuchtv.catalog.database import SCHEMA_VERSION
from toomuchtv.catalog.file_identity import full_digest
from toomuchtv.catalog.records import (
    AudioTrack,
    Duplicate,
    Item,
    Probe,
    Proxy,
    ProxyAudio,
    Segment,
    TitleKind,
    VideoStream,
)
from toomuchtv.catalog.segment_table import upgrade_segments
from toomuchtv.catalog.snapshot import CatalogSnapshot, SnapshotSegments
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.errors import CatalogError
from toomuchtv.media.damage import DamagedInterval

TRACK = AudioTrack(
    index=1,
    codec="aac",
    channels=2,
    sample_rate_hz=48_000,
    language="jpn",
    title="監督コメンタリー",
    dispositions=frozenset({"default", "comment"}),
    start_seconds=-0.02,
)
ITEM = Item(
    id=0,
    title_id=0,
    path=Path(os.fsdecode(b"caf\xe9\n\xe6\x98\xa0.mkv")),
    season=None,
    episode=3,
    extra=None,
    size_bytes=5 << 32,
    modified_ns=1_700_000_000_123_456_789,
    fingerprint="0" * 32,
    missing=False,
    probe=Probe(
        duration_seconds=0.1,
        video=VideoStream(
            codec="h264",
            width=1920,
            height=1080,
            rotation_degrees=90,
            pixel_format="yuv420p10le",
            frame_rate=None,
            start_seconds=1 / 3,
        ),
        audio_tracks=(TRACK, replace(TRACK, index=2, language=None, dispositions=frozenset())),
        warnings=("one", "two"),
    ),
)
PROXY = Proxy(
    item_id=1,
    fingerprint="0" * 32,
    format_id="r1",
    video_path=Path("proxies/1.mp4"),
    num_frames=8,
    frame_rate=8.0,
    width=64,
    height=48,
    audio_files=(
        ProxyAudio(audio_track=1, language="eng", path=Path(os.fsdecode(b"a\xff.mp4"))),
        ProxyAudio(audio_track=0, language=None, path=Path("b.mp4")),
    ),
    num_samples=0,
    sample_rate_hz=16_000,
    size_bytes=123,
    video_damage=(DamagedInterval(0.5, 1 / 3 + 1), DamagedInterval(7.0, 8.0)),
    audio_damage=(DamagedInterval(0.1, 0.2),),
)


def add(catalog: Catalog, item: Item = ITEM) -> Item:
    with catalog.transaction():
        title = catalog.find_title("key", kinds=[TitleKind.SHOW]) or catalog.add_title(
            "key", kind=TitleKind.SHOW, name="Show", year=None
        )
        item = replace(item, title_id=title.id)
        return replace(item, id=catalog.put_item(item))


def test_records_are_returned_as_they_were_written(tmp_path: Path) -> None:
    with open_catalog(tmp_path / "cat", create=True) as catalog:
        catalog.set_library(Path(os.fsdecode(b"/films/\xff")))
        item = add(catalog)
        catalog.record_proxy(PROXY)
    with open_catalog(tmp_path / "cat") as catalog:
        assert catalog.items() == [item]
        assert catalog.item(item.id) == item
        assert catalog.title(item.title_id) == catalog.titles()[0]
        assert catalog.proxies() == {1: PROXY}
        assert os.fsencode(catalog.source_path(item)) == b"/films/\xff/" + os.fsencode(item.path)


def test_stale_proxies_are_never_returned(tmp_path: Path) -> None:
    with open_catalog(tmp_path, create=True) as catalog:
        item, other = add(catalog), add(catalog, replace(ITEM, fingerprint="1"))
        catalog.record_proxy(PROXY)
        catalog.record_proxy(replace(PROXY, item_id=other.id, fingerprint="1"))
        assert catalog.proxy(item.id) == PROXY
        add(catalog, replace(item, fingerprint="new content"))
        assert list(catalog.proxies()) == [other.id]
        assert catalog.proxies(include_stale=True)[item.id] == PROXY
        for read in (catalog.proxy, lambda item_id: catalog.clip(item_id, 0.0)):
            with pytest.raises(CatalogError, match="no proxy of its present content: run"):
                read(item.id)
        with pytest.raises(CatalogError, match="no item 7"):
            catalog.proxy(7)


def test_extras_and_missing_items_are_left_out_unless_requested(tmp_path: Path) -> None:
    with open_catalog(tmp_path, create=True) as catalog:
        extra = add(catalog, replace(ITEM, extra="trailer", fingerprint="1"))
        assert catalog.titles() == []
        gone = add(catalog, replace(ITEM, missing=True, fingerprint="2"))
        assert catalog.titles() == []
        item = add(catalog, replace(ITEM, fingerprint="3"))
        assert catalog.items() == [item]
        assert catalog.items(include_extras=True) == [extra, item]
        assert catalog.items(include_missing=True) == [gone, item]
        assert len(catalog.titles()) == 1


def test_segments_are_replaced_kind_by_kind(tmp_path: Path) -> None:
    def segment(kind: str, start: float) -> Segment:
        return Segment(item_id=1, start_seconds=start, stop_seconds=start + 1, kind=kind)

    with open_catalog(tmp_path, create=True) as catalog:
        add(catalog)
        found = [segment("black", 5), segment("shot", 1)]
        catalog.record_segments("item 1", "a", [1], ["black", "shot"], found)
        catalog.record_segments("item 1", "b", [1], ["shot"], [segment("shot", 2)])
        assert catalog.segments() == catalog.segments(1)
        assert catalog.segments(1) == [segment("shot", 2), segment("black", 5)]
        assert catalog.segments(2) == []
        with pytest.raises(ValueError, match="is not of item 1"):
            catalog.record_segments("item 1", "c", [1], ["black"], [segment("shot", 0)])
        with pytest.raises(ValueError, match=r"but \['laughter'\] were given"):
            catalog.record_segments("item 1", "c", [1], ["laughter"], [segment("laughter", 0)])
        with pytest.raises(ValueError, match="must start at 0"):
            catalog.record_segments("item 1", "c", [1], ["shot"], [segment("shot", -2)])


def test_new_content_removes_old_segments(tmp_path: Path) -> None:
    with open_catalog(tmp_path, create=True) as catalog:
        item = add(catalog)
        black = Segment(item_id=1, start_seconds=0, stop_seconds=1, kind="black")
        catalog.record_segments("item 1", "a", [item.id], ["black"], [black])
        add(catalog, replace(item, path=Path("renamed.mkv")))
        assert len(catalog.segments(item.id)) == 1
        add(catalog, replace(item, fingerprint="other"))
        assert catalog.segments(item.id) == []
        assert catalog.detection_sources() == {}


def test_detection_runs_again_after_a_file_was_changed_and_restored(tmp_path: Path) -> None:
    """The restored content has the digests of before, but its segments have been removed."""
    with open_catalog(tmp_path, create=True) as catalog:
        item = add(catalog)
        title = f"title {item.title_id}"
        for scope in (f"item {item.id}", title, "title 99"):
            catalog.record_segments(scope, "a", [item.id], ["opening"], [])
        catalog.record_duplicates("a", [])
        add(catalog, replace(item, fingerprint="changed"))
        add(catalog, item)
        assert catalog.detection_sources() == {"title 99": "a"}


def test_detection_runs_again_after_an_item_was_in_another_title(tmp_path: Path) -> None:
    """The search in the other title has replaced its segments, and none of its own title ran."""
    with open_catalog(tmp_path, create=True) as catalog:
        item = add(catalog)
        with catalog.transaction():
            other = catalog.add_title("other", kind=TitleKind.SHOW, name="Other", year=None)
        own, foreign = f"title {item.title_id}", f"title {other.id}"
        catalog.record_segments(own, "a", [item.id], ["opening"], [])
        with catalog.transaction():
            catalog.put_item(replace(item, title_id=other.id))
        opening = Segment(item_id=item.id, start_seconds=0, stop_seconds=15, kind="opening")
        catalog.record_segments(foreign, "b", [item.id], ["opening"], [opening])
        add(catalog, item)
        assert catalog.detection_sources() == {}


def test_a_proxy_that_is_replaced_while_it_is_read_is_read_whole(tmp_path: Path) -> None:
    new = replace(PROXY, video_path=Path("new.mp4"), audio_files=PROXY.audio_files[:1])
    with open_catalog(tmp_path, create=True) as writer, open_catalog(tmp_path) as reader:
        add(writer)
        writer.record_proxy(PROXY)
        pending = [new]

        def write_between_two_queries(statement: str) -> None:
            if statement.startswith("SELECT proxies.*") and pending:
                writer.record_proxy(pending.pop())

        reader._connection.set_trace_callback(write_between_two_queries)
        assert reader.proxies() == {1: PROXY}
        assert not pending
        assert reader.proxies() == {1: new}


def test_the_work_for_a_title_does_not_grow_with_the_shots_of_the_catalog(tmp_path: Path) -> None:
    """A catalog of 12,000 hours has eleven million shots, and most titles have credits."""
    num_steps = []
    with open_catalog(tmp_path, create=True) as catalog:
        items = [add(catalog, replace(ITEM, fingerprint=str(number))) for number in range(40)]
        for number, item in enumerate(items):
            shots = [
                Segment(item_id=item.id, start_seconds=start, stop_seconds=start + 1, kind="shot")
                for start in range(50)
            ]
            catalog.record_segments(f"item {item.id}", "a", [item.id], ["shot"], shots)
            opening = Segment(
                item_id=item.id, start_seconds=1, stop_seconds=9, kind="opening", recurrence=0
            )
            steps: list[None] = []
            catalog._connection.set_progress_handler(partial(steps.append, None), 1)
            catalog.record_segments(f"title {number}", "a", [item.id], ["opening"], [opening])
            catalog._connection.set_progress_handler(None, 0)
            num_steps.append(len(steps))
        assert catalog.segment_counts()[items[3].id] == {"opening": 1, "shot": 50}
        assert len({one.recurrence for one in catalog.recurring_segments()}) == 40
    assert num_steps[-1] < 1.2 * num_steps[1]


def write_version_5(folder: Path) -> tuple[list[Segment], str]:
    """Make a catalog with random segments as version 5 had it; return them and the snapshot."""
    rng = random.Random(5)
    path = write_whole(folder)
    with open_catalog(folder) as catalog, catalog.writing():
        for item in catalog.items():
            found = [
                Segment(item_id=item.id, start_seconds=start, stop_seconds=start + rng.random() + 1,
                        kind=kind, recurrence=rng.choice([None, 3]) if kind == "opening" else None)
                for kind in ("shot", "black", "opening")
                for start in (rng.choice([0.0, 1.5, rng.random()]) for _ in range(20))
            ]  # fmt: skip
            catalog.record_segments(
                f"item {item.id}", "a", [item.id], ["shot", "black", "opening"], found
            )
        segments, snapshot = catalog.segments(), describe(catalog.snapshot())
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "DROP TABLE segments; CREATE TABLE segments (item_id INTEGER NOT NULL "
            "REFERENCES items (id) ON DELETE CASCADE, start_seconds REAL NOT NULL, "
            "stop_seconds REAL NOT NULL, kind TEXT NOT NULL, recurrence INTEGER); "
            "CREATE INDEX segments_item_kind ON segments (item_id, kind); PRAGMA user_version = 5;"
        )
        rows = [astuple(one) for one in segments]
        rng.shuffle(rows)
        connection.executemany("INSERT INTO segments VALUES (?, ?, ?, ?, ?)", rows)
    (folder / "catalog.sqlite.sum").unlink()
    return segments, snapshot


def describe(snapshot: CatalogSnapshot) -> str:
    arrays = [getattr(snapshot.segments, field.name) for field in fields(SnapshotSegments)]
    return repr([array.tolist() for array in arrays])


def test_a_catalog_of_version_5_is_upgraded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments, snapshot = write_version_5(tmp_path)
    monkeypatch.setattr(database, "_MANY_ROWS", 100)
    with open_catalog(tmp_path) as catalog:
        assert catalog.segments() == segments
        assert catalog.recurring_segments() == [s for s in segments if s.recurrence is not None]
        counts = Counter((one.item_id, one.kind) for one in segments)
        assert catalog.segment_counts() == {
            item.id: {kind: counts[item.id, kind] for kind in ("black", "opening", "shot")}
            for item in catalog.items()
        }
        assert describe(catalog.snapshot()) == snapshot
    assert [record.message for record in caplog.records] == [
        f"the catalog {tmp_path} is changed to version 6, once: millions of segments take a minute"
    ]
    assert (tmp_path / "catalog.sqlite.sum").exists()
    caplog.clear()
    read_whole(tmp_path)
    assert not caplog.records


def test_processes_that_open_a_catalog_of_version_5_at_once_wait_for_its_upgrade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments, _ = write_version_5(tmp_path)
    calls, all_there = [], threading.Barrier(4)

    def upgrade_slowly(connection: sqlite3.Connection) -> None:
        calls.append(threading.get_ident())
        time.sleep(0.5)
        upgrade_segments(connection)

    def read(_: int) -> list[Segment]:
        all_there.wait()
        with open_catalog(tmp_path) as catalog:
            return catalog.segments()

    monkeypatch.setattr(database, "upgrade_segments", upgrade_slowly)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(4))) == [segments] * 4
    assert len(calls) == 1


def test_a_damaged_catalog_of_version_5_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    write_version_5(tmp_path)
    with sqlite3.connect(tmp_path / "catalog.sqlite") as connection:
        connection.execute("UPDATE segments SET start_seconds = 'soon' WHERE rowid = 30")
        before = list(connection.iterdump())
    with pytest.raises(CatalogError, match=f"{re.escape(str(tmp_path))}.* is damaged"):
        open_catalog(tmp_path)
    with sqlite3.connect(tmp_path / "catalog.sqlite") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (5,)
        assert list(connection.iterdump()) == before


def test_a_catalog_of_version_5_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_version_5(tmp_path)
    before = (tmp_path / "catalog.sqlite").read_bytes()
    # As in the test of a read-only folder: tests may run as root.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(CatalogError, match="`toomuchtv catalog show` once where"):
        open_catalog(tmp_path)
    assert (tmp_path / "catalog.sqlite").read_bytes() == before


def test_a_checksum_of_an_earlier_version_is_checked(tmp_path: Path) -> None:
    path = write_whole(tmp_path)
    seal = tmp_path / "catalog.sqlite.sum"
    seal.write_text(full_digest(path) + "\n")
    read_whole(tmp_path)
    seal.write_text("0" * 32 + "\n")
    with pytest.raises(CatalogError, match="was damaged"):
        open_catalog(tmp_path)


def test_recurrence_numbers_are_unique_in_the_catalog(tmp_path: Path) -> None:
    def opening(item_id: int, recurrence: int | None) -> Segment:
        return Segment(
            item_id=item_id, start_seconds=5, stop_seconds=9, kind="opening", recurrence=recurrence
        )

    with open_catalog(tmp_path, create=True) as catalog:
        ids = [add(catalog, replace(ITEM, fingerprint=str(k))).id for k in range(4)]
        first = [opening(ids[0], 7), opening(ids[1], 7)]
        catalog.record_segments("title 1", "a", ids[:2], ["opening"], first)
        second = [opening(ids[2], 7), opening(ids[3], None)]
        catalog.record_segments("title 2", "b", ids[2:], ["opening"], second)
        one, same, other, none = [segment.recurrence for segment in catalog.segments()]
        assert one == same != other
        assert None not in (one, other)
        assert none is None
        assert [replace(s, recurrence=None) for s in catalog.segments()] == [
            replace(s, recurrence=None) for s in first + second
        ]
        assert catalog.detection_sources() == {"title 1": "a", "title 2": "b"}
        # A new result replaces the earlier result of the same items only.
        catalog.record_segments("title 1", "c", ids[:2], ["opening"], [])
        assert [segment.item_id for segment in catalog.segments()] == ids[2:]
        assert catalog.detection_sources() == {"title 1": "c", "title 2": "b"}
        with pytest.raises(ValueError, match="is not of item 1, 2"):
            catalog.record_segments("title 1", "d", ids[:2], ["opening"], second)


def test_duplicates_are_replaced_and_removed_with_their_content(tmp_path: Path) -> None:
    with open_catalog(tmp_path, create=True) as catalog:
        items = [add(catalog, replace(ITEM, fingerprint=str(k))) for k in range(3)]
        pairs = [
            Duplicate(
                item_id=1, other_item_id=other, start_seconds=1.5, stop_seconds=4.0,
                other_start_seconds=0.25,
            )
            for other in (2, 3)
        ]  # fmt: skip
        catalog.record_duplicates("x", [*pairs, *pairs])
        catalog.record_duplicates("y", pairs[::-1])
        assert catalog.duplicates() == pairs
        assert catalog.detection_sources() == {"catalog": "y"}
        add(catalog, replace(items[2], fingerprint="new"))
        assert catalog.duplicates() == pairs[:1]


@pytest.mark.parametrize("create", [False, True])
def test_older_catalog_is_refused_with_the_command_that_helps(tmp_path: Path, create: bool) -> None:
    open_catalog(tmp_path, create=True).close()
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION - 2}")
    connection.close()
    with pytest.raises(CatalogError, match=r"older toomuchtv .* run `toomuchtv scan`"):
        open_catalog(tmp_path, create=create)


def test_unknown_ids_are_refused(tmp_path: Path) -> None:
    with open_catalog(tmp_path, create=True) as catalog:
        with pytest.raises(CatalogError, match="no item 7 in the catalog"):
            catalog.item(7)
        with pytest.raises(CatalogError, match="no title 7 in the catalog"):
            catalog.title(7)
        with pytest.raises(CatalogError, match="no library was scanned yet"):
            _ = catalog.library


def test_error_for_no_catalog_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="make one with: toomuchtv scan"):
        open_catalog(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_newer_catalog_is_refused(tmp_path: Path) -> None:
    open_catalog(tmp_path, create=True).close()
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    for create in (False, True):
        with pytest.raises(CatalogError, match=r"newer toomuchtv .* upgrade toomuchtv"):
            open_catalog(tmp_path, create=create)


@pytest.mark.parametrize("create", [False, True])
def test_other_files_are_refused_and_not_changed(tmp_path: Path, create: bool) -> None:
    (tmp_path / "catalog.sqlite").write_text("dear diary, " * 100)
    with pytest.raises(CatalogError, match="is not a catalog or is damaged"):
        open_catalog(tmp_path, create=create)
    assert (tmp_path / "catalog.sqlite").read_text().startswith("dear diary")


def test_a_database_that_cannot_be_opened_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").mkdir()  # like a folder that must not be written
    with pytest.raises(CatalogError) as caught:
        open_catalog(tmp_path, create=True)
    assert "damaged" not in str(caught.value)


def test_a_catalog_that_was_emptied_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    with open_catalog(tmp_path, create=True) as catalog, catalog.writing():
        catalog.set_library(tmp_path)
    (tmp_path / "catalog.sqlite").write_bytes(b"")
    with pytest.raises(CatalogError):
        open_catalog(tmp_path, create=True)


def test_another_database_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(CatalogError, match="is a database, but not a catalog"):
        open_catalog(tmp_path, create=True)


def test_readers_read_while_a_writer_writes(tmp_path: Path) -> None:
    with open_catalog(tmp_path, create=True) as writer, open_catalog(tmp_path) as reader:
        item = add(writer)
        with writer.transaction():
            writer.set_missing(item.id)
            assert reader.items() == [item]
        assert reader.items() == []


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    with open_catalog(tmp_path, create=True) as catalog:
        item = add(catalog)
        with pytest.raises(CatalogError, match="no item 99"):
            _change_and_fail(catalog, item.id)
        assert catalog.items() == [item]


def _change_and_fail(catalog: Catalog, item_id: int) -> None:
    with catalog.transaction():
        catalog.set_missing(item_id)
        assert catalog.items() == []
        catalog.item(99)


def test_error_for_a_second_writer_names_the_first(tmp_path: Path) -> None:
    with open_catalog(tmp_path, create=True) as one, open_catalog(tmp_path) as two:
        with (
            one.writing(),
            pytest.raises(CatalogError, match=f"written by process {os.getpid()};"),
            two.writing(),
        ):
            pass
        with two.writing():
            pass


def test_a_killed_writer_leaves_no_lock(tmp_path: Path) -> None:
    script = (
        "import sys; from toomuchtv.catalog.store import open_catalog\n"
        "with open_catalog(sys.argv[1], create=True) as catalog, catalog.writing():\n"
        "    print('locked', flush=True); input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with open_catalog(tmp_path) as catalog:
            with (
                pytest.raises(CatalogError, match=f"process {process.pid};"),
                catalog.writing(),
            ):
                pass
            process.send_signal(signal.SIGKILL)
            process.wait()
            with catalog.writing():
                pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS])
def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        open_catalog(tmp_path, create=True) as catalog,
        pytest.raises(CatalogError, match=re.escape(str(tmp_path))),
        catalog.writing(),
    ):
        pass


def write_whole(folder: Path) -> Path:
    """Write a catalog with a row in most tables, and return the path of its database."""
    with open_catalog(folder, create=True) as catalog, catalog.writing():
        catalog.set_library(folder)
        items = [add(catalog, replace(ITEM, fingerprint=str(number))) for number in range(20)]
        for item in items:
            proxy = replace(PROXY, item_id=item.id, fingerprint=item.fingerprint)
            catalog.record_proxy(proxy, full_digest=f"full {item.id}")
            segment = Segment(item_id=item.id, start_seconds=0, stop_seconds=1, kind="shot")
            catalog.record_segments(f"item {item.id}", "a", [item.id], ["shot"], [segment])
    return folder / "catalog.sqlite"


def read_whole(folder: Path) -> None:
    with open_catalog(folder) as catalog:
        catalog.items(include_extras=True, include_missing=True)
        catalog.titles()
        catalog.proxies()
        catalog.segments()
        catalog.skipped_files()
        catalog.duplicates()
        catalog.title_duplicates()
        catalog.detection_sources()
        catalog.snapshot()
        _ = catalog.library


def test_every_damaged_bit_of_a_database_is_found(tmp_path: Path) -> None:
    path = write_whole(tmp_path)
    read_whole(tmp_path)
    data = path.read_bytes()
    rng = random.Random(0)
    for _ in range(30):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(CatalogError, match=re.escape(str(tmp_path))):
            read_whole(tmp_path)
    path.write_bytes(data)
    read_whole(tmp_path)


def test_a_schema_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """SQLite quotes the damaged bytes, which need not be text."""
    path = write_whole(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE", b"CREATE \xacABLE"))
    (tmp_path / "catalog.sqlite.sum").unlink()
    with pytest.raises(CatalogError, match=re.escape(str(tmp_path))):
        read_whole(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE items SET probe = '[1]'",
        "UPDATE items SET probe = '{'",
        "UPDATE items SET probe = '{\"duration_seconds\": 1}'",
        "UPDATE items SET path = 3",
        "UPDATE items SET probe = x'00'",
        "UPDATE titles SET kind = 'opera'",
        "UPDATE segments SET kind = 'opera'",
        "UPDATE segments SET intervals = x'00'",
        "UPDATE segments SET intervals = 7",
        "UPDATE segments SET num_segments = 7",
        "UPDATE segments SET recurrences = x'000000'",
        "UPDATE proxies SET num_frames = 'many'",
        "UPDATE proxies SET video_damage = '[1]'",
        "UPDATE library SET root = 7",
        "DROP TABLE segments",
    ],
)
def test_wrong_content_is_a_fault_of_the_catalog_and_not_of_the_program(
    tmp_path: Path, change: str
) -> None:
    path = write_whole(tmp_path)
    connection = sqlite3.connect(path)
    connection.execute(change)
    connection.commit()
    connection.close()
    with pytest.raises(CatalogError, match=re.escape(str(tmp_path))):
        read_whole(tmp_path)
    (tmp_path / "catalog.sqlite.sum").unlink()  # as after a writer that was killed
    with pytest.raises(CatalogError, match=re.escape(str(tmp_path))):
        read_whole(tmp_path)


def test_a_writer_that_was_killed_leaves_no_wrong_checksum(tmp_path: Path) -> None:
    write_whole(tmp_path)
    script = (
        "import os, sys; from pathlib import Path\n"
        "from toomuchtv.catalog.store import open_catalog\n"
        "with open_catalog(sys.argv[1]) as catalog, catalog.writing():\n"
        "    catalog.set_library(Path('/other'))\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    read_whole(tmp_path)
    with open_catalog(tmp_path) as catalog:
        assert catalog.library == Path("/other")
        with catalog.writing():
            catalog.set_library(Path("/third"))
    assert (tmp_path / "catalog.sqlite.sum").is_file()
    read_whole(tmp_path)


def test_a_read_only_folder_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_catalog(tmp_path, create=True) as catalog:
        item = add(catalog)
    # Tests may run as root, for whom permissions do not hold; this stands in for a read-only disk.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with open_catalog(tmp_path) as catalog:
        assert catalog.items() == [item]
        with pytest.raises(CatalogError, match="cannot write to the catalog"):
            catalog.set_library(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["catalog.sqlite"]
