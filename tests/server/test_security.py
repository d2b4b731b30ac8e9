"""What the server refuses."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.testclient import TestClient

from tests.media_files import write_film
from tests.server.worlds import URL, World, copy_world, on_network, serving, state_of
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.server import state as state_module
from toomuchtv.server import uploads as uploads_module
from toomuchtv.server.exports import attachment_headers
from toomuchtv.server.media_files import RefusedSourceError, open_source
from toomuchtv.server.security import MAX_BODY_BYTES, SECURITY_HEADERS, Policy, is_loopback
from toomuchtv.server.uploads import UploadContent, UploadError, UploadStore

ROUTES = (
    "/", "/static/x", "/api/index", "/api/generation", "/api/complete", "/api/openapi.json",
    "/api/items/1", "/api/items/1/thumbnail", "/api/items/1/preview", "/media/1",
    "/media/1/excerpt", "/api/map", "/api/recurring", "/api/similar-titles?title=1",
    "/api/uploads/x/thumbnail", "/nothing",
)  # fmt: skip
POSTS = ("/api/search", "/api/outliers", "/api/uploads?name=x", "/api/export")


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("127.0.0.1:8765", True),
        ("localhost:8765", True),
        ("LOCALHOST:8765", True),
        ("[::1]:8765", True),
        ("127.0.0.1", False),
        ("127.0.0.1:80", False),
        ("evil.example:8765", False),
        ("127.0.0.1.evil.example:8765", False),
        ("127.0.0.1:8765.evil.example", False),
        ("evil.example#127.0.0.1:8765", False),
        ("user@127.0.0.1:8765", False),
        ("192.168.1.5:8765", False),
        ("", False),
        ("[::1", False),
    ],
)
def test_hosts(host: str, is_allowed: bool) -> None:
    assert Policy(host="127.0.0.1", port=8765).allows_host(host) is is_allowed


def test_hosts_of_a_server_on_all_addresses() -> None:
    policy = on_network()
    assert policy.allows_host("192.168.1.5:8765")  # an address cannot be rebound
    assert not policy.allows_host("evil.example:8765")
    assert not policy.allows_host("192.168.1.5")
    policy = on_network(host="127.0.0.1", public_hosts=["Films.example.org"])
    assert policy.allows_host("films.example.org")
    assert policy.allows_origin("https://films.example.org", "films.example.org")
    assert not policy.allows_host("films.example.org.evil.example")


@pytest.mark.parametrize("path", [*ROUTES, *POSTS])
def test_a_wrong_host_or_origin_is_refused_everywhere(client: TestClient, path: str) -> None:
    method = "POST" if path in POSTS else "GET"
    for headers in (
        {"Host": "evil.example:8765"},
        {"Origin": "http://evil.example:8765"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:8765"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == 403, headers
        assert "access-control-allow-origin" not in answer.headers
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value
    own = {"Origin": URL, "Sec-Fetch-Site": "same-origin"}
    assert client.request(method, path, headers=own).status_code != 403


def test_a_link_from_elsewhere_opens_the_page(client: TestClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/?q=x", headers=headers).status_code == 200
    assert client.get("/media/1", headers=headers).status_code == 403


@pytest.mark.parametrize("path", POSTS)
def test_a_post_needs_the_header(client: TestClient, path: str) -> None:
    answer = client.post(path, headers={"X-Toomuchtv": ""}, json={"query": "alpha@1"})
    assert answer.status_code == 403
    # A form of another site can send no other content type, and no JSON is read from it.
    form = client.post(path, headers={"X-Toomuchtv": "0", "Content-Type": "text/plain"})
    assert form.status_code == 403


def test_headers_of_every_answer(client: TestClient) -> None:
    for path in (*ROUTES, "/media/1?x", "/api/items/x", "/static/%2e%2e/app.py"):
        answer = client.get(path)
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value, path
        assert answer.headers["cache-control"], path
        assert "server" not in answer.headers
        if answer.status_code >= 400:
            assert isinstance(answer.json()["detail"], str)
    assert client.put("/api/index").status_code == 405


def test_errors_of_the_program_have_the_headers_and_no_details(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_of(client), "uploads", None)
    answer = client.get("/api/uploads/x/thumbnail")
    assert answer.status_code == 500
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Traceback" not in answer.text


# ---- Tokens


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "localhost", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "example.org")))


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": "example.org"},
        {"host": "127.0.0.1", "public_hosts": ["example.org"]},
        {"host": "127.0.0.1", "token": "short"},
        {"host": "0.0.0.0", "token": "x" * 15},
        {"host": "0.0.0.0", "token": ""},
    ],
)
def test_policies_that_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="token"):
        Policy(port=8765, **settings)


def test_everything_needs_the_token(world: World) -> None:
    policy = on_network()
    with serving(world, policy=policy) as client:
        for path in (*ROUTES, *POSTS, "/?token=a+wrong+token+of+the+tests", "/?token="):
            method = "POST" if path in POSTS else "GET"
            for headers in (
                {},
                {"Authorization": "Bearer wrong"},
                {"Authorization": policy.token or ""},
                {"Cookie": f"{policy.cookie_name}={policy.token}"},
            ):
                answer = client.request(method, path, headers=headers, follow_redirects=False)
                assert answer.status_code == 401, path
        bearer = {"Authorization": f"Bearer {policy.token}"}
        assert client.get("/api/index", headers=bearer).status_code == 200
        answer = client.get(
            "/?token=a+token+of+the+tests&q=Sintel%4012&q=2", follow_redirects=False
        )
        assert (answer.status_code, answer.headers["location"]) == (303, "/?q=Sintel%4012&q=2")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "a token" not in cookie
        assert client.get("/api/index").status_code == 200  # with the cookie
        client.cookies.clear()
        assert client.get("/api/index").status_code == 401
        # A link from elsewhere comes without the strict cookie: the browser opens it once more.
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert client.get("/?q=x", headers=link).headers["refresh"] == "0"
        assert "refresh" not in client.get("/?q=x", headers={"Sec-Fetch-Site": "none"}).headers
        evil = client.get("/?token=a+token+of+the+tests&/=//evil.example", follow_redirects=False)
        assert evil.headers["location"].startswith("/?")


# ---- Paths


TRAVERSALS = (
    "../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd",
    "/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd", "....//etc/passwd", "..%5c..%5cetc",
    "%00", "..", ".", "~", "file:///etc/passwd", "\\\\host\\share", "app.py", "../app.py",
    "..%2fapp.py", ".htaccess", "%252e%252e%252fapp.py",
)  # fmt: skip


@pytest.mark.parametrize("name", TRAVERSALS)
def test_no_path_leads_anywhere(client: TestClient, name: str) -> None:
    for path in (
        f"/static/{name}", f"/media/{name}", f"/media/1/{name}", f"/api/items/{name}",
        f"/api/items/{name}/thumbnail", f"/api/uploads/{name}/thumbnail", f"/{name}",
    ):  # fmt: skip
        answer = client.get(path)
        # The client resolves dots, and what is left may be an address of the server.
        own = {"/", "/media/1", "/api/items/1"}
        assert answer.status_code in (404, 422) or answer.request.url.path.rstrip("/.") in {
            one.rstrip("/") for one in own
        }, path
        assert b"root:" not in answer.content
        assert b"create_app" not in answer.content


@pytest.mark.parametrize("name", TRAVERSALS)
def test_no_parameter_names_a_file(client: TestClient, world: World, name: str) -> None:
    with_time = f"{name}@1"
    for query in (name, with_time, {"upload": name[:64]}):
        answer = client.post("/api/search", json={"query": query})
        assert answer.status_code in (400, 404), query
    for settings in ({"then": name}, {"plus": [name]}, {"minus": [with_time]}):
        answer = client.post("/api/search", json={"query": "Alpha (2001)@1", **settings})
        assert answer.status_code == 400
    for parameters in ({"encoder": name}, {"modality": name}):
        assert client.get("/api/map", params=parameters).status_code in (404, 422)
    assert client.get("/api/complete", params={"q": name}).status_code == 200
    hits = client.post("/api/outliers", json={"k": 1}).json()["hits"]
    assert client.post("/api/export", json={"format": name, "hits": hits}).status_code == 422
    answer = client.post("/api/export", json={"format": "csv", "hits": hits, "name": name})
    assert answer.status_code == 200
    folder = state_of(client).folder
    assert {path.name for path in folder.iterdir()} == {"uploads", "excerpts", "exports"}
    assert not list((folder / "exports").iterdir())


def test_a_query_never_opens_a_file(client: TestClient, world: World, tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", seconds=1.0)
    for query in (str(film), f"{film}@0.5", os.path.relpath(film), f"{os.path.relpath(film)}@0"):
        answer = client.post("/api/search", json={"query": query})
        assert answer.status_code == 400
        missing = client.post("/api/search", json={"query": query.replace("film", "none")})
        # The answer does not say whether there is such a file.
        assert answer.text.replace("film", "none") == missing.text


def test_file_names_in_headers() -> None:
    for name in ('a"; evil="b.csv', "a\r\nSet-Cookie: x=y.csv", "é\u202e漢.csv", "", "\ud800"):
        for value in attachment_headers(name.encode("utf-8", "replace").decode(), [name]).values():
            assert value.isascii()
            assert value.isprintable()
        shown = attachment_headers(name.encode("utf-8", "replace").decode(), [])
        assert shown["content-disposition"].count('"') == 2
    many = attachment_headers("a.csv", [f"warning {number}" * 9 for number in range(500)])
    assert len(many["x-warnings"]) <= 4000


# ---- Files of the library


@pytest.fixture
def own_world(prepared_catalog: Path, world: World, tmp_path: Path) -> World:
    """A copy whose library and catalog a test may change."""
    copied = copy_world(prepared_catalog.parent, tmp_path / "own")
    copied.model.symlink_to(world.model)
    copied.embed()
    return copied


def test_links_out_of_the_library(own_world: World, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"a secret")
    film = own_world.library / "Alpha (2001)" / "Alpha (2001).mp4"
    item_id = own_world.item_ids()["Alpha (2001)"]
    with serving(own_world) as client:
        content = client.get(f"/media/{item_id}").content
        assert content == film.read_bytes()
        moved = film.with_name("inside.dat")
        film.rename(moved)
        film.symlink_to(moved)  # within the library
        assert client.get(f"/media/{item_id}").content == content
        film.unlink()
        film.symlink_to(secret)
        for path in (f"/media/{item_id}", f"/media/{item_id}?x=1"):
            answer = client.get(path)
            assert answer.status_code == 404
            assert b"a secret" not in answer.content
        facts = client.get(f"/api/items/{item_id}").json()
        assert facts["playable"] is None
        assert "link" in facts["reason"]
        # A folder above it that is a link
        film.unlink()
        moved.unlink()
        film.parent.rmdir()
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / film.name).write_bytes(b"a secret")
        film.parent.symlink_to(outside)
        assert client.get(f"/media/{item_id}").status_code == 404
        film.parent.unlink()
        film.parent.mkdir()
        os.mkfifo(film)
        assert client.get(f"/media/{item_id}").status_code == 404
        film.unlink()
        film.mkdir()
        assert client.get(f"/media/{item_id}").status_code == 404
        film.rmdir()
        film.symlink_to("/dev/zero")
        assert client.get(f"/media/{item_id}").status_code == 404
        film.unlink()
        film.symlink_to(film)
        assert client.get(f"/media/{item_id}").status_code == 404
        film.unlink()
        assert client.get(f"/media/{item_id}").status_code == 404


def test_links_that_the_scan_followed(tmp_path: Path) -> None:
    outside = write_film(tmp_path / "outside" / "Film (2001).mp4", seconds=1.0)
    library = tmp_path / "library"
    library.mkdir()
    (library / "Film (2001).mp4").symlink_to(outside)
    scan_library(library, tmp_path / "catalog", follow_links=True)
    with open_catalog(tmp_path / "catalog") as catalog:
        [item] = catalog.items()
    descriptor, _ = open_source(library, item)
    assert os.pread(descriptor, 10**6, 0) == outside.read_bytes()
    os.close(descriptor)
    os.utime(outside, ns=(1, 1))  # another file than that of the scan
    with pytest.raises(RefusedSourceError):
        open_source(library, item)
    with pytest.raises(RefusedSourceError):
        open_source(library, replace(item, path=Path("../outside/Film (2001).mp4")))
    with pytest.raises(RefusedSourceError):
        open_source(library, replace(item, path=Path("/etc/passwd")))


def test_items_that_left_the_library(own_world: World) -> None:
    film = own_world.library / "Alpha (2001)" / "Alpha (2001).mp4"
    item_id = own_world.item_ids()["Alpha (2001)"]
    film.unlink()
    scan_library(own_world.library, own_world.catalog)
    with serving(own_world) as client:
        for path in ("/media/{}", "/media/{}/excerpt", "/api/items/{}", "/api/items/{}/thumbnail"):
            assert client.get(path.format(item_id)).status_code == 404


# ---- Bodies and uploads


def test_bodies_are_bounded(client: TestClient) -> None:
    large = b'{"query": "' + b"x" * MAX_BODY_BYTES + b'"}'
    answer = client.post("/api/search", content=large)
    assert answer.status_code == 413

    def chunks() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000

    assert client.post("/api/search", content=chunks()).status_code == 413  # without a length
    deep = b'{"query": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert client.post("/api/search", content=deep).status_code == 422


def test_uploads_are_bounded_in_size(world: World) -> None:
    with serving(world, max_upload_bytes=100_000) as client:
        folder = state_of(client).folder / "uploads"

        def chunks() -> Iterator[bytes]:
            for _ in range(20):
                yield b"x" * 10_000

        for content in (b"x" * 100_001, chunks()):
            answer = client.post("/api/uploads?name=x.mp4", content=content)
            assert answer.status_code == 413
            assert "0.1 MB" in answer.json()["detail"]
        assert not list(folder.iterdir())
    assert not folder.exists()  # nothing is left when the server has ended


def test_slow_uploads_are_ended(tmp_path: Path) -> None:
    async def drip(seconds: float) -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x"
            await anyio.sleep(seconds)

    store = UploadStore(tmp_path, max_bytes=1000, total_seconds=0.3, chunk_seconds=0.1)
    for seconds in (1.0, 0.02):
        start = time.monotonic()
        with pytest.raises(UploadError) as caught:
            anyio.run(store.receive, drip(seconds), None)
        assert caught.value.status == 408
        assert time.monotonic() - start < 10
    assert not list(tmp_path.iterdir())


def test_a_busy_server_keeps_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "_WAIT_SECONDS", 0.01)
    with serving(world) as client:
        state = state_of(client)
        with contextlib.ExitStack() as busy:
            busy.enter_context(state.encoding.taken())
            answer = client.post("/api/uploads?name=x.mp4", content=b"x")
            assert answer.status_code == 429
            assert client.get("/media/1/excerpt").status_code == 429
        assert not list((state.folder / "uploads").iterdir())


def test_few_uploads_are_kept(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = UploadContent(has_video=True, has_audio=False, duration_seconds=1.0, thumbnail=None)
    monkeypatch.setattr(uploads_module, "_inspect_isolated", lambda path, name: content)
    store = UploadStore(tmp_path, max_bytes=1000)
    kept = []
    for number in range(20):
        path = tmp_path / f"{number:032x}"
        path.write_bytes(b"x")
        kept.append(store.add(path, "x"))
    assert len(list(tmp_path.iterdir())) == 16
    assert store.get(kept[3].id) is None
    assert store.get(kept[4].id) == kept[4]
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 3601)
    assert store.get(kept[-1].id) is None
    assert not list(tmp_path.iterdir())


def test_decompression_bombs(client: TestClient) -> None:
    """A PNG of a few kB that declares and holds 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = zlib.compressobj(9)
    body = io.BytesIO()
    for _ in range(50):
        body.write(pixels.compress(bytes(1 << 20)))
    body.write(pixels.flush())
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body.getvalue())
    answer = client.post("/api/uploads?name=bomb.png", content=bomb + chunk(b"IEND", b""))
    assert answer.status_code == 415
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    assert client.post("/api/uploads?name=x.m3u8", content=playlist).status_code == 415
