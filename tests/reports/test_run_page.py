"""The page of a run shows what its log says, and clips that its sampler drew."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.prepared import tiny_config
from toomuchtv.catalog.store import open_catalog
from toomuchtv.reports.run_page import write_run_page
from toomuchtv.training.pretrain import pretrain


@pytest.fixture(scope="module")
def run(prepared_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "a & b"
    with open_catalog(prepared_catalog) as catalog:
        pretrain(catalog, path, tiny_config(training={"steps": 4}))
    return path


def test_page_shows_the_figures_of_the_log(prepared_catalog: Path, run: Path) -> None:
    with open_catalog(prepared_catalog) as catalog:
        html = write_run_page(str(run), catalog).read_text()
    assert "Pretraining a &amp; b" in html
    assert "4 of 4 steps with batches of 6 clips from hierarchical sampling" in html
    assert "It has finished." in html
    headings = re.findall("<h2>(.+)</h2>", html)
    assert headings == ["Summary", "Learning", "Throughput", "Negatives", "Examples", "Settings"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    held_out = [line["held_out_loss"] for line in lines if "held_out_loss" in line]
    assert f"<td>last held-out loss</td><td>{held_out[-1]:.4g}</td>" in html
    assert "<td>optimizer.warmup_steps</td><td>2</td>" in html
    # 3 charts of the learning, 2 of the throughput, 4 of the negatives, and the example clips.
    assert html.count("data:image/png;base64,") == 10


def test_run_without_logged_steps_has_a_page(
    prepared_catalog: Path, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text((run / "config.toml").read_text())
    with open_catalog(prepared_catalog) as catalog:
        html = write_run_page(tmp_path, catalog).read_text()
        assert "0 of 4 steps" in html
        assert "not finished yet" in html
        # Figures that are not finite are null in the log.
        lines = (run / "metrics.jsonl").read_text().replace('"loss": ', '"loss": null, "was": ')
        (tmp_path / "metrics.jsonl").write_text(lines)
        html = write_run_page(tmp_path, catalog).read_text()
    assert "<td>loss at the first logged step</td><td>nan</td>" in html
    assert "<td>loss at the last logged step</td><td>nan</td>" in html
