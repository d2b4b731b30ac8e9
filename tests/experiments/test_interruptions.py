"""No process outlives the command that started it, and a repeated command continues."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from experiments.rendered_tv import RenderedTVConfig, render_library
from toomuchtv._internal.folder_lock import FolderInUseError, folder_lock

ROOT = Path(__file__).parents[2]
CONFIG = RenderedTVConfig(
    movies=2, shows=0, minutes=0.5, event_kinds=3, width=320, height=180,
    transfer_titles=5, transfer_clips_per_kind=0,
)  # fmt: skip


def start(out: Path, err: Path) -> subprocess.Popen[bytes]:
    settings = [
        f"{name}={value}" for name, value in CONFIG.model_dump(exclude_defaults=True).items()
        if name not in {"movies", "shows", "minutes"}
    ]  # fmt: skip
    command = [sys.executable, "-m", "experiments.rendered_tv", str(out), "--workers", "2"]
    command += ["--movies", "2", "--shows", "0", "--minutes", "0.5", "--json"]
    for setting in settings:
        command += ["--set", setting]
    with err.open("wb") as file:
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=file)


def wait_for(condition: object, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.02)


def semaphores() -> set[str]:
    """Return the semaphores of multiprocessing; other tests keep files beside them."""
    return {name for name in os.listdir("/dev/shm") if name.startswith(("sem.", "psm_"))}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_renderer_that_is_stopped_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    out, err, before = tmp_path / "out", tmp_path / "err", semaphores()
    process = start(out, err)
    try:
        parent = psutil.Process(process.pid)
        wait_for(lambda: len(list(out.rglob("*.mp4.*.partial"))) == 2)
        children = parent.children(recursive=True)
        assert len(children) == 2
        with pytest.raises(FolderInUseError):
            render_library(out, CONFIG)
        process.send_signal(number)
        code = process.wait(timeout=30)
        gone, alive = psutil.wait_procs(children, timeout=10)
    finally:
        process.kill()
        process.wait()
    assert not alive
    assert len(gone) == 2
    assert semaphores() <= before
    assert code == (-9 if number == signal.SIGKILL else 128 + number)
    text = err.read_text()
    assert "Traceback" not in text
    assert bool(text) == (number != signal.SIGKILL)
    # What it was writing is removed by the next call, which owns the folder.
    if number == signal.SIGKILL:
        with pytest.raises(RuntimeError), folder_lock(out):
            raise RuntimeError
        with pytest.raises(KeyboardInterrupt):
            render_library(out, CONFIG, progress=_interrupt)
        assert not list(out.rglob("*.partial"))


def _interrupt(done: float, total: float, what: str) -> None:
    raise KeyboardInterrupt
