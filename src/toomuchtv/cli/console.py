"""What the command line prints: progress and tables for people, one JSON object for programs."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table

from toomuchtv._internal.progress import ProgressCallback

_SECONDS_BETWEEN_LINES = 30.0
_SHOW_BAR_AFTER_SECONDS = 0.5
_MAX_UNBROKEN_LENGTH = 16


class OutputError(Exception):
    """Stdout or stderr cannot be written: the disk is full, or its reader has closed it."""


class _Console(Console):
    """A console that reports a closed pipe like any other error of its stream."""

    def on_broken_pipe(self) -> None:
        raise OutputError("the output cannot be written: its reader has closed it")


class Output:
    """The output of one verb.

    Args:
        as_json: Whether stdout is reserved for one JSON object. Everything else goes to stderr.
        is_quiet: Whether only errors are printed.
    """

    def __init__(self, *, as_json: bool, is_quiet: bool = False) -> None:
        self._as_json = as_json and not is_quiet
        self._is_quiet = is_quiet
        self._console = _Console(stderr=as_json, highlight=False, soft_wrap=True, quiet=is_quiet)
        self._stderr = _Console(stderr=True, highlight=False, soft_wrap=True)

    def info(self, text: str) -> None:
        """Print a line."""
        with _writing():
            self._console.print(printable(text), markup=False)

    def warning(self, text: str) -> None:
        """Print a warning on stderr, as one line whatever names of files it contains."""
        if not self._is_quiet:
            line = printable(text).replace("\n", "\\n")
            self._stderr.print(line, markup=False, style="yellow")

    def error(self, text: str) -> None:
        """Print an error on stderr, also if the output is quiet."""
        self._stderr.print(printable(f"error: {text}"), markup=False, style="bold red")

    def print_values(self, title: str, values: Mapping[str, object]) -> None:
        """Print names and values as a table of two columns."""
        table = Table(title=title, show_header=False, title_justify="left", box=None)
        for name, value in values.items():
            table.add_row(printable(name), printable(_formatted(value)))
        with _writing():
            self._console.print(table)

    def print_table(
        self, title: str, header: Sequence[str], rows: Sequence[Sequence[object]]
    ) -> None:
        """Print a table with a header."""
        cells = [[printable(_formatted(value)) for value in row] for row in rows]
        # In a narrow terminal, only columns with long cells become narrower. Their cells are
        # folded and not cut, because names that differ only at the end would look the same.
        columns = [
            Column(
                name,
                overflow="fold",
                no_wrap=max(len(cell) for cell in (name, *values)) <= _MAX_UNBROKEN_LENGTH,
            )
            for name, *values in zip(header, *cells, strict=True)
        ]
        table = Table(
            *columns,
            title=title,
            title_justify="left",
            box=SIMPLE_HEAD,
            show_edge=False,
            padding=(0, 1, 0, 0),
        )
        for row in cells:
            table.add_row(*row)
        with _writing():
            self._console.print(table)

    def print_json(self, values: Mapping[str, Any]) -> None:
        """Print one JSON object on stdout if `--json` was given; otherwise do nothing."""
        if self._as_json:
            with _writing():
                print(json.dumps(values, default=_json_value))

    def flush(self) -> None:
        """Write what is still in memory."""
        with _writing():
            sys.stdout.flush()

    @contextmanager
    def progress(self, unit: str) -> Iterator[ProgressCallback]:
        """Show a progress bar with a time estimate, once the work has taken half a second.

        Where stderr is no terminal, such as in a log file, a line is printed every half minute.

        Args:
            unit: What `done` and `total` count, for example "clips"; empty if that changes from
                stage to stage.
        """
        bar = Progress(
            TextColumn("{task.description}", justify="left"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._stderr,
            transient=True,
            # In a log file, a bar would leave an empty line behind.
            disable=self._is_quiet or not self._stderr.is_terminal,
        )
        start_time = time.monotonic()
        task = bar.add_task("", total=None, amount="")
        started = False
        last_line = start_time

        def update(done: float, total: float, description: str) -> None:
            nonlocal started, last_line
            amount = f"{done:,.0f}/{total:,.0f} {unit}".rstrip()
            if bar.disable:
                if time.monotonic() - last_line > _SECONDS_BETWEEN_LINES and not self._is_quiet:
                    last_line = time.monotonic()
                    self._stderr.print(printable(f"{description}: {amount}"), markup=False)
                return
            if not started and time.monotonic() - start_time > _SHOW_BAR_AFTER_SECONDS:
                bar.start()
                started = True
            bar.update(
                task,
                completed=done,
                total=total,
                description=printable(description)[:40],
                amount=amount,
            )

        try:
            yield update
        finally:
            if started:
                bar.stop()


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"the output cannot be written: {error.strerror}") from error


def printable(text: str) -> str:
    """Escape characters that a terminal cannot show or would act on, except newlines."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(
        character if character.isprintable() or character == "\n" else repr(character)[1:-1]
        for character in text
    )


def _formatted(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def _json_value(value: object) -> object:
    """Convert a value that `json` cannot encode."""
    if isinstance(value, Path):
        return os.fspath(value)
    if isinstance(value, (tuple, set, frozenset)):
        return list(value)
    raise TypeError(f"a value of type {type(value).__name__} cannot be printed as JSON")
