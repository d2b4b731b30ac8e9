"""A diagnosis of a real run on a small catalog: every figure, every error, the page, the verb."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import toomuchtv
from tests.media_files import write_film
from tests.prepared import RECIPE, tiny_config
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.cli import app
from toomuchtv.diagnosis.embedding import ClipSource
from toomuchtv.diagnosis.probes import draw_event_clips, draw_title_clips
from toomuchtv.diagnosis.results import Diagnosis, Unavailable
from toomuchtv.errors import CatalogError, CheckpointError
from toomuchtv.reports.diagnosis_page import write_diagnosis_page
from toomuchtv.training.pretrain import pretrain


@pytest.fixture(scope="module")
def run(prepared_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("diagnosed") / "run"
    with open_catalog(prepared_catalog) as catalog:
        pretrain(catalog, path, tiny_config(training={"steps": 3}))
    return path


@pytest.fixture
def catalog(prepared_catalog: Path) -> Iterator[Catalog]:
    with open_catalog(prepared_catalog) as opened:
        yield opened


@pytest.fixture(scope="module")
def truth(prepared_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two kinds of events that alternate, in every item."""
    folder = tmp_path_factory.mktemp("truth")
    with open_catalog(prepared_catalog) as opened:
        for item in opened.items():
            events = [
                {"start_seconds": at / 2, "stop_seconds": at / 2 + 0.5, "kind": "ab"[at % 2]}
                for at in range(int(2 * item.probe.duration_seconds))
            ]
            path = folder / item.path.with_suffix(".json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"events": events}))
    return folder


@pytest.fixture(scope="module")
def found(prepared_catalog: Path, run: Path, truth: Path) -> Diagnosis:
    seen: list[tuple[float, float]] = []

    def note(done: float, total: float, what: str) -> None:
        seen.append((done, total))

    with open_catalog(prepared_catalog) as opened:
        result = toomuchtv.diagnose(run, opened, clips=48, truth=truth, progress=note)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]
    assert isinstance(result, Diagnosis)
    return result


def test_both_policies_are_measured(found: Diagnosis) -> None:
    trained, other = found.policies
    assert not isinstance(trained, Unavailable)
    assert not isinstance(other, Unavailable)
    assert (trained.policy, trained.trained_with) == ("hierarchical", True)
    assert (other.policy, other.trained_with) == ("uniform", False)
    assert trained.num_clips == other.num_clips == 6
    assert trained.num_batches == other.num_batches == 5
    for one in (trained, other):
        assert 1 <= one.figures["effective_negatives"].mean <= 5 + 1e-3
        assert one.equal_embeddings["effective_negatives"].mean == pytest.approx(5, abs=1e-3)
        assert one.equal_embeddings["top1"].mean == pytest.approx(1 / 6)
        assert one.figures["effective_negatives"].std > 0
    # Two clips of each of three titles: one of five negatives is of the same title.
    assert trained.equal_embeddings["mass_same_title"].mean == pytest.approx(1 / 5)
    assert trained.equal_embeddings["mass_same_title"].std == pytest.approx(0, abs=1e-6)


