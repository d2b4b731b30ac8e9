"""What an engine is, and the engine of one machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from toomuchtv._internal.subprocess_pool import Failure, run_isolated

A = TypeVar("A")
R = TypeVar("R")


class Engine(Protocol):
    """Runs the jobs of a long command."""

    @property
    def threads_per_job(self) -> int:
        """Number of threads that a job may use."""

    def check_folders(self, written: Path, read: Sequence[Path]) -> None:
        """Raise `EngineError` if a machine that runs jobs does not see a folder.

        Args:
            written: Absolute path of the folder that jobs write to.
            read: Absolute paths of the folders that jobs only read.
        """

    def run(
        self,
        function: Callable[[A, Callable[[float], None]], R],
        arguments: Iterable[A],
        *,
        silence_seconds: float,
        memory_bytes: int = 0,
        on_report: Callable[[A, float], None] | None = None,
    ) -> Generator[tuple[A, R | Failure], None, None]:
        """Call `function(argument, report)` for each argument, each in a worker process.

        This is the contract of `run_isolated`, whose arguments these are. Every path in the
        function and its arguments must be absolute. Closing the generator ends the jobs.
        """


class LocalEngine:
    """Runs jobs in worker processes of this machine.

    Args:
        num_workers: Number of jobs at the same time.

    Raises:
        ValueError: The number is not positive.
    """

    def __init__(self, num_workers: int = 1) -> None:
        if num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {num_workers}")
        self.num_workers = num_workers

    @property
    def threads_per_job(self) -> int:
        """This machine's processors divided among the jobs."""
        return max(1, (os.cpu_count() or 1) // self.num_workers)

    def check_folders(self, written: Path, read: Sequence[Path]) -> None:
        """Do nothing: the caller sees these folders."""

    def run(
        self,
        function: Callable[[A, Callable[[float], None]], R],
        arguments: Iterable[A],
        *,
        silence_seconds: float,
        memory_bytes: int = 0,
        on_report: Callable[[A, float], None] | None = None,
    ) -> Generator[tuple[A, R | Failure], None, None]:
        """Run the jobs; see `Engine.run`."""
        return run_isolated(
            function,
            arguments,
            num_workers=self.num_workers,
            silence_seconds=silence_seconds,
            memory_bytes=memory_bytes,
            on_report=on_report,
        )
