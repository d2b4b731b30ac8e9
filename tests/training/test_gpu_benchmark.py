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
    for name in ("base", "vit_small", "vit_base"):
        assert speed[f"{name}_clips_per_second"] > 0
        assert 0 <= speed[f"{name}_data_wait_share"] < 1
        assert 0 < speed[f"{name}_matmul_rate_share"] < 1
        assert speed[f"{name}_over_synthetic"] > 0
        assert speed[f"{name}_host_synchronizations"] == 0
    assert speed["loader_clips_per_second"] > 0
