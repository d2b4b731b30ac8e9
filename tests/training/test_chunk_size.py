"""How many clips fit: against what really is used."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from tests.prepared import tiny_config
from toomuchtv.training.chunk_size import find_chunk_size, with_found_chunk_size
from toomuchtv.training.profile import profile_step

CPU = torch.device("cpu")
MIB = 2**20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self")


def test_parts_are_as_large_as_memory_allows() -> None:
    config = tiny_config(clip={"frames": 4}, transform={"size": 64})
    kept = profile_step(config, CPU, most_clips=2).kept_bytes_per_clip
    # At its peak a part needs what is kept, and some more; not several times that.
    found = find_chunk_size(config, CPU, local_clips=24, memory_bytes=16 * kept)
    assert found in {4, 6, 8, 12}
    with pytest.raises(ValueError, match="not even 2 clips at once fit"):
        find_chunk_size(config, CPU, local_clips=2, memory_bytes=kept)


def test_a_resumed_run_keeps_what_was_found(tmp_path: Path) -> None:
    was = tiny_config(training={"chunk_size": 3})
    (tmp_path / "config.toml").write_text(was.to_toml())
    assert with_found_chunk_size(tiny_config(), tmp_path) == was