def test_every_figure_is_measured(found: Diagnosis) -> None:
    assert (found.split, found.num_titles, found.num_items) == ("all", 4, 5)
    assert found.temperature == pytest.approx(0.07)
    assert not isinstance(found.pool, Unavailable)
    counts = {one.relation: one.num_pairs for one in found.pool.relations}
    assert counts["positives"] == found.pool.num_clips
    assert sum(counts.values()) == found.pool.num_clips**2
    assert all(sum(one.histogram) == one.num_pairs for one in found.pool.relations)
    for pair in (*found.pool.hardest_negatives, *found.pool.likely_false_negatives):
        assert pair.relation != "positives"
        assert pair.video.preview is not None
        assert pair.video.preview.frames.shape[::3] == (3, 3)
        assert re.fullmatch(r"00:00:0\d\.\d", pair.video.timecode)
    assert found.pool.hardest_negatives
    clips = [one for pair in found.pool.hardest_negatives for one in (pair.video, pair.audio)]
    assert {one.episode for one in clips} <= {"", "S01E01", "S01E02"}
    assert all((one.title == "Delta") == (one.episode != "") for one in clips)
    assert not isinstance(found.pool.confusion, Unavailable)
    assert set(found.pool.confusion.titles) == {"Alpha", "Beta", "Gamma", "Delta"}
    for probes, classes in ((found.title_probes, 4), (found.event_probes, 2)):
        assert not isinstance(probes, Unavailable)
        assert {one.num_classes for one in probes} == {classes}
        measured = {(one.modality, one.content) for one in probes if one.trained}
        assert measured == {
            ("video", "everything"), ("video", "palette"), ("video", "structure"),
            ("audio", "everything"), ("audio", "theme"), ("audio", "events"),
        }  # fmt: skip
        assert all(0 <= one.accuracy <= 1 and 0 < one.chance < 1 for one in probes)


def test_same_seed_gives_the_same_figures(run: Path, catalog: Catalog, found: Diagnosis) -> None:
    again = toomuchtv.diagnose(run, catalog, clips=48)
    assert isinstance(again.event_probes, Unavailable)
    assert "--truth" in again.event_probes.reason
    left, right = (json.dumps({**one.figures(), "event_probes": 0}) for one in (again, found))
    assert left == right


