"""What every benchmark says besides its figures: the machine, the versions, the spread."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from toomuchtv.cli.doctor import inspect_machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of one benchmark run, flat, by name."""

    benchmark: str
    values: dict[str, float]

    def publish(self, path: Path | None) -> None:
        """Print them with the machine and the versions; write them to `path` if given."""
        machine, versions = _machine(), _versions()
        print(f"\n{self.benchmark}")
        print(f"  machine: {machine['processor']}, {machine['cpu']}, {machine['memory']}")
        print("  versions: " + ", ".join(f"{name} {value}" for name, value in versions.items()))
        for name, value in self.values.items():
            print(f"  {name:52} {value:10.4g}")
        self.save(path)

    def save(self, path: Path | None) -> None:
        """Write them to `path` if given, with the machine and the versions."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = {**self.values, "machine": _machine(), "versions": _versions()}
            path.write_text(json.dumps(content, indent=1) + "\n")


class Notebook:
    """Figures that are shown and saved as they come, so that a benchmark cut short leaves some."""

    def __init__(self, benchmark: str, path: Path | None) -> None:
        self._benchmark, self._path = benchmark, path
        self.values: dict[str, float] = {}

    def note(self, found: Mapping[str, float]) -> None:
        """Add figures."""
        self.values |= found
        for name, value in found.items():
            print(f"  {name:52} {value:10.4g}", flush=True)
        Figures(benchmark=self._benchmark, values=self.values).save(self._path)


def _machine() -> dict[str, object]:
    return {
        "processor": _processor(),
        "usable_cores": len(os.sched_getaffinity(0)),
        **inspect_machine(Path.cwd()).facts,
    }


def _versions() -> dict[str, str]:
    return {
        name: importlib.metadata.version(name) for name in ("toomuchtv", "torch", "av", "numpy")
    }


def spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest of repeated measurements, as flat figures."""
    return {
        name: statistics.median(values),
        f"{name}_lowest": min(values),
        f"{name}_highest": max(values),
    }


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark takes."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", type=Path, help="write the figures to this file")
    name = Path(sys.argv[0]).stem
    made.add_argument(
        "--out",
        type=Path,
        default=Path("out") / "benchmarks" / name,
        help="folder for what is made on the way; out/benchmarks/NAME",
    )
    return made


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@contextmanager
def one_core() -> Iterator[None]:
    """Stay on one core: what is measured is clips a second and core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def core_seconds() -> float:
    """Seconds of one core that this process and its ended children have used.

    On a core of one's own that is time; on a machine that others use it is what time would be.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
