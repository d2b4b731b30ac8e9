"""One self-contained HTML page: headings, sentences, tables and pictures."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultTable:
    """A table: header and rows, already formatted."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSide:
    """A picture with words: `jpegs` are pairs of a picture and what it shows."""

    caption: str
    jpegs: Sequence[tuple[bytes, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Two things side by side (one under another on a phone), and a line about both."""

    sides: Sequence[CardSide]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of a page.

    `points` are listed under the text, `details` is a table that is folded away under the figure,
    and `how_to_read` says what a figure or table means.
    """

    heading: str
    text: str
    how_to_read: str = ""
    table: ResultTable | None = None
    png: bytes | None = None
    png_alt: str = ""
    cards: Sequence[Card] = ()
    points: Sequence[str] = ()
    details: ResultTable | None = None


def write_page(path: Path, *, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Write a page that needs no other file, whole or not at all.

    Args:
        path: Where to.
        title: Its title.
        lead: The paragraph under it.
        sections: In order.
    """
    template = resources.files("toomuchtv.reports").joinpath("page.html").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["data_url"] = _data_url
    html = environment.from_string(template).render(title=title, lead=lead, sections=sections)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(html, encoding="utf-8", errors="backslashreplace")
    os.replace(partial, path)


def _data_url(picture: bytes) -> str:
    kind = "jpeg" if picture.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64," + base64.b64encode(picture).decode("ascii")
