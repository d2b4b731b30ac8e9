"""Options that several verbs share, and the conversion of errors to messages and exit codes."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from pydantic import ValidationError
from safetensors import SafetensorError

from toomuchtv._internal.interrupts import INTERRUPTED, Interrupted, raise_on_signals
from toomuchtv.cli.console import Output, OutputError
from toomuchtv.errors import ToomuchtvError

if TYPE_CHECKING:
    from toomuchtv.engines import Engine

DONE, DONE_IN_PART, WRONG_INPUT = 0, 1, 2

Catalog = Annotated[Path, typer.Option("--catalog", help="Folder of the catalog.")]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object on stdout and everything else on stderr."),
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Number of worker processes.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Number of films and episodes at the same time. Default: 2, or as many as the Ray "
        "cluster has processors or GPUs for.",
    ),
]
EngineName = Annotated[
    Literal["local", "ray"],
    typer.Option("--engine", help="Work on this machine, or on all machines of a Ray cluster."),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="Address of the Ray cluster, e.g. 10.0.0.1:6379. Default: the cluster that this "
        "machine belongs to.",
    ),
]
#: Number of jobs at the same time on this machine, if nothing is asked for.
LOCAL_JOBS = 2

#: What a person can do about an error of the system.
_ADVICE = {
    errno.ENOSPC: "free disk space, then run the same command again",
    errno.EDQUOT: "free space of your quota, then run the same command again",
    errno.EFBIG: "the file system or a limit of this shell allows no larger file",
    errno.EROFS: "the disk is read-only: choose another folder",
    errno.EACCES: "ask its owner for permission, or choose another folder",
    errno.EPERM: "ask its owner for permission, or choose another folder",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "check the path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "close other programs or raise the limit (ulimit -n)",
    errno.ENFILE: "close other programs",
    errno.EIO: "check the disk or the connection to it, then run the same command again",
    errno.ESTALE: "mount the network disk again, then run the same command again",
    errno.ENOMEM: "close other programs or choose smaller settings",
}


@contextmanager
def verb_output(*, as_json: bool, is_quiet: bool = False) -> Iterator[Output]:
    """Provide the output of a verb, and turn faults of the world into a sentence and an exit code.

    An error that is none of them is a bug. It keeps its traceback, and Python's exit code 1.

    Args:
        as_json: Whether stdout is reserved for one JSON object.
        is_quiet: Whether only errors are printed. Processes of rank 1 and above are quiet.

    Raises:
        typer.Exit: With code 2 for wrong usage or input or a fault of the system, with 1 if only
            the output could not be written, and with 130 or 143 after SIGINT or SIGTERM.
    """
    output = Output(as_json=as_json, is_quiet=is_quiet)
    try:
        with raise_on_signals():
            try:
                yield output
            finally:
                output.flush()
    except OutputError as error:
        # Python would try to write the rest when it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        output.error(f"{error}. What was done is kept")
        raise typer.Exit(DONE_IN_PART) from error
    except (ToomuchtvError, ValueError, OSError, SafetensorError) as error:
        output.error(describe_error(error))
        raise typer.Exit(WRONG_INPUT) from error
    except KeyboardInterrupt as error:
        output.error(INTERRUPTED)
        code = error.exit_code if isinstance(error, Interrupted) else 130
        raise typer.Exit(code) from error


@contextmanager
def open_engine(
    name: Literal["local", "ray"],
    address: str | None,
    max_jobs: int | None,
    *,
    gpus_per_job: float = 0.0,
) -> Iterator[Engine | None]:
    """Provide the engine that was asked for; None stands for processes of this machine.

    Raises:
        EngineError: The Ray cluster cannot be used.
        ValueError: An address was given, but not the engine that has one.
    """
    if name == "local":
        if address is not None:
            raise ValueError("--address is of a Ray cluster: pass --engine ray too")
        yield None
        return
    from toomuchtv.engines import RayEngine

    with RayEngine(address or "auto", max_jobs=max_jobs, gpus_per_job=gpus_per_job) as engine:
        yield engine


def describe_error(error: Exception) -> str:
    """Describe an expected error in one sentence that says what to do."""
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or error.title}: {problem['msg']}, "
            f"got {str(problem['input'])[:200]!r}"
            for problem in error.errors(include_url=False)
        )
    if isinstance(error, OSError) and error.errno is not None:
        path = error.filename or error.filename2
        where = f"{os.fsdecode(path)!r}: " if isinstance(path, (str, bytes, os.PathLike)) else ""
        advice = _ADVICE.get(error.errno, "run the same command again when this is corrected")
        return f"{where}{error.strerror}; {advice}. What was finished so far is kept"
    if isinstance(error, SafetensorError):
        return f"a file of tensors cannot be read or written: {error}"
    return str(error)
