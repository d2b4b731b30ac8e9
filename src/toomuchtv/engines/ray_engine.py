"""The engine of many machines: jobs as tasks of a Ray cluster that runs already."""

from __future__ import annotations

import collections
import contextlib
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from toomuchtv._internal.subprocess_pool import START_SECONDS, Failure
from toomuchtv.engines.ray_worker import (
    JobSettings,
    NodeFacts,
    ProgressBoard,
    describe_node,
    run_job,
    versions,
)
from toomuchtv.errors import EngineError

A = TypeVar("A")
R = TypeVar("R")

_NONE = object()
_POLL_SECONDS = 1.0
_CHECK_SECONDS = 120.0
_KNOCK_SECONDS = 10.0
# The worker process of a job ends a silent job by itself. This much later, its machine is taken to
# be stalled too.
_GRACE_SECONDS = 60.0
# A job whose Ray worker was lost while its machine stayed is run once more, as in `run_isolated`.
_MAX_ATTEMPTS = 2


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
        ray = _import_ray()
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
                f"no machine of the Ray cluster has {self._cpus} processors and {self._gpus:g} "
                "GPUs for a job: start one that has, or ask for less"
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
            _import_ray().shutdown()
            self._is_connected_here = False

    def _slots(self) -> int:
        """Return how many jobs the cluster has resources for."""
        ray = _import_ray()
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
        ray = _import_ray()
        task = ray.remote(describe_node)
        nodes = [
            node for node in ray.nodes() if node["Alive"] and self._slots_of(node["Resources"]) > 0
        ]
        asked = [task.options(**_on_node(node["NodeID"])).remote(paths) for node in nodes]
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
        call = _Call[A, R](settings, options, on_report)
        waiting = iter(arguments)
        capacity, next_look = 0, 0.0
        try:
            while True:
                if time.monotonic() >= next_look:  # machines come and go
                    capacity = self._max_jobs or 2 * max(1, self._slots())
                    next_look = time.monotonic() + _POLL_SECONDS
                call.submit(waiting, capacity)
                if not call.running:
                    return
                yield from call.finished()
                yield from call.stalled()
        finally:
            call.close()


@dataclass(slots=True)
class _Running(Generic[A]):
    """A job that was given to Ray.

    Attributes:
        number: Its number in this call.
        argument: Its argument.
        attempts: How often its Ray worker was lost while the machine stayed.
        node_id: The machine that runs it; None while it waits for one.
        last_heard: Time of its last report.
    """

    number: int
    argument: A
    attempts: int = 0
    node_id: str | None = None
    last_heard: float = 0.0


class _Call(Generic[A, R]):
    """The jobs of one call of `RayEngine.run`.

    Attributes:
        running: The jobs that were given to Ray, by the reference of their result.
    """

    def __init__(
        self,
        settings: JobSettings,
        options: dict[str, Any],
        on_report: Callable[[A, float], None] | None,
    ) -> None:
        self._ray = _import_ray()
        self._on_report = on_report
        self._silence_seconds = settings.silence_seconds + START_SECONDS + _GRACE_SECONDS
        self.running: dict[Any, _Running[A]] = {}
        self._again: collections.deque[_Running[A]] = collections.deque()
        self._num_jobs = 0
        self._next_poll = 0.0
        here = _on_node(self._ray.get_runtime_context().get_node_id())
        self._board = self._ray.remote(ProgressBoard).options(**here).remote()
        self._settings = self._ray.put(settings)
        self._task = self._ray.remote(run_job).options(**options)

    def submit(self, waiting: Iterator[A], capacity: int) -> None:
        """Give jobs to Ray, no more than it needs to keep the cluster busy."""
        while len(self.running) < capacity:
            if self._again:
                job = self._again.popleft()
                job.node_id = None
            elif (argument := next(waiting, _NONE)) is not _NONE:
                job = _Running(self._num_jobs, cast(A, argument))
                self._num_jobs += 1
            else:
                return
            ref = self._task.remote(self._settings, job.number, job.argument, self._board)
            self.running[ref] = job

    def finished(self) -> Iterator[tuple[A, R | Failure]]:
        """Wait for a moment, and yield a job that has ended."""
        with self._connection():
            ready, _ = self._ray.wait(list(self.running), timeout=_POLL_SECONDS)
            if time.monotonic() >= self._next_poll:
                self._take_reports()
        for ref in ready:
            job = self.running.pop(ref)
            outcome = self._outcome(ref, job)
            if outcome is _NONE:
                self._again.append(job)
            else:
                yield job.argument, outcome

    def stalled(self) -> Iterator[tuple[A, R | Failure]]:
        """Give up the jobs whose machine has been silent for too long."""
        limit = time.monotonic() - self._silence_seconds
        late = [r for r, job in self.running.items() if job.node_id and job.last_heard < limit]
        for ref in late:
            job = self.running.pop(ref)
            self._ray.cancel(ref, force=True)
            yield job.argument, Failure(f"no sign of life for {self._silence_seconds:g} s")

    def _outcome(self, ref: Any, job: _Running[A]) -> Any:
        """Return the result of a job, a `Failure`, or `_NONE` if it must be run again."""
        errors = self._ray.exceptions
        try:
            with self._connection():
                return self._ray.get(ref)
        except errors.RayTaskError as error:
            raise error.cause from None
        except errors.RayError as error:
            with self._connection():
                self._take_reports(job)  # where it ran
            if job.node_id is None or self._is_alive(job.node_id):
                job.attempts += 1
            if job.attempts >= _MAX_ATTEMPTS:
                return Failure(f"the process reading it died twice ({type(error).__name__})")
            return _NONE

    def _is_alive(self, node_id: str | None) -> bool:
        return any(node["NodeID"] == node_id and node["Alive"] for node in self._ray.nodes())

    def _take_reports(self, *ended: _Running[A]) -> None:
        """Pass on the progress of the running jobs."""
        self._next_poll = time.monotonic() + _POLL_SECONDS
        reports = self._ray.get(self._board.take.remote())
        for job in (*self.running.values(), *ended):
            if job.number in reports:
                job.node_id, amount = reports[job.number]
                job.last_heard = time.monotonic()
                if self._on_report is not None:
                    self._on_report(job.argument, amount)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[None]:
        """Turn the loss of the cluster into an `EngineError`."""
        errors = self._ray.exceptions
        try:
            yield
        except (errors.LocalRayletDiedError, errors.RayActorError, errors.RpcError) as error:
            raise EngineError(
                "the connection to the Ray cluster is lost. What was finished is kept: run the "
                "same command again when the cluster is back"
            ) from error

    def close(self) -> None:
        """End all jobs."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            for ref in self.running:
                self._ray.cancel(ref, force=True)
            self._ray.kill(self._board)


def _import_ray() -> Any:
    # Ray reports usage to its makers unless told otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise EngineError(
            "the engine ray needs Ray: run `pip install 'toomuchtv[ray]'` on every machine"
        ) from error
    return ray


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


def _on_node(node_id: str) -> dict[str, Any]:
    """Return the options of a task or an actor that must run on a machine and needs little."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    strategy = NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)
    return {"num_cpus": 0, "scheduling_strategy": strategy}


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
