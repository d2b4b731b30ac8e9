"""Every verb on real media files.

The first call of a verb runs in a process of its own, as users run it. The others run in this
process, because importing torch takes longer than most verbs do.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from typer.testing import CliRunner

from experiments.rendered_tv import RenderedTVConfig, render_library
from tests.processes import run_toomuchtv
from toomuchtv.cli import app, main
from toomuchtv.cli.doctor import warnings_about

SMALL = [
    "--preset", "tiny",
    "--set", "transform.size=32", "--set", "clip.audio_seconds=1.0",
    "--set", "sampling.batch_size=8", "--set", "sampling.clips_per_item=4",
    "--set", "training.num_workers=0", "--set", "training.num_threads=1",
    "--set", "training.validation_clips=8",
    "--set", "model.video.width=0.125", "--set", "model.audio.width=0.125",
    "--set", "training.log_every=1",
]  # fmt: skip


#: Verbs that need torch run in a process that has imported it.
_USE_TORCH = {"pretrain", "evaluate", "compare", "doctor", "embed", "search", "index"}
_verbs_seen: set[str] = set()


def toomuchtv(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a verb: the first time in a process of its own, later in this one."""
    command = [*map(str, arguments)]
    if command[0] not in _verbs_seen:
        _verbs_seen.add(command[0])
        if command[0] in _USE_TORCH:
            return run_toomuchtv(*command, cwd=cwd)
        return subprocess.run(
            [sys.executable, "-m", "toomuchtv", *command],
            capture_output=True,
            text=True,
            cwd=cwd,
            timeout=240,
            check=False,
        )
    out, err = io.StringIO(), io.StringIO()
    code: str | int | None = 0
    with (
        mock.patch.object(sys, "argv", ["toomuchtv", *command]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        contextlib.chdir(cwd or Path.cwd()),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def run_json(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    """Run a verb with --json. Its stdout must be one JSON object and nothing else."""
    done = toomuchtv(*arguments, "--json")
    assert done.returncode == code, done.stderr
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rendered") / "small"
    config = RenderedTVConfig(
        movies=3, shows=1, episodes=2, minutes=0.25, event_kinds=3, width=80, height=48,
        transfer_titles=5, transfer_clips_per_kind=5, transfer_clip_seconds=2.0,
        transfer_sound_seconds=2.0,
    )  # fmt: skip
    render_library(out, config)
    return out


@pytest.fixture(scope="module")
def catalog(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cat = tmp_path_factory.mktemp("catalog") / "cat"
    found = run_json("scan", rendered / "library", "--catalog", cat, "--workers", "1")
    assert (found["titles"], found["items"], found["extras"]) == (4, 5, 0)
    assert found["seconds"] == pytest.approx(75, abs=1)
    assert found["set_aside"] == found["skipped"] == []
    assert found.keys() == {
        "titles", "items", "extras", "extra_kinds", "seconds", "skipped", "set_aside", "added",
        "updated", "renamed", "unchanged", "vanished", "ignored", "warnings",
    }  # fmt: skip
    made = run_json("prepare", "--catalog", cat, "--short-side", "32", "--workers", "1")
    assert (made["prepared"], made["skipped"], made["failed"]) == (5, 0, [])
    assert made["bytes"] > 10_000
    assert made.keys() == {
        "prepared", "skipped", "failed", "other_language", "damaged", "bytes",
        "film_seconds", "found",
    }  # fmt: skip
    assert made["found"].keys() == {
        "analyzed", "skipped", "failed", "segments", "recurring", "duplicates"
    }  # fmt: skip
    return cat


@pytest.fixture(scope="module")
def run(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "first"
    result = run_json(
        "pretrain",
        "--catalog",
        catalog,
        "--run",
        path,
        *SMALL,
        "--set",
        "training.steps=3",
        "--resume",  # A new run begins although there is nothing to resume.
    )
    assert result.keys() == {
        "run", "steps", "loss", "clips_per_second", "model", "interrupted", "replaced_clips",
        "worker_restarts",
    }  # fmt: skip
    assert result["run"] == str(path)
    assert result["steps"] == 3
    assert result["loss"] > 0
    assert result["clips_per_second"] > 0
    assert result["model"] == str(path / "model")
    return path


def test_second_prepare_skips_everything(catalog: Path) -> None:
    again = run_json("prepare", "--catalog", catalog, "--short-side", "32")
    assert (again["prepared"], again["skipped"]) == (0, 5)


def test_run_folder_has_all_files(run: Path) -> None:
    for name in ("config.toml", "metrics.jsonl", "split.json", "model/config.json", "report.html"):
        assert (run / name).is_file(), name
    assert (run / "model" / "model.safetensors").stat().st_size > 1000
    assert list((run / "checkpoints").glob("*.safetensors"))
    assert list((run / "tensorboard").glob("events.*"))
    split = json.loads((run / "split.json").read_text())
    names = {side: {entry["name"] for entry in split[side]} for side in ("train", "held_out")}
    assert len(names["train"]) + len(names["held_out"]) == 4
    assert not names["train"] & names["held_out"]


def test_retrieval_reports_chance_beside_every_score(run: Path, catalog: Path) -> None:
    for untrained in ([], ["--untrained"]):
        result = run_json(
            "evaluate", run, "--benchmark", "retrieval", "--data", catalog, *untrained
        )
        assert result["benchmark"] == result["protocol"] == "retrieval"
        assert result["untrained"] is bool(untrained)
        assert set(result["metrics"]) == {"held_out", "train"}
        for side, scopes in result["metrics"].items():
            for scope in ("all", "within_title"):
                for way in ("video_to_audio", "audio_to_video"):
                    figures = scopes[scope][way]
                    chance = result["chance"][side][scope][way]
                    assert figures.keys() - {"interval"} == chance.keys()
                    assert 0 <= figures["recall_at_1"] <= figures["recall_at_10"] <= 1


def test_linear_probes_run_on_the_transfer_sets(run: Path, rendered: Path) -> None:
    sounds = rendered / "transfer" / "sounds"
    result = run_json("evaluate", run, "--benchmark", "esc50", "--data", sounds)
    assert result["protocol"] == "linear"
    assert set(result["metrics"]["accuracy"]) == {"mean", "std", "folds", "interval"}
    assert Path(result["page"]).is_file()
    assert len(result["metrics"]["accuracy"]["folds"]) == 5
    assert result["chance"]["accuracy"] == pytest.approx(1 / 3)
    actions = rendered / "transfer" / "actions"
    for modality in ("video", "audio"):
        result = run_json(
            "evaluate",
            run,
            "--benchmark",
            "ucf101",
            "--data",
            actions,
            "--modality",
            modality,
        )
        assert (result["protocol"], result["modality"]) == ("linear", modality)
        assert len(result["metrics"]["accuracy"]["folds"]) == 3


def test_compare_trained_with_untrained_weights(run: Path, rendered: Path, tmp_path: Path) -> None:
    sounds = rendered / "transfer" / "sounds"
    places = []
    for name, flags in (("a", ["--untrained"]), ("b", [])):
        out = tmp_path / name
        run_json(
            "evaluate",
            run,
            "--benchmark",
            "esc50",
            "--data",
            sounds,
            "--out",
            out,
            *flags,
        )
        places.append(out)
    found = run_json("compare", *places, "--out", tmp_path / "table")
    (entry,) = found["compared"]
    assert (entry["benchmark"], entry["protocol"]) == ("esc50", "linear")
    assert entry["paired"]["difference"] == pytest.approx(entry["b"] - entry["a"])
    assert 0 < entry["paired"]["p_value"] <= 1
    assert any("pretraining differs" in warning for warning in found["warnings"])
    alone = toomuchtv("compare", places[0])
    assert alone.returncode == 2
    assert "--out" in alone.stderr
    text = (tmp_path / "table" / "table.txt").read_text()
    assert "untrained" in text


def test_baseline_encoder_needs_no_run(rendered: Path, tmp_path: Path) -> None:
    result = run_json(
        "evaluate", "--encoder", "color-histogram", "--benchmark", "ucf101",
        "--data", rendered / "transfer" / "actions", "--protocol", "knn", "--out", tmp_path,
    )  # fmt: skip
    assert result["encoder"]["name"] == "color-histogram"
    assert result["selection"]["how"] == "inner"
    assert "mmv-svm" in run_json("evaluate", "--list")["protocols"]


def test_without_json_a_table_is_printed(run: Path, catalog: Path) -> None:
    done = toomuchtv("evaluate", run, "--benchmark", "retrieval", "--data", catalog)
    assert done.returncode == 0
    assert "R@10" in done.stdout
    assert "{" not in done.stdout


def test_skipped_files_are_listed_and_exit_code_is_1(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "empty.mp4").touch()
    result = run_json("scan", library, "--catalog", tmp_path / "cat", code=1)
    assert result["set_aside"] == result["skipped"]
    (entry,) = result["skipped"]
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
def test_wrong_input_gives_a_message_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    done = toomuchtv(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_unknown_setting_creates_nothing(catalog: Path, tmp_path: Path) -> None:
    done = toomuchtv(
        "pretrain", "--catalog", catalog, "--run", tmp_path / "run", "--set", "training.step=3"
    )
    assert done.returncode == 2
    assert "did you mean 'steps'" in done.stderr
    assert not (tmp_path / "run").exists()


def test_run_is_not_overwritten(run: Path, catalog: Path) -> None:
    done = toomuchtv("pretrain", "--catalog", catalog, "--run", run, *SMALL)
    assert done.returncode == 2
    assert "--resume" in done.stderr


def test_library_is_never_written_to(rendered: Path, catalog: Path) -> None:
    suffixes = {path.suffix for path in (rendered / "library").rglob("*") if path.is_file()}
    assert suffixes == {".mp4", ".mkv"}


def test_doctor_reports_this_machine() -> None:
    result = run_json("doctor")
    assert result.keys() == {"facts", "libraries", "missing", "warnings"}
    assert result["missing"] == []
    assert "libavcodec" in result["facts"]["ffmpeg"]
    assert result["libraries"]["torch"]
    assert "cuda" in result["facts"]
    for version_, cudnn, num_gpus, expected in (
        ("2.9.0+cu128", 91_002, 1, 1), ("2.9.1", None, 1, 1), ("2.9.1+cu130", 92_100, 1, 0),
        ("2.9.0+cu128", 91_002, 0, 0), ("2.13.0+cu130", 91_002, 1, 0),
    ):  # fmt: skip
        assert len(warnings_about(version_, cudnn, num_gpus=num_gpus)) == expected


def test_version_is_that_of_the_package() -> None:
    done = toomuchtv("--version")
    assert (done.returncode, done.stdout.strip()) == (0, version("toomuchtv"))


def test_bash_completes_verbs_and_options() -> None:
    for words, number, expected in (
        ("toomuchtv pre", "1", ["prepare", "pretrain"]),
        ("toomuchtv index ex", "2", ["export"]),
        ("toomuchtv scan --cat", "2", ["--catalog"]),
    ):
        environment = {
            "_TOOMUCHTV_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": number,
        }
        done = CliRunner().invoke(app, prog_name="toomuchtv", env=environment)
        assert done.stdout.split() == expected


def test_catalog_show_describes_every_title(catalog: Path) -> None:
    result = run_json("catalog", "show", catalog)
    assert result.keys() == {"catalog", "titles", "duplicates"}
    assert len(result["titles"]) == 4
    assert sum(len(title["items"]) for title in result["titles"]) == 5
    (item, *_) = result["titles"][0]["items"]
    assert item.keys() == {
        "path", "season", "episode", "seconds", "prepared", "damage", "segments", "segment_counts",
    }  # fmt: skip
    assert item["segment_counts"] == Counter(segment["kind"] for segment in item["segments"])
    name = result["titles"][0]["name"]
    alone = run_json("catalog", "show", catalog, "--title", name)
    assert [title["name"] for title in alone["titles"]] == [name]
