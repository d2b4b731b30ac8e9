"""Names are printed as they are, and every row of a table is one line unless it is folded."""

from __future__ import annotations

import pytest

from toomuchtv.cli.console import Output, counted

#: What rich would take for styles, an error of markup, and an emoji.
NAME = "Film [tt0123] [/b] :star: [bold]"
LONG = "A title of several words that is longer than a narrow terminal"


def test_nothing_in_a_name_is_taken_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=False)
    output.info(NAME)
    output.print_values(NAME, {NAME: NAME})
    output.print_table(NAME, ["title"], [[NAME]])
    output.warning(NAME)
    output.error(NAME)
    out, err = capsys.readouterr()
    assert out.count(NAME) == 6
    assert err.count(NAME) == 2


def test_a_progress_bar_shows_a_name_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # the stream counts as a terminal
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("toomuchtv.cli.console._SHOW_BAR_AFTER_SECONDS", -1.0)
    with Output(as_json=False).progress("clips") as progress:
        progress(1, 2, NAME)
    assert NAME in capsys.readouterr().err


def test_a_progress_bar_of_a_narrow_terminal_shortens_the_name_and_shows_all_times(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("toomuchtv.cli.console._SHOW_BAR_AFTER_SECONDS", -1.0)
    with Output(as_json=False).progress("s of film") as progress:
        progress(1_000, 2_000, "\u6620" * 12)
    err = capsys.readouterr().err
    assert "\u6620" * 9 + "\u2026" in err
    assert "1,000/2,000 s of film" in err
    assert "0:00:00" in err


def test_numbers_agree_with_their_noun() -> None:
    found = [counted(number, "title") for number in (0, 1, 3_874)]
    assert found == ["0 titles", "1 title", "3,874 titles"]


def test_a_row_is_one_line_where_stdout_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    Output(as_json=False).print_table(
        "Titles", ["title", "n"], [[LONG, 1], ["\u6620\n\u753b", 1234]]
    )
    title, header, rule, first, second = capsys.readouterr().out.splitlines()
    assert (title, header.split()) == ("Titles", ["title", "n"])
    assert set(rule) == {"\u2500"}
    assert first == f"{LONG}  1"
    # Two characters that are two columns wide, and a newline that is escaped.
    assert second == "\u6620\\n\u753b" + " " * (len(LONG) - 6) + "  1,234"


@pytest.mark.parametrize(("width", "is_folded"), [(40, True), (20, False), (80, False)])
def test_long_cells_are_folded_if_a_terminal_leaves_them_enough_room(
    width: int, is_folded: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    Output(as_json=False).print_table("Titles", ["title", "hours"], [[LONG, "1.5"]])
    out = capsys.readouterr().out
    assert (LONG not in out) == is_folded
    assert all(word in out for word in LONG.split())


def test_a_table_without_rows_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).print_table("Titles", ["title", "hours"], [])
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == [
        "Titles", "title  hours", "─" * 12, "(none)"
    ]  # fmt: skip
