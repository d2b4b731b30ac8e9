"""Laws of corrections: what an owner writes into titles.toml holds, and follows the content."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.media_files import write_film
from toomuchtv.catalog.corrections import (
    CORRECTIONS_NAME,
    Correction,
    add_correction,
    read_corrections,
)
from toomuchtv.catalog.records import TitleKind
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.catalog.titles import correct_titles
from toomuchtv.errors import CatalogError

Found = dict[str, tuple[str, str, int | None, int | None, int | None, str | None]]


def titles(cat: Path) -> Found:
    with open_catalog(cat) as catalog:
        return {
            str(item.path): (
                catalog.title(item.title_id).kind.value,
                catalog.title(item.title_id).name,
                catalog.title(item.title_id).year,
                item.season,
                item.episode,
                item.extra,
            )
            for item in catalog.items(include_extras=True)
        }


def write(cat: Path, text: str) -> None:
    (cat / CORRECTIONS_NAME).write_text(text, "utf-8")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    library = tmp_path / "library"
    for number, name in enumerate(["a.mp4", "b.mp4", "Film (2001).mp4"]):
        write_film(library / "X" / name, seconds=0.5, first_frame=number, languages=())
    return library


def test_corrections_survive_scans_and_follow_renamed_files(library: Path, tmp_path: Path) -> None:
    cat = tmp_path / "cat"
    scan_library(library, cat)
    with open_catalog(cat) as catalog:
        as_episode = Correction(path="X/a.mp4", title="Show", year=1999, season=1, episode=2)
        assert correct_titles(catalog, as_episode).changed == (Path("X/a.mp4"),)
        with pytest.raises(CatalogError, match=r"did you mean 'X/a\.mp4'"):
            correct_titles(catalog, Correction(path="X/aa.mp4", title="Show"))
    episode = ("show", "Show", 1999, 1, 2, None)
    assert titles(cat)["X/a.mp4"] == episode
    scan_library(library, cat)
    assert titles(cat)["X/a.mp4"] == episode
    for name in ["X/moved.mp4", "Y (1980).mp4", "X/a.mp4"]:  # away, further away, and back
        (path,) = [p for p in library.rglob("*.mp4") if str(p.relative_to(library)) in titles(cat)
                   and titles(cat)[str(p.relative_to(library))] == episode]  # fmt: skip
        path.rename(library / name)
        assert scan_library(library, cat).warnings == ()
        assert titles(cat)[name] == episode
    write(cat, "")
    scan_library(library, cat)
    assert titles(cat)["X/a.mp4"] == ("clip", "a", None, None, None, None)


def test_the_file_is_read_by_path_folder_and_pattern(library: Path, tmp_path: Path) -> None:
    cat = tmp_path / "cat"
    cat.mkdir()
    write(
        cat,
        """
        # all of it
        [[correction]]
        path = "X"
        title = "Whole"
        [[correction]]
        path = "**/Film*"
        year = 1950
        extra = "trailer"
        [[correction]]
        path = "X/?.mp4"
        kind = "show"
        season = 3
        [[correction]]
        path = "X/b.mp4"
        title = "Own"
        [[correction]]
        path = "none/*"
        title = "None"
        """,
    )
    result = scan_library(library, cat)
    assert titles(cat) == {
        "X/a.mp4": ("show", "Whole", None, 3, None, None),
        "X/b.mp4": ("show", "Own", None, 3, None, None),
        "X/Film (2001).mp4": ("movie", "Whole", 1950, None, None, "trailer"),
    }
    (warning,) = result.warnings
    assert "line 17" in warning
    assert "'none/*'" in warning


def test_brackets_are_no_patterns() -> None:
    correction = Correction(path="TV/A [tmdbid-1]/*.mkv", kind="show")
    assert correction.matches(Path("TV/A [tmdbid-1]/x.mkv"))
    assert not correction.matches(Path("TV/A t/x.mkv"))
    assert not correction.matches(Path("TV/A [tmdbid-1]/b/x.mkv"))
    assert Correction(path="TV/A*", kind="show").matches(Path("TV/AB.mkv"))
    assert not Correction(path="TV/A", kind="show").matches(Path("TV/AB.mkv"))
    anywhere = Correction(path="**/A*", kind="show")
    assert [anywhere.matches(Path(path)) for path in ("A.mkv", "b/c/A.mkv", "bA.mkv")] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('path = "X"\nyaer = 2001', "line 3: unknown key 'yaer': did you mean year"),
        ('path = "X"\nyear = "2001"', "line 3: year is '2001': it must be a whole number"),
        ('path = "X"\nyear = true', "line 3: year is True"),
        ('path = "X"\nyear = 20010', "line 3: year is 20010: it must be from 0 to 2200"),
        ('path = "X"\nkind = "film"', "line 3: kind is 'film': it must be one of movie, show"),
        ('path = "X"\ntitle = " "', "line 3: title is empty"),
        ('path = "X"', "line 3: nothing is corrected"),
        ('title = "X"', "line 3: it has no path"),
        ('path = "/X"\ntitle = "X"', "line 3: path is '/X'"),
        ('path = "../X"\ntitle = "X"', "line 3: path is '../X'"),
        ("path = X", "not valid TOML: .*line 4"),
        ("[other]", "has other outside of an entry"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_line(
    library: Path, tmp_path: Path, entry: str, message: str
) -> None:
    cat = tmp_path / "cat"
    cat.mkdir()
    write(cat, f"\n\n[[correction]]\n{entry}\n")
    with pytest.raises(CatalogError, match=message):
        scan_library(library, cat)


def test_adding_keeps_what_the_owner_wrote(tmp_path: Path) -> None:
    write(tmp_path, '# mine\n[[correction]]\npath = "a"  # why\nyear = 0')
    added = Correction(path='b "é"/[c]\\d', title="T", season=0, extra="")
    add_correction(tmp_path, added)
    text = (tmp_path / CORRECTIONS_NAME).read_text("utf-8")
    assert text.startswith('# mine\n[[correction]]\npath = "a"  # why\nyear = 0\n\n[[correction]]')
    assert read_corrections(tmp_path).entries == (Correction(path="a", year=0), added)
    assert read_corrections(tmp_path).lines == (2, 6)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / CORRECTIONS_NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(CatalogError, match="cannot read"):
        read_corrections(tmp_path)
    with pytest.raises(CatalogError, match="cannot read"):
        add_correction(tmp_path, Correction(path="a", kind=TitleKind.SHOW.value))
