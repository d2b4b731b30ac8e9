"""What all benchmarks share: options, clocks, and printing and saving of figures."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from toomuchtv._internal.processor import processor_name
from toomuchtv.cli.doctor import inspect_machine


class Figures:
    """The figures of one benchmark, which are printed and saved as they are added.

    A benchmark that is interrupted therefore leaves the figures that it had measured.

    Args:
        benchmark: Name of the benchmark.
        path: JSON file for the figures, the machine and the versions of packages; None: no file.

    Attributes:
        values: All figures so far, by name.
    """

    def __init__(self, benchmark: str, path: Path | None) -> None:
        self.values: dict[str, float] = {}
        self._path = path
        self._machine = {
            "processor": processor_name(),
            "usable_cores": len(os.sched_getaffinity(0)),
            **inspect_machine(Path.cwd()).facts,
        }
        self._versions = {
            name: importlib.metadata.version(name) for name in ("toomuchtv", "torch", "av", "numpy")
        }
        machine, versions = self._machine, self._versions
        print(f"\n{benchmark}")
        print(f"  machine: {machine['processor']}, {machine['cpu']}, {machine['memory']}")
        print("  versions: " + ", ".join(f"{name} {value}" for name, value in versions.items()))

    def add(self, values: Mapping[str, float]) -> None:
        """Print figures, and write the JSON file with all figures so far."""
        self.values |= values
        for name, value in values.items():
            print(f"  {name:52} {value:10.4g}", flush=True)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            content = {**self.values, "machine": self._machine, "versions": self._versions}
            self._path.write_text(json.dumps(content, indent=1) + "\n")


def median_and_range(name: str, values: Sequence[float]) -> dict[str, float]:
    """Return the median, the lowest and the highest of repeated measurements."""
    return {
        name: statistics.median(values),
        f"{name}_lowest": min(values),
        f"{name}_highest": max(values),
    }


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark: `--json` and `--out`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out") / "benchmarks" / Path(sys.argv[0]).stem,
        help="folder for files that the benchmark makes (default: out/benchmarks/NAME)",
    )
    return parser


@contextmanager
def one_core() -> Iterator[None]:
    """Restrict this process and its children to one core, to measure rates per core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def core_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended.

    On an idle core that equals wall-clock time. On a machine that others use, it shows what the
    time would be without them.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
