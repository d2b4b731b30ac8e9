"""What tests of every package share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests.prepared import make_prepared_catalog
from tests.workers import CALLERS, run_in_process
from toomuchtv._internal.subprocess_pool import run_isolated

# The models of tests are too small to share among threads.
torch.set_num_threads(1)
# A shared machine may stall any single example. Each law is tried on some other examples in every
# run, so that few of them suffice.
settings.register_profile("few examples", deadline=None, max_examples=40)
settings.load_profile("few examples")


@pytest.fixture(scope="session", autouse=True)
def _work_in_this_process() -> Iterator[None]:
    """Scan, prepare, detect and render without worker processes; see `tests.workers`."""
    with pytest.MonkeyPatch.context() as patch:
        for module in CALLERS:
            patch.setattr(module, "run_isolated", run_in_process)
        yield


@pytest.fixture
def worker_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scan, prepare, detect and render in worker processes, as users do."""
    for module in CALLERS:
        monkeypatch.setattr(module, "run_isolated", run_isolated)


@pytest.fixture(scope="session")
def media_root() -> Path:
    """The folder of real media, read in place: $TOOMUCHTV_TEST_MEDIA or ../shared/media.

    Without it a test is skipped; on CI, where it must be there, the test fails.
    """
    default = Path(__file__).resolve().parents[1] / ".." / "shared" / "media"
    root = Path(os.environ.get("TOOMUCHTV_TEST_MEDIA", default)).resolve()
    if not (root / "library").is_dir():
        reason = f"no real media in {root}; set TOOMUCHTV_TEST_MEDIA to where they are"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return root


@pytest.fixture(scope="session")
def prepared_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small prepared catalog of three films and a show; tests only read it."""
    return make_prepared_catalog(tmp_path_factory.mktemp("prepared"))
