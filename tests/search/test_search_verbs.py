"""The verbs `embed`, `search` and `index`, called as a user calls them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import av
import numpy as np
import pytest

from tests.cli.test_cli import toomuchtv
from tests.prepared import tiny_config
from tests.search.indexes import tiny_encoder


@pytest.fixture(scope="module")
def folder(prepared_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and an index."""
    folder = tmp_path_factory.mktemp("verbs")
    tiny_encoder(tiny_config()).save(folder / "model")
    done = toomuchtv(
        "embed", folder / "model", "--catalog", prepared_catalog, "--index", folder / "idx",
        "--workers", "1", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["embedded"] == 5
    return folder


def test_hits_and_files(folder: Path) -> None:
    out = folder / "out"
    done = toomuchtv(
        "search", folder / "idx", "Alpha (2001)@0:03", "-k", "3", "--json",
        "--clips", out / "clips",
        "--out", out / "hits.csv", "--out", out / "hits.png", "--out", out / "hits.fcpxml",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    hits = json.loads(done.stdout)["hits"]
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    with (out / "hits.csv").open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == [hit["name"] for hit in hits]
    with av.open(str(out / "hits.png")) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert picture.std() > 10
    assert "<fcpxml" in (out / "hits.fcpxml").read_text()
    assert len(list((out / "clips").glob("*.mp4"))) == 3


def test_outliers_and_an_empty_result(folder: Path) -> None:
    done = toomuchtv("search", folder / "idx", "--outliers", "-k", "2", "--json")
    assert len(json.loads(done.stdout)["hits"]) == 2
    done = toomuchtv("search", folder / "idx", "alpha@3", "--season", "9", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"confident": False, "hits": []}


def test_a_vector_from_a_file(folder: Path) -> None:
    np.save(folder / "v.npy", np.ones(8))
    done = toomuchtv(
        "search", folder / "idx", "--vector", folder / "v.npy", "--encoder", "model",
        "--by", "look", "--json",
    )  # fmt: skip
    assert len(json.loads(done.stdout)["hits"]) == 10
    np.save(folder / "bad.npy", np.array([{}]), allow_pickle=True)
    done = toomuchtv("search", folder / "idx", "--vector", folder / "bad.npy", "--encoder", "model")
    assert done.returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["idx"],
        ["idx", "Delta@1"],
        ["idx", "alpha@99:00"],
        ["idx", "alpha@3", "--item", "1"],
        ["idx", "alpha@3", "--outliers"],
        ["idx", "--outliers", "--by", "look-to-sound"],
        ["idx", "--outliers", "--per-title", "1"],
        ["idx", "--outliers", "--other-titles"],
        ["idx", "--item", "1"],
        ["idx", "alpha@3", "--weight", "model=x"],
        ["idx", "alpha@3", "--weight", "nobody=1"],
        ["idx", "alpha@3", "--encoder", "nobody"],
        ["idx", "alpha@3", "--kind", "opera"],
        ["idx", "alpha@3", "--from", "5", "--to", "3"],
        ["idx", "alpha@3", "--in-segment", "songs"],
        ["idx", "alpha@3", "--out", "hits.doc"],
        ["idx", "text:a door"],
        ["nothing", "alpha@3"],
    ],
)
def test_wrong_usage(folder: Path, arguments: list[str]) -> None:
    done = toomuchtv("search", *arguments, cwd=folder)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")


def test_index_verbs(folder: Path, prepared_catalog: Path) -> None:
    info = json.loads(toomuchtv("index", "info", folder / "idx", "--json").stdout)
    assert info["encoders"][0]["windows"] == 24
    assert info["problems"] == []
    assert len(info["encoders"][0]["calibration"]) == 4
    check = json.loads(toomuchtv("index", "check", folder / "idx", "--json").stdout)
    assert (check["num_files"], check["num_missing"], check["damaged"]) == (5, 0, [])
    done = toomuchtv("index", "export", folder / "idx", "--out", folder / "vectors", "--json")
    assert json.loads(done.stdout)["windows"] == 24
    video = np.load(folder / "vectors" / "video.npy")
    assert video.shape == (24, 8)
    assert np.abs(np.linalg.norm(video.astype(np.float64), axis=1) - 1).max() < 2e-3
    with (folder / "vectors" / "windows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    assert float(rows[0]["stop_seconds"]) == 0.25
    again = toomuchtv("index", "export", folder / "idx", "--out", folder / "vectors")
    assert again.returncode == 2
