"""What runs on the machines of a Ray cluster.

A Ray task hands its job to a worker process of `run_isolated`, as the local engine does. So a file
that ends its process, takes all memory or hangs has the same consequence on every engine, and Ray
only has to deal with machines that are lost. The worker process is kept from task to task.
"""

from __future__ import annotations

import collections
import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toomuchtv._internal.subprocess_pool import Failure, run_isolated

#: The packages whose versions decide what a proxy and an embedding contain.
PACKAGES = ("toomuchtv", "av", "numpy", "torch")
# A report of progress is a message over the network.
_REPORT_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a machine of the cluster says about itself.

    Attributes:
        host: Its name.
        versions: Version of each package that matters.
        unseen: The paths that it does not see.
    """

    host: str
    versions: dict[str, str]
    unseen: tuple[str, ...]


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide results, as they are installed here."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def describe_node(paths: Sequence[Path]) -> NodeFacts:
    """Return what this machine has installed, and which of the paths it does not see."""
    unseen = tuple(str(path) for path in paths if not path.exists())
    return NodeFacts(platform.node(), versions(), unseen)


class ProgressBoard:
    """An actor beside the driver that collects how far the running jobs are."""

    def __init__(self) -> None:
        self._reports: dict[int, tuple[str, float]] = {}

    def report(self, number: int, node_id: str, amount: float) -> None:
        """Record a report of a job and the machine that runs it."""
        self._reports[number] = (node_id, amount)

    def take(self) -> dict[int, tuple[str, float]]:
        """Return the reports since the last call: the machine and the amount, by job."""
        reports, self._reports = self._reports, {}
        return reports


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """What all jobs of a call share.

    Attributes:
        call: A name that no other call has.
        function: What each job calls.
        silence_seconds: A job that neither reports nor returns for longer is ended.
        memory_bytes: Memory that a job may allocate; 0 for no limit.
        versions: Versions of the driver's packages, which this machine must have.
    """

    call: str
    function: Callable[[Any, Callable[[float], None]], Any]
    silence_seconds: float
    memory_bytes: int
    versions: dict[str, str]


def run_job(settings: JobSettings, number: int, argument: Any, board: Any) -> Any:
    """Run a job in the worker process of this Ray worker; this is the Ray task.

    Without the board the call has ended. Then the job is ended too, at its next report.

    Returns:
        The result of the function, or a `Failure`.
    """
    import ray

    if versions() != settings.versions:
        return Failure(
            f"the machine {platform.node()} has {_in_words(versions())}, and this one has "
            f"{_in_words(settings.versions)}: install the same versions on all of them"
        )
    for call in _runners.keys() - {settings.call}:
        _runners.pop(call).close()
    node_id = ray.get_runtime_context().get_node_id()
    sent = board.report.remote(number, node_id, 0.0)

    def report(amount: float) -> None:
        nonlocal sent
        if ray.wait([sent], timeout=0)[0]:
            ray.get(sent)
            sent = board.report.remote(number, node_id, amount)

    try:
        ray.get(sent)
        return _runners.setdefault(settings.call, _Runner(settings)).run(argument, report)
    except ray.exceptions.RayActorError:
        if settings.call in _runners:
            _runners.pop(settings.call).close()
        return Failure("the call that gave out this job has ended")


def _in_words(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())


class _Waiting(Iterator[Any]):
    """The next job, if there is one; `run_isolated` asks again after it had none."""

    def __init__(self) -> None:
        self.jobs: collections.deque[Any] = collections.deque()

    def __next__(self) -> Any:
        if not self.jobs:
            raise StopIteration
        return self.jobs.popleft()


class _Runner:
    """One worker process that runs job after job. It is started by the first one.

    Args:
        settings: What the jobs share.
    """

    def __init__(self, settings: JobSettings) -> None:
        self._waiting = _Waiting()
        self._report: Callable[[float], None] = lambda amount: None
        self._next_report = 0.0
        self._results = run_isolated(
            settings.function,
            self._waiting,
            num_workers=1,
            silence_seconds=settings.silence_seconds,
            memory_bytes=settings.memory_bytes,
            on_report=self._on_report,
        )

    def run(self, argument: Any, report: Callable[[float], None]) -> Any:
        """Run a job and return its result."""
        self._report = report
        self._waiting.jobs.append(argument)
        _, result = next(self._results)
        return result

    def close(self) -> None:
        """End the worker process."""
        self._results.close()

    def _on_report(self, argument: Any, amount: float) -> None:
        if time.monotonic() >= self._next_report:
            self._next_report = time.monotonic() + _REPORT_EVERY_SECONDS
            self._report(amount)


#: The runner of the present call in this Ray worker, by the name of the call.
_runners: dict[str, _Runner] = {}
