"""The index changes while it is served."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.media_files import write_film
from tests.prepared import RECIPE
from tests.server.worlds import World, copy_world, serving, state_of
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog


@pytest.fixture
def own_world(prepared_catalog: Path, world: World, tmp_path: Path) -> World:
    """A copy that a test may change."""
    copied = copy_world(prepared_catalog.parent, tmp_path / "own")
    copied.model.symlink_to(world.model)
    copied.embed()
    return copied


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def generation(client: TestClient) -> str:
    name: str = client.get("/api/generation").json()["generation"]
    return name


def test_new_items_appear_without_a_restart(own_world: World) -> None:
    with serving(own_world) as client:
        before = generation(client)
        time.sleep(1.2)  # a look at the files that have not changed
        assert generation(client) == before
        old = state_of(client).library.current
        write_film(own_world.library / "Omega (2009)" / "Omega (2009).mp4", first_frame=90)
        scan_library(own_world.library, own_world.catalog)
        with open_catalog(own_world.catalog) as catalog:
            prepare_catalog(catalog, RECIPE)
        own_world.embed()
        wait_for(lambda: client.get("/api/index").json()["num_items"] == 6)
        assert generation(client) != before
        found = client.post("/api/search", json={"query": "Omega (2009)@1"})
        assert found.status_code == 200
        assert found.json()["problems"] == []
        # A request that has begun with the old state ends with it.
        assert len(old.index.search("Alpha (2001)@1", k=3)) == 3
        assert len(old.embedded) == 5
        # What left the library is not shown any more.
        shutil.rmtree(own_world.library / "Omega (2009)")
        scan_library(own_world.library, own_world.catalog)
        wait_for(lambda: client.get("/api/index").json()["num_items"] == 5)
        assert client.post("/api/search", json={"query": "Omega (2009)@1"}).status_code == 400


def test_a_damaged_index_is_served_as_it_was(own_world: World) -> None:
    with serving(own_world) as client:
        library = state_of(client).library
        library.stop()  # this test looks at the files itself
        expected = client.post("/api/search", json={"query": "Alpha (2001)@1"}).json()
        description = own_world.index / "index.json"
        content = description.read_bytes()
        description.write_bytes(content[:50])
        library.refresh()
        damaged = client.post("/api/search", json={"query": "Alpha (2001)@1"}).json()
        assert damaged["hits"] == expected["hits"]
        assert "as it was before" in damaged["problems"][0]
        assert client.get("/api/index").json()["problems"] == damaged["problems"]
        moved = own_world.index.rename(own_world.folder / "moved")
        library.refresh()
        assert client.post("/api/search", json={"query": "Alpha (2001)@1"}).json()["problems"]
        moved.rename(own_world.index)
        description.write_bytes(content)
        library.refresh()
        whole = client.post("/api/search", json={"query": "Alpha (2001)@1"}).json()
        assert (whole["hits"], whole["problems"]) == (expected["hits"], [])
        # One damaged file: the rest is served, and a sentence says so.
        vectors = sorted((own_world.index / "vectors").rglob("*.vec"))[0]
        replaced = vectors.with_suffix(".new")
        replaced.write_bytes(vectors.read_bytes()[:-1] + b"?")
        replaced.replace(vectors)
        library.refresh()
        assert client.get("/api/index").json()["num_items"] == 4
        assert "damaged" in client.get("/api/index").json()["problems"][0]


def test_many_clients_at_the_same_time(own_world: World) -> None:
    """Searches agree with each other while the index is opened anew again and again."""
    with serving(own_world) as client:
        expected = client.post("/api/search", json={"query": "Alpha (2001)@1", "k": 5}).json()
        stop = threading.Event()
        failures: list[object] = []

        def embed() -> None:
            while not stop.is_set():
                (own_world.index / "calibration" / "x").touch()
                state_of(client).library.refresh()
                time.sleep(0.05)

        def ask() -> None:
            for _ in range(6):
                answer = client.post("/api/search", json={"query": "Alpha (2001)@1", "k": 5})
                thumbnail = client.get("/api/items/1/thumbnail?at=1")
                if answer.status_code != 200 or answer.json()["hits"] != expected["hits"]:
                    failures.append(answer.text)
                if thumbnail.status_code != 200:
                    failures.append(thumbnail.text)

        writer = threading.Thread(target=embed)
        askers = [threading.Thread(target=ask) for _ in range(8)]
        for thread in (writer, *askers):
            thread.start()
        for thread in askers:
            thread.join()
        stop.set()
        writer.join()
        assert not failures
