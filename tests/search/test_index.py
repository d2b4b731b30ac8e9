"""Searching: queries of every kind, conditions, and bad input."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.media_files import write_audio_file, write_film, write_still
from tests.prepared import tiny_config
from tests.search.indexes import random_encoder, tiny_encoder, write_random_index
from tests.test_readme import execute, python_blocks
from toomuchtv.catalog.records import TitleKind
from toomuchtv.catalog.store import open_catalog
from toomuchtv.errors import SearchError
from toomuchtv.search.embedding import embed_catalog
from toomuchtv.search.encoder_index import EncoderIndex
from toomuchtv.search.filters import Filters
from toomuchtv.search.index import SearchIndex, open_index
from toomuchtv.search.queries import (
    Moment,
    QueryText,
    QueryVector,
    moment_of,
    parse_seconds,
)
from toomuchtv.search.query_files import QueryFile


@pytest.fixture(scope="module")
def index(
    prepared_catalog: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SearchIndex]:
    """An index of random vectors by two encoders with different windows."""
    folder = tmp_path_factory.mktemp("index")
    other = random_encoder("other", dim=5, window_seconds=1.0, stride_seconds=1.0)
    write_random_index(prepared_catalog, folder, random_encoder(), other)
    with open_index(folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def embedded(
    prepared_catalog: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SearchIndex]:
    """An index by a model with random weights, which can embed files."""
    folder = tmp_path_factory.mktemp("embedded")
    tiny_encoder(tiny_config()).save(folder / "model")
    embed_catalog(folder / "model", prepared_catalog, folder / "index", stride_seconds=0.25)
    with open_index(folder / "index") as opened:
        yield opened


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("72", 72), ("72.5", 72.5), ("1:12", 72), ("01:12.5", 72.5), ("1:01:12", 3672), ("0", 0)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "1:60", "-1", "1:2:3:4", "1:99:00", "nan"])
def test_bad_times(text: str) -> None:
    with pytest.raises(ValueError, match="no time"):
        parse_seconds(text)


def test_names_of_moments(index: SearchIndex) -> None:
    film = index.parse_query("Alpha (2001)@0:03")
    assert isinstance(film, Moment)
    for text in ("alpha@3", "Alpha (2001).mp4@3.0", f"item:{film.item_id}@00:00:03", " ALPHA @3"):
        assert index.parse_query(text) == film
    assert index.parse_query("text: a door @ night") == QueryText(text="a door @ night")


@pytest.mark.parametrize(
    "text", ["alpha", "nothing@1", "alpha@99:00", "alpha@x", "item:99@1", "@1"]
)
def test_bad_names_of_moments(index: SearchIndex, text: str) -> None:
    with pytest.raises((SearchError, ValueError)):
        index.parse_query(text)


def test_a_name_of_several_items_lists_them(index: SearchIndex) -> None:
    with pytest.raises(SearchError) as caught:
        index.parse_query("Delta@1")
    assert "S01E01" in str(caught.value)
    assert "S01E02" in str(caught.value)
    assert "Alpha" not in str(caught.value)


def test_the_best_hit_is_the_most_similar_moment(index: SearchIndex) -> None:
    query = index.moment(1, 2.2)
    hits = index.search(query, by="look", k=3, weights={"random": 1.0}, collapse=False)
    encoder = index.encoders["random"]
    own = encoder.vector_at(1, 2.2, "video")
    assert own is not None
    similarities = {
        (entry.item.id, start): float(vector.double() @ own.double() / own.double().norm())
        for entry in encoder.items
        if entry.vectors.video is not None
        for start, vector in zip(entry.vectors.times.tolist(), entry.vectors.video, strict=True)
    }
    del similarities[(1, 2.0)]  # the query itself
    best = sorted(similarities.values(), reverse=True)[:3]
    assert [hit.similarity for hit in hits] == pytest.approx(best, abs=1e-5)
    assert [hit.rank for hit in hits] == [1, 2, 3]
    for hit in hits:
        assert hit.path.is_file()
        assert hit.start_seconds <= hit.center_seconds < hit.stop_seconds
        [match] = hit.matches
        calibration = encoder.calibration
        assert calibration is not None
        direction = calibration.of("video", "video")
        assert direction is not None
        assert match.z_score == pytest.approx((match.similarity - direction.mean) / direction.std)
        assert match.is_confident == (match.similarity >= direction.threshold)


def test_both_encoders_and_modalities_are_fused(index: SearchIndex) -> None:
    hits = index.search("alpha@3", k=20)
    found = {(m.encoder, m.query_modality, m.modality) for hit in hits for m in hit.matches}
    assert found == {
        (encoder, modality, modality)
        for encoder in ("random", "other")
        for modality in ("video", "audio")
    }
    across = index.search("alpha@3", k=20, by="look-to-sound")
    assert {(m.query_modality, m.modality) for hit in across for m in hit.matches} == {
        ("video", "audio")
    }


def test_conditions(index: SearchIndex) -> None:
    def items(filters: Filters) -> set[str]:
        hits = index.search("alpha@3", k=200, filters=filters, collapse=False)
        assert hits
        assert all(filters.from_seconds <= hit.center_seconds < filters.to_seconds for hit in hits)
        return {hit.name for hit in hits}

    assert items(Filters(titles=("delta",))) == {"Delta S01E01", "Delta S01E02"}
    assert items(Filters(titles=("Gamma (2003)", "beta"))) == {"Beta (2002)", "Gamma (2003)"}
    assert items(Filters(kinds=(TitleKind.SHOW,))) == {"Delta S01E01", "Delta S01E02"}
    assert items(Filters(seasons=(1,), from_seconds=2.0, to_seconds=3.0)) == {
        "Delta S01E01", "Delta S01E02",
    }  # fmt: skip
    assert index.search("alpha@3", filters=Filters(seasons=(9,))) == []
    with pytest.raises(ValueError, match="unknown kinds"):
        Filters(in_segments=("openings",))
    with pytest.raises(ValueError, match="empty"):
        Filters(from_seconds=3.0, to_seconds=3.0)


def test_segments_are_a_condition(index: SearchIndex) -> None:
    with open_catalog(index.catalog.folder) as catalog:
        shots = [segment for segment in catalog.segments() if segment.kind == "shot"]
    inside = index.search("alpha@3", k=500, filters=Filters(in_segments=("shot",)), collapse=False)
    outside = index.search(
        "alpha@3", k=500, filters=Filters(not_in_segments=("shot",)), collapse=False
    )

    def is_inside(item_id: int, seconds: float) -> bool:
        return any(
            s.item_id == item_id and s.start_seconds <= seconds < s.stop_seconds for s in shots
        )

    assert all(is_inside(hit.item_id, hit.center_seconds) for hit in inside)
    assert not any(is_inside(hit.item_id, hit.center_seconds) for hit in outside)


def test_other_titles(index: SearchIndex) -> None:
    for centered in (True, False):
        hits = index.search("Delta S01E01@2", k=50, other_titles=True, centered=centered)
        assert hits
        assert "Delta" not in {hit.title for hit in hits}
    # After centering, hits are ordered by what the threshold is compared with.
    options: dict[str, Any] = {"k": 50, "by": "look", "collapse": False, "other_titles": True}
    one = index.search("Delta S01E01@2", weights={"random": 1.0}, **options)
    confident = [hit.is_confident for hit in one]
    assert confident == sorted(confident, reverse=True)
    vector = QueryVector(vector=torch.ones(8), modality="video", encoder="random")
    with pytest.raises(SearchError, match="moment"):
        index.search(vector, other_titles=True)


def test_plus_minus_and_feedback_move_the_query(index: SearchIndex) -> None:
    options = {"by": "look", "k": 500, "weights": {"random": 1.0}, "collapse": False}
    target = index.search("alpha@3", **options)[5]  # type: ignore[arg-type]

    def similarity(**changes: object) -> float:
        hits = index.search("alpha@3", **options, **changes)  # type: ignore[arg-type]
        [hit] = [
            h
            for h in hits
            if (h.item_id, h.center_seconds) == (target.item_id, target.center_seconds)
        ]
        return hit.similarity

    plain = similarity()
    assert similarity(plus=[target]) > plain
    assert similarity(more_like=[moment_of(target)]) > plain
    assert similarity(minus=[f"item:{target.item_id}@{target.center_seconds}"]) < plain
    assert similarity(less_like=[target]) < plain


def test_a_vector_finds_its_window(index: SearchIndex) -> None:
    vector = index.encoders["other"].vector_at(2, 1.5, "audio")
    assert vector is not None
    [hit] = index.search(
        QueryVector(vector=3 * vector, modality="audio", encoder="other"), by="sound", k=1
    )
    assert (hit.item_id, hit.center_seconds) == (2, 1.5)
    assert hit.similarity == pytest.approx(1.0, abs=1e-3)
    assert hit.is_confident
    for bad in (torch.zeros(5), torch.ones(4), torch.full((5,), float("nan"))):
        with pytest.raises(SearchError):
            index.search(QueryVector(vector=bad, modality="audio", encoder="other"), by="sound")


def test_sequences(index: SearchIndex) -> None:
    hits = index.search("alpha@1", then="alpha@3", within_seconds=2.0, k=5)
    assert hits
    for hit in hits:
        assert hit.then_seconds is not None
        assert 0 < hit.then_seconds - hit.center_seconds <= 2.0 + 1.0
        assert hit.stop_seconds >= hit.then_seconds


def test_outliers(index: SearchIndex) -> None:
    hits = index.outliers(k=4, by="sound", encoder="random")
    values = [hit.similarity for hit in hits]
    assert values == sorted(values)
    encoder = index.encoders["random"]
    best = encoder.best_elsewhere("audio", 10**6, seed=0)
    assert values[0] == pytest.approx(float(best.min()), abs=1e-6)


def test_an_encoder_of_sound_has_no_outliers_by_look(
    index: SearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = index.encoders["random"]
    items = [
        replace(entry, vectors=replace(entry.vectors, video=None, video_mean=None))
        for entry in encoder.items
    ]
    blind = EncoderIndex(encoder.record, items, encoder.calibration)
    monkeypatch.setitem(index.encoders, "random", blind)
    assert index.outliers(by="sound", encoder="random")
    with pytest.raises(SearchError, match="no video"):
        index.outliers(by="look", encoder="random")


def test_wrong_values(index: SearchIndex) -> None:
    for options in (
        {"k": 0}, {"per_title": 0}, {"within_seconds": 0.0}, {"within_seconds": math.nan},
        {"by": "smell"}, {"weights": {"nobody": 1.0}}, {"weights": {"random": math.nan}},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"positive|unknown|weights"):
            index.search("alpha@1", **options)
    with pytest.raises(ValueError, match="positive"):
        index.outliers(k=0)
    with pytest.raises(SearchError, match="text"):
        index.search("text:a door")
    with pytest.raises(SearchError, match="cannot be loaded"):
        index.search(QueryFile(path=Path(__file__)))


def test_the_guide(prepared_catalog: Path, tmp_path: Path) -> None:
    tiny_encoder(tiny_config()).save(tmp_path / "out" / "run")
    (tmp_path / "out" / "cat").symlink_to(prepared_catalog)
    with contextlib.chdir(tmp_path):
        for code in python_blocks("docs/guide/search.md"):
            names = execute(code)
    assert len(names["hits"]) == 5  # type: ignore[arg-type]
    assert {hit.title for hit in names["elsewhere"]} == {"Beta", "Gamma", "Delta"}  # type: ignore[attr-defined]


# ---- Files as queries


def test_a_file_of_the_library_finds_itself(embedded: SearchIndex) -> None:
    film = embedded.catalog.source_path(embedded.catalog.item(1))
    query = QueryFile(path=film, at_seconds=3.125)
    for by in ("look", "sound"):
        hits = embedded.search(query, by=by, k=500, collapse=False)
        [own] = [h for h in hits if (h.item_id, h.center_seconds) == (1, 3.125)]
        # The proxy is compressed, so frames and sound are not equal.
        assert 1 - own.similarity < 0.3 * (1 - hits[-1].similarity)
    whole = embedded.search(str(film), k=3)
    assert len(whole) == 3


def test_an_image_and_a_sound(embedded: SearchIndex, tmp_path: Path) -> None:
    write_still(tmp_path / "frame.png")
    write_audio_file(tmp_path / "sound.wav", seconds=2.0)
    hits = embedded.search(str(tmp_path / "frame.png"), k=2)
    assert {m.query_modality for hit in hits for m in hit.matches} == {"video"}
    hits = embedded.search(str(tmp_path / "sound.wav"), k=2)
    assert {m.query_modality for hit in hits for m in hit.matches} == {"audio"}
    assert embedded.search(str(tmp_path / "sound.wav"), by="sound-to-look", k=2)
    with pytest.raises(SearchError, match="compared"):
        embedded.search(str(tmp_path / "sound.wav"), by="look")


def test_hostile_files(embedded: SearchIndex, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "noise.mp4").write_bytes(rng.bytes(5000))
    (tmp_path / "empty.wav").write_bytes(b"")
    playlist = "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n"
    (tmp_path / "list.m3u8").write_text(playlist)
    for name in ("noise.mp4", "empty.wav", "list.m3u8"):
        with pytest.raises(SearchError, match="cannot use"):
            embedded.search(str(tmp_path / name))
    write_film(tmp_path / "short.mp4", seconds=2.0)
    with pytest.raises(SearchError, match="nothing at"):
        embedded.search(f"{tmp_path / 'short.mp4'}@5")


def test_a_model_that_changed_is_refused(
    embedded: SearchIndex, prepared_catalog: Path, tmp_path: Path
) -> None:
    shutil.copytree(embedded.folder.path, tmp_path / "index")
    model = Path(embedded.encoders["model"].record.source)
    kept = tmp_path / "kept"
    shutil.copytree(model, kept)
    try:
        shutil.rmtree(model)
        tiny_encoder(tiny_config(), seed=5).save(model)
        write_audio_file(tmp_path / "sound.wav", seconds=1.0)
        with (
            open_index(tmp_path / "index") as opened,
            pytest.raises(SearchError, match="no longer the encoder"),
        ):
            opened.search(str(tmp_path / "sound.wav"))
    finally:
        shutil.rmtree(model)
        shutil.copytree(kept, model)
