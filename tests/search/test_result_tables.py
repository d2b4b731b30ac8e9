"""JSON and CSV of hits, read again by other code than ours."""

from __future__ import annotations

import csv
import json
import math
import os
from dataclasses import fields, replace
from pathlib import Path

import pytest

from tests.search.rated_films import make_hit
from toomuchtv.search.hits import Hit, Match
from toomuchtv.search.result_tables import COLUMNS, TABLE_HEADER, table_rows
from toomuchtv.search.results import FORMATS, write_results

PATH = Path("/films/\udcff Ünï 映画.mkv")
HITS = [
    make_hit(PATH, 72.5, 75.0, rank=1, name="=SUM(A1)", similarity=-0.25),
    make_hit(PATH, 0.0, 1.0, rank=2, name='two\nlines, "quoted"', z_score=math.nan),
]


def test_json_has_all_values(tmp_path: Path) -> None:
    assert write_results(HITS, tmp_path / "hits.json") == ()
    text = (tmp_path / "hits.json").read_text("utf-8")
    assert "映画" in text

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    read = json.loads(text, parse_constant=refuse)["hits"]
    assert [list(hit)[: len(COLUMNS)] for hit in read] == [list(COLUMNS)] * 2
    first, second = read
    assert os.fsencode(first["path"]) == bytes(PATH)
    assert (first["start_seconds"], first["stop_seconds"]) == (72.5, 75.0)
    assert (first["start"], first["kind"]) == ("00:01:12.5", "movie")
    assert second["name"] == HITS[1].name
    assert second["z_score"] is None
    assert set(first["matches"][0]) == {field.name for field in fields(Match)}
    assert {field.name for field in fields(Hit)} <= set(first)


def test_csv_holds_no_formula(tmp_path: Path) -> None:
    names = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "plain", "a=1"]
    hits = [make_hit(PATH, 0.0, 1.0, rank=n, name=name) for n, name in enumerate(names, 1)]
    hits[0] = replace(hits[0], title="-cmd|' /C calc'!A0", path=Path("@evil"))
    write_results([*hits, *HITS], tmp_path / "hits.csv")
    with open(tmp_path / "hits.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    texts = ("name", "title", "kind", "path", "encoder", "start", "stop")
    assert not any(row[column].startswith(tuple("=+-@\t\r")) for row in rows for column in texts)
    assert [row["name"].removeprefix("'") for row in rows[: len(names)]] == names
    # A negative number stays a number.
    assert float(rows[-2]["similarity"]) == -0.25
    assert rows[-1]["name"] == HITS[1].name
    assert rows[-1]["z_score"] == ""


def test_rows_of_the_terminal() -> None:
    unsure = replace(HITS[1].matches[0], is_confident=False, query_modality="audio")
    rows = table_rows([HITS[0], replace(HITS[1], matches=(unsure, unsure))])
    assert all(len(row) == len(TABLE_HEADER) for row in rows)
    assert [row[0] for row in rows] == ["1", "2?"]
    assert [row[-1] for row in rows] == ["base video", "base audio to video"]
    assert rows[1][5] == ""


def test_no_hits(prepared_catalog: Path, tmp_path: Path) -> None:
    write_results([], tmp_path / "no.json")
    assert json.loads((tmp_path / "no.json").read_text())["hits"] == []
    write_results([], tmp_path / "no.csv")
    assert (tmp_path / "no.csv").read_text().strip() == ",".join(COLUMNS)
    assert table_rows([]) == []
    for suffix in (".png", ".otio", ".edl", ".fcpxml"):
        with pytest.raises(ValueError, match="no hits"):
            write_results([], tmp_path / f"no{suffix}", catalog=prepared_catalog)
        assert not (tmp_path / f"no{suffix}").exists()


@pytest.mark.parametrize("name", ["hits.txt", "hits", "hits.mp4", ".json"])
def test_an_unknown_suffix_names_the_known_ones(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="choose from") as raised:
        write_results(HITS, tmp_path / name)
    assert all(suffix in str(raised.value) for suffix in FORMATS)


def test_the_format_may_be_named(tmp_path: Path) -> None:
    write_results(HITS, tmp_path / "a.txt", format="json")
    write_results(HITS, tmp_path / "b.JSON")
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.JSON").read_bytes()


def test_an_existing_file_is_replaced_or_kept(tmp_path: Path) -> None:
    path = tmp_path / "hits.csv"
    path.write_text("old")
    write_results(HITS, path)
    assert path.read_text("utf-8").startswith("rank,")
    timeline = tmp_path / "hits.edl"
    timeline.write_text("old")
    with pytest.raises(ValueError, match="no hits"):
        write_results([], timeline)
    assert timeline.read_text() == "old"
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_results(HITS, tmp_path / "file" / "hits.json")
    assert {one.name for one in tmp_path.iterdir()} == {"hits.csv", "hits.edl", "file"}
