"""A copy of an index in LanceDB finds what the index finds; exports to NumPy and Parquet agree."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.search.indexes import random_encoder, write_random_index
from toomuchtv.catalog.store import open_catalog
from toomuchtv.errors import SearchError
from toomuchtv.search import lance_publishing
from toomuchtv.search.filters import Filters
from toomuchtv.search.index import open_index
from toomuchtv.search.index_check import measure_recall
from toomuchtv.search.index_export import export_vectors
from toomuchtv.search.index_folder import IndexFolder, content_of, file_description
from toomuchtv.search.lance_publishing import publish_index
from toomuchtv.search.lance_store import LanceStore, is_lance_index
from toomuchtv.search.queries import QueryVector
from toomuchtv.search.vector_files import ItemVectors, write_vector_file
from toomuchtv.server.library import Library


@pytest.fixture
def index(prepared_catalog: Path, tmp_path: Path) -> Path:
    """An index of random vectors by two encoders, one of which has no audio."""
    folder = tmp_path / "idx"
    other = random_encoder("other", dim=5, audio_dim=None, window_seconds=1.0, stride_seconds=1.0)
    write_random_index(prepared_catalog, folder, random_encoder(), other)
    return folder


@pytest.fixture
def lancedb() -> Any:
    return pytest.importorskip("lancedb", reason="the extra `lance` is not installed")


@pytest.mark.usefixtures("lancedb")
def test_a_copy_finds_what_the_index_finds(index: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    published = publish_index(index, copy)
    assert is_lance_index(copy)
    assert not is_lance_index(index)
    cases: list[tuple[str, dict[str, Any]]] = [
        ("alpha@3", {}),
        ("alpha@3", {"k": 200, "collapse": False, "by": "look"}),
        ("alpha@3", {"by": "look-to-sound", "minus": ["alpha@1"]}),
        ("alpha@3", {"other_titles": True}),
        ("alpha@3", {"other_titles": True, "centered": False}),
        ("alpha@3", {"filters": Filters(from_seconds=1.0, to_seconds=2.5)}),
        ("alpha@3", {"filters": Filters(seasons=(1,)), "weights": {"other": 1.0}}),
        ("alpha@3", {"then": "alpha@1", "within_seconds": 2.0, "by": "look"}),
    ]
    with open_index(index) as exact, open_index(copy) as opened:
        assert published.num_windows == sum(map(len, exact.encoders.values()))
        assert published.added == sum(len(e.items) for e in exact.encoders.values())
        for query, options in cases:
            expected, found = exact.search(query, **options), opened.search(query, **options)
            assert len(expected) > 0, options
            assert [(h.item_id, h.start_seconds) for h in found] == [
                (h.item_id, h.start_seconds) for h in expected
            ], options
            for one, other in zip(found, expected, strict=True):
                assert one.similarity == pytest.approx(other.similarity, abs=1e-6)
                assert one.z_score == pytest.approx(other.z_score, abs=1e-4)
                assert one.is_confident == other.is_confident
        vector = torch.randn(8, generator=torch.Generator().manual_seed(0))
        query_vector = QueryVector(vector=vector, modality="audio", encoder="random")
        one, other = (i.search(query_vector, by="sound")[0] for i in (exact, opened))
        assert (one.item_id, one.start_seconds) == (other.item_id, other.start_seconds)
        with pytest.raises(SearchError, match="index folder"):
            opened.outliers()
    for recall in measure_recall(copy, queries=5):
        assert recall.recall == 1.0


@pytest.mark.usefixtures("lancedb")
def test_a_copy_is_brought_up_to_date(
    index: Path, prepared_catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    first = publish_index(index, copy)
    assert publish_index(index, copy) == lance_publishing.PublishResult(
        added=0, kept=first.added, removed=0, num_windows=first.num_windows
    )
    # An item that is gone, one with new content, and a process that died in the middle.
    folder = IndexFolder(index)
    encoder = folder.read().encoders[0]
    with open_catalog(prepared_catalog) as catalog:
        items, proxies = catalog.items(), catalog.proxies()
    gone, changed = (content_of(items[n], proxies[items[n].id]) for n in (0, 1))
    folder.vector_file(encoder, gone).unlink()
    path = folder.vector_file(encoder, changed)
    path.rename(path.with_stem("f" * 32))
    description = file_description(encoder, "f" * 32)
    values = ItemVectors.from_float(torch.arange(4) * 0.5, torch.randn(4, 8), None)
    write_vector_file(folder.vector_file(encoder, "f" * 32), values, description)

    class DiedError(Exception):
        pass

    def die(*_: object) -> None:
        raise DiedError

    with monkeypatch.context() as patch:
        # After the windows of video were added, before the item was.
        patch.setattr(lance_publishing, "_mean_bytes", die)
        with pytest.raises(DiedError):
            publish_index(index, copy)
    with open_index(copy) as opened:
        assert {e.item.id for e in opened.encoders["random"].items} == {i.id for i in items[2:]}
    library = Library(str(copy), None)
    before = library.current
    again = publish_index(index, copy)
    library.refresh()
    assert library.current.name != before.name
    assert (again.added, again.removed) == (1, 0)
    store = LanceStore(copy)
    store.read()
    assert store.table("video", encoder).count_rows() == sum(
        len(folder.read_vectors(encoder, p.stem)) for p in folder.vectors_of(encoder).glob("*.vec")
    )
    torch.testing.assert_close(store.vectors(encoder, "f" * 32, "video", 4), values.video)


@pytest.mark.usefixtures("lancedb")
def test_the_inverted_file_finds_nearly_all(
    prepared_catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, copy = tmp_path / "idx", tmp_path / "copy"
    record = random_encoder(dim=32, stride_seconds=0.002, window_seconds=0.1)
    written = write_random_index(prepared_catalog, index, record)
    monkeypatch.setattr(lance_publishing, "_LEAST_FOR_INDEX", 1000)
    publish_index(index, copy)
    num_windows = sum(map(len, written["random"].values()))
    store = LanceStore(copy)
    store.read()
    statistics = store.table("video", record).index_stats("vector_idx")
    assert statistics.num_indexed_rows == num_windows
    for recall in measure_recall(copy, queries=20):
        assert recall.num_windows == num_windows
        assert recall.recall > 0.8  # random vectors are the hardest case


@pytest.mark.usefixtures("lancedb")
def test_addresses_without_a_copy_are_refused(index: Path, tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="no index"):
        LanceStore(tmp_path / "nothing").read()
    with pytest.raises(SearchError, match="is no copy"):
        measure_recall(index)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(SearchError):
        publish_index(index, blocked)


def test_without_lancedb_a_sentence_says_what_to_install(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(SearchError, match=r"toomuchtv\[lance\]"):
        publish_index(index, tmp_path / "copy")
    with pytest.raises(SearchError, match=r"toomuchtv\[lance\]"):
        open_index("s3://bucket/index")


def test_parquet_equals_numpy(index: Path, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")
    with open_index(index) as opened:
        for encoder in opened.encoders:
            arrays, table = tmp_path / f"{encoder}-numpy", tmp_path / f"{encoder}-parquet"
            count = export_vectors(opened, arrays, encoder=encoder)
            assert export_vectors(opened, table, encoder=encoder, format="parquet") == count
            rows = pq.read_table(table / "windows.parquet")
            lines = (arrays / "windows.csv").read_text().splitlines()
            assert rows.column_names[:6] == lines[0].split(",")
            assert rows["start_seconds"].to_pylist() == [float(x.split(",")[4]) for x in lines[1:]]
            video = np.array(rows["video"].to_pylist(), np.float16)
            np.testing.assert_array_equal(video, np.load(arrays / "video.npy"))
            assert ("audio" in rows.column_names) == (encoder == "random")
            assert (table / "encoder.json").read_text() == (arrays / "encoder.json").read_text()
        shutil.rmtree(tmp_path / "random-parquet")
