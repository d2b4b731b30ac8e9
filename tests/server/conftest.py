"""One world for all tests that only read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.server.worlds import World, make_world, serving
from tests.workers import run_in_process
from toomuchtv.search import clips, query_files, source_media
from toomuchtv.server import uploads


@pytest.fixture(scope="session")
def world(prepared_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(prepared_catalog, tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def read_here() -> Iterator[None]:
    """Read media in this process: starting another one takes most of a second."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (clips, query_files, source_media, uploads):
            patch.setattr(module, "run_isolated", run_in_process)
        yield


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[TestClient]:
    with serving(world) as client:
        yield client
