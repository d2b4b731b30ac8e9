"""Tables of several results contain every score in its row and column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toomuchtv.evaluation.identity import ResultIdentity
from toomuchtv.evaluation.result import Evaluation
from toomuchtv.evaluation.table import score_grids, summary_row
from toomuchtv.reports.evaluation_page import write_table


def result(protocol: str, encoder: str, mean: float, **changes: Any) -> Evaluation:
    metric = changes.pop("metric", "accuracy")
    figures = {"mean": mean, "std": 0.01, "folds": [mean], "interval": [mean, mean]}
    values: dict[str, Any] = {"benchmark": "esc10", "modality": "audio", **changes}
    return Evaluation(
        identity=ResultIdentity(
            protocol=protocol, encoder_fingerprint=encoder, untrained=False, seed=0,
            data_fingerprint="d", **values,
        ),
        metrics={metric: figures}, chance={metric: 0.1},
        encoder={"name": encoder, "pretraining": "nothing"},
    )  # fmt: skip


def test_a_grid_has_a_row_per_protocol_and_a_column_per_encoder() -> None:
    (grid, other) = score_grids(
        [
            result("linear", "b", 0.5),
            result("knn", "a", 0.25),
            result("knn", "b", 0.75),
            result("knn", "b", 0.125, benchmark="ucf101", modality="video"),
        ]
    )
    assert (grid.title, other.title) == ("esc10, from audio", "ucf101, from video")
    assert grid.header == ["protocol", "a", "b"]
    assert grid.rows == [["knn", "25.0 +- 1.0", "75.0 +- 1.0"], ["linear", "-", "50.0 +- 1.0"]]
    assert other.rows == [["knn", "12.5 +- 1.0"]]


def test_scores_of_encoders_with_equal_names_are_joined() -> None:
    (grid,) = score_grids([result("knn", "a", 0.25), result("knn", "a", 0.75)])
    assert grid.rows == [["knn", "25.0 +- 1.0; 75.0 +- 1.0"]]


def test_an_error_is_not_shown_in_percent() -> None:
    row = summary_row(result("linear", "a", 2.5, metric="mse", benchmark="lvu-like-ratio"))
    assert "2.5 +- 0.0 (mse)" in row


def test_figures_of_the_page_contain_no_line_breaks(tmp_path: Path) -> None:
    write_table(tmp_path, [result("linear", "a", 0.5)])
    space, both = "\N{NO-BREAK SPACE}", "\N{PLUS-MINUS SIGN}"
    assert f"50.0{space}{both}{space}1.0" in (tmp_path / "table.html").read_text("utf-8")
    assert "50.0 +- 1.0" in (tmp_path / "table.txt").read_text("utf-8")
