"""What the command line shows: progress and tables for a person, one JSON object for a program."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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

_SHOW_AFTER_SECONDS = 0.5


class Output:
    """Where a verb says things.

    Args:
        as_json: Whether stdout takes one JSON object and nothing else.
        is_quiet: Whether errors alone are said.
    """

    def __init__(self, *, as_json: bool, is_quiet: bool = False) -> None:
        self._as_json = as_json and not is_quiet
        self._is_quiet = is_quiet
        self._people = Console(stderr=as_json, highlight=False, soft_wrap=True, quiet=is_quiet)
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)

    def info(self, text: str) -> None:
        """Say something to a person."""
        self._people.print(shown(text), markup=False)

    def warning(self, text: str) -> None:
        """Say something to a person that they should not miss."""
        if self._is_quiet:
            return
        self._errors.print(shown(text), markup=False, style="yellow")

    def error(self, text: str) -> None:
        """Say why it could not be done."""
        self._errors.print(shown(f"error: {text}"), markup=False, style="bold red")

    def print_values(self, title: str, rows: Mapping[str, object]) -> None:
        """Show names and values to a person."""
        table = Table(title=title, show_header=False, title_justify="left", box=None)
        for name, value in rows.items():
            table.add_row(shown(name), shown(_for_people(value)))
        self._people.print(table)

    def print_table(
        self, title: str, header: Sequence[str], rows: Sequence[Sequence[object]]
    ) -> None:
        """Show a table with a header to a person."""
        # Folded, not cut: names that differ at their end would read alike on a narrow terminal.
        columns = (Column(name, overflow="fold") for name in header)
        table = Table(*columns, title=title, title_justify="left")
        for row in rows:
            table.add_row(*(shown(_for_people(value)) for value in row))
        self._people.print(table)

    def print_json(self, values: Mapping[str, Any]) -> None:
        """Give the figures to a program, if one asked."""
        if self._as_json:
            print(json.dumps(values, default=_plain))

    @contextmanager
    def progress(self, unit: str) -> Iterator[ProgressCallback]:
        """Show a bar with the time left, once the work has taken half a second.

        Args:
            unit: What `done` and `total` count, as people say it.
        """
        bar = Progress(
            TextColumn("{task.description}", justify="left"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._errors,
            transient=True,
            # A log file gets no bar, nor the empty line that ends one.
            disable=self._is_quiet or not self._errors.is_terminal,
        )
        begun = time.monotonic()
        task = bar.add_task("", total=None, amount="")
        started = False

        def show(done: float, total: float, what: str) -> None:
            nonlocal started
            if not started and time.monotonic() - begun > _SHOW_AFTER_SECONDS:
                bar.start()
                started = True
            bar.update(
                task,
                completed=done,
                total=total,
                description=shown(what)[:40],
                amount=f"{done:,.0f}/{total:,.0f} {unit}",
            )

        try:
            yield show
        finally:
            if started:
                bar.stop()


def shown(text: str) -> str:
    """Make text fit for a terminal: names that are not UTF-8, or hold a newline, are escaped."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(
        character if character.isprintable() or character == "\n" else repr(character)[1:-1]
        for character in text
    )


def _for_people(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def _plain(value: object) -> object:
    """What json cannot write by itself."""
    if isinstance(value, Path):
        return os.fspath(value)
    if isinstance(value, (tuple, set, frozenset)):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not a figure or a path")
