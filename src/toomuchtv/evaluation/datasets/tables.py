"""The one way in which lists of benchmarks are read: cells are cleaned, typed and checked.

Every reader of a dataset turns the rows of a list into clips with functions that raise `RowError`
for what is wrong with one row. The problems of all rows are collected, so that a person sees them
together, with the file and the line of each.
"""

from __future__ import annotations

import csv
import functools
import io
import math
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from toomuchtv.evaluation.errors import BenchmarkError

_NUM_LISTED = 10
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE_NUMBER = re.compile(r"\d+(\.0*)?")
# Characters of no width that editors and spreadsheets leave behind; `str.strip` keeps them.
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060"

T = TypeVar("T")


class RowError(ValueError):
    """One row of a list is wrong; the message names neither the file nor the line."""


class Problems:
    """The problems of a benchmark's lists, which are raised together.

    Args:
        benchmark: Name of the benchmark, for the message.
    """

    def __init__(self, benchmark: str) -> None:
        self._benchmark = benchmark
        self._texts: dict[str, None] = {}

    def add(self, place: object, text: object) -> None:
        """Add a problem at a place, such as a row or a file."""
        self._texts[f"{place}: {text}" if str(place) else str(text)] = None

    def check(self) -> None:
        """Raise the problems that were added.

        Raises:
            BenchmarkError: There is at least one. The message lists the first ten.
        """
        if not self._texts:
            return
        num = len(self._texts)
        listed = list(self._texts)[:_NUM_LISTED]
        more = f"\n  and {num - len(listed)} more" if num > len(listed) else ""
        noun = "problem" if num == 1 else "problems"
        raise BenchmarkError(
            f"{self._benchmark}: {num} {noun} in its files; correct what is wrong:\n  "
            + "\n  ".join(listed)
            + more
        )


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a list, with methods that return one cell as a checked value.

    Attributes:
        path: The list.
        line: Number of the row's last line in the file, from 1.
        cells: Cleaned cells by the name of their column, in lower case.
    """

    path: Path
    line: int
    cells: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.path.name}, line {self.line}"

    def optional(self, column: str) -> str:
        """Return a cell, or an empty string if it is blank or the list lacks the column."""
        return self.cells.get(column.casefold(), "")

    def text(self, column: str) -> str:
        """Return a cell that must not be blank.

        Raises:
            RowError: It is blank.
        """
        value = self.optional(column)
        if not value:
            raise RowError(f"the column {column} is blank")
        return value

    def seconds(self, column: str) -> float:
        """Return a time of at least 0.

        Raises:
            RowError: The cell is no such number.
        """
        value = self.text(column)
        if not _NUMBER.fullmatch(value) or not 0 <= float(value) < math.inf:
            raise RowError(f"{column} must be a number of seconds, at least 0, got {value!r}")
        return float(value)

    def interval(self, start: str, stop: str) -> tuple[float, float]:
        """Return the times of two columns, of which the first must be the smaller one.

        Raises:
            RowError: A cell is no time, or the interval is empty.
        """
        begin, end = self.seconds(start), self.seconds(stop)
        if begin >= end:
            raise RowError(f"{start} must be less than {stop}, got {begin:g} and {end:g}")
        return begin, end

    def whole_number(self, column: str) -> int:
        """Return a whole number of at least 0; spreadsheets may have written 3 as 3.0.

        Raises:
            RowError: The cell is no such number.
        """
        value = self.text(column)
        if not _WHOLE_NUMBER.fullmatch(value):
            raise RowError(f"{column} must be a whole number, got {value!r}")
        return int(value.partition(".")[0])

    def one_of(self, column: str, allowed: Sequence[str]) -> str:
        """Return a cell that must be one of several values.

        Raises:
            RowError: It is another one.
        """
        value = self.text(column)
        if value not in allowed:
            raise RowError(f"{column} must be one of {', '.join(allowed)}, got {value!r}")
        return value

    def file(self, column: str, folder: Path) -> Path:
        """Return the path that a cell names relative to a folder, without `.` and `..`.

        An accented letter may have another Unicode form in the list than in the file's name.

        Raises:
            RowError: The cell is blank.
        """
        name = self.text(column)
        spellings = (name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")))
        paths = [Path(os.path.normpath(folder / spelling)) for spelling in spellings]
        return next((path for path in paths if path.is_file()), paths[0])


def parse_rows(rows: Iterable[Row], parse: Callable[[Row], T], problems: Problems) -> list[T]:
    """Apply a function to every row, and collect the errors that it raises for some."""
    parsed = []
    for row in rows:
        try:
            parsed.append(parse(row))
        except RowError as error:
            problems.add(row, error)
    return parsed


def read_table(
    path: Path,
    columns: Sequence[str],
    problems: Problems,
    *,
    benchmark: str,
    header: bool = True,
    comment: str | None = None,
) -> list[Row]:
    """Return the rows of a CSV file, without blank ones.

    Args:
        path: The file, in UTF-8, with or without a byte order mark.
        columns: The columns that must be there; without a header, all columns in their order.
        problems: Receives rows that have too many or too few cells.
        benchmark: What the file belongs to, for messages.
        header: Whether the first row names the columns.
        comment: Rows that start with this text are left out.

    Raises:
        BenchmarkError: The file cannot be read, has no row, or lacks a column.
    """
    text = _read_text(path, benchmark)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    names = None if header else [column.casefold() for column in columns]
    rows = []
    try:
        for raw in reader:
            cells = [clean(cell) for cell in raw]
            if not any(cells) or (comment is not None and cells[0].startswith(comment)):
                continue
            if names is None:
                names = _checked_header(path, cells, columns)
                continue
            row = Row(path, reader.line_num, dict(zip(names, cells, strict=False)))
            if len(cells) < len(names) or any(cells[len(names) :]):
                problems.add(row, f"it has {len(cells)} cells, expected {len(names)}")
            elif any(unicodedata.category(letter) == "Cc" for cell in cells for letter in cell):
                problems.add(row, "it has a control character")
            else:
                rows.append(row)
    except csv.Error as error:
        raise BenchmarkError(
            f"{str(path)!r}, line {reader.line_num}, is no CSV: {error}; a quotation mark may be "
            "missing"
        ) from error
    if not rows:
        problems.check()
        raise BenchmarkError(f"{str(path)!r} has no row; expected {', '.join(columns)}")
    return rows


def read_lines(path: Path, *, benchmark: str) -> list[Row]:
    """Return the lines of a list without columns, in the column `line`, without blank ones.

    Raises:
        BenchmarkError: The file cannot be read.
    """
    lines = re.split(r"\r\n|\r|\n", _read_text(path, benchmark))
    return [
        Row(path, number, {"line": clean(line)})
        for number, line in enumerate(lines, start=1)
        if clean(line)
    ]


def clean(cell: str) -> str:
    """Return a cell without blanks and invisible characters at its ends."""
    previous = None
    while cell != previous:
        previous, cell = cell, cell.strip().strip(_INVISIBLE)
    return cell


@functools.lru_cache(maxsize=4096)
def spelling_key(label: str) -> str:
    """Return what a label has in common with its other spellings: case, blanks, _ and - differ."""
    folded = unicodedata.normalize("NFKC", label).casefold()
    visible = "".join(letter for letter in folded if unicodedata.category(letter) != "Cf")
    return " ".join(re.split(r"[\s_-]+", visible)).strip()


def _checked_header(path: Path, cells: Sequence[str], columns: Sequence[str]) -> list[str]:
    names = [cell.casefold() for cell in cells]
    lacking = [column for column in columns if column.casefold() not in names]
    if lacking:
        raise BenchmarkError(
            f"{str(path)!r} must be a table with the columns {', '.join(columns)}, separated by "
            f"commas; it lacks {', '.join(lacking)}, its first row is {', '.join(cells)!r}"
        )
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise BenchmarkError(f"{str(path)!r} has several columns {', '.join(twice)}")
    return names


def _read_text(path: Path, benchmark: str) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is not UTF-8: {error}"
        raise BenchmarkError(
            f"there is no {benchmark} here: {str(path)!r} cannot be read ({reason})"
        ) from error
