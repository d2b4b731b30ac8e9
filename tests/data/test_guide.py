"""The code in the guide to the sampler runs as it is printed."""

from __future__ import annotations

import multiprocessing
import re
from pathlib import Path

import pytest
import torch

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "use_the_sampler.md"


@pytest.mark.skipif(
    multiprocessing.get_start_method() != "fork",
    reason="the page's dataset is defined in code that a spawned process cannot import",
)
def test_the_code_of_the_guide_runs(
    prepared_catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for title in range(5):
        for frame in range(6):
            path = tmp_path / "frames" / f"title {title}" / f"{frame}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(range(32)))
    (tmp_path / "cat").symlink_to(prepared_catalog)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(GUIDE), "exec"), names)
    video, log_mel, labels = names["video"], names["log_mel"], names["labels"]
    assert isinstance(video, torch.Tensor)
    assert isinstance(log_mel, torch.Tensor)
    assert isinstance(labels, torch.Tensor)
    assert video.shape == (8, 3, 4, 32, 32)
    assert log_mel.shape[:2] == (8, 1)
    assert labels.shape == (8, 8)
