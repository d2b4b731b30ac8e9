"""A folder has one owner, also when processes are killed and when other hosts see the folder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from toomuchtv._internal import folder_lock as module
from toomuchtv._internal.folder_lock import LOCK_NAME, FolderInUseError, folder_lock

_HOLD = """
import sys, time
from pathlib import Path
from toomuchtv._internal.folder_lock import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("owned", flush=True)
    time.sleep(60)
"""


@contextmanager
def other_owner(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "owned\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def write_owner(folder: Path, process: int, host: str) -> None:
    content = {"process": process, "host": host, "since": "2026-11-30T00:00:00+00:00"}
    (folder / LOCK_NAME).write_text(json.dumps(content))


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)


def assert_in_use(folder: Path, *names: object) -> None:
    with pytest.raises(FolderInUseError) as caught, folder_lock(folder):
        pass
    for name in names:
        assert str(name) in str(caught.value)


def test_the_owner_is_named_and_its_death_frees_the_folder(tmp_path: Path) -> None:
    with other_owner(tmp_path) as process:
        assert_in_use(tmp_path, process.pid, socket.gethostname())
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / LOCK_NAME).exists()
        with folder_lock(tmp_path):
            assert json.loads((tmp_path / LOCK_NAME).read_text())["process"] == os.getpid()
            assert_in_use(tmp_path, os.getpid())
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), folder_lock(tmp_path):
        raise KeyError
    with folder_lock(tmp_path):
        pass


def test_file_system_without_locks(tmp_path: Path, no_flock: None) -> None:
    with folder_lock(tmp_path):
        assert_in_use(tmp_path, os.getpid())
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    write_owner(tmp_path, dead.pid, socket.gethostname())
    with folder_lock(tmp_path):
        pass
    write_owner(tmp_path, os.getppid(), socket.gethostname())
    assert_in_use(tmp_path, os.getppid())


@pytest.mark.parametrize("content", ["", "no JSON", "[" * 900, "5", "{}", '{"process": -1}'])
def test_a_lock_file_without_meaning_is_taken_over(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK_NAME).write_text(content)
    with folder_lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_live_owner_on_another_host_is_respected_and_a_dead_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(module, "_SIGN_OF_LIFE_SECONDS", 0.05)
    write_owner(tmp_path, 4711, "other-host")
    path, released = tmp_path / LOCK_NAME, threading.Event()
    life = threading.Thread(target=module._show_life, args=(path, released))
    life.start()
    assert_in_use(tmp_path, 4711, "other-host", path)
    released.set()
    life.join()
    begun = time.monotonic()
    with folder_lock(tmp_path):
        before = path.stat().st_mtime_ns
        time.sleep(0.3)
        assert path.stat().st_mtime_ns > before
    assert time.monotonic() - begun >= 0.5


def test_of_many_starters_one_wins(tmp_path: Path) -> None:
    """Threads have file descriptions of their own, as processes have."""
    owners: list[int] = []
    most, refused = [0], [0]

    def own() -> None:
        for _ in range(30):
            try:
                with folder_lock(tmp_path):
                    owners.append(1)
                    most[0] = max(most[0], len(owners))
                    time.sleep(0.001)
                    owners.pop()
            except FolderInUseError:
                refused[0] += 1

    threads = [threading.Thread(target=own) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
    assert 0 < refused[0] < 180
    assert list(tmp_path.iterdir()) == []
