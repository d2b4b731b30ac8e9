"""The demo at toy size, from an empty folder to its report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from experiments.demo.run import SMALL, run_demo
from toomuchtv.cli.console import Output


@pytest.mark.slow
def test_a_toy_demo_writes_a_report_and_is_not_repeated(tmp_path: Path) -> None:
    changes = {"shows": 4, "episodes": 2, "minutes": 0.25, "event_kinds": 3,
               "transfer_clips_per_kind": 5}  # fmt: skip
    size = replace(
        SMALL, library=SMALL.library.model_copy(update=changes), steps=4, batch_size=8,
        clips_per_item=8, settings=(*SMALL.settings, "optimizer.warmup_steps=1"),
    )  # fmt: skip

    def figures() -> tuple[dict[tuple[str, str], float], dict[str, float]]:
        output = Output(as_json=True, is_quiet=True)
        result = run_demo(tmp_path, seed=0, num_workers=2, output=output, size=size)
        accuracies = {
            (name, modality): evaluation["metrics"]["accuracy"]["mean"]
            for name, by_modality in result["scores"].items()
            for modality, evaluation in by_modality.items()
        }
        return accuracies, result["search"]["precision_at_5"]

    first = figures()
    assert {name for name, _ in first[0]} == {"untrained", *size.conditions()}
    assert set(first[1]) == set(size.conditions())
    page = (tmp_path / "report.html").read_text()
    # Overview, scores, negatives and 3 training curves; the query and five hits of two encoders.
    assert page.count("data:image/png") == 6
    assert page.count("data:video/mp4") == 11
    models = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert models
    assert figures() == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == models
