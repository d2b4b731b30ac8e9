"""The demo at toy size, from an empty folder to its report."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.demo.run import CONDITIONS, library_config, run_demo
from toomuchtv.cli.console import Output


@pytest.mark.slow
def test_a_toy_demo_writes_a_report_and_is_not_repeated(tmp_path: Path) -> None:
    changes = {
        "movies": 12, "shows": 2, "minutes": 0.25, "event_kinds": 3, "transfer_clips_per_kind": 5,
    }  # fmt: skip
    library = library_config(0).model_copy(update=changes)

    def accuracies() -> dict[tuple[str, str], float]:
        output = Output(as_json=True, is_quiet=True)
        result = run_demo(tmp_path, seed=0, num_workers=2, output=output, steps=4, library=library)
        return {
            (name, modality): evaluation["metrics"]["accuracy"]["mean"]
            for name, by_modality in result["scores"].items()
            for modality, evaluation in by_modality.items()
        }

    first = accuracies()
    assert {name for name, _ in first} == {"untrained", *CONDITIONS}
    page = (tmp_path / "report.html").read_text()
    # The scores, 3 training curves, the example clips and the nearest neighbors.
    assert page.count("data:image/png") == 6
    models = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert models
    assert accuracies() == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == models
