"""The engine of many machines: jobs as tasks of a Ray cluster that runs already."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, cast

from toomuchtv._internal.byte_size import format_bytes
from toomuchtv._internal.subprocess_pool import Failure
from toomuchtv.engines.ray_jobs import POLL_SECONDS, RayJobs, import_ray, on_node
from toomuchtv.engines.ray_worker import JobSettings, NodeFacts, describe_node, versions
from toomuchtv.errors import EngineError

A = TypeVar("A")
R = TypeVar("R")

_CHECK_SECONDS = 120.0
_KNOCK_SECONDS = 10.0


class RayEngine:
    """Runs jobs as tasks of a Ray cluster, one task for each film or episode.

    It is a context manager, which connects to the cluster. The folders of library, catalog and
    index must be on storage that every machine sees under the same path. Only the driver, which is
    this process, writes to the catalog.

    Args:
        address: Address of the cluster, such as `10.0.0.1:6379`, or "auto" for the cluster that
            this machine belongs to ($RAY_ADDRESS, if set).
        max_jobs: Number of jobs at the same time, which bounds the load of the storage. By default
            as many as the cluster has resources for.
        cpus_per_job: Processors and threads of each job.
        gpus_per_job: GPUs of each job; a fraction lets jobs share one.
        memory_per_job_bytes: Memory that Ray reserves for a job. The limit that ends a job is
            higher, because few jobs come near it.

    Raises:
        EngineError: On entering: Ray is not installed, or no cluster answers.
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        address: str = "auto",
        *,
        max_jobs: int | None = None,
        cpus_per_job: int = 1,
        gpus_per_job: float = 0.0,
        memory_per_job_bytes: int = 1 << 30,
    ) -> None:
        if (max_jobs is not None and max_jobs < 1) or cpus_per_job < 1 or gpus_per_job < 0:
            raise ValueError(
                "max_jobs and cpus_per_job must be at least 1 and gpus_per_job at least 0, "
                f"got {max_jobs}, {cpus_per_job} and {gpus_per_job}"
            )
        if address.startswith("ray://"):
            raise ValueError(
                f"address {address!r} is of the Ray client: run this command on a machine of the "
                "cluster, and give the address of its head node (such as 10.0.0.1:6379)"
            )
        self.address = address
        self._max_jobs = max_jobs
        self._cpus, self._gpus = cpus_per_job, gpus_per_job
        self._memory_bytes = memory_per_job_bytes
        self._is_connected_here = False

    @property
    def threads_per_job(self) -> int:
        """The processors of a job."""
        return self._cpus

    def __enter__(self) -> Self:
        """Connect to the cluster."""
        ray = import_ray()
        if not ray.is_initialized():
            try:
                _knock(self.address)
                with _own_signal_handlers():
                    ray.init(self.address, log_to_driver=False, logging_level="ERROR")
            except (OSError, RuntimeError, ValueError) as error:
                raise EngineError(
                    f"no Ray cluster answers at {self.address!r}: start one with `ray start "
                    "--head`, or give the address of its head node to --address"
                ) from error
            self._is_connected_here = True
        if self._slots() < 1:
            self._disconnect()
            raise EngineError(
                f"no machine of the Ray cluster has {self._cpus} processors, {self._gpus:g} GPUs "
                f"and {format_bytes(self._memory_bytes)} of memory for a job: start one that has, "
                "or ask for less"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect from the cluster, which ends what is left of the jobs."""
        self._disconnect()

    def _disconnect(self) -> None:
        if self._is_connected_here:
            import_ray().shutdown()
            self._is_connected_here = False

    def _slots(self) -> int:
        """Return how many jobs the cluster has resources for."""
        ray = import_ray()
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return sum(self._slots_of(resources) for resources in nodes)

    def _slots_of(self, resources: dict[str, float]) -> int:
        counts = [resources.get("CPU", 0.0) / self._cpus]
        counts.append(resources.get("memory", 0.0) / self._memory_bytes)
        if self._gpus:
            counts.append(resources.get("GPU", 0.0) / self._gpus)
        return int(min(counts))

    def check_folders(self, written: Path, read: Sequence[Path]) -> None:
        """Raise `EngineError` if a machine has other versions or does not see a folder.

        A file is made in `written` for a moment, so that another folder of the same name, on the
        disk of another machine, does not count.
        """
        token = written / f"node-check-{secrets.token_hex(6)}.partial"
        token.touch()
        try:
            facts = self._ask_nodes([token, *read])
        finally:
            token.unlink(missing_ok=True)
        expected = versions()
        for node in facts:
            if node.versions != expected:
                other = {k: v for k, v in node.versions.items() if expected[k] != v}
                raise EngineError(
                    f"the machine {node.host} has {other}, and this one has "
                    f"{ {k: expected[k] for k in other} }: install the same versions on all"
                )
            if node.unseen:
                unseen = written if node.unseen[0] == str(token) else node.unseen[0]
                raise EngineError(
                    f"the machine {node.host} does not see {str(unseen)!r} of this machine: put "
                    "it on storage that all machines of the cluster mount at the same path"
                )

    def _ask_nodes(self, paths: list[Path]) -> list[NodeFacts]:
        ray = import_ray()
        task = ray.remote(describe_node)
        nodes = [
            node for node in ray.nodes() if node["Alive"] and self._slots_of(node["Resources"]) > 0
        ]
        asked = [task.options(**on_node(node["NodeID"])).remote(paths) for node in nodes]
        try:
            return cast(list[NodeFacts], ray.get(asked, timeout=_CHECK_SECONDS))
        except ray.exceptions.RayTaskError as error:
            raise EngineError(
                "a machine of the Ray cluster cannot run toomuchtv: install the same version on "
                f"all of them ({str(error).strip().splitlines()[-1]})"
            ) from error
        except ray.exceptions.RayError as error:
            raise EngineError(
                f"a machine of the Ray cluster does not answer: {type(error).__name__}. Look at "
                "`ray status`"
            ) from error

    def run(
        self,
        function: Callable[[A, Callable[[float], None]], R],
        arguments: Iterable[A],
        *,
        silence_seconds: float,
        memory_bytes: int = 0,
        on_report: Callable[[A, float], None] | None = None,
    ) -> Generator[tuple[A, R | Failure], None, None]:
        """Run the jobs; see `Engine.run`.

        A job whose machine is lost is run again elsewhere. A job whose Ray worker is lost twice
        while its machine stays is a `Failure`.

        Raises:
            EngineError: The connection to the cluster is lost.
        """
        settings = JobSettings(
            call=secrets.token_hex(8),
            function=function,
            silence_seconds=silence_seconds,
            memory_bytes=memory_bytes,
            versions=versions(),
        )
        options = {
            "num_cpus": self._cpus,
            "num_gpus": self._gpus,
            "memory": self._memory_bytes,
            "max_retries": 0,
        }
        call = RayJobs[A, R](settings, options, on_report)
        waiting = iter(arguments)
        capacity, next_look = 0, 0.0
        try:
            while True:
                if time.monotonic() >= next_look:  # machines come and go
                    capacity = self._max_jobs or 2 * max(1, self._slots())
                    next_look = time.monotonic() + POLL_SECONDS
                call.submit(waiting, capacity)
                if not call.running:
                    return
                yield from call.finished()
                yield from call.stalled()
        finally:
            call.close()


def _knock(address: str) -> None:
    """Raise an error if nothing listens at an address: Ray would try for many minutes.

    Raises:
        OSError: Nothing listens there.
        ValueError: It is no address.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or address
    if address != "auto":
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()


@contextlib.contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Keep the handlers of this process, of which Ray replaces one when it connects."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
