from __future__ import annotations

import csv
import json
import wave
from hashlib import sha256
from pathlib import Path

import av
import numpy as np
import pytest

import experiments.rendered_tv.render as render_module
from experiments.rendered_tv import RenderedTVConfig, RenderSummary, render_library
from experiments.rendered_tv.render import item_path
from experiments.rendered_tv.titles import draw_title
from tests.test_readme import execute, python_blocks
from tests.workers import run_in_process
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog


def hashes(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


@pytest.mark.usefixtures("worker_processes")
def test_neither_an_interruption_nor_the_number_of_workers_changes_the_files(
    small_config: RenderedTVConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config.model_copy(
        update={"shows": 0, "transfer_titles": 5, "transfer_clips_per_kind": 5,
                "event_kinds": ("bounce", "siren")}
    )  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(render_module, "run_isolated", run_in_process)
        render_library(tmp_path / "whole", config)

    def stop(done: float, total: float, what: str) -> None:
        if done > 0:
            raise KeyboardInterrupt

    out = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        render_library(out, config, num_workers=2, progress=stop)
    assert not (out / "rendered_tv.json").exists()
    # One is finished. The other worker may have been stopped between its film and its labels.
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.mp4")}
    render_library(out, config, num_workers=2)
    assert any(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    assert hashes(out) == hashes(tmp_path / "whole")


def test_a_finished_library_is_not_changed(rendered: Path, small_config: RenderedTVConfig) -> None:
    before = {path: path.stat().st_mtime_ns for path in rendered.rglob("*")}
    summary = render_library(rendered, small_config)
    assert {path: path.stat().st_mtime_ns for path in rendered.rglob("*")} == before
    assert (summary.items, summary.action_clips) == (4, 28)
    assert summary.library_seconds == pytest.approx(4 * 24)


def test_a_folder_of_another_config_is_rejected(
    rendered: Path, small_config: RenderedTVConfig
) -> None:
    other = small_config.model_copy(update={"seed": 6})
    with pytest.raises(ValueError, match=r"another config \(there: {'seed': 5}\).*another folder"):
        render_library(rendered, other)


def test_a_folder_with_other_files_is_rejected(
    tmp_path: Path, small_config: RenderedTVConfig
) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(ValueError, match="choose a new folder"):
        render_library(tmp_path, small_config)
    with pytest.raises(ValueError, match="use 1 or more"):
        render_library(tmp_path / "new", small_config, num_workers=0)


def test_the_library_has_the_layout_of_a_media_server(rendered: Path) -> None:
    movies = sorted((rendered / "library/Movies").rglob("*.mp4"))
    episodes = sorted((rendered / "library/TV").rglob("*.mkv"))
    assert len(movies) == 2
    assert len(episodes) == 2
    for path in movies:
        assert path.stem == path.parent.name
    for number, path in enumerate(episodes, start=1):
        assert path.parent.name == "Season 01"
        assert path.name.startswith(f"{path.parent.parent.name} - S01E{number:02d} - ")
    for path in movies + episodes:
        sidecar = (
            rendered / "ground_truth" / path.relative_to(rendered / "library").with_suffix(".json")
        )
        facts = json.loads(sidecar.read_text(encoding="utf-8"))
        with av.open(path) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
            count = sum(1 for _ in container.decode(video=0))
        assert count == facts["duration_seconds"] * 16 == 384
    assert not list(rendered.rglob("*.partial"))
    assert not list(rendered.rglob("rendered_tv.partial.json"))


def test_the_code_of_the_guide_renders(
    rendered: Path,
    small_config: RenderedTVConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A finished library is not rendered again, so the folder has one with the small settings."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tv").symlink_to(rendered)
    monkeypatch.chdir(tmp_path)
    (code,) = python_blocks("docs/guide/rendered_tv.md")
    printed = "RenderedTVConfig(movies=4, shows=1, minutes=1.0)"
    assert printed in code
    summary = execute(code.replace(printed, "small"), small=small_config)["summary"]
    assert isinstance(summary, RenderSummary)


def test_action_lists_have_the_layout_of_ucf101(rendered: Path) -> None:
    actions = rendered / "transfer/actions"
    lists = actions / "ucfTrainTestlist"
    classes = [line.split() for line in (lists / "classInd.txt").read_text().splitlines()]
    assert classes == [["1", "Babble"], ["2", "Bounce"], ["3", "Knock"], ["4", "Siren"]]
    number = {name: index for index, name in classes}
    present = {str(p.relative_to(actions / "videos")) for p in actions.rglob("*.mp4")}
    tested: list[str] = []
    for split in ("01", "02", "03"):
        train = [
            line.split() for line in (lists / f"trainlist{split}.txt").read_text().splitlines()
        ]
        test = (lists / f"testlist{split}.txt").read_text().splitlines()
        assert {name for name, _ in train} | set(test) == present
        assert all(number[name.split("/")[0]] == label for name, label in train)
        groups = [
            {name.split("_g")[1][:2] for name in names}
            for names in ([name for name, _ in train], test)
        ]
        assert not groups[0] & groups[1], "a title on both sides"
        assert {name.split("/")[0] for name in test} == set(number)
        tested += test
    assert sorted(tested) == sorted(present)


def test_sounds_have_the_layout_of_esc50(rendered: Path, small_config: RenderedTVConfig) -> None:
    sounds = rendered / "transfer/sounds"
    with (sounds / "meta/esc50.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "filename",
        "fold",
        "target",
        "category",
        "esc10",
        "src_file",
        "take",
    ]
    assert {row["filename"] for row in rows} == {p.name for p in (sounds / "audio").iterdir()}
    assert {row["fold"] for row in rows} == set("12345")
    folds: dict[str, set[str]] = {}
    for row in rows:
        fold, source, take, target = row["filename"].removesuffix(".wav").split("-")
        assert (fold, source, take) == (row["fold"], row["src_file"], row["take"])
        assert sorted(small_config.kinds)[int(target)] == row["category"]
        folds.setdefault(source, set()).add(fold)
    assert all(len(each) == 1 for each in folds.values()), "a title in two folds"
    with wave.open(str(sounds / "audio" / rows[0]["filename"])) as audio:
        assert (audio.getframerate(), audio.getnchannels()) == (16000, 1)
        assert audio.getnframes() == 16000
        samples = np.frombuffer(audio.readframes(16000), "<i2")
    assert np.abs(samples).max() > 300


def test_transfer_titles_are_not_in_the_library(rendered: Path) -> None:
    names = {
        json.loads(path.read_text(encoding="utf-8"))["title"]
        for path in (rendered / "ground_truth/transfer").rglob("*.json")
    }
    library = {p.name for p in (rendered / "library/TV").iterdir()}
    library |= {p.name[:-7] for p in (rendered / "library/Movies").iterdir()}
    assert names
    assert not names & library


def test_episodes_are_divided_into_seasons_in_order() -> None:
    config = RenderedTVConfig(shows=1, episodes=5, seasons=2)
    title = draw_title(config, "show", 0)
    names = [item_path(config, title, episode).name for episode in range(5)]
    numbers = [name.split(" - ")[1] for name in names]
    assert numbers == ["S01E01", "S01E02", "S01E03", "S02E01", "S02E02"]
    folders = [item_path(config, title, episode).parent.name for episode in range(5)]
    assert folders == [f"Season {number[1:3]}" for number in numbers]


def test_short_clips_are_titles_with_balanced_kinds(tmp_path: Path) -> None:
    kinds = ("bounce", "siren")
    config = RenderedTVConfig(
        movies=0, shows=0, clips=4, clip_seconds=1.0, width=80, height=48, event_kinds=kinds,
        transfer_clips_per_kind=0,
    )  # fmt: skip
    summary = render_library(tmp_path / "out", config)
    assert (summary.short_clips, summary.items, summary.library_seconds) == (4, 4, 4.0)
    facts = [
        json.loads(path.read_text()) for path in (tmp_path / "out/ground_truth/Clips").iterdir()
    ]
    assert len({fact["title"] for fact in facts}) == 4
    assert sorted(fact["events"][0]["kind"] for fact in facts) == sorted(2 * kinds)
    assert {fact["kind"] for fact in facts} == {"clip"}
    scanned = scan_library(tmp_path / "out/library", tmp_path / "cat")
    assert (scanned.titles, scanned.items, scanned.skipped) == (4, 4, ())
    with open_catalog(tmp_path / "cat") as catalog:
        assert {str(title.kind) for title in catalog.titles()} == {"clip"}


def test_a_library_of_an_older_version_is_recognized(rendered: Path, tmp_path: Path) -> None:
    record = json.loads((rendered / "rendered_tv.json").read_text())
    config = RenderedTVConfig.model_validate(record["config"])
    del record["config"]["seasons"], record["config"]["clips"], record["config"]["clip_seconds"]
    del record["summary"]["short_clips"]
    (tmp_path / "rendered_tv.json").write_text(json.dumps(record))
    assert render_library(tmp_path, config) == render_library(rendered, config)
