"""Weights & Biases, for real and offline, where it is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from toomuchtv.training.metrics import MetricsLog


def test_where_it_is_missing_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"pip install 'toomuchtv\[wandb\]', or leave"):
        MetricsLog(tmp_path, wandb_project="films")


def test_figures_are_kept_for_it_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    ids = []
    for start in (0, 2):  # begun, then resumed
        log = MetricsLog(tmp_path, resume_step=start, wandb_project="films")
        log.write(start + 1, {"loss": 0.125 + start})
        log.close()
        ids.append((tmp_path / "wandb_id.txt").read_text().strip())
    assert ids[0] == ids[1]
    kept = sorted((tmp_path / "wandb").glob(f"offline-run-*-{ids[0]}/run-{ids[0]}.wandb"))
    assert kept
    assert b"loss" in kept[0].read_bytes()
