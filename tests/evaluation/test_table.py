"""Tables of several results contain every score in its row and column."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toomuchtv.evaluation.benchmark import Benchmark, Fold, LabeledClip, Task
from toomuchtv.evaluation.encoders import choose_encoder
from toomuchtv.evaluation.identity import ResultIdentity
from toomuchtv.evaluation.protocols import PROTOCOLS
from toomuchtv.evaluation.protocols.description import describe_settings
from toomuchtv.evaluation.result import Evaluation, FoldPredictions, QueryRanks
from toomuchtv.evaluation.summary import (
    classification_figures,
    ranking_figures,
    regression_figures,
)
from toomuchtv.evaluation.table import figure_rows, score_grids, summary_row
from toomuchtv.reports.evaluation_page import write_evaluation_page, write_table


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


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_clips_of_one_source_have_no_interval(task: Task) -> None:
    scores = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)[:, : 1 + (task != "regression")]
    summarize = regression_figures if task == "regression" else classification_figures
    for sources, num_intervals in (("tttt", 0), ("ttuu", 1)):
        clips = tuple(
            LabeledClip(path=Path(f"{n}"), labels=("ab"[n % 2],), source=t, group=t, value=float(n))
            for n, t in enumerate(sources)
        )
        benchmark = Benchmark(
            name="b", root=Path(), task=task, modalities=("audio",), clips=clips,
            folds=(Fold(name="f", train=(0, 1), test=(0, 1, 2, 3)),), classes=("a", "b"),
        )  # fmt: skip
        fold = FoldPredictions(
            name="f", clips="0123", sources=sources, scores=scores,
            targets=scores + 1 if task == "regression" else benchmark.label_matrix(),
        )  # fmt: skip
        metrics = summarize(benchmark, [fold])["metrics"]
        shown = replace(
            result("knn", "e", 0.5), metrics=metrics, chance=dict.fromkeys(metrics, 0.0)
        )
        assert summary_row(shown).count("-") == 1 - num_intervals
        assert figure_rows(shown)[1][0].count("-") == 1 - num_intervals


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


def test_the_page_names_weights_views_and_classifier_and_a_choice_once(tmp_path: Path) -> None:
    encoder, protocol = choose_encoder("log-mel"), PROTOCOLS["linear-5-shot"]
    plain = result("linear-5-shot", "log-mel", 0.5)
    shown = replace(
        plain,
        encoder={"name": "log-mel", "weights": encoder.weights, "pretraining": "nothing"},
        settings=describe_settings(protocol, encoder, "audio"),
        selection={"how": "fixed", "chosen": [{"chosen": 1.0}] * 50},
    )
    write_evaluation_page(tmp_path / "page.html", shown)
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "log-mel (no training)" in text
    assert "5 views of 2 seconds of audio at 16000 Hz" in text
    assert "logistic regression" in text
    assert "5 clips of each class" in text
    assert "1; 1" not in text


def test_intervals_of_retrieval_are_in_its_rows(tmp_path: Path) -> None:
    ranking = QueryRanks(
        name="video_to_audio", clips=list("abcdef"), sources=list("aabbcc"),
        ranks=np.array([1.0, 2.0, 9.0, 1.0, 1.0, 30.0]),
    )  # fmt: skip
    figures = ranking_figures(ranking)
    chance = {name: 0.1 for name in figures if name != "interval"}
    shown = replace(
        result("retrieval", "x", 0.5),
        metrics={"num_pairs": 6, "video_to_audio": figures},
        chance={"video_to_audio": chance},
    )
    header, rows = figure_rows(shown)
    low, high = figures["interval"]["recall_at_1"]
    assert header[4] == "95%"
    assert [row[2] for row in rows] == ["R@1", "R@5", "R@10", "median rank"]
    assert rows[0][3:5] == ["0.5", f"{low:.3g} to {high:.3g}"]
    assert summary_row(shown)[6] == f"{100 * low:.1f} to {100 * high:.1f}"
