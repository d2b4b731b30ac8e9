"""Functions run in processes of their own, so that what crashes or hangs there stays there.

FFmpeg reads files that strangers made; some of them end the process or never come back. Work on
such files goes through `run_isolated`, which loses one job to such a file and nothing else.

The workers are plain `python -c` processes rather than `multiprocessing` ones: they inherit no
threads or locks, run nothing of the caller's script, and need no helper process beside them.
"""

from __future__ import annotations

import contextlib
import os
import pickle
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
from typing import Any, Generic, TypeVar

from toomuchtv.errors import ToomuchtvError

A = TypeVar("A")
R = TypeVar("R")

#: How long a worker may take to start Python and import what it needs.
START_SECONDS = 120.0

# argv: the file of what to run, our end of the socket, then the parent's sys.path.
_BOOTSTRAP = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from toomuchtv._internal.subprocess_pool import _begin; "
    "_begin(int(sys.argv[1]), int(sys.argv[2]))"
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one job gave no result, in words for a person."""

    reason: str


def run_isolated(
    function: Callable[[A, Callable[[float], None]], R],
    arguments: Iterable[A],
    *,
    num_workers: int,
    silence_seconds: float,
    on_tell: Callable[[A, float], None] | None = None,
) -> Generator[tuple[A, R | Failure], None, None]:
    """Call `function(argument, tell)` for each argument in processes of their own.

    Workers are kept from job to job, one job in flight each; arguments are drawn as workers come
    free. The job may call `tell(amount)` as a sign of life, which reaches `on_tell` here. Closing
    the iterator, or an exception in the caller, kills the workers; they end by themselves if this
    process is killed.

    Args:
        function: an importable function (not of `__main__`, no lambda), or a `partial` of one.
        arguments: what to call it with; must pickle, as must the results.
        num_workers: how many processes at most.
        silence_seconds: a worker that neither tells nor returns for longer is killed.
        on_tell: called with (argument, amount) for each `tell`.

    Yields:
        (argument, result) in order of completion. The result is a `Failure` if the job raised a
        `ToomuchtvError`, `OSError` or `MemoryError`, if its process died, or if it was silent.

    Raises:
        ValueError: for wrong settings, or a function that a new process cannot import.
        Exception: what else the function raised, a mistake in the program rather than in a file,
            with the worker's traceback as a note.
    """
    if num_workers < 1:
        raise ValueError(f"num_workers must be at least 1, got {num_workers}")
    if not silence_seconds > 0:
        raise ValueError(f"silence_seconds must be positive, got {silence_seconds}")
    if getattr(getattr(function, "func", function), "__module__", None) == "__main__":
        raise ValueError("the function must live in an importable module, not in __main__")
    return _run(
        pickle.dumps((_serve, function)), iter(arguments), num_workers, silence_seconds, on_tell
    )


def _run(
    pickled: bytes,
    arguments: Iterator[A],
    num_workers: int,
    silence_seconds: float,
    on_tell: Callable[[A, float], None] | None,
) -> Generator[tuple[A, R | Failure], None, None]:
    program = Program(pickled)
    busy: dict[Connection, _Worker[A]] = {}
    idle: list[_Worker[A]] = []
    try:
        while True:
            while len(busy) < num_workers:
                try:
                    argument = next(arguments)
                except StopIteration:
                    break
                worker = idle.pop() if idle else _Worker[A](program)
                busy[worker.connection] = worker
                worker.begin(argument, silence_seconds)
            if not busy:
                return
            patience = min(worker.deadline for worker in busy.values()) - time.monotonic()
            ready = wait(list(busy), timeout=max(0.0, patience))
            # One answer a turn: the caller may pause at a yield for as long as it likes, so what
            # is ready and who is late is asked again after each.
            if ready:
                worker = busy[ready[0]]  # type: ignore[index]
                word, content = worker.receive()
                worker.deadline = time.monotonic() + silence_seconds
                if word == "tell" and on_tell is not None:
                    on_tell(worker.argument, content)
                if word in ("ready", "tell"):
                    continue
                del busy[worker.connection]
                if word == "bug":
                    worker.kill()
                    raise content
                if word == "died":
                    worker.kill()
                else:
                    idle.append(worker)
                yield worker.argument, content
            else:
                late = min(busy.values(), key=lambda worker: worker.deadline)
                if late.deadline > time.monotonic():
                    continue
                del busy[late.connection]
                late.kill()
                yield late.argument, Failure(f"no sign of life for {silence_seconds:g} s")
    finally:
        for worker in (*busy.values(), *idle):
            worker.kill()
        program.close()


class Program:
    """What worker processes run, pickled once into a file in memory that they all read.

    A pipe would not do: writing much to a process that does not read would wait for it.

    Args:
        content: A pickled `(serve, *arguments)`: `serve(connection, *arguments)` is the life of a
            worker, which it begins by sending `("ready", None)`.
    """

    def __init__(self, content: bytes) -> None:
        self.file = memory_file()
        with open(self.file, "wb", closefd=False) as file:
            file.write(content)

    def close(self) -> None:
        """Let the memory go; workers that have begun keep what they read."""
        os.close(self.file)

    @classmethod
    def of(cls, serve: Callable[..., None], *arguments: object) -> Program:
        """Pickle a function that a new process can import, and its arguments."""
        return cls(pickle.dumps((serve, *arguments)))


def memory_file() -> int:
    """Make a file without a name, in memory where the system has such files."""
    try:
        return os.memfd_create("toomuchtv")
    except AttributeError:  # only Linux has it
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())


class WorkerProcess:
    """A worker process, as seen from its parent.

    Args:
        program: What it runs.
        files: File descriptors that it shares, under the same numbers.

    Attributes:
        connection: Where it sends pairs (word, content), and what it is sent comes from.
    """

    def __init__(self, program: Program, *, files: Sequence[int] = ()) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = [program.file, theirs.fileno()]
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOTSTRAP, *map(str, descriptors), *sys.path],
                stdin=subprocess.DEVNULL,
                stdout=sys.__stderr__.fileno() if sys.__stderr__ else None,
                pass_fds=[*descriptors, *files],
                process_group=0,  # Ctrl-C at the terminal is the parent's to handle
            )
        self.connection: Connection = Connection(ours.detach())

    def send(self, content: object) -> None:
        """Send it something small."""
        # If it has died meanwhile, receive() meets the end of the stream and says so.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(content)

    def receive(self) -> tuple[str, Any]:
        """The next (word, content) of it; ("died", how) if it is gone."""
        try:
            word, content = self.connection.recv()
        except (EOFError, OSError):
            return "died", self._last_words()
        return word, content

    def _last_words(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "it closed its connection"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        self._process.kill()
        self.connection.close()
        # A process stuck inside the kernel, on a dead network disk say, ends when that returns.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)


class _Worker(Generic[A]):
    """A worker process and the job that it is at."""

    argument: A

    def __init__(self, program: Program) -> None:
        self._process = WorkerProcess(program)
        self._is_new = True
        self.connection = self._process.connection
        self.kill = self._process.kill
        self.deadline = 0.0

    def begin(self, argument: A, silence_seconds: float) -> None:
        self.argument = argument
        patience = START_SECONDS if self._is_new else silence_seconds
        self._is_new = False
        self.deadline = time.monotonic() + patience
        self._process.send(argument)

    def receive(self) -> tuple[str, Any]:
        """The next (word, content): ready, tell, done, failed, bug or, from nobody, died."""
        word, content = self._process.receive()
        if word == "died":
            content = Failure(f"the process reading it died ({content})")
        return word, content


def _begin(program: int, descriptor: int) -> None:
    """The life of a worker process."""
    connection = Connection(descriptor)
    os.set_inheritable(descriptor, False)
    threading.Thread(target=_end_with_parent, args=(descriptor,), daemon=True).start()
    try:
        # The position in the file is shared with every other process that has it: leave it alone.
        serve, *arguments = pickle.loads(os.pread(program, os.fstat(program).st_size, 0))
        os.close(program)
        serve(connection, *arguments)
    except (EOFError, ConnectionError):
        os._exit(1)
    except Exception as error:  # noqa: BLE001 - such as a result that does not pickle: reported
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
        return "done", function(argument, lambda amount: connection.send(("tell", amount)))
    except (ToomuchtvError, OSError, MemoryError) as error:
        return "failed", Failure(str(error) or type(error).__name__)
    except Exception as error:  # noqa: BLE001 - handed to the parent, which raises it
        return "bug", _portable(error)


def _portable(error: Exception) -> Exception:
    """The same exception if it survives pickling, else one that says the same."""
    text = "in a worker process:\n" + "".join(traceback.format_exception(error)).rstrip()
    try:
        copy: Exception = pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever a foreign exception's pickling may raise
        copy = RuntimeError(f"{type(error).__name__}: {error}")
    copy.add_note(text)
    return copy


def _end_with_parent(descriptor: int) -> None:
    """Wait until the parent's end of the socket is gone, then end, even in the middle of a job."""
    hang_up = select.poll()
    hang_up.register(descriptor, 0)
    while not hang_up.poll():
        pass
    os._exit(1)
