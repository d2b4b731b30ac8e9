"""The metrics log survives kills, and the stopwatch counts only waits for data as waiting."""

from __future__ import annotations

import math
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from toomuchtv.training.metrics import MetricsLog, Stopwatch, read_metrics


def test_lines_are_read_back(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.write(1, {"loss": 0.5, "share": math.nan})
    log.write(2, {"loss": math.inf})
    log.close()
    assert read_metrics(tmp_path) == [
        {"step": 1, "loss": 0.5, "share": None},
        {"step": 2, "loss": None},
    ]
    assert read_metrics(tmp_path / "none") == []


def test_a_resumed_log_drops_the_steps_that_are_repeated(tmp_path: Path) -> None:
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


def test_stopwatch_counts_only_the_time_inside_next() -> None:
    def batches() -> Iterator[int]:
        for batch in range(3):
            time.sleep(0.05)
            yield batch

    stopwatch, shares = Stopwatch(), []
    for _ in stopwatch.time_waits(batches()):
        time.sleep(0.2)
        shares.append(stopwatch.data_wait_share)
        time.sleep(0.1)  # logging and checkpoints, before the next interval starts
        stopwatch.start_interval()
    # The share is 0.05 of 0.25 s, and a busy machine prolongs both sleeps.
    assert all(0.05 < share < 0.6 for share in shares)


def test_a_missing_wandb_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"pip install 'toomuchtv\[wandb\]', or leave"):
        MetricsLog(tmp_path, wandb_project="films")


def test_wandb_keeps_metrics_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    ids = []
    for start in (0, 2):  # started, then resumed
        log = MetricsLog(tmp_path, resume_step=start, wandb_project="films")
        log.write(start + 1, {"loss": 0.125 + start})
        log.close()
        ids.append((tmp_path / "wandb_id.txt").read_text().strip())
    assert ids[0] == ids[1]
    kept = sorted((tmp_path / "wandb").glob(f"offline-run-*-{ids[0]}/run-{ids[0]}.wandb"))
    assert kept
    assert b"loss" in kept[0].read_bytes()


def test_tensorboard_reads_the_log_of_a_resumed_run_and_it_names_no_host(tmp_path: Path) -> None:
    for resume_step, losses in ((0, [3.0, 2.5, 9.0]), (2, [2.0, 1.5])):
        log = MetricsLog(tmp_path, resume_step=resume_step)
        for step, loss in enumerate(losses, start=resume_step + 1):
            log.write(step, {"loss": loss, "norm": math.inf})
        log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("loss")] == [
        (1, 3.0), (2, 2.5), (3, 2.0), (4, 1.5),
    ]  # fmt: skip
    host = socket.gethostname()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3
    for path in files:
        assert host not in path.name
        assert host.encode() not in path.read_bytes()
