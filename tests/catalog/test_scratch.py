"""Copies on a local disk: the same proxies, one reading of the library, and nothing left behind."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from tests.media_files import write_film
from tests.prepared import RECIPE
from toomuchtv.catalog.file_identity import full_digest, sampled_digest
from toomuchtv.catalog.prepare import PrepareResult, prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.scratch import local_copy, remove_left_copies
from toomuchtv.catalog.store import open_catalog


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "library" / 'It\'s a "film" (2001).mp4'
    return write_film(path, seconds=1.0, languages=["eng", "fra"])


def prepared(library: Path, catalog: Path, scratch: Path | None) -> PrepareResult:
    scan_library(library, catalog)
    proxy_format = RECIPE.model_copy(update={"languages": ("eng", "fra")})
    return prepare_catalog(catalog, proxy_format, scratch=scratch)


def proxies(catalog: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in catalog.glob("proxies/*/*")}


def test_a_proxy_from_a_copy_is_the_proxy_of_the_film(film: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "local" / "disk"
    assert prepared(film.parent, tmp_path / "a", None).prepared == 1
    assert prepared(film.parent, tmp_path / "b", scratch).prepared == 1
    assert proxies(tmp_path / "a") == proxies(tmp_path / "b")
    assert len(proxies(tmp_path / "a")) == 3
    assert list(scratch.iterdir()) == []
    with open_catalog(tmp_path / "a") as one, open_catalog(tmp_path / "b") as other:
        assert one.items() == other.items()


def test_what_is_read_is_the_copy(film: Path, tmp_path: Path) -> None:
    with local_copy(film, tmp_path / "local", lambda num_bytes: None) as (path, digest):
        assert path != film
        assert path.name == film.name
        assert path.read_bytes() == film.read_bytes()
        assert digest == full_digest(film)
    assert not path.exists()


@pytest.mark.parametrize("room", [0, 1000])
def test_a_film_that_does_not_fit_is_read_where_it_is(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """A full disk was also tried for real, on a file system in memory; this one is made up."""
    opened = Path.open

    def open_on_small_disk(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if mode != "wb":
            return opened(path, mode, *arguments, **options)
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return _SmallFile(path, room)

    monkeypatch.setattr(Path, "open", open_on_small_disk)
    with local_copy(film, tmp_path / "local", lambda num_bytes: None) as (path, digest):
        assert path == film
        assert digest == full_digest(film)
        assert sum(copy.stat().st_size for copy in (tmp_path / "local").glob("*/*")) == 0
    assert list((tmp_path / "local").iterdir()) == []


class _SmallFile(FileIO):
    """A file on a disk with little space: writes are short, and then refused."""

    def __init__(self, path: Path, room: int) -> None:
        super().__init__(path, "wb")
        self._room = room

    def write(self, data: Any) -> int:
        if not self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = memoryview(data)[: min(300, self._room)]
        self._room -= len(part)
        return super().write(part)


def test_errors_name_the_film_and_not_the_copy(film: Path, tmp_path: Path) -> None:
    scan_library(film.parent, tmp_path / "cat")
    # The streams end early, and size and time are those of the scan.
    status = film.stat()
    film.write_bytes(film.read_bytes()[:200].ljust(status.st_size, b"\0"))
    os.utime(film, ns=(status.st_atime_ns, status.st_mtime_ns))
    with open_catalog(tmp_path / "cat") as catalog, catalog.writing(), catalog.transaction():
        (item,) = catalog.items()
        digest = sampled_digest(film, status.st_size)
        catalog.put_item(replace(item, sampled_digest=digest))
    result = prepare_catalog(tmp_path / "cat", RECIPE, scratch=tmp_path / "local")
    (failed,) = result.failed
    assert repr(str(film)) in failed.reason
    assert "scratch" not in failed.reason
    assert list((tmp_path / "local").iterdir()) == []


def test_only_copies_of_dead_processes_are_deleted(tmp_path: Path) -> None:
    def folder(name: str, age_seconds: float) -> Path:
        made = tmp_path / name
        made.mkdir()
        (made / "film.mkv").write_bytes(b"x")
        then = time.time() - age_seconds
        os.utime(made, (then, then))
        return made

    owned = folder("toomuchtv-scratch-owned", 3600)
    young = folder("toomuchtv-scratch-young", 1)
    left = folder("toomuchtv-scratch-left", 3600)
    other = folder("somebody's", 3600)
    descriptor = os.open(owned, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        remove_left_copies(tmp_path)
    finally:
        os.close(descriptor)
    assert sorted(tmp_path.iterdir()) == sorted([owned, young, other])
    assert not left.exists()
