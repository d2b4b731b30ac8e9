"""A pool of worker processes, so that a crash or a hang in one of them stays there.

FFmpeg reads files that strangers made. Some of these files end the process, take all memory, or
decoding never returns. `run_isolated` works through many such files and loses one job to a bad file
and nothing else. The loader of training batches uses the same `WorkerPool`.

A worker may also die for a reason that no file has: the system ran out of memory, or somebody
killed it. So a job whose worker died is run once more, in a new worker, and a `Failure` says
whether it is the input's fault.

The workers are plain `python -c` processes and not `multiprocessing` ones: they inherit no threads
or locks, do not import the caller's script, and need no helper process.
"""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import resource
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar, cast

from toomuchtv._internal.system_errors import (
    DISK_FULL,
    is_disk_full,
    is_out_of_memory,
    is_system_error,
)
from toomuchtv.errors import ToomuchtvError

A = TypeVar("A")
R = TypeVar("R")

_NONE = object()

#: Time that a worker may take to start Python and to import what it needs.
START_SECONDS = 120.0

# argv: the file with the program, our end of the socket, then the parent's sys.path.
_BOOTSTRAP = (
    "import sys; sys.path[:] = sys.argv[4:]; "
    "from toomuchtv._internal.subprocess_pool import _main; "
    "_main(*map(int, sys.argv[1:4]))"
)


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a job has no result.

    Attributes:
        reason: The reason as a message for a person.
        is_of_input: True if the input was read and found bad, so that it would fail again. False if
            the worker died or was silent, or if the machine refused something: then the input may
            be good and must be tried again by the next call.
        is_disk_full: True if there was no space for what the job writes.
    """

    reason: str
    is_of_input: bool = False
    is_disk_full: bool = False


class Worker(Generic[A]):
    """A worker process, as seen from its parent.

    Args:
        program: File that holds the pickled program.
        files: File descriptors that the worker shares, under the same numbers.
        memory_bytes: Memory that the worker may allocate; 0 for no limit.

    Attributes:
        connection: Carries messages to the worker, and pairs (kind, content) back.
        jobs: The jobs that were sent and not answered, in order.
        is_ready: Whether the worker has started.
    """

    def __init__(self, program: int, files: Sequence[int], memory_bytes: int = 0) -> None:
        self.jobs: collections.deque[A] = collections.deque()
        self.is_ready = False
        self._last_heard = time.monotonic()
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = [program, theirs.fileno()]
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-c", _BOOTSTRAP),
                    *map(str, [*descriptors, memory_bytes]),
                    *sys.path,
                ],
                stdin=subprocess.DEVNULL,
                stdout=sys.__stderr__.fileno() if sys.__stderr__ else None,
                pass_fds=[*descriptors, *files],
                process_group=0,  # the parent handles Ctrl-C at the terminal
            )
        self.connection: Connection = Connection(ours.detach())

    def submit(self, job: A, message: object) -> None:
        """Send a job; its message must be small, so that sending never waits for the worker."""
        if not self.jobs:
            self._last_heard = time.monotonic()
        self.jobs.append(job)
        # If the worker has died meanwhile, `receive` meets the end of the stream.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(message)

    def receive(self) -> tuple[str, Any]:
        """Return the next message: ("ready", None), ("died", how), or what the program sends."""
        try:
            kind, content = self.connection.recv()
        except (EOFError, OSError):
            return "died", self._exit_reason()
        self._last_heard = time.monotonic()
        self.is_ready = True
        return kind, content

    def time_limit(self, seconds: float) -> float:
        """Return `seconds`, or the longer limit of a worker that has not started yet."""
        return seconds if self.is_ready else START_SECONDS

    def seconds_left(self, seconds: float, since: float = 0.0) -> float:
        """Return the time until the worker has been silent for its limit; negative if it was.

        Args:
            seconds: The limit.
            since: Silence before this time of `time.monotonic` does not count.
        """
        return max(since, self._last_heard) + self.time_limit(seconds) - time.monotonic()

    def kill(self) -> None:
        """End the process at once, whatever it is doing."""
        self._process.kill()
        self.connection.close()
        # A process that is stuck in the kernel, on a dead network disk say, ends when that returns.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)

    def _exit_reason(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "it closed its connection"
        return f"signal {-code}" if code < 0 else f"exit code {code}"


class WorkerPool(Generic[A]):
    """Worker processes that run one program.

    Args:
        serve: Called as `serve(connection, *arguments)` in each worker, where it handles messages
            until it is killed. It sends `("ready", None)` first. It must be importable.
        arguments: Arguments of `serve`; they are pickled once.
        files: File descriptors that the workers share, under the same numbers.
        memory_bytes: Memory that each worker may allocate (RLIMIT_DATA); 0 for no limit.

    Attributes:
        workers: The workers that were started and not stopped.
    """

    def __init__(
        self,
        serve: Callable[..., None],
        *arguments: object,
        files: Sequence[int] = (),
        memory_bytes: int = 0,
    ) -> None:
        self.workers: list[Worker[A]] = []
        self._files = files
        self._memory_bytes = memory_bytes
        # The program is a file in memory. A pipe would not do: writing much to a process that
        # does not read would wait for it.
        self._program = memory_file()
        with open(self._program, "wb", closefd=False) as file:
            pickle.dump((serve, *arguments), file)

    def start(self) -> Worker[A]:
        """Start one more worker."""
        worker = Worker[A](self._program, self._files, self._memory_bytes)
        self.workers.append(worker)
        return worker

    def stop(self, worker: Worker[A]) -> None:
        """Kill a worker."""
        worker.kill()
        self.workers.remove(worker)

    def wait(self, seconds: float) -> list[Worker[A]]:
        """Wait until workers have sent something or died, and return them."""
        by_connection = {worker.connection: worker for worker in self.workers}
        ready = wait(list(by_connection), timeout=max(0.0, seconds))
        return [by_connection[connection] for connection in ready]  # type: ignore[index]

    def reason_of_death(self, kind: str, how: object) -> str:
        """Return why a job failed whose worker sent "died" or "no memory", as `receive` gave it."""
        if kind == "died":
            return f"the process reading it died twice ({how})"
        if not self._memory_bytes:
            return "there is not enough memory for it"
        limit = f"{self._memory_bytes / 2**30:.3g} GiB"
        return f"there is not enough memory for it: a process may allocate {limit}"

    def close(self) -> None:
        """Kill all workers and free the memory of the program."""
        for worker in self.workers:
            worker.kill()
        self.workers.clear()
        os.close(self._program)


def memory_file() -> int:
    """Open a file without a name, in memory if the system has such files."""
    try:
        return os.memfd_create("toomuchtv")
    except AttributeError:  # only Linux has it
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())


def run_isolated(
    function: Callable[[A, Callable[[float], None]], R],
    arguments: Iterable[A],
    *,
    num_workers: int,
    silence_seconds: float,
    memory_bytes: int = 0,
    on_report: Callable[[A, float], None] | None = None,
) -> Generator[tuple[A, R | Failure], None, None]:
    """Call `function(argument, report)` for each argument in worker processes.

    A worker handles many jobs, one at a time. Arguments are taken as workers become free, also
    after the iterator was empty, so that a caller may add arguments while it handles results. The
    job may call `report(amount)` as a sign of life, which calls `on_report` here. Closing the
    iterator, or an exception in the caller, kills the workers. They end by themselves if this
    process is killed.

    A job whose worker died or ran out of memory is run once more in a new worker.

    Args:
        function: An importable function (not of `__main__`, no lambda), or a `partial` of one.
        arguments: Arguments of the calls; they must pickle, as must the results.
        num_workers: Maximum number of processes.
        silence_seconds: A worker that neither reports nor returns for longer is killed.
        memory_bytes: Memory that each worker may allocate; 0 for no limit.
        on_report: Called with (argument, amount) for each `report`.

    Yields:
        (argument, result) in order of completion. The result is a `Failure` if the job raised an
        exception, if its process died twice, or if it was silent.

    Raises:
        ValueError: A setting is wrong.
        Exception: A new process cannot import the function, or a result does not pickle. The
            worker's traceback is a note.
    """
    if num_workers < 1:
        raise ValueError(f"num_workers must be at least 1, got {num_workers}")
    if not silence_seconds > 0:
        raise ValueError(f"silence_seconds must be positive, got {silence_seconds}")
    if getattr(getattr(function, "func", function), "__module__", None) == "__main__":
        raise ValueError("the function must live in an importable module, not in __main__")
    pool = WorkerPool[A](_serve, function, memory_bytes=memory_bytes)
    return _run(pool, iter(arguments), num_workers, silence_seconds, on_report)


def _run(
    pool: WorkerPool[A],
    arguments: Iterator[A],
    num_workers: int,
    silence_seconds: float,
    on_report: Callable[[A, float], None] | None,
) -> Generator[tuple[A, R | Failure], None, None]:
    again: collections.deque[A] = collections.deque()  # jobs whose worker died
    second: set[Worker[A]] = set()  # workers that run a job for the second time
    try:
        while True:
            busy = [worker for worker in pool.workers if worker.jobs]
            while len(busy) < num_workers:
                idle = next((worker for worker in pool.workers if not worker.jobs), None)
                if again:
                    if idle is not None:
                        pool.stop(idle)
                    busy.append(pool.start())
                    second.add(busy[-1])
                    argument = again.popleft()
                elif (following := next(arguments, _NONE)) is not _NONE:
                    busy.append(idle or pool.start())
                    argument = cast(A, following)
                else:
                    break
                busy[-1].submit(argument, argument)
            if not busy:
                return
            late = min(busy, key=lambda worker: worker.seconds_left(silence_seconds))
            ready = pool.wait(late.seconds_left(silence_seconds))
            # One answer in each round: the caller may pause at a yield for as long as it likes, so
            # what is ready and who is late must be asked again afterwards.
            if ready:
                worker = ready[0]
                kind, content = worker.receive()
                if kind == "report" and on_report is not None:
                    on_report(worker.jobs[0], content)
                if kind in ("ready", "report"):
                    continue
                if kind == "bug":
                    raise content
                is_second = worker in second
                second.discard(worker)
                if kind in ("died", "no memory"):
                    pool.stop(worker)
                    if not worker.jobs:
                        continue  # an idle worker; no job is lost
                    if not is_second:
                        again.append(worker.jobs.popleft())
                        continue
                    content = Failure(pool.reason_of_death(kind, content))
                yield worker.jobs.popleft(), content
            elif late.seconds_left(silence_seconds) <= 0:
                pool.stop(late)
                second.discard(late)
                yield late.jobs[0], Failure(f"no sign of life for {silence_seconds:g} s")
    finally:
        pool.close()


def _main(program: int, descriptor: int, memory_bytes: int) -> None:
    """Run a worker process."""
    connection = Connection(descriptor)
    if memory_bytes:
        # RLIMIT_DATA counts memory that is written to. RLIMIT_AS would also count code, mapped
        # files and what threads only reserve. Some systems have no such limit.
        with contextlib.suppress(ValueError, OSError):
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            if hard == resource.RLIM_INFINITY or memory_bytes < hard:
                resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, hard))
    os.set_inheritable(descriptor, False)
    end_with_parent(descriptor)
    try:
        # All workers share the position in this file, so it must not be moved.
        serve, *arguments = pickle.loads(os.pread(program, os.fstat(program).st_size, 0))
        os.close(program)
        serve(connection, *arguments)
    except (EOFError, ConnectionError):
        os._exit(1)
    except Exception as error:  # noqa: BLE001 - such as a result that does not pickle
        connection.send(("bug", _portable(error)))


def _serve(connection: Connection, function: Callable[..., Any]) -> None:
    connection.send(("ready", None))
    while True:
        argument = connection.recv()
        connection.send(_answer(function, argument, connection))


def _answer(
    function: Callable[[Any, Callable[[float], None]], Any], argument: Any, connection: Connection
) -> tuple[str, Any]:
    try:
        return "done", function(argument, lambda amount: connection.send(("report", amount)))
    except (ToomuchtvError, OSError, MemoryError) as error:
        if is_out_of_memory(error):
            return "no memory", None
        if is_disk_full(error):
            return "failed", Failure(DISK_FULL, is_disk_full=True)
        reason = str(error) or type(error).__name__
        return "failed", Failure(reason, is_of_input=not is_system_error(error))
    except Exception as error:  # noqa: BLE001 - no input may end the work on the others
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(frame.filename)} line {frame.lineno}"
        name = type(error).__name__
        return "failed", Failure(
            f"an error of this program, please report it: {name} in {place}: {error}"
        )


def _portable(error: Exception) -> Exception:
    """Return the same exception if it survives pickling, else one with the same message."""
    text = "in a worker process:\n" + "".join(traceback.format_exception(error)).rstrip()
    try:
        copy: Exception = pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - pickling a foreign exception may raise anything
        copy = RuntimeError(f"{type(error).__name__}: {error}")
    copy.add_note(text)
    return copy


def end_with_parent(descriptor: int) -> None:
    """End this process, even in the middle of a job, once the parent is gone.

    Args:
        descriptor: This process's end of a socket or pipe, of which the parent holds the other.
    """
    threading.Thread(target=_watch, args=(descriptor,), daemon=True).start()


def _watch(descriptor: int) -> None:
    hang_up = select.poll()
    hang_up.register(descriptor, 0)
    while not hang_up.poll():
        pass
    os._exit(1)
