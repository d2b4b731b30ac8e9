"""Embedding a catalog: what each window is, and what changes, kills and damage do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.media_files import write_film
from tests.prepared import RECIPE, make_prepared_catalog, tiny_config
from tests.search.indexes import tiny_encoder
from toomuchtv._internal.folder_lock import folder_lock
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.data.clip_specs import ClipSpec
from toomuchtv.data.dataset import CatalogDataset
from toomuchtv.errors import SearchError
from toomuchtv.inference.pretrained import load
from toomuchtv.search.embedding import EmbedResult, embed_catalog
from toomuchtv.search.index import open_index
from toomuchtv.search.index_check import check_index
from toomuchtv.search.window_encoders import window_starts


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "first"
    tiny_encoder(tiny_config()).save(folder)
    return folder


def embed(model: Path, catalog: Path, index: Path, **options: object) -> EmbedResult:
    return embed_catalog(model, catalog, index, **options)  # type: ignore[arg-type]


def files(index: Path) -> dict[str, bytes]:
    return {f"{p.parent.name}/{p.name}": p.read_bytes() for p in index.glob("vectors/*/*.vec")}


def test_a_window_is_the_clip_that_training_would_read(
    model: Path, prepared_catalog: Path, tmp_path: Path
) -> None:
    result = embed(model, prepared_catalog, tmp_path / "idx")
    encoder = load(model)
    assert result.encoder.window_seconds == encoder.config.clip.span_seconds
    dataset = CatalogDataset(prepared_catalog, clip=encoder.config.clip)
    with open_index(tmp_path / "idx") as index:
        [found] = index.encoders.values()
        assert len(found.items) == len(dataset.snapshot)
        for entry in found.items:
            row = dataset.snapshot.item_id.tolist().index(entry.item.id)
            for number, seconds in enumerate(entry.vectors.times.tolist()):
                reader = dataset._reader
                video = np.empty(reader.video_shape, np.uint8)
                waveform = np.empty(dataset.clip.num_samples, np.float32)
                clip = ClipSpec(item=row, title=0, start_seconds=seconds)
                reader.read(clip, video, waveform, crop_position=0.5)
                expected = encoder.embed_planes(
                    torch.from_numpy(video)[None], torch.from_numpy(waveform)[None]
                )
                assert entry.vectors.video is not None
                assert entry.vectors.audio is not None
                for got, want in zip(
                    (entry.vectors.video[number], entry.vectors.audio[number]),
                    expected,
                    strict=True,
                ):
                    assert torch.allclose(got.float(), want[0], atol=2e-3)


def test_workers_do_not_change_the_index(
    model: Path, prepared_catalog: Path, tmp_path: Path
) -> None:
    embed(model, prepared_catalog, tmp_path / "one")
    embed(model, prepared_catalog, tmp_path / "two", num_workers=2)
    one, two = files(tmp_path / "one"), files(tmp_path / "two")
    assert one == two
    assert len(one) == 5


def test_windows_cover_the_item(prepared_catalog: Path) -> None:
    with open_catalog(prepared_catalog) as catalog:
        proxy = catalog.proxies()[1]
    rate = proxy.frame_rate
    for window, stride in ((0.25, 1.0), (2.0, 0.5), (1.0, 0.1), (100.0, 1.0)):
        starts = window_starts(proxy, window, stride)
        assert starts[0] == 0
        assert (np.diff(starts) > 0).all()
        if window < 100:
            end = proxy.num_frames - window * rate
            assert end - stride * rate < starts[-1] <= end
        else:
            assert starts.tolist() == [0]


def test_only_what_changed_is_embedded_again(model: Path, tmp_path: Path) -> None:
    catalog = make_prepared_catalog(tmp_path)
    index, library = tmp_path / "idx", tmp_path / "library"
    first = embed(model, catalog, index)
    assert (first.embedded, first.kept, first.removed) == (5, 0, 0)
    before = files(index)
    calibration = next(index.glob("calibration/*.json"))
    measured = calibration.read_bytes()
    # A renamed, a new, a changed and a vanished film.
    (library / "Alpha (2001)").rename(library / "Omega (2001)")
    write_film(library / "New (2020)" / "New (2020).mp4", seconds=4.0, first_frame=3)
    write_film(library / "Beta (2002)" / "Beta (2002).mp4", seconds=5.0, first_frame=31)
    (library / "Gamma (2003)" / "Gamma (2003).mp4").unlink()
    scan_library(library, catalog)
    prepare_catalog(catalog, RECIPE)
    second = embed(model, catalog, index)
    assert (second.embedded, second.kept) == (2, 3)
    assert not second.failed
    assert calibration.read_bytes() != measured
    after = files(index)
    assert sum(name in before and before[name] == after[name] for name in after) >= 3
    with open_index(index) as opened:
        names = {entry.title.name for entry in opened.encoders["first"].items}
        assert names == {"Omega", "Beta", "New", "Delta"}
        assert opened.problems == ()
    write_film(library / "Unprepared (2020)" / "Unprepared (2020).mp4", seconds=3.0)
    scan_library(library, catalog)
    third = embed(model, catalog, index)
    assert third.embedded == 0
    assert [file.path.name for file in third.failed] == ["Unprepared (2020).mp4"]


def test_damage_is_reported_and_mended(model: Path, prepared_catalog: Path, tmp_path: Path) -> None:
    index = tmp_path / "idx"
    embed(model, prepared_catalog, index)
    before = files(index)
    damaged, deleted = sorted(index.glob("vectors/*/*.vec"))[:2]
    content = bytearray(damaged.read_bytes())
    content[-3] ^= 1
    damaged.write_bytes(content)
    deleted.unlink()
    checked = check_index(index)
    assert len(checked.damaged) == 1
    assert checked.num_missing == 1
    with open_index(index) as opened:
        assert len(opened.problems) == 2
        assert opened.search(opened.moment(opened.encoders["first"].items[0].item.id, 1.0), k=3)
    result = embed(model, prepared_catalog, index)
    assert (result.embedded, result.kept, len(result.rebuilt)) == (2, 3, 1)
    assert files(index) == before
    assert not check_index(index).damaged


def test_another_encoder_of_the_name_is_refused(
    model: Path, prepared_catalog: Path, tmp_path: Path
) -> None:
    index = tmp_path / "idx"
    embed(model, prepared_catalog, index)
    before = files(index)
    other = tmp_path / "first"
    tiny_encoder(tiny_config(), seed=1).save(other)
    with pytest.raises(SearchError, match="other weights"):
        embed(other, prepared_catalog, index)
    with pytest.raises(SearchError, match="windows of"):
        embed(model, prepared_catalog, index, stride_seconds=2.0)
    with pytest.raises(ValueError, match="positive"):
        embed(model, prepared_catalog, index, window_seconds=0.0)
    assert files(index) == before
    embed(other, prepared_catalog, index, name="second")
    with open_index(index) as opened:
        assert list(opened.encoders) == ["first", "second"]
        assert len(files(index)) == 10
        matches = opened.search("alpha@2", k=1)[0].matches
        assert {match.encoder for match in matches} == {"first", "second"}
    embed(other, prepared_catalog, index, replace=True)
    with open_index(index) as opened:
        assert sorted(opened.encoders) == ["first", "second"]
        fingerprints = {e.record.fingerprint for e in opened.encoders.values()}
        assert len(fingerprints) == 1
    assert len(files(index)) == len(before)  # those of the old weights were deleted


def test_an_index_without_its_description_keeps_the_vectors_of_all_encoders(
    model: Path, prepared_catalog: Path, tmp_path: Path
) -> None:
    index = tmp_path / "idx"
    embed(model, prepared_catalog, index)
    embed(model, prepared_catalog, index, name="second", stride_seconds=2.0)
    before = files(index)
    (index / "index.json").unlink()
    assert embed(model, prepared_catalog, index).kept == 5
    assert embed(model, prepared_catalog, index, name="second", stride_seconds=2.0).kept == 5
    assert files(index) == before


def test_an_index_belongs_to_one_catalog(
    model: Path, prepared_catalog: Path, tmp_path: Path
) -> None:
    index, catalog = tmp_path / "idx", tmp_path / "catalog"
    shutil.copytree(prepared_catalog, catalog)
    embed(model, catalog, index)
    with pytest.raises(SearchError, match="is of the catalog"):
        embed(model, prepared_catalog, index)
    moved = tmp_path / "moved"
    catalog.rename(moved)
    with pytest.raises(SearchError, match="--catalog"):
        open_index(index)
    with open_index(index, catalog=moved) as opened:
        assert opened.search("alpha@2")
    assert embed(model, moved, index).kept == 5
    open_index(index).close()


def test_two_writers_at_once(model: Path, prepared_catalog: Path, tmp_path: Path) -> None:
    index = tmp_path / "idx"
    index.mkdir()
    with folder_lock(index), pytest.raises(SearchError, match=str(os.getpid())):
        embed(model, prepared_catalog, index)
    with pytest.raises(SearchError, match="no index"):
        open_index(index)
    embed(model, prepared_catalog, index)


_KILLED = """
import sys
from toomuchtv.search.embedding import embed_catalog
def progress(done, total, name):
    print(done, flush=True)
embed_catalog(*sys.argv[1:4], progress=progress)
print("complete", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("reports", range(1, 21))
def test_killed_at_any_time(
    model: Path, prepared_catalog: Path, tmp_path: Path, reports: int
) -> None:
    """After SIGKILL the index can be read, and a second call makes it complete."""
    _kill_and_repeat(model, prepared_catalog, tmp_path, reports)


def test_killed(model: Path, prepared_catalog: Path, tmp_path: Path) -> None:
    _kill_and_repeat(model, prepared_catalog, tmp_path, 3)


def _kill_and_repeat(model: Path, catalog: Path, tmp_path: Path, reports: int) -> None:
    embed(model, catalog, tmp_path / "whole")
    index = tmp_path / "idx"
    command = [sys.executable, "-c", _KILLED, str(model), str(catalog), str(index)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(reports):
            if not process.stdout.readline():
                break
        time.sleep(0.003 * (reports % 4))
        process.send_signal(signal.SIGKILL)
    with open_index(index) as opened:
        assert len(opened.encoders["first"].items) <= 5
    embed(model, catalog, index)
    assert files(index) == files(tmp_path / "whole")
    assert not list(index.rglob("*.partial"))
