"""What the jobs of the tests do, in a module that workers import quickly."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

Report = Callable[[float], None]


def square_of(number: int, report: Report) -> int:
    return number * number


def wait_for(marks: Path, number: int, report: Report) -> int:
    """Say that this job has begun, by a file that names the Ray worker; end when told to.

    The file contains the number of the job's process.
    """
    (marks / f"begun-{number}-{os.getppid()}").write_text(str(os.getpid()))
    while not (marks / "go on").exists():
        report(0.5)
        time.sleep(0.05)
    return number


def kill_ray_worker(marks: Path, name: str, report: Report) -> str:
    """Kill the Ray worker that this job belongs to, if the job is called "bad"."""
    if name == "bad":
        (marks / f"attempt-{os.getpid()}").touch()
        psutil.Process(os.getppid()).kill()
        time.sleep(60)
    return name


def stop_ray_worker(name: str, report: Report) -> str:
    """Stop the Ray worker that this job belongs to, as a stalled disk does."""
    if name == "stalled":
        report(0.0)
        psutil.Process(os.getppid()).suspend()
        time.sleep(60)
    return name
