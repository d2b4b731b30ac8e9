"""The small form of the GPU benchmark runs on a CPU. Its figures are not checked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def benchmark(out: Path, *flags: str) -> dict[str, Any]:
    path = out / "figures.json"
    subprocess.run(
        [sys.executable, "-m", "benchmarks.training", "--out", str(out), "--json", str(path),
         "--small", *flags],
        check=True,
    )  # fmt: skip
    found = json.loads(path.read_text()) if path.exists() else {}
    assert isinstance(found, dict)
    return found


def test_preparation_and_measurement_run(tmp_path: Path) -> None:
    benchmark(tmp_path, "--prepare-gpu")
    assert [path.name for path in (tmp_path / "gpu_data").iterdir()] == ["catalog"]
    speed = benchmark(tmp_path, "--gpu")
    assert 2 <= speed["largest_batch"] <= 16
    assert speed["clips_per_second_eager"] > 0
    assert 0 <= speed["data_wait_share_eager"] < 1
    assert 0 < speed["matmul_rate_share_eager"] < 1
