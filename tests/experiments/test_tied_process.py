"""A tied process ends when the process that started it ends, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

_PARENT = """
import sys, time
from experiments.tied_process import TiedProcess
child = TiedProcess("tests.experiments.tied_child", ["one", "two"])
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_tied_process_ends_with_its_parent(number: signal.Signals, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TIED_CHILD_FILE": str(tmp_path / "said")},
    )  # fmt: skip
    assert parent.stdout is not None
    try:
        child = psutil.Process(int(parent.stdout.readline()))
        until = time.monotonic() + 30
        while not (tmp_path / "said").exists() and time.monotonic() < until:
            time.sleep(0.02)
        assert (tmp_path / "said").read_text() == "__main__ one two"
        assert child.is_running()
        parent.send_signal(number)
        parent.wait(timeout=10)
        child.wait(timeout=10)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
