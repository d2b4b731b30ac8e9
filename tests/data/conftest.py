"""What tests of sampling share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def own_catalog(prepared_catalog: Path, tmp_path: Path) -> Path:
    """A copy whose proxies a test may spoil."""
    return Path(shutil.copytree(prepared_catalog, tmp_path / "catalog"))
