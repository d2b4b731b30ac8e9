"""Fixtures of the tests of sampling."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def own_catalog(prepared_catalog: Path, tmp_path: Path) -> Path:
    """Return a copy of the prepared catalog whose proxies a test may damage."""
    return Path(shutil.copytree(prepared_catalog, tmp_path / "catalog"))
