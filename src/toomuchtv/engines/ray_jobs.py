"""The jobs of one call on a Ray cluster: given out, watched, run again, or given up."""

from __future__ import annotations

import collections
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from toomuchtv._internal.subprocess_pool import START_SECONDS, Failure
from toomuchtv.engines.ray_worker import JobSettings, ProgressBoard, run_job
from toomuchtv.errors import EngineError

A = TypeVar("A")
R = TypeVar("R")

#: Time between two looks at the cluster.
POLL_SECONDS = 1.0
# The worker process of a job ends a silent job by itself. This much later, its machine is taken to
# be stalled too.
_GRACE_SECONDS = 60.0
# A job whose Ray worker was lost while its machine stayed is run once more, as in `run_isolated`.
_MAX_LOST = 2

_NONE = object()


@dataclass(slots=True)
class _Running(Generic[A]):
    """A job that was given to Ray.

    Attributes:
        number: Number of this attempt, by which its reports are known.
        argument: Its argument.
        num_lost: How often its Ray worker was lost while the machine stayed.
        node_id: The machine that runs it; None while it waits for one.
        last_heard: Time of its last report.
    """

    number: int
    argument: A
    num_lost: int = 0
    node_id: str | None = None
    last_heard: float = 0.0


class RayJobs(Generic[A, R]):
    """The jobs of one call of `RayEngine.run`.

    Args:
        settings: What the jobs share.
        options: The resources of a task.
        on_report: Called with (argument, amount) for the progress of a job.

    Attributes:
        running: The jobs that were given to Ray, by the reference of their result.
    """

    def __init__(
        self,
        settings: JobSettings,
        options: dict[str, Any],
        on_report: Callable[[A, float], None] | None,
    ) -> None:
        self._ray = import_ray()
        self._on_report = on_report
        self._silence_seconds = settings.silence_seconds + START_SECONDS + _GRACE_SECONDS
        self.running: dict[Any, _Running[A]] = {}
        self._again: collections.deque[_Running[A]] = collections.deque()
        self._num_started = 0
        self._next_poll = 0.0
        here = on_node(self._ray.get_runtime_context().get_node_id())
        self._board = self._ray.remote(ProgressBoard).options(**here).remote()
        self._settings = self._ray.put(settings)
        self._task = self._ray.remote(run_job).options(**options)

    def submit(self, waiting: Iterator[A], capacity: int) -> None:
        """Give jobs to Ray, no more than it needs to keep the cluster busy."""
        while len(self.running) < capacity:
            if self._again:
                before = self._again.popleft()
                job = _Running(self._num_started, before.argument, before.num_lost)
            elif (argument := next(waiting, _NONE)) is not _NONE:
                job = _Running(self._num_started, cast(A, argument))
            else:
                return
            self._num_started += 1
            ref = self._task.remote(self._settings, job.number, job.argument, self._board)
            self.running[ref] = job

    def finished(self) -> Iterator[tuple[A, R | Failure]]:
        """Wait for a moment, and yield a job that has ended."""
        with self._connection():
            ready, _ = self._ray.wait(list(self.running), timeout=POLL_SECONDS)
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
                job.num_lost += 1
            if job.num_lost >= _MAX_LOST:
                return Failure(f"the process reading it died twice ({type(error).__name__})")
            return _NONE

    def _is_alive(self, node_id: str | None) -> bool:
        return any(node["NodeID"] == node_id and node["Alive"] for node in self._ray.nodes())

    def _take_reports(self, *ended: _Running[A]) -> None:
        """Pass on the progress of the running jobs."""
        self._next_poll = time.monotonic() + POLL_SECONDS
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
        """End all jobs: without the board, they end at their next report.

        They are not canceled, because Ray can end this process when a task that is canceled
        returns at that moment ("Tried to complete task that was not pending").
        """
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._board)


def import_ray() -> Any:
    """Import Ray.

    Raises:
        EngineError: It is not installed.
    """
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


def on_node(node_id: str) -> dict[str, Any]:
    """Return the options of a task or an actor that must run on a machine and needs little."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    strategy = NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)
    return {"num_cpus": 0, "scheduling_strategy": strategy}
