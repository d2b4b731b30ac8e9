"""Laws of detection in a catalog of real files: what is found, and that work is not repeated."""

from __future__ import annotations

import errno
import json
import shutil
import sqlite3
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.media_files import write_film
from toomuchtv.catalog.description import describe_catalog
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.splits import split_titles
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.cli import app
from toomuchtv.detection import detect as detect_module
from toomuchtv.detection.detect import DetectionResult, detect_segments
from toomuchtv.detection.features_on_disk import FOLDER
from toomuchtv.errors import CatalogError, MediaError
from toomuchtv.media.clip_reader import read_audio
from toomuchtv.media.proxy_writer import ProxyFormat
from toomuchtv.media.timestamps import read_timeline

RECIPE = ProxyFormat(short_side=64)
RATE = 16_000


def cut(
    source: Path, path: Path, start: float, stop: float, *, gain: float = 1.0, crf: int = 23
) -> None:
    """Cut a part out of a film and encode it again: 128x72, AAC at 64 kbit/s."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = round((stop - start) * RATE)
    sound = gain * read_audio(
        source,
        timeline=read_timeline(source),
        first_sample=round(start * RATE),
        num_samples=count,
        sample_rate_hz=RATE,
    )
    with av.open(str(source)) as film, av.open(str(path), "w") as piece:
        options = {"preset": "ultrafast", "crf": str(crf)}
        video = piece.add_stream("libx264", rate=12, options=options)
        video.width, video.height, video.pix_fmt = 128, 72, "yuv420p"
        audio = piece.add_stream("aac", rate=RATE, layout="mono")
        audio.bit_rate = 64_000
        film.seek(int(start * 1e6))
        number = 0
        for frame in film.decode(video=0):
            if frame.time is None or frame.time < start + number / 12:
                continue
            if frame.time >= stop:
                break
            small = frame.reformat(width=128, height=72, format="yuv420p")
            small.pts, small.time_base = number, Fraction(1, 12)
            piece.mux(video.encode(small))
            number += 1
        piece.mux(video.encode(None))
        for first in range(0, count, 1024):
            part = np.ascontiguousarray(sound[None, first : first + 1024], np.float32)
            wave = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            wave.sample_rate, wave.pts = RATE, first
            piece.mux(audio.encode(wave))
        piece.mux(audio.encode(None))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, media_root: Path) -> Path:
    """Prepare a film and its trailer, one film twice, a silent film and a very short film."""
    out = tmp_path_factory.mktemp("analysis")
    films, library = media_root / "library", out / "library"
    steel = films / "Movies/Tears of Steel (2012)/Tears of Steel (2012).webm"
    sintel = films / "Movies/Sintel (2010)/Sintel (2010).mp4"
    film = library / "Steel (2012)/Steel (2012).mp4"
    cut(steel, film, 4.0, 40.0)
    cut(film, library / "Teaser (2011)/Teaser (2011).mp4", 14.3, 30.3, gain=0.5, crf=30)
    film = library / "Sintel (2010)/Sintel (2010).mp4"
    cut(sintel, film, 2.0, 16.0)
    cut(film, library / "Dragon (2014)/Dragon (2014).mp4", 0.0, 14.0, gain=0.7, crf=28)
    write_film(library / "Mute (2001)/Mute (2001).mp4", seconds=2.0, languages=())
    write_film(library / "Brief (2002)/Brief (2002).mp4", seconds=0.25)
    scan_library(library, out / "cat")
    with open_catalog(out / "cat") as catalog:
        assert prepare_catalog(catalog, RECIPE, num_workers=2).failed == ()
    return out / "cat"


@pytest.fixture(scope="module")
def first_result(folder: Path) -> DetectionResult:
    with open_catalog(folder) as catalog:
        return detect_segments(catalog, num_workers=2)


@pytest.fixture
def catalog(folder: Path, first_result: DetectionResult) -> Iterator[Catalog]:
    assert first_result.failed == ()
    with open_catalog(folder) as opened:
        yield opened


def ids(catalog: Catalog) -> dict[str, int]:
    """Return item ids by the name of the title."""
    return {item.path.name.split()[0]: item.id for item in catalog.items()}


def test_only_the_trailer_and_the_repeated_film_are_duplicates(catalog: Catalog) -> None:
    by_name = ids(catalog)
    shared = {frozenset((one.item_id, one.other_item_id)): one for one in catalog.duplicates()}
    assert len(shared) == len(catalog.duplicates()) == 2
    twice = shared[frozenset((by_name["Sintel"], by_name["Dragon"]))]
    assert twice.start_seconds == pytest.approx(twice.other_start_seconds, abs=0.05)
    assert twice.start_seconds == pytest.approx(0.0, abs=0.5)
    assert twice.stop_seconds == pytest.approx(14.0, abs=0.5)
    one = shared[frozenset((by_name["Steel"], by_name["Teaser"]))]
    spans = {one.item_id: one.start_seconds, one.other_item_id: one.other_start_seconds}
    offset = spans[by_name["Steel"]] - spans[by_name["Teaser"]]
    assert offset == pytest.approx(14.3, abs=0.1)
    assert spans[by_name["Teaser"]] == pytest.approx(0.0, abs=0.5)
    assert one.stop_seconds - one.start_seconds == pytest.approx(16.0, abs=1.0)


def test_titles_that_share_content_stay_in_one_part(catalog: Catalog) -> None:
    titles = {title.name: title.id for title in catalog.titles()}
    pairs = [("Steel", "Teaser"), ("Sintel", "Dragon")]
    known = {frozenset((titles[one], titles[other])) for one, other in pairs}
    assert {frozenset(pair) for pair in catalog.title_duplicates()} == known
    assert len(catalog.title_duplicates()) == 2
    for seed in range(20):
        split = split_titles(
            catalog.titles(),
            held_out_share=0.4,
            seed=seed,
            duplicates=catalog.title_duplicates(),
        )
        for one, other in catalog.title_duplicates():
            assert (one in split.train) == (other in split.train)
        assert split.held_out


def test_every_item_has_shots_and_no_false_detection(catalog: Catalog) -> None:
    proxies = catalog.proxies()
    for item in catalog.items():
        shots = [one for one in catalog.segments(item.id) if one.kind == "shot"]
        assert shots[0].start_seconds == 0
        proxy = proxies[item.id]
        assert shots[-1].stop_seconds == proxy.num_frames / proxy.frame_rate
        assert all(a.stop_seconds == b.start_seconds for a, b in pairwise(shots))
    assert not {one.kind for one in catalog.segments()} & {
        "opening",
        "credits",
        "recap",
        "recurring",
        "logo",
    }


def test_detection_is_not_repeated(
    catalog: Catalog, folder: Path, first_result: DetectionResult
) -> None:
    def times() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (folder / FOLDER).rglob("*.npz")}

    before = times(), catalog.segments(), catalog.detection_sources()
    assert len(before[0]) == 6
    again = detect_segments(catalog)
    assert (again.analyzed, again.skipped) == (0, 6)
    assert (first_result.analyzed, first_result.skipped) == (6, 0)
    assert (times(), catalog.segments(), catalog.detection_sources()) == before
    assert again.segments == first_result.segments
    # Only a file of features that was lost is computed again, and the segments stay the same.
    lost = next((folder / FOLDER).rglob("*.npz"))
    lost.unlink()
    (lost.parent / "0000099-x.npz.partial").write_bytes(b"of a process that was killed")
    assert detect_segments(catalog).analyzed == 1
    assert {name for name, time in times().items() if time != before[0].get(name)} == {lost.name}
    assert catalog.segments() == before[1]
    assert not list((folder / FOLDER).rglob("*.partial"))


def test_a_damaged_proxy_is_reported_and_the_rest_is_done(
    catalog: Catalog, folder: Path, tmp_path: Path
) -> None:
    item_id = ids(catalog)["Mute"]
    proxy = catalog.proxies()[item_id]
    video = folder / proxy.video_path
    kept = video.read_bytes()
    for trace in (folder / FOLDER).rglob(f"{item_id:07d}-*.npz"):
        trace.rename(tmp_path / trace.name)
    try:
        video.write_bytes(b"no film")
        result = detect_segments(catalog)
        assert [str(entry.path) for entry in result.failed] == ["Mute (2001)/Mute (2001).mp4"]
        assert video.name in result.failed[0].reason
        assert len(catalog.duplicates()) == 2
    finally:
        video.write_bytes(kept)
    assert detect_segments(catalog).failed == ()


@pytest.mark.parametrize("where", ["features", "record"])
def test_a_full_disk_stops_the_detection_and_keeps_what_is_done(
    prepared_catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    shutil.copytree(prepared_catalog, tmp_path / "cat")
    if where == "features":
        monkeypatch.setattr(detect_module, "_analyze_item", analyze_on_a_full_disk)
    else:
        monkeypatch.setattr(Catalog, "record_segments", refuse_for_want_of_space)
    result = detect_segments(tmp_path / "cat", num_workers=2)
    assert result.analyzed == 0
    assert "the disk is full" in result.failed[0].reason
    assert list((tmp_path / "cat").rglob("*.partial")) == []
    monkeypatch.undo()
    assert detect_segments(tmp_path / "cat").failed == ()


def analyze_on_a_full_disk(folder: Path, job: Any, report: Any) -> Any:
    """Stand in for a disk without space; runs in the worker."""
    (path,) = job.features_paths(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(path.name + ".partial").write_text("cut")
    raise OSError(errno.ENOSPC, "No space left on device")


def refuse_for_want_of_space(*_: object) -> None:
    cause = sqlite3.OperationalError("database or disk is full")
    cause.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise CatalogError("cannot write to the catalog") from cause


def test_damaged_features_are_refused(tmp_path: Path) -> None:
    from toomuchtv.detection.features_on_disk import read_fingerprint, read_frame_features

    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "empty.npz").touch()
    np.savez(tmp_path / "other.npz", words=np.zeros(3))
    for name in ("bad.npz", "empty.npz", "other.npz", "none.npz"):
        for read in (read_fingerprint, read_frame_features):
            with pytest.raises(MediaError, match=name.split(".")[0]):
                read(tmp_path / name)


def test_the_command_line_shows_what_was_detected(folder: Path, catalog: Catalog) -> None:
    shown = CliRunner().invoke(app, ["catalog", "show", str(folder), "--json"])
    assert shown.exit_code == 0, shown.output
    content = json.loads(shown.stdout)
    assert [title["name"] for title in content["titles"]] == [
        title.name for title in catalog.titles()
    ]
    shared = {frozenset((one["title"], one["other_title"])) for one in content["duplicates"]}
    assert shared == {frozenset({"Steel", "Teaser"}), frozenset({"Sintel", "Dragon"})}
    one = CliRunner().invoke(app, ["catalog", "show", str(folder), "--title", "steel"])
    assert one.exit_code == 0
    assert "0:00:14." in one.stdout  # the start of the teaser in the film
    assert "Sintel" not in one.stdout
    none = CliRunner().invoke(app, ["catalog", "show", str(folder), "--title", "Steal"])
    assert none.exit_code == 2
    assert "did you mean Steel" in none.stderr
    with pytest.raises(ValueError, match="did you mean Steel"):
        describe_catalog(catalog, "Steal")
