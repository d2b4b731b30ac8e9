"""Table of paths in the layouts of the usual media servers, and of what they mean."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toomuchtv.catalog.names import parse_name, printable, title_key

# path, (kind, title, year, season, episode, extra)
CASES: list[tuple[str, tuple[str, str, int | None, int | None, int | None, str | None]]] = [
    # Films
    ("Movies/Sintel (2010)/Sintel (2010).mp4", ("movie", "Sintel", 2010, None, None, None)),
    ("Movies/Up (2009).mkv", ("movie", "Up", 2009, None, None, None)),
    ("Movies/Pixar/Up (2009).mkv", ("movie", "Up", 2009, None, None, None)),
    ("The.Matrix.1999.1080p.BluRay.x264-GRP.mkv", ("movie", "The Matrix", 1999, None, None, None)),
    ("Heat (1995)/Heat (1995) - cd1.avi", ("movie", "Heat", 1995, None, None, None)),
    ("Heat (1995) {imdb-tt0113277}/Heat.mkv", ("movie", "Heat", 1995, None, None, None)),
    ("Kill Bill Vol. 2 (2004).mkv", ("movie", "Kill Bill Vol. 2", 2004, None, None, None)),
    # Numbers that are not episodes
    ("Apollo 13 (1995)/Apollo 13 (1995).mkv", ("movie", "Apollo 13", 1995, None, None, None)),
    ("1917 (2019)/1917 (2019) - 1080p.mkv", ("movie", "1917", 2019, None, None, None)),
    (
        "Movies/2001 A Space Odyssey (1968)/2001.mkv",
        ("movie", "2001 A Space Odyssey", 1968, None, None, None),
    ),
    # A good folder and a meaningless file name; a folder of a collection and a good file name
    ("Movies/Amelie (2001)/abc-xyz123.mkv", ("movie", "Amelie", 2001, None, None, None)),
    ("Movies/Amelie/VTS_01_1.vob", ("movie", "Amelie", None, None, None, None)),
    ("Saga (1977)/Empire (1980).mkv", ("movie", "Empire", 1980, None, None, None)),
    # Episodes
    ("TV/Lost/Season 01/Lost - S01E03 - Name.mkv", ("show", "Lost", None, 1, 3, None)),
    ("TV/Lost/Season 1/Lost.1x02.mkv", ("show", "Lost", None, 1, 2, None)),
    ("TV/Lost/Season 1/03 - Name.mkv", ("show", "Lost", None, 1, 3, None)),
    ("TV/Lost/Season 1/Episode 5.mkv", ("show", "Lost", None, 1, 5, None)),
    ("TV/Lost/S01E01.mkv", ("show", "Lost", None, 1, 1, None)),
    ("TV/24/Season 1/24 - 01x02 - 1 a.m.mkv", ("show", "24", None, 1, 2, None)),
    ("TV/Show (2005)/Season 02/x.S02E09.720p.mkv", ("show", "Show", 2005, 2, 9, None)),
    # Several episodes in one file, a date for a number, anime, specials
    ("TV/Lost/Season 01/Lost - S01E01-E02 - Pilot.mkv", ("show", "Lost", None, 1, 1, None)),
    ("TV/Lost/Season 01/Lost.S01E01E02.mkv", ("show", "Lost", None, 1, 1, None)),
    ("TV/Daily/Daily - 2015-07-20 - Guest.mkv", ("show", "Daily", None, 2015, 720, None)),
    ("Anime/[Group] Naruto - 134 [720p].mkv", ("show", "Naruto", None, None, 134, None)),
    ("アニメ/進撃の巨人 第03話.mkv", ("show", "進撃の巨人", None, None, 3, None)),
    ("TV/Lost/Season 00/Lost - S00E01.mkv", ("show", "Lost", None, 0, 1, None)),
    ("TV/Lost/Specials/Lost - S00E02.mkv", ("show", "Lost", None, 0, 2, None)),
    # Extras, by suffix and by folder
    ("Sintel (2010)/Sintel (2010)-trailer.mp4", ("movie", "Sintel", 2010, None, None, "trailer")),
    (
        "Sintel (2010)/Sintel (2010) - trailer2.mp4",
        ("movie", "Sintel", 2010, None, None, "trailer"),
    ),
    ("Sintel (2010)/trailer.mp4", ("movie", "Sintel", 2010, None, None, "trailer")),
    ("Up (2009)/Trailers/teaser.mp4", ("movie", "Up", 2009, None, None, "trailer")),
    ("Up (2009)/Behind The Scenes/a.mp4", ("movie", "Up", 2009, None, None, "behindthescenes")),
    ("Up (2009)/Deleted Scenes/a.mp4", ("movie", "Up", 2009, None, None, "deleted")),
    ("TV/Lost/Extras/Bloopers.mkv", ("show", "Lost", None, None, None, "other")),
    ("TV/Lost/Season 01/Lost-featurette.mkv", ("show", "Lost", None, 1, None, "featurette")),
    # Names that only look like extras
    ("Movies/Shorts/Luxo Jr (1986).mkv", ("movie", "Luxo Jr", 1986, None, None, None)),
    ("TV/Lost/Season 01/Lost - S01E05 - Interview.mkv", ("show", "Lost", None, 1, 5, None)),
    (
        "Interview with the Vampire (1994)/Interview with the Vampire (1994).mkv",
        ("movie", "Interview with the Vampire", 1994, None, None, None),
    ),
    # Cameras and datasets: these are not episodes, and each is a title of its own
    ("clips/dog/012.mp4", ("movie", "012", None, None, None, None)),
    ("IMG_1234.MOV", ("movie", "IMG 1234", None, None, None, None)),
    ("ucf/Run/v_Run_g01_c02.avi", ("movie", "v Run g01 c02", None, None, None, None)),
    # Odd names
    ("映画/千と千尋の神隠し (2001)/a.mkv", ("movie", "千と千尋の神隠し", 2001, None, None, None)),
    ("two\nlines.mp4", ("movie", "two lines", None, None, None, None)),
    ("....mp4", ("movie", "...", None, None, None, None)),
]


@pytest.mark.parametrize(("path", "expected"), CASES, ids=[ascii(path) for path, _ in CASES])
def test_path_is_parsed(
    path: str, expected: tuple[str, str, int | None, int | None, int | None, str | None]
) -> None:
    name = parse_name(Path(path))
    found = (name.kind, name.title, name.year, name.season, name.episode, name.extra)
    assert found == expected


@pytest.mark.parametrize("suffix", ["short", "scene", "deleted", "interview", "other", "sample"])
def test_every_suffix_of_the_servers_marks_an_extra(suffix: str) -> None:
    assert parse_name(Path(f"Up (2009)/Up (2009)-{suffix}.mkv")).extra == suffix


def test_a_name_that_is_not_utf8_is_printable() -> None:
    name = parse_name(Path(os.fsdecode(b"Am\xe9lie (2001).mkv")))
    assert (name.title, name.year) == ("Amélie", 2001)


@given(st.binary(min_size=1, max_size=40).filter(lambda b: b.strip(b"./") and b"\0" not in b))
def test_every_path_gives_a_printable_title(name: bytes) -> None:
    parsed = parse_name(Path(os.fsdecode(name)))
    assert parsed.title
    assert parsed.title.isprintable()
    parsed.title.encode()


@given(st.text(max_size=40))
def test_printable_text_is_not_changed(text: str) -> None:
    assert printable(printable(text)) == printable(text)


def test_all_spellings_of_a_title_have_one_key() -> None:
    keys = {title_key(name, None) for name in ("Law & Order", "law and order", "Law.And_Order")}
    assert len(keys) == 1
    assert title_key("Show", 2005) != title_key("Show", 2020)
    assert title_key("!!!", None) != title_key("???", None)
