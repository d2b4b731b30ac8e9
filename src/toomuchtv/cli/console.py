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
from rich.cells import cell_len, set_cell_size
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
_SEPARATOR = "  "
#: Columns of a terminal that a progress bar needs beside the description of the work.
_OTHER_COLUMNS = 60


class OutputError(Exception):
    """Stdout or stderr cannot be written: the disk is full, or its reader has closed it."""


class _Console(Console):
    """A console that prints text as it is, and reports a closed pipe as an error of its stream.

    Names of files may contain what rich would take for markup or an emoji: `[tt0123456]`, `[/b]`
    or `:star:`.
    """

    def __init__(self, *, stderr: bool, quiet: bool = False) -> None:
        super().__init__(
            stderr=stderr, quiet=quiet, highlight=False, soft_wrap=True, markup=False, emoji=False
        )

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
        self._console = _Console(stderr=as_json, quiet=is_quiet)
        self._stderr = _Console(stderr=True)

    def info(self, text: str) -> None:
        """Print a line."""
        with _writing():
            self._console.print(printable(text))

    def warning(self, text: str) -> None:
        """Print a warning on stderr, as one line whatever names of files it contains."""
        if not self._is_quiet:
            line = printable(text).replace("\n", "\\n")
            self._stderr.print(line, style="yellow")

    def error(self, text: str) -> None:
        """Print an error on stderr, also if the output is quiet."""
        self._stderr.print(printable(f"error: {text}"), style="bold red")

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
        """Print a table with a header.

        If it is too wide for the terminal, long cells are folded, where that leaves them enough
        room. Elsewhere every row is one line, so that a program can search for it.
        """
        cells = [
            [printable(_formatted(value)).replace("\n", "\\n") for value in row] for row in rows
        ]
        widths = [max(map(cell_len, column)) for column in zip(header, *cells, strict=True)]
        total = sum(widths) + len(_SEPARATOR) * (len(widths) - 1)
        long = [width for width in widths if width > _MAX_UNBROKEN_LENGTH]
        folded = total - sum(long) + len(long) * _MAX_UNBROKEN_LENGTH
        is_folded = self._console.is_terminal and folded <= self._console.width < total
        with _writing():
            if not is_folded:
                self._console.print(title, style="table.title")
                self._console.print(_padded(header, widths), style="table.header")
                self._console.print("─" * total)
                # One call for all rows, because rich takes its time for each.
                lines = [_padded(row, widths) for row in cells]
                self._console.print("\n".join(lines) if lines else "(none)")
            else:
                self._console.print(_folded_table(title, header, cells))

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
            TextColumn("{task.description}", justify="left", markup=False),
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
                    self._stderr.print(printable(f"{description}: {amount}"))
                return
            bar.update(
                task,
                completed=done,
                total=total,
                description=_shortened(printable(description), self._stderr.width - _OTHER_COLUMNS),
                amount=amount,
            )
            if not started and time.monotonic() - start_time > _SHOW_BAR_AFTER_SECONDS:
                bar.start()
                started = True

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


def _shortened(text: str, room: int) -> str:
    """Return the beginning of a text, in at most 40 columns, and in at least 16."""
    room = max(16, min(room, 40))
    return text if cell_len(text) <= room else f"{set_cell_size(text, room - 1).rstrip()}…"


def _padded(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return a line of a table. Some characters are two columns wide, so `ljust` would be wrong."""
    padded = (
        cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)
    )
    return _SEPARATOR.join(padded).rstrip()


def _folded_table(title: str, header: Sequence[str], cells: Sequence[Sequence[str]]) -> Table:
    """Return a table for a terminal that is too narrow for it.

    Only columns with long cells become narrower. Their cells are folded and not cut, because names
    that differ only at the end would look the same.
    """
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
    return table


def counted(number: int, noun: str) -> str:
    """Return a number with a noun, such as "1 title" or "3,874 titles"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


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
