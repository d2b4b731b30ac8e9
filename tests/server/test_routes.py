"""The routes give what the engine gives."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from tests.media_files import write_audio_file, write_film, write_still
from tests.server.worlds import World, state_of
from toomuchtv.catalog.proxies import open_proxy
from toomuchtv.catalog.store import open_catalog
from toomuchtv.search.filters import Filters
from toomuchtv.search.hits import Hit
from toomuchtv.search.index import SearchIndex, open_index
from toomuchtv.search.overview import map_moments
from toomuchtv.search.queries import Moment
from toomuchtv.search.query_files import QueryFile
from toomuchtv.search.result_tables import hit_to_dict
from toomuchtv.search.results import write_results
from toomuchtv.server.media_files import playable_mime, player_offset

pytestmark = pytest.mark.usefixtures("read_here")


@pytest.fixture(scope="module")
def index(world: World) -> Iterator[SearchIndex]:
    with open_index(world.index, catalog=world.catalog) as index:
        yield index


@pytest.fixture(scope="module")
def ids(world: World) -> dict[str, int]:
    return world.item_ids()


def as_json(hits: list[Hit]) -> list[dict[str, Any]]:
    return [{k: v for k, v in hit_to_dict(hit).items() if k != "path"} for hit in hits]


def picture(content: bytes) -> NDArray[np.uint8]:
    with av.open(io.BytesIO(content), mode="r") as container:
        frame = next(container.decode(video=0))
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def search(client: TestClient, query: object, **settings: object) -> Any:
    answer = client.post("/api/search", json={"query": query, **settings})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_index(client: TestClient, index: SearchIndex) -> None:
    found = client.get("/api/index").json()
    assert found["num_items"] == 5
    assert found["num_windows"] == found["encoders"][0]["windows"] == len(index.encoders["model"])
    assert found["seconds"] == pytest.approx(24.0)
    assert [(t["name"], t["kind"], t["num_items"]) for t in found["titles"]] == [
        ("Alpha", "movie", 1), ("Beta", "movie", 1), ("Delta", "show", 2), ("Gamma", "movie", 1),
    ]  # fmt: skip
    assert found["seasons"] == [1]
    assert found["segment_kinds"] == ["opening"]
    assert found["problems"] == []
    assert found["has_text"] is False
    assert found["generation"] == client.get("/api/generation").json()["generation"]
    assert {f["suffix"] for f in found["formats"]} >= {"otio", "edl", "fcpxml", "csv", "clips"}


@pytest.mark.parametrize(
    ("typed", "names", "seconds"),
    [
        ("delt e02 0:03", ["Delta S01E02"], 3.0),
        ("DELTA", ["Delta S01E01", "Delta S01E02"], 0.0),
        ("alpha@2.5", ["Alpha (2001)"], 2.5),
        ("alpha 00:05", ["Alpha (2001)"], 5.0),
        ("alpha 00:07", [], 7.0),
        ("200", ["Alpha (2001)", "Beta (2002)", "Gamma (2003)"], 0.0),
        ("nothing", [], 0.0),
    ],
)
def test_completion(
    client: TestClient, index: SearchIndex, typed: str, names: list[str], seconds: float
) -> None:
    found = client.get("/api/complete", params={"q": typed}).json()
    assert [one["name"] for one in found] == names
    for one in found:
        assert one["seconds"] == seconds
        moment = index.parse_query(one["query"])
        assert moment == Moment(item_id=one["item_id"], seconds=seconds)


@pytest.mark.parametrize(
    ("sent", "settings"),
    [
        ({}, {}),
        ({"k": 3, "by": "look"}, {"k": 3, "by": "look"}),
        ({"by": "look-to-sound", "collapse": False}, {"by": "look-to-sound", "collapse": False}),
        ({"other_titles": True, "per_title": 1}, {"other_titles": True, "per_title": 1}),
        ({"other_titles": True, "centered": False}, {"other_titles": True, "centered": False}),
        (
            {"plus": ["Beta (2002)@1"], "minus": [{"item_id": 5, "seconds": 1.0}]},
            {"plus": ["Beta (2002)@1"], "minus": [Moment(item_id=5, seconds=1.0)]},
        ),
        (
            {"more_like": [{"item_id": 2, "seconds": 1.0}]},
            {"more_like": [Moment(item_id=2, seconds=1.0)]},
        ),
        ({"then": "Gamma (2003)@1", "within_seconds": 5}, {"then": "gamma@1", "within_seconds": 5}),
        (
            {"filters": {"titles": ["delta"], "from_seconds": 1, "not_in_segments": ["opening"]}},
            {
                "filters": Filters(
                    titles=("delta",), from_seconds=1.0, not_in_segments=("opening",)
                )
            },
        ),
        ({"filters": {"kinds": ["show"]}, "weights": {"model": 2}}, {"filters": Filters.parse(
            kinds=["show"]), "weights": {"model": 2.0}}),
    ],
)  # fmt: skip
def test_search(
    client: TestClient, index: SearchIndex, sent: dict[str, Any], settings: dict[str, Any]
) -> None:
    found = search(client, "Alpha (2001)@0:03", **{"k": 10, **sent})
    expected = index.search("Alpha (2001)@0:03", **{"k": 10, **settings})
    assert expected
    assert found["hits"] == as_json(expected)
    assert found["confident"] == any(hit.is_confident for hit in expected)
    assert (found["message"] is None) == found["confident"]
    assert found["query"] == {
        "name": "Alpha (2001) 00:00:03.0", "item_id": 1, "seconds": 3.0, "upload": None
    }  # fmt: skip


def test_outliers(client: TestClient, index: SearchIndex) -> None:
    answer = client.post("/api/outliers", json={"k": 4, "by": "sound"}).json()
    assert answer["hits"] == as_json(index.outliers(k=4, by="sound"))
    assert answer["query"] is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"query": "nothing@1"}, 400),
        ({"query": "Delta@1"}, 400),
        ({"query": "Alpha (2001)@99:00"}, 400),
        ({"query": f"Alpha (2001)@{'9' * 400}"}, 400),
        ({"query": f"Alpha (2001)@{'9' * 400}:00:00"}, 400),
        ({"query": "text:a door"}, 400),
        ({"query": {"item_id": 99, "seconds": 1}}, 400),
        ({"query": {"item_id": 1, "seconds": -1}}, 422),
        ({"query": {"item_id": 1, "seconds": 1, "path": "x"}}, 422),
        ({"query": {"upload": "0" * 32}}, 404),
        ({"query": "alpha@1", "k": 0}, 422),
        ({"query": "alpha@1", "k": 201}, 422),
        ({"query": "alpha@1", "by": "smell"}, 422),
        ({"query": "alpha@1", "weights": {"nobody": 1}}, 400),
        ({"query": "alpha@1", "filters": {"in_segments": ["songs"]}}, 400),
        ({"query": "alpha@1", "filters": {"from_seconds": 5, "to_seconds": 3}}, 400),
        ({}, 422),
        ([], 422),
    ],
)
def test_bad_searches(client: TestClient, body: object, status: int) -> None:
    answer = client.post("/api/search", json=body)
    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)


def test_nan_is_refused(client: TestClient) -> None:
    text = '{"query": {"item_id": 1, "seconds": NaN}}'
    assert client.post("/api/search", content=text).status_code == 422


def test_uploads(client: TestClient, index: SearchIndex, world: World, tmp_path: Path) -> None:
    film = world.library / "Beta (2002)" / "Beta (2002).mp4"
    answer = client.post("/api/uploads?name=b%C3%A9ta.mp4", content=film.read_bytes())
    assert answer.status_code == 200, answer.text
    upload = answer.json()
    assert (upload["name"], upload["has_video"], upload["has_audio"]) == ("béta.mp4", True, True)
    assert upload["duration_seconds"] == pytest.approx(5.0, abs=0.1)
    found = search(client, {"upload": upload["upload"], "at_seconds": 2.0}, k=5)
    assert found["hits"] == as_json(index.search(QueryFile(path=film, at_seconds=2.0), k=5))
    assert found["query"]["name"] == "béta.mp4"
    thumbnail = client.get(f"/api/uploads/{upload['upload']}/thumbnail")
    assert thumbnail.headers["content-type"] == "image/jpeg"
    assert picture(thumbnail.content).shape == (180, 240, 3)

    still = client.post(
        "/api/uploads?name=s.png", content=write_still(tmp_path / "s.png").read_bytes()
    )
    assert (still.json()["has_video"], still.json()["has_audio"]) == (True, False)
    sound = write_audio_file(tmp_path / "s.wav").read_bytes()
    heard = client.post("/api/uploads?name=s.wav", content=sound).json()
    assert (heard["has_video"], heard["has_audio"]) == (False, True)
    assert client.get(f"/api/uploads/{heard['upload']}/thumbnail").status_code == 404
    by_sound = search(client, {"upload": heard["upload"]}, by="sound", k=1)
    assert by_sound["hits"][0]["matches"][0]["query_modality"] == "audio"

    folder = state_of(client).folder / "uploads"
    late = {"query": {"upload": upload["upload"], "at_seconds": 99.0}}
    refused = client.post("/api/search", json=late)
    assert refused.status_code == 400
    assert str(folder) not in refused.json()["detail"]
    assert "béta.mp4" in refused.json()["detail"]
    assert len(list(folder.iterdir())) == 3
    refused = client.post("/api/uploads?name=s.txt", content=b"no media at all" * 100)
    assert refused.status_code == 415
    assert str(folder) not in refused.json()["detail"]
    assert client.post("/api/uploads?name=empty.mp4", content=b"").status_code == 422
    assert len(list(folder.iterdir())) == 3


def test_items(client: TestClient, ids: dict[str, int]) -> None:
    first, second = ids["Delta S01E01"], ids["Delta S01E02"]
    found = client.get(f"/api/items/{first}").json()
    assert (found["name"], found["season"], found["episode"]) == ("Delta S01E01", 1, 1)
    assert (found["previous_id"], found["next_id"]) == (None, second)
    assert client.get(f"/api/items/{second}").json()["previous_id"] == first
    assert [(s["kind"], s["start_seconds"]) for s in found["segments"]] == [("opening", 0.5)]
    assert found["playable"] == {"url": f"/media/{first}", "mime": "video/mp4", "offset_seconds": 0}
    assert (found["reason"], found["excerpt"]) == (None, True)
    assert (found["width"], found["height"]) == (64, 48)
    assert client.get("/api/items/99").status_code == 404
    assert client.get("/api/items/0").status_code == 422


def test_pictures(client: TestClient, world: World, ids: dict[str, int]) -> None:
    item_id = ids["Alpha (2001)"]
    with open_catalog(world.catalog) as catalog:
        proxy = catalog.proxy(item_id)
        reader = open_proxy(world.catalog, proxy)
    numbers = [int(proxy.frame_rate * at) for at in (1.5, 1.625, 4.0)]
    expected = reader.read_frames_rgb(numbers).mean(axis=(1, 2))
    reader.close()
    for at, color in zip((1.5, 1.625, 4.0), expected, strict=True):
        answer = client.get(f"/api/items/{item_id}/thumbnail?at={at}&width=64")
        assert answer.headers["content-type"] == "image/jpeg"
        assert "private" in answer.headers["cache-control"]
        shown = picture(answer.content)
        assert abs(shown.shape[0] - 48) <= 1
        assert shown.shape[1] == 64
        assert np.abs(shown.mean(axis=(0, 1)) - color).max() < 6
    strip = picture(client.get(f"/api/items/{item_id}/preview?at=1.5").content)
    assert strip.shape == (135, 12 * 240, 3)
    frames = strip.reshape(135, 12, 240, 3).swapaxes(0, 1)
    # 4:3 in a frame of 16:9, with black bars
    assert frames[:, :, :28].max() < 16
    # the seventh frame begins half of a step behind the middle
    inside = frames[6, :, 30:210].mean(axis=(0, 1))
    assert np.abs(inside - expected[1]).max() < 6
    end = client.get(f"/api/items/{item_id}/thumbnail?at=9999&width=64")
    assert end.status_code == 200
    assert client.get(f"/api/items/{item_id}/thumbnail?width=100000").status_code == 422


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        (None, 200, slice(None)),
        ("bytes=0-9", 206, slice(0, 10)),
        ("bytes=100-", 206, slice(100, None)),
        ("bytes=-7", 206, slice(-7, None)),
        ("bytes=10-99999999", 206, slice(10, None)),
        ("bytes=-99999999", 206, slice(None)),
        ("bytes=9-3", 200, slice(None)),
        ("bytes=0-1,5-6", 200, slice(None)),
        ("lines=0-1", 200, slice(None)),
        ("bytes=99999999-", 416, slice(0)),
        ("bytes=-0", 416, slice(0)),
    ],
)
def test_ranges(
    client: TestClient, world: World, ids: dict[str, int], wanted: str | None, status: int,
    part: slice,
) -> None:  # fmt: skip
    content = (world.library / "Alpha (2001)" / "Alpha (2001).mp4").read_bytes()
    url, headers = f"/media/{ids['Alpha (2001)']}", {} if wanted is None else {"Range": wanted}
    answer = client.get(url, headers=headers)
    assert answer.status_code == status
    if status == 416:
        assert answer.headers["content-range"] == f"bytes */{len(content)}"
        assert "behind" in answer.json()["detail"]
        return
    assert answer.content == content[part]
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["accept-ranges"] == "bytes"
    if status == 206:
        start, stop, _ = part.indices(len(content))
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(content)}"
    head = client.head(url, headers=headers)
    assert (head.status_code, head.content) == (status, b"")
    for name in ("content-length", "etag", "content-type"):
        assert head.headers[name] == answer.headers[name]
    for tag, code in ((answer.headers["etag"], status), ('"old"', 200)):
        again = client.get(url, headers={**headers, "If-Range": tag})
        assert again.status_code == code
    assert client.get(url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_excerpts(client: TestClient, world: World, ids: dict[str, int]) -> None:
    item_id = ids["Alpha (2001)"]
    answer = client.get(f"/media/{item_id}/excerpt?start=2&seconds=1.5")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.content.index(b"moov") < answer.content.index(b"mdat")
    with open_catalog(world.catalog) as catalog:
        proxy = catalog.proxy(item_id)
        clip = catalog.clip(item_id, 2.0)
    with av.open(io.BytesIO(answer.content), mode="r") as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video)]
        assert len(frames) == round(1.5 * proxy.frame_rate)
        assert np.abs(frames[0].mean(axis=(0, 1)) - clip.video[0].mean(axis=(0, 1))).max() < 6
        container.seek(0)
        sound = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio)])
    assert len(sound) == pytest.approx(1.5 * proxy.sample_rate_hz, abs=2100)
    assert sound.std() == pytest.approx(clip.waveform.std(), rel=0.3)
    part = client.get(
        f"/media/{item_id}/excerpt?start=2&seconds=1.5", headers={"Range": "bytes=4-7"}
    )
    assert (part.status_code, part.content) == (206, b"ftyp")
    assert client.get(f"/media/{item_id}/excerpt?start=5.99").status_code == 200
    assert client.get(f"/media/{item_id}/excerpt?start=7").status_code == 404
    assert client.get(f"/media/{item_id}/excerpt?seconds=121").status_code == 422


@pytest.mark.parametrize("suffix", ["otio", "edl", "fcpxml", "csv", "json", "png"])
def test_exports_are_those_of_the_engine(
    client: TestClient, world: World, index: SearchIndex, tmp_path: Path, suffix: str
) -> None:
    hits = search(client, "Alpha (2001)@0:03", k=3)["hits"]
    body = {"format": suffix, "hits": hits, "name": "my hits", "handles_seconds": 0.25}
    answer = client.post("/api/export", json=body)
    assert answer.status_code == 200, answer.text
    path = tmp_path / f"my hits.{suffix}"
    expected = index.search("Alpha (2001)@0:03", k=3)
    warnings = write_results(expected, path, catalog=world.catalog, handles_seconds=0.25)
    assert answer.content == path.read_bytes()
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="{path.name}"')
    assert json.loads(unquote(answer.headers.get("x-warnings", "[]"))) == list(warnings)


def test_clips(client: TestClient) -> None:
    hits = search(client, "Alpha (2001)@0:03", k=2)["hits"]
    answer = client.post("/api/export", json={"format": "clips", "hits": hits})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
        assert [name[:2] for name in names] == ["01", "02"]
        with av.open(io.BytesIO(archive.read(names[0])), mode="r") as container:
            assert next(container.decode(video=0)).width == 64
    assert not list((state_of(client).folder / "exports").iterdir())


def test_exports_name_what_the_catalog_says(client: TestClient, world: World) -> None:
    [hit] = search(client, "Alpha (2001)@0:03", k=1)["hits"]
    lie = {**hit, "name": "x", "title": "<x>", "path": "/etc/passwd"}
    answer = client.post("/api/export", json={"format": "json", "hits": [lie]}).json()
    assert answer["hits"][0]["name"] == hit["name"]
    assert Path(answer["hits"][0]["path"]).is_relative_to(world.library)
    for change in ({"item_id": 99}, {"stop_seconds": 1e6}, {"start_seconds": 9, "stop_seconds": 3}):
        bad = client.post("/api/export", json={"format": "json", "hits": [{**hit, **change}]})
        assert bad.status_code in (400, 404)


def test_overviews(client: TestClient, index: SearchIndex, ids: dict[str, int]) -> None:
    found = client.get("/api/map?modality=audio").json()
    expected = map_moments(index.encoders["model"], "audio")
    assert found["count"] == len(expected)
    points = client.get(found["points_url"]).content
    columns = np.frombuffer(points, "<f4").reshape(5, -1)
    assert np.array_equal(columns[:2].T, expected.positions)
    assert np.array_equal(columns[2], expected.seconds)
    numbers = np.frombuffer(points, "<u4").reshape(5, -1)[3:]
    assert np.array_equal(numbers[0], expected.item_ids)
    assert np.array_equal(numbers[1], expected.title_ids)
    assert client.get("/api/map?encoder=nobody").status_code == 404
    [scene] = client.get("/api/recurring").json()
    assert (scene["kind"], scene["num_items"], scene["seconds"]) == ("opening", 2, 1.0)
    assert [place["name"] for place in scene["places"]] == ["Delta S01E01", "Delta S01E02"]
    titles = client.get("/api/similar-titles?title=1").json()
    assert len(titles) == 3
    assert titles[0]["similarity"] >= titles[-1]["similarity"]
    assert client.get("/api/similar-titles?title=99").status_code == 404


def test_the_page(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    again = client.get("/", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert client.get("/static/nothing.js").status_code == 404


def test_unplayable_sources_have_a_reason(client: TestClient, tmp_path: Path) -> None:
    item = state_of(client).library.current.items[1]
    for name, mime in (("a.mp4", "video/mp4"), ("a.mkv", None), ("a.avi", None)):
        path = write_film(tmp_path / name, seconds=0.5)
        with path.open("rb") as file:
            found, reason = playable_mime(file.fileno(), replace(item, path=Path(name)))
        assert (found, reason is None) == (mime, mime is not None)
    video = replace(item.probe.video, codec="hevc")
    with (tmp_path / "a.mp4").open("rb") as file:
        found, reason = playable_mime(
            file.fileno(), replace(item, probe=replace(item.probe, video=video))
        )
    assert found is None
    assert reason is not None
    assert "HEVC" in reason
    late = replace(item.probe.video, start_seconds=1.25)
    track = replace(item.probe.audio_tracks[0], start_seconds=1.0)
    moved = replace(item, probe=replace(item.probe, video=late, audio_tracks=(track,)))
    assert player_offset(moved) == pytest.approx(0.25)