def test_page_is_self_contained_and_shows_every_part(found: Diagnosis, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_diagnosis_page(page, found)
    html = page.read_text()
    figures, alts = re.findall(r"<img [^>]*>", html), re.findall(r'alt="[^"]{10,}"', html)
    assert len(figures) == len(alts) >= 4 + 4 * 6
    assert all(source.startswith("data:image/") for source in re.findall(r'src="([^"]+)"', html))
    assert "http" not in re.sub(r"base64,[^\"]*", "", html)
    assert html.count("How to read it") == html.count("<h2>") == 6
    assert not isinstance(found.pool, Unavailable)
    for pair in found.pool.hardest_negatives:
        assert pair.video.timecode in html
    parts = ("policies", "pool", "title_probes", "event_probes")
    nothing = dataclasses.replace(
        found,
        policies=(Unavailable(reason="no policies here"),) * 2,
        pool=Unavailable(reason="no pool here"),
        title_probes=Unavailable(reason="no title_probes here"),
        event_probes=Unavailable(reason="no event_probes here"),
    )
    write_diagnosis_page(page, nothing)
    html = page.read_text()
    assert all(f"no {name} here" in html for name in parts)
    assert "<img " not in html


def test_split_with_too_few_titles_gives_reasons(run: Path, catalog: Catalog) -> None:
    alone = toomuchtv.diagnose(run, catalog, clips=32, split="held_out")
    assert alone.num_titles == 1
    assert isinstance(alone.title_probes, Unavailable)
    assert "needs two such titles" in alone.title_probes.reason
    assert not isinstance(alone.pool, Unavailable)
    assert isinstance(alone.pool.confusion, Unavailable)
    trained = toomuchtv.diagnose(run, catalog, clips=32, split="train")
    assert trained.num_titles == 3


def test_wrong_arguments_raise_errors(
    run: Path, catalog: Catalog, prepared_catalog: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="whose training has finished"):
        toomuchtv.diagnose(tmp_path, catalog)
    with pytest.raises(CheckpointError, match="the folder of a run, not that of a model"):
        toomuchtv.diagnose(run / "model", catalog)
    with pytest.raises(ValueError, match="clips must be 32 to 4096, got 5"):
        toomuchtv.diagnose(run, catalog, clips=5)
    with pytest.raises(ValueError, match="there is no folder of events"):
        toomuchtv.diagnose(run, catalog, truth=tmp_path / "nowhere")
    write_film(tmp_path / "library" / "Other (2020)" / "Other (2020).mp4", seconds=4.0)
    scan_library(tmp_path / "library", tmp_path / "other")
    with open_catalog(tmp_path / "other") as other:
        with pytest.raises(CatalogError, match="run `toomuchtv prepare`"):
            toomuchtv.diagnose(run, other)
        prepare_catalog(other, RECIPE.model_copy(update={"frame_rate": 5.0}))
        with pytest.raises(ValueError, match="5 frames a second, which is no multiple"):
            toomuchtv.diagnose(run, other)
        with pytest.raises(CatalogError, match="the catalog that the run was trained on"):
            toomuchtv.diagnose(run, other, split="train")


def test_verb_writes_page_and_json(run: Path, prepared_catalog: Path, tmp_path: Path) -> None:
    arguments = [
        "diagnose",
        str(run),
        "--catalog",
        str(prepared_catalog),
        "--clips",
        "32",
        "--json",
    ]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    values = json.loads(done.stdout)
    assert Path(values["page"]) == tmp_path / "diagnosis.html"
    assert Path(values["page"]).is_file()
    assert json.loads((tmp_path / "diagnosis.json").read_text()).items() <= values.items()
    assert "preview" not in done.stdout
    assert values.keys() == {
        "page", "figures", "run", "catalog", "split", "titles", "items", "temperature", "seed",
        "policies", "survey", "title_probes", "event_probes", "notes",
    }  # fmt: skip
    assert values["policies"][0].keys() == {
        "policy", "trained_with", "batch", "clips", "batches", "figures", "even"
    }  # fmt: skip
    assert values["policies"][0]["even"]["top1"].keys() == {"mean", "std", "lowest", "highest"}
    pool = values["survey"]
    assert pool.keys() == {"clips", "relations", "hardest", "likely_false", "confusion"}
    assert pool["relations"][0].keys() == {
        "relation", "pairs", "mean", "std", "nearer_than_own", "histogram"
    }  # fmt: skip
    assert pool["hardest"][0].keys() == {
        "video", "audio", "relation", "similarity", "own_similarity", "alike"
    }  # fmt: skip
    assert pool["hardest"][0]["video"].keys() == {"title", "episode", "start_seconds", "timecode"}
    assert pool["confusion"].keys() == {"titles", "lift", "pairs"}
    assert values["title_probes"][0].keys() == {
        "target", "sense", "content", "layer", "trained", "accuracy", "folds", "chance", "classes",
        "clips",
    }  # fmt: skip
    bad = CliRunner().invoke(app, ["diagnose", str(tmp_path), *arguments[2:]])
    assert bad.exit_code == 2
    assert "no model in" in bad.output


def test_probe_clips_of_different_folds_are_far_apart(catalog: Catalog, truth: Path) -> None:
    config = tiny_config()
    snapshot = catalog.snapshot()
    source = ClipSource(catalog, snapshot, config.sampling, config.clip, config.transform.log_mel)
    drawn = draw_title_clips(source, num_clips=64, seed=1)
    assert not isinstance(drawn, Unavailable)
    seconds = snapshot.duration_seconds
    for fold, low, high in ((0, 0.0, 0.4), (1, 0.55, 1.0)):
        place = (
            drawn.clips.start_seconds[drawn.fold == fold]
            / seconds[drawn.clips.item[drawn.fold == fold]]
        )
        assert low <= place.min() <= place.max() <= high
    counts = np.unique(np.char.add(drawn.label, drawn.fold.astype(str)), return_counts=True)[1]
    assert len(counts) == 8
    assert len(set(counts.tolist())) <= 4
    for row in set(drawn.clips.item.tolist()):
        starts = np.sort(drawn.clips.start_seconds[drawn.clips.item == row])
        assert np.diff(starts).min() >= config.clip.span_seconds - 1e-9
    events = draw_event_clips(source, catalog, truth, num_clips=48, seed=1)
    assert not isinstance(events, Unavailable)
    for row in set(events.clips.item.tolist()):
        title = snapshot.title_id == snapshot.title_id[row]
        assert len(set(events.fold[title[events.clips.item]].tolist())) == 1
