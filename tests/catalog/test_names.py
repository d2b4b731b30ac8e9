"""The parser of paths, held against a table of real-world layouts and against laws."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.catalog.layouts import Library, Row, read_layouts
from toomuchtv.catalog.names import (
    TitleParser,
    assign_titles,
    parse_name,
    printable,
    title_key,
)

LIBRARIES = read_layouts()
SECTIONS: dict[str, list[Library]] = defaultdict(list)
for _library in LIBRARIES:
    SECTIONS[_library.about].append(_library)


def expected(row: Row) -> tuple[object, ...]:
    columns = (row.title, row.year, row.season, row.episode, row.extra)
    return columns if row.extra else (row.kind, *columns)


def parsed(library: Library) -> dict[str, tuple[object, ...]]:
    names = assign_titles([Path(row.path) for row in library.rows], library.name)
    found: dict[str, tuple[object, ...]] = {}
    for path, name in names.items():
        columns = (name.title, name.year, name.season, name.episode, name.extra)
        found[str(path)] = columns if name.extra else (name.kind.value, *columns)
    return found


def test_the_table_is_large() -> None:
    assert sum(len(library.rows) for library in LIBRARIES) >= 500


@pytest.mark.parametrize("section", SECTIONS)
def test_layouts_are_parsed_as_a_person_would(section: str) -> None:
    for library in SECTIONS[section]:
        assert parsed(library) == {row.path: expected(row) for row in library.rows}


@pytest.mark.parametrize("section", SECTIONS)
def test_files_share_a_key_exactly_if_they_are_of_one_title(section: str) -> None:
    for library in SECTIONS[section]:
        names = assign_titles([Path(row.path) for row in library.rows], library.name)
        keys = defaultdict(set)
        for row in library.rows:
            if row.extra is None:
                name = names[Path(row.path)]
                keys[row.kind, row.title, row.year, row.number].add((name.kind, name.key))
        assert all(len(found) == 1 for found in keys.values()), keys
        assert len(set.union(set(), *keys.values())) == len(keys)


def test_names_do_not_depend_on_the_order_of_paths_or_of_a_walk() -> None:
    """A walk gives one folder after another, and knows nothing of those that come later."""
    for library in SECTIONS["season packs"] + SECTIONS["absolute numbers with brothers"]:
        paths = [Path(row.path) for row in library.rows]
        whole = assign_titles(paths, library.name)
        assert assign_titles(random.Random(0).sample(paths, len(paths)), library.name) == whole
        parser, seen = TitleParser(library.name), {}
        folders = {folder for path in paths for folder in path.parents}
        for folder in sorted(folders, key=lambda folder: folder.parts):
            files = [path.name for path in paths if path.parent == folder]
            below = [one.name for one in folders if one != Path() and one.parent == folder]
            parser.add_folder(folder, files, below)
            seen.update({folder / name: parser.parse(folder / name) for name in files})
        assert seen == whole


# ---- Laws


def test_a_name_that_is_not_utf8_is_printable() -> None:
    name = parse_name(Path(os.fsdecode(b"Am\xe9lie (2001).mkv")))
    assert (name.title, name.year) == ("Amélie", 2001)


@given(st.binary(min_size=1, max_size=40).filter(lambda b: b.strip(b"./") and b"\0" not in b))
def test_every_path_of_bytes_gives_a_printable_title(name: bytes) -> None:
    check(Path(os.fsdecode(name)))


#: Pieces of names that the parser has rules for, joined at random.
PIECES = """
Alpha Beta 01 1 105 2010 (2010) [2010] S01 S01E02 1x02 E05 - _ . , [Group] [1080p] 1080p Season
Staffel 第 話 第一季 第3集 Extras Trailers -trailer .sample Movies TV Specials BDMV VIDEO_TS CD1
title_t00 VTS_01_1 20190503 2019-05-03 {edition-X} [tmdbid-1] Part One (US) मेला + ! é x264
German Folge Episode Disc and & ( ) [ ] { } \ufffd \udcff 🐕 ٣
"""
NAMES = st.builds(
    lambda glue, pieces: glue.join(pieces),
    st.sampled_from([" ", ".", "_", ""]),
    st.lists(st.sampled_from(PIECES.split()), min_size=1, max_size=5),
).filter(lambda name: name.strip(".") != "")
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda parts: Path(*parts))


@settings(max_examples=150)
@given(st.lists(PATHS, min_size=1, max_size=6), st.sampled_from(["", "Alpha", "Movies", "TV"]))
def test_every_library_gives_printable_titles(paths: list[Path], library: str) -> None:
    for path in assign_titles(paths, library):
        check(path)


def check(path: Path) -> None:
    parsed = parse_name(path)
    assert parsed.title.strip()
    assert parsed.title.isprintable()
    parsed.title.encode()
    os.fsencode(parsed.key)


TITLES = st.text(st.sampled_from("abAB 01é-.:!+#&$कीा書ガカ🐕'"), min_size=1, max_size=6).filter(
    lambda title: title.strip(" .-:'") and not title.startswith(".")
)
#: The words in which spellings of one title may differ.
SAME = str.maketrans("", "", " .-:'")


@settings(max_examples=300)
@given(
    st.tuples(TITLES, TITLES),
    st.tuples(st.integers(1900, 2030), st.integers(1900, 2030)),
    st.sampled_from(["", "Movies/", "Films (2019)/", "NAS/Other/", "TV/"]),
    st.sampled_from(["a", "title_t00", "VIDEO_TS/VTS_01_1", "01", "CD1/x", "movie", "film-cd1"]),
)
def test_films_in_different_folders_with_a_year_never_merge(
    titles: tuple[str, str], years: tuple[int, int], shelf: str, file: str
) -> None:
    folders = [f"{title.strip()} ({year})" for title, year in zip(titles, years, strict=True)]
    names = assign_titles([Path(f"{shelf}{folder}/{file}.mkv") for folder in folders])
    one, *others = names.values()
    plain = [title.casefold().replace("&", "and").translate(SAME) for title in titles]
    if others and (years[0] != years[1] or plain[0] != plain[1]):
        assert one.key != others[0].key


@given(st.text(max_size=40))
def test_printable_text_is_not_changed(text: str) -> None:
    assert printable(printable(text)) == printable(text)


def test_all_spellings_of_a_title_have_one_key() -> None:
    spellings = ("Law & Order", "law and order", "Law.And_Order", "Law-and-Order", "“Law” & Order")
    assert len({title_key(name, None) for name in spellings}) == 1
    assert title_key("Show", 2005) != title_key("Show", 2020)
    assert title_key("!!!", None) != title_key("???", None)
