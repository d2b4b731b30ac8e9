"""Every verb as a person or a program calls it: on real files, in processes of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.rendered_tv import RenderedTVConfig, render_library

SMALL = [
    "--preset", "tiny",
    "--set", "transform.size=32", "--set", "clip.audio_seconds=1.0",
    "--set", "sampling.batch_size=8", "--set", "sampling.clips_per_item=4",
    "--set", "training.num_workers=0", "--set", "training.num_threads=1",
    "--set", "training.validation_clips=8",
    "--set", "model.video.width=0.125", "--set", "model.audio.width=0.125",
    "--set", "training.log_every=1",
]  # fmt: skip


def toomuchtv(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "toomuchtv", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=240,
        check=False,
    )


def asked(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    """Call a verb with --json: stdout must be one JSON object and nothing else."""
    done = toomuchtv(*arguments, "--json")
    assert done.returncode == code, done.stderr
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("studio") / "small"
    config = RenderedTVConfig(
        movies=3, shows=1, episodes=2, minutes=0.25, event_kinds=3,
        transfer_titles=5, transfer_clips_per_kind=5, transfer_clip_seconds=2.0,
        transfer_sound_seconds=2.0,
    )  # fmt: skip
    render_library(out, config)
    return out


@pytest.fixture(scope="module")
def catalog(studio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cat = tmp_path_factory.mktemp("catalog") / "cat"
    found = asked("scan", studio / "library", "--catalog", cat)
    assert (found["titles"], found["items"], found["extras"]) == (4, 5, 0)
    assert found["seconds"] == pytest.approx(75, abs=1)
    assert found["set_aside"] == []
    made = asked("prepare", "--catalog", cat, "--short-side", "32")
    assert (made["prepared"], made["skipped"], made["failed"]) == (5, 0, [])
    assert made["bytes"] > 10_000
    return cat


@pytest.fixture(scope="module")
def run(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "first"
    result = asked(
        "pretrain",
        "--catalog",
        catalog,
        "--run",
        path,
        *SMALL,
        "--set",
        "training.steps=3",
        "--resume",  # where there is nothing to resume, it begins
    )
    assert result["run"] == str(path)
    assert result["steps"] == 3
    assert result["loss"] > 0
    assert result["clips_per_second"] > 0
    assert result["model"] == str(path / "model")
    return path


def test_a_second_prepare_has_nothing_to_do(catalog: Path) -> None:
    again = asked("prepare", "--catalog", catalog, "--short-side", "32")
    assert (again["prepared"], again["skipped"]) == (0, 5)


def test_a_run_leaves_what_design_says(run: Path) -> None:
    for name in ("config.toml", "metrics.jsonl", "split.json", "model/config.json", "report.html"):
        assert (run / name).is_file(), name
    assert (run / "model" / "model.safetensors").stat().st_size > 1000
    assert list((run / "checkpoints").glob("*.safetensors"))
    assert list((run / "tensorboard").glob("events.*"))
    split = json.loads((run / "split.json").read_text())
    names = {side: {entry["name"] for entry in split[side]} for side in split}
    assert len(names["train"]) + len(names["held_out"]) == 4
    assert not names["train"] & names["held_out"]


def test_retrieval_gives_every_score_its_chance(run: Path, catalog: Path) -> None:
    for untrained in ([], ["--untrained"]):
        result = asked("evaluate", run, "--benchmark", "retrieval", "--data", catalog, *untrained)
        assert result["benchmark"] == result["protocol"] == "retrieval"
        assert result["untrained"] is bool(untrained)
        assert set(result["metrics"]) == {"held_out", "train"}
        for side, scopes in result["metrics"].items():
            for scope in ("all", "within_title"):
                for way in ("video_to_audio", "audio_to_video"):
                    figures = scopes[scope][way]
                    assert figures.keys() == result["chance"][side][scope][way].keys()
                    assert 0 <= figures["recall_at_1"] <= figures["recall_at_10"] <= 1


def test_probes_run_on_the_transfer_sets(run: Path, studio: Path) -> None:
    sounds = studio / "transfer" / "sounds"
    result = asked("evaluate", run, "--benchmark", "esc50", "--data", sounds)
    assert result["protocol"] == "linear"
    assert set(result["metrics"]["accuracy"]) == {"mean", "std", "folds", "interval"}
    assert Path(result["page"]).is_file()
    assert len(result["metrics"]["accuracy"]["folds"]) == 5
    assert result["chance"]["accuracy"] == pytest.approx(1 / 3)
    actions = studio / "transfer" / "actions"
    for modality in ("video", "audio"):
        result = asked(
            "evaluate", run, "--benchmark", "ucf101", "--data", actions, "--modality", modality
        )
        assert (result["protocol"], result["modality"]) == ("linear", modality)
        assert len(result["metrics"]["accuracy"]["folds"]) == 3


def test_a_run_is_compared_with_its_own_fresh_weights(
    run: Path, studio: Path, tmp_path: Path
) -> None:
    sounds = studio / "transfer" / "sounds"
    places = []
    for name, flags in (("a", ["--untrained"]), ("b", [])):
        out = tmp_path / name
        asked("evaluate", run, "--benchmark", "esc50", "--data", sounds, "--out", out, *flags)
        places.append(out)
    found = asked("compare", *places, "--out", tmp_path / "table")
    (entry,) = found["compared"]
    assert (entry["benchmark"], entry["protocol"]) == ("esc50", "linear")
    assert entry["paired"]["difference"] == pytest.approx(entry["b"] - entry["a"])
    assert 0 < entry["paired"]["p_value"] <= 1
    assert any("pretraining differs" in warning for warning in found["warnings"])
    text = (tmp_path / "table" / "table.txt").read_text()
    assert "untrained" in text
    assert "CrissCross" in text
    assert "Published by others" in (tmp_path / "table" / "table.html").read_text()


def test_a_baseline_needs_no_run(studio: Path, tmp_path: Path) -> None:
    result = asked(
        "evaluate", "--encoder", "color-histogram", "--benchmark", "ucf101",
        "--data", studio / "transfer" / "actions", "--protocol", "knn", "--out", tmp_path,
    )  # fmt: skip
    assert result["encoder"]["name"] == "color-histogram"
    assert result["selection"]["how"] == "inner"
    assert "mmv-svm" in asked("evaluate", "--list")["protocols"]


def test_a_person_sees_a_table_and_no_json(run: Path, catalog: Path) -> None:
    done = toomuchtv("evaluate", run, "--benchmark", "retrieval", "--data", catalog)
    assert done.returncode == 0
    assert "R@10" in done.stdout
    assert "{" not in done.stdout


def test_set_aside_files_give_exit_code_1_and_are_listed(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "empty.mp4").touch()
    result = asked("scan", library, "--catalog", tmp_path / "cat", code=1)
    (entry,) = result["set_aside"]
    assert entry["path"] == "empty.mp4"
    assert "empty" in entry["reason"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scan", "nowhere", "--catalog", "cat"], "not a folder"),
        (["prepare", "--catalog", "nowhere"], "nowhere"),
        (["pretrain", "--catalog", "nowhere", "--run", "run"], "nowhere"),
        (["evaluate", "nowhere", "--benchmark", "esc50", "--data", "."], "no model in"),
        (["evaluate", "nowhere", "--benchmark", "imagenet", "--data", "."], "retrieval, ucf101"),
        (["evaluate", "--benchmark", "esc50", "--data", "."], "either a run or --encoder"),
        (["evaluate", "--encoder", "nn", "--benchmark", "esc50", "--data", "."], "module:function"),
        (["evaluate", "nowhere"], "--list"),
        (["compare", "nowhere"], "no result in"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_input_is_explained_and_exits_with_2(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    done = toomuchtv(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_settings_are_checked_before_anything_is_made(catalog: Path, tmp_path: Path) -> None:
    done = toomuchtv(
        "pretrain", "--catalog", catalog, "--run", tmp_path / "run", "--set", "training.step=3"
    )
    assert done.returncode == 2
    assert "did you mean 'steps'" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten(run: Path, catalog: Path) -> None:
    done = toomuchtv("pretrain", "--catalog", catalog, "--run", run, *SMALL)
    assert done.returncode == 2
    assert "--resume" in done.stderr


def test_a_library_is_never_written_to(studio: Path, catalog: Path) -> None:
    suffixes = {path.suffix for path in (studio / "library").rglob("*") if path.is_file()}
    assert suffixes == {".mp4", ".mkv"}


def test_doctor_knows_this_machine() -> None:
    result = asked("doctor")
    assert result["missing"] == []
    assert "libavcodec" in result["facts"]["ffmpeg"]
    assert result["libraries"]["torch"]
