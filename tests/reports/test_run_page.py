"""The page of a run says what its log says, and shows the clips that its plan drew."""

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


def test_it_says_what_the_log_says(prepared_catalog: Path, run: Path) -> None:
    with open_catalog(prepared_catalog) as catalog:
        html = write_run_page(run, catalog).read_text()
    assert "Pretraining a &amp; b" in html
    assert "4 of 4 steps of 6 clips, drawn by the hierarchical policy; finished" in html
    headings = re.findall("<h2>(.+)</h2>", html)
    assert headings == ["What came", "Learning", "Throughput", "Negatives", "Examples", "Settings"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    held_out = [line["held_out_loss"] for line in lines if "held_out_loss" in line]
    assert f"<td>held-out loss, last</td><td>{held_out[-1]:.4g}</td>" in html
    assert "<td>optimizer.warmup_steps</td><td>2</td>" in html
    assert html.count("data:image/png;base64,") == 4


def test_a_run_without_one_logged_step_has_a_page(
    prepared_catalog: Path, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text((run / "config.toml").read_text())
    # What is not finite is null in the log.
    with open_catalog(prepared_catalog) as catalog:
        html = write_run_page(tmp_path, catalog).read_text()
        assert "0 of 4 steps" in html
        assert "not finished yet" in html
        lines = (run / "metrics.jsonl").read_text().replace('"loss": ', '"loss": null, "was": ')
        (tmp_path / "metrics.jsonl").write_text(lines)
        assert "nan, nan" in write_run_page(tmp_path, catalog).read_text()
