"""Work on files without worker processes, for tests of what the work gives.

A worker process takes most of a second to start, and most scans of tests read a few small files.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Iterable
from types import SimpleNamespace
from typing import Any, cast

import experiments.rendered_tv.render as render_module
from toomuchtv._internal import subprocess_pool
from toomuchtv._internal.subprocess_pool import Failure, run_isolated
from toomuchtv.catalog import scanner as scanner_module
from toomuchtv.engines import local as engine_module

#: The modules that read files in worker processes.
CALLERS = (scanner_module, engine_module, render_module)

_NONE = object()


def run_in_process(
    function: Callable[..., Any],
    arguments: Iterable[Any],
    *,
    num_workers: int,
    silence_seconds: float,
    memory_bytes: int = 0,
    on_report: Callable[[Any, float], None] | None = None,
) -> Generator[tuple[Any, Any], None, None]:
    """Do what `run_isolated` does, one job at a time and in this process.

    Function, arguments and results are pickled as on the way to a worker and back. A crash, a hang
    or a limit of memory is not contained: tests of these ask for `worker_processes`.
    """
    # The same settings are refused. This runs nothing, because it has nothing to do.
    for _ in run_isolated(
        function, [], num_workers=num_workers, silence_seconds=silence_seconds
    ):  # pragma: no cover
        raise AssertionError("there was no job")
    sent = pickle.dumps(function)
    jobs = iter(arguments)
    # Arguments may come after the iterator was empty, while the caller handles a result.
    while (argument := next(jobs, _NONE)) is not _NONE:

        def report(message: tuple[str, float], of: Any = argument) -> None:
            if on_report is not None:
                on_report(of, message[1])

        kind, content = subprocess_pool._answer(
            pickle.loads(sent), pickle.loads(pickle.dumps(argument)),
            cast(Any, SimpleNamespace(send=report)),
        )  # fmt: skip
        if kind == "no memory":
            content = Failure("there is not enough memory for it")
        yield argument, pickle.loads(pickle.dumps(content))
