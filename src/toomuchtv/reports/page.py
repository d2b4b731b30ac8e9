"""One self-contained HTML page of headings, sentences, tables and images."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2

from toomuchtv._internal.files import write_text


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultTable:
    """A table whose cells are already formatted."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSide:
    """A caption over images or a video.

    Attributes:
        caption: The caption.
        jpegs: Pairs of an image and its text alternative.
        mp4: A video, which is shown muted and in a loop until somebody starts its sound.
    """

    caption: str
    jpegs: Sequence[tuple[bytes, str]] = ()
    mp4: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Two sides beside each other (one below the other on a phone), and a line about both."""

    sides: Sequence[CardSide]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of a page.

    Attributes:
        heading: Heading of the section.
        text: First paragraph.
        how_to_read: Last paragraph, which explains what the figures mean.
        table: Table below the text.
        charts: Charts below the table: pairs of a PNG and its text alternative. Several charts are
            beside each other, or one below the other on a phone.
        cards: Cards below the chart.
        points: List items below the text.
        details: A table that is collapsed at first.
    """

    heading: str
    text: str
    how_to_read: str = ""
    table: ResultTable | None = None
    charts: Sequence[tuple[bytes, str]] = ()
    cards: Sequence[Card] = ()
    points: Sequence[str] = ()
    details: ResultTable | None = None


def write_page(
    path: str | os.PathLike[str], *, title: str, lead: str, sections: Sequence[Section]
) -> None:
    """Write a page that needs no other file. It is written completely or not at all.

    Args:
        path: Path of the HTML file. Missing folders are created.
        title: Title of the page.
        lead: Paragraph below the title.
        sections: The sections, in order. All text is escaped.

    Raises:
        OSError: The page cannot be written.
    """
    path = Path(path)
    template = resources.files("toomuchtv.reports").joinpath("page.html").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["data_url"] = _data_url
    html = environment.from_string(template).render(title=title, lead=lead, sections=sections)
    write_text(path, html)


def _data_url(content: bytes) -> str:
    kind = "image/jpeg" if content.startswith(b"\xff\xd8") else "image/png"
    if content[4:8] == b"ftyp":
        kind = "video/mp4"
    return f"data:{kind};base64," + base64.b64encode(content).decode("ascii")
