"""The table of real-world layouts in `layouts.txt`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """A path and what a person would say it is; `number` tells equal titles apart."""

    path: str
    kind: str
    title: str
    year: int | None
    season: int | None
    episode: int | None
    extra: str | None
    number: str


@dataclass(frozen=True)
class Library:
    """Files that belong together: the library's folder name and its rows."""

    name: str
    about: str
    rows: tuple[Row, ...]


def read_layouts() -> list[Library]:
    libraries: list[Library] = []
    rows: list[Row] = []
    name, about = "", ""

    def finish() -> None:
        if name == "singles":
            libraries.extend(Library("", about, (row,)) for row in rows)
        elif rows:
            libraries.append(Library(name, about, tuple(rows)))
        rows.clear()

    for line in Path(__file__).with_name("layouts.txt").read_text("utf-8").splitlines():
        if line.startswith("== "):
            finish()
            name, about = (part.strip() for part in line[3:].split(":", 1))
        elif "|" in line and not line.startswith("#"):
            rows.append(_row(line))
    finish()
    return libraries


def _row(line: str) -> Row:
    columns = [column.strip() for column in line.split("|")] + [""] * 7
    title, _, number = columns[2].partition(" #")
    year, season, episode = (int(column) if column else None for column in columns[3:6])
    return Row(
        columns[0], columns[1], title, year, season, episode, columns[6] or None, number
    )  # fmt: skip
