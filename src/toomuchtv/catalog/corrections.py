"""Corrections of titles by the owner of a library: the file `titles.toml` in a catalog's folder.

    [[correction]]
    path = "TV/Alpha/Season 1"      # a file, a folder, or a pattern with * and **
    title = "Beta"
    year = 2010

The file is the owner's. Only `add_correction` changes it, and only by a new entry at its end.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import tomli_w

from toomuchtv._internal.files import write_text
from toomuchtv.catalog.names import ParsedName, printable
from toomuchtv.catalog.records import TitleKind
from toomuchtv.errors import CatalogError

CORRECTIONS_NAME = "titles.toml"
_HEADER = re.compile(r"\s*\[\[\s*correction\s*\]\]")
_KINDS = (TitleKind.MOVIE.value, TitleKind.SHOW.value)
#: The allowed values of keys that are numbers.
_RANGES = {"year": (0, 2200), "season": (0, 9999), "episode": (0, 99_999)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What an owner says about some files. A value of None is left as the paths state it.

    Attributes:
        path: A file or a folder, relative to the library; or a pattern, in which `*` and `?` stand
            for text within one name, and `**` for any text.
        title: Name of the title.
        year: Year of release; 0 for none. A title without a year has none.
        kind: `movie` or `show`.
        season: Season number.
        episode: Episode number.
        extra: Kind of extra, or "" for a feature.
    """

    path: str
    title: str | None = None
    year: int | None = None
    kind: str | None = None
    season: int | None = None
    episode: int | None = None
    extra: str | None = None

    def __post_init__(self) -> None:
        path = PurePath(self.path)
        if not printable(self.path).strip("/ \ufffd") or path.is_absolute() or ".." in path.parts:
            raise ValueError(
                f"path is {self.path!r}: it must be a file, a folder or a pattern, relative to the "
                "library"
            )
        if self.kind not in (None, *_KINDS):
            raise ValueError(f"kind is {self.kind!r}: it must be one of {', '.join(_KINDS)}")
        if self.title is not None and printable(self.title) in ("\ufffd", ""):
            raise ValueError("title is empty: it must be the name of a title")
        for name, (lowest, highest) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not lowest <= value <= highest:
                raise ValueError(f"{name} is {value}: it must be from {lowest} to {highest}")
        if all(value is None for name, value in asdict(self).items() if name != "path"):
            raise ValueError(
                "nothing is corrected: give at least one of title, year, kind, season, episode and "
                "extra"
            )

    def matches(self, path: Path) -> bool:
        """Whether the correction is about a file: by its path, a folder above it, or a pattern."""
        wanted, found = printable(self.path).strip("/"), printable(path)
        if found == wanted or found.startswith(f"{wanted}/"):
            return True
        signs = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        pattern = re.sub(
            r"\*\*/?|\*|\?|[^*?]+",
            lambda part: signs.get(part[0]) or re.escape(part[0]),
            wanted,
        )
        return re.fullmatch(pattern, found, re.DOTALL) is not None

    def apply(self, name: ParsedName) -> ParsedName:
        """Return what the owner says, and what the path says where the owner says nothing."""
        name = replace(name, is_corrected=True)
        if self.title is not None:
            name = replace(name, title=printable(self.title), year=None, scope="")
        if self.year is not None:
            name = replace(name, year=self.year or None, scope="")
        kind = self.kind
        if kind is None and (self.season is not None or self.episode is not None):
            kind = TitleKind.SHOW
        if kind is not None:
            name = replace(name, kind=TitleKind(kind))
        if self.kind == TitleKind.MOVIE:
            name = replace(name, season=None, episode=None)
        if self.season is not None:
            name = replace(name, season=self.season)
        if self.episode is not None:
            name = replace(name, episode=self.episode)
        if self.extra is not None:
            name = replace(name, extra=printable(self.extra) if self.extra.strip() else None)
        return name


@dataclass(frozen=True, slots=True)
class Corrections:
    """All corrections of a catalog, in the order of the file. Later ones outweigh earlier ones.

    Attributes:
        entries: The corrections.
        lines: The line of the file at which each begins.
    """

    entries: tuple[Correction, ...] = ()
    lines: tuple[int, ...] = ()

    def of(self, path: Path) -> list[int]:
        """Return the indices of the corrections that are about a file."""
        return [index for index, entry in enumerate(self.entries) if entry.matches(path)]

    def apply(self, indices: list[int], name: ParsedName) -> ParsedName:
        """Apply the corrections with these indices."""
        for index in indices:
            name = self.entries[index].apply(name)
        return name


def read_corrections(folder: Path) -> Corrections:
    """Read the corrections of a catalog, of which there may be none.

    Args:
        folder: The catalog's folder.

    Raises:
        CatalogError: The file cannot be read, or an entry is wrong. The message has the line.
    """
    file = folder / CORRECTIONS_NAME
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        return Corrections()
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"cannot read {file}: {error}") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"{file} is not valid TOML: {error}") from error
    unknown = sorted(values.keys() - {"correction"})
    tables = values.get("correction", [])
    if unknown or not isinstance(tables, list):
        raise CatalogError(
            f"{file} has {', '.join(unknown) or 'a value'} outside of an entry: every entry begins "
            "with the line [[correction]]"
        )
    texts = text.split("\n")
    lines = [number for number, line in enumerate(texts, start=1) if _HEADER.match(line)]
    lines += [1] * (len(tables) - len(lines))  # entries that are written in another form of TOML
    entries = []
    for table, line in zip(tables, lines, strict=False):
        try:
            entries.append(_correction(table))
        except ValueError as error:
            raise CatalogError(f"{file}, entry at line {line}: {error}") from error
    return Corrections(tuple(entries), tuple(lines[: len(entries)]))


def _correction(table: Any) -> Correction:
    """Return a correction from a table of TOML.

    Raises:
        ValueError: A key is unknown, or a value has the wrong type or is out of range.
    """
    types = {"path": str, "title": str, "kind": str, "extra": str, **dict.fromkeys(_RANGES, int)}
    if not isinstance(table, Mapping):
        raise ValueError("it is not a table: an entry begins with the line [[correction]]")
    for key, value in table.items():
        if key not in types:
            near = difflib.get_close_matches(key, types, n=1)
            hint = f": did you mean {near[0]}?" if near else f": choose from {', '.join(types)}"
            raise ValueError(f"unknown key {key!r}{hint}")
        if type(value) is not types[key]:
            what = "a whole number" if types[key] is int else "text in quotes"
            raise ValueError(f"{key} is {value!r}: it must be {what}")
    if "path" not in table:
        raise ValueError("it has no path: name the file or folder that it is about")
    return Correction(**table)


def add_correction(folder: Path, correction: Correction) -> None:
    """Add an entry at the end of a catalog's corrections. Hold the catalog's write lock.

    Raises:
        CatalogError: The file cannot be read or written, or is wrong as it is.
    """
    read_corrections(folder)
    file = folder / CORRECTIONS_NAME
    values = {name: value for name, value in asdict(correction).items() if value is not None}
    try:
        before = file.read_text("utf-8") if file.exists() else ""
        gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
        write_text(file, f"{before}{gap}[[correction]]\n{tomli_w.dumps(values)}")
    except OSError as error:
        raise CatalogError(f"cannot write {file}: {error}") from error
