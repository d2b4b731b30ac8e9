"""A library, its catalog with segments, and an index by a tiny encoder, to be served."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from tests.prepared import tiny_config
from tests.search.indexes import tiny_encoder
from toomuchtv.catalog.records import Segment
from toomuchtv.catalog.store import open_catalog
from toomuchtv.search.embedding import embed_catalog
from toomuchtv.server.app import create_app
from toomuchtv.server.security import Policy
from toomuchtv.server.state import State

URL = "http://127.0.0.1:8765"


@dataclass(frozen=True)
class World:
    """Where the parts are."""

    folder: Path

    @property
    def library(self) -> Path:
        return self.folder / "library"

    @property
    def catalog(self) -> Path:
        return self.folder / "catalog"

    @property
    def index(self) -> Path:
        return self.folder / "idx"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def embed(self) -> None:
        embed_catalog(self.model, self.catalog, self.index, stride_seconds=0.5)

    def item_ids(self) -> dict[str, int]:
        """Ids of the items by the stems of their files."""
        with open_catalog(self.catalog) as catalog:
            return {item.path.stem: item.id for item in catalog.items()}


def copy_world(source: Path, folder: Path) -> World:
    """Copy a library with its catalog."""
    for name in ("library", "catalog"):
        shutil.copytree(source / name, folder / name)
    with open_catalog(folder / "catalog") as catalog, catalog.writing():
        catalog.set_library((folder / "library").resolve())
    return World(folder)


def make_world(prepared_catalog: Path, folder: Path) -> World:
    """Copy the prepared catalog, add segments, and embed it."""
    world = copy_world(prepared_catalog.parent, folder)
    episodes = [world.item_ids()[f"Delta S01E0{number}"] for number in (1, 2)]
    with open_catalog(world.catalog) as catalog, catalog.writing():
        opening = [
            Segment(item_id=one, start_seconds=0.5, stop_seconds=1.5, kind="opening", recurrence=1)
            for one in episodes
        ]
        catalog.record_segments("title 1", "a test", episodes, ["opening"], opening)
    tiny_encoder(tiny_config()).save(world.model)
    world.embed()
    return world


@contextmanager
def serving(world: World, **settings: Any) -> Iterator[TestClient]:
    """Serve a world within this process, as a page of it sees it."""
    app = create_app(world.index, catalog=world.catalog, **settings)
    with TestClient(app, base_url=URL, headers={"X-Toomuchtv": "1"}) as client:
        yield client


def state_of(client: TestClient) -> State:
    """What the requests of a server share."""
    state: State = client.app.state.server  # type: ignore[attr-defined]
    return state


def on_network(**changes: Any) -> Policy:
    """The policy of a server that other machines can reach."""
    return Policy(**{"host": "0.0.0.0", "port": 8765, "token": "a token of the tests", **changes})
