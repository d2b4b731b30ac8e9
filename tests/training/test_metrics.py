"""The log of a run: one line a step, also after a kill."""

from __future__ import annotations

import math
from pathlib import Path

from toomuchtv.training.metrics import MetricsLog, read_metrics


def test_lines_come_back(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.write(1, {"loss": 0.5, "share": math.nan})
    log.write(2, {"loss": math.inf})
    log.close()
    assert read_metrics(tmp_path) == [
        {"step": 1, "loss": 0.5, "share": None},
        {"step": 2, "loss": None},
    ]
    assert read_metrics(tmp_path / "none") == []


def test_a_resumed_run_takes_back_what_it_does_again(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    for step in range(1, 8):
        log.write(step, {"loss": float(step)})
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')  # killed here
    again = MetricsLog(tmp_path, resume_step=4)
    again.write(5, {"loss": 50.0})
    again.close()
    assert [line["loss"] for line in read_metrics(tmp_path)] == [1.0, 2.0, 3.0, 4.0, 50.0]
