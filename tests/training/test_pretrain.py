"""The training loop: a run that is killed, stopped or resumed ends like an uninterrupted run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

import toomuchtv
from tests.prepared import tiny_config
from tests.processes import run_processes, start_process
from toomuchtv._internal import distributed
from toomuchtv._internal.files import write_json
from toomuchtv.catalog.store import open_catalog
from toomuchtv.data.pair_labels import PairLabels
from toomuchtv.errors import CheckpointError
from toomuchtv.inference.pretrained import load
from toomuchtv.training.device_batch import DeviceBatch
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.nan_dump import NotFiniteError
from toomuchtv.training.pretrain import PretrainResult, pretrain
from toomuchtv.training.run_config import Config, load_config
from toomuchtv.training.run_folder import RUN_FORMAT
from toomuchtv.training.step import StepResult, TrainingStep

TIMED = {"clips_per_second", "data_wait_share"}


def run(
    catalog_path: Path,
    run_path: Path,
    config: Config,
    *,
    resume: bool = False,
    progress: Callable[[float, float, str], None] = lambda done, total, what: None,
) -> PretrainResult:
    with open_catalog(catalog_path) as catalog:
        return pretrain(catalog, run_path, config, resume=resume, progress=progress)


def untimed(run_path: Path) -> list[dict[str, float]]:
    """Read the metrics without those that depend on the clock."""
    return [
        {key: value for key, value in line.items() if key not in TIMED}
        for line in read_metrics(run_path)
    ]


def assert_same_end(one: Path, two: Path) -> None:
    for name in ("model/model.safetensors", "checkpoints/step_00000008.safetensors"):
        left, right = load_file(one / name), load_file(two / name)
        assert left.keys() == right.keys()
        for key, value in left.items():
            assert torch.equal(value, right[key]), f"{name}: {key}"
    assert untimed(one) == untimed(two)


def run_and_report(catalog_path: Path, run_path: Path, text: str, ours: Connection) -> None:
    """Train in a process group of its own, and send the number of each step, then the end."""
    os.setsid()
    torch.set_num_threads(1)
    config_path = run_path.parent / "wanted.toml"
    config_path.write_text(text)
    result = run(
        catalog_path, run_path, load_config(file=config_path),
        progress=lambda done, total, what: ours.send(int(done)),
    )  # fmt: skip
    ours.send("interrupted" if result.interrupted else "finished")


def run_until(
    step: int, number: signal.Signals, catalog_path: Path, run_path: Path, config: Config
) -> list[int | str]:
    """Start a run in its own process group, signal the group at `step`, and return its reports."""
    here, there = multiprocessing.Pipe()
    with here:
        with there:
            process = start_process(run_and_report, catalog_path, run_path, config.to_toml(), there)
        try:
            seen: list[int | str] = []
            with contextlib.suppress(EOFError, ConnectionError):
                while True:
                    seen.append(here.recv())
                    if seen[-1] == step and step not in seen[:-1]:
                        assert process.pid is not None
                        os.killpg(process.pid, number)
            process.join(timeout=60)
            assert process.exitcode == (-signal.SIGKILL if number == signal.SIGKILL else 0)
        finally:
            process.kill()
            process.join()
    return seen


@pytest.mark.parametrize(
    ("training", "optimizer"),
    [
        ({"precision": "float32", "num_workers": 0, "log_every": 1}, {"name": "adamw"}),
        # Logged every four steps, saved every three: checkpoints are written amid an interval.
        (
            {
                "precision": "bfloat16", "num_workers": 1, "log_every": 4, "ema_decay": 0.5,
                "activation_checkpointing": True,
            },
            {"name": "sgd", "learning_rate": 0.1},
        ),
    ],
    ids=["float32", "bfloat16"],
)  # fmt: skip
def test_resume_after_kill_gives_identical_weights(
    prepared_catalog: Path,
    tmp_path: Path,
    training: Mapping[str, Any],
    optimizer: Mapping[str, Any],
) -> None:
    config = tiny_config(training=training, optimizer=optimizer, loss={"learn_temperature": True})
    whole = run(prepared_catalog, tmp_path / "whole", config)
    assert whole.steps == 8
    assert not whole.interrupted
    step = random.randint(0, 7)  # the law holds for any step; a failure prints it
    run_until(step, signal.SIGKILL, prepared_catalog, tmp_path / "killed", config)
    result = run(prepared_catalog, tmp_path / "killed", config, resume=True)
    print(f"killed at step {step}")
    assert result.steps == 8
    assert result.loss == whole.loss
    assert_same_end(tmp_path / "whole", tmp_path / "killed")
    if config.training.ema_decay:
        kept = load_file(tmp_path / "whole" / "checkpoints" / "step_00000008.safetensors")
        model = load_file(tmp_path / "whole" / "model" / "model.safetensors")
        for name, value in model.items():
            assert torch.equal(value, kept[f"ema.module.{name}"]), name
        assert not all(torch.equal(value, kept[f"model.{name}"]) for name, value in model.items())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_signal_to_the_process_group_saves_a_checkpoint(
    prepared_catalog: Path, tmp_path: Path, number: signal.Signals
) -> None:
    config = tiny_config(training={"num_workers": 1, "steps": 400, "checkpoint_every": 0})
    seen = run_until(4, number, prepared_catalog, tmp_path / "run", config)
    assert seen[-1] == "interrupted"
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert "step_00000004" <= checkpoint.stem < "step_00000400"
    assert not (tmp_path / "run" / "model").exists()


def test_resume_after_signal_gives_identical_weights(
    prepared_catalog: Path, tmp_path: Path
) -> None:
    config = tiny_config(training={"log_every": 3})
    run(prepared_catalog, tmp_path / "whole", config)

    def stop_at_4(done: float, total: float, what: str) -> None:
        if done == 4:
            signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    result = run(prepared_catalog, tmp_path / "stopped", config, progress=stop_at_4)
    assert signal.getsignal(signal.SIGTERM) == before
    assert result.interrupted
    assert result.steps == 4
    assert not result.model.exists()
    assert not run(prepared_catalog, tmp_path / "stopped", config, resume=True).interrupted
    assert_same_end(tmp_path / "whole", tmp_path / "stopped")


@pytest.fixture(scope="module")
def finished(prepared_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("finished") / "run"
    run(prepared_catalog, path, tiny_config())
    return path


def test_files_and_metrics_of_a_finished_run(finished: Path) -> None:
    assert load_config(file=finished / "config.toml") == tiny_config()
    names = {path.name for path in finished.iterdir()}
    assert names == {
        "config.toml", "run.json", "split.json", "snapshot.json", "metrics.jsonl", "tensorboard",
        "checkpoints", "model",
    }  # fmt: skip
    assert len(list((finished / "checkpoints").iterdir())) == 2
    lines = [line for line in read_metrics(finished) if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, 9))
    for line in lines:
        assert line["mass_same_title"] + line["mass_other_titles"] == pytest.approx(1.0, abs=1e-5)
        assert 1 <= line["effective_negatives"] <= 5 + 1e-3
    held_out = [line["step"] for line in read_metrics(finished) if "held_out_loss" in line]
    assert held_out == [4, 8]
    model = load(finished)
    assert model.embed_audio(torch.zeros(4000)).shape == (8,)


def test_resume_of_a_finished_run_changes_nothing(prepared_catalog: Path, finished: Path) -> None:
    before, weights = untimed(finished), load_file(finished / "model" / "model.safetensors")
    result = run(prepared_catalog, finished, tiny_config(), resume=True)
    assert result.steps == 8
    assert result.loss == [line["loss"] for line in before if "loss" in line][-1]
    assert untimed(finished) == before
    for name, value in load_file(finished / "model" / "model.safetensors").items():
        assert torch.equal(value, weights[name])


def test_an_existing_folder_is_not_overwritten(
    prepared_catalog: Path, finished: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="already holds a run: continue it with --resume"):
        run(prepared_catalog, finished, tiny_config())
    with pytest.raises(CheckpointError, match="the config differs from that of the run"):
        run(prepared_catalog, finished, tiny_config(training={"steps": 9}), resume=True)
    (tmp_path / "thesis.txt").write_text("all my work")
    for resume in (False, True):
        with pytest.raises(CheckpointError, match="is not empty and does not hold a run"):
            run(prepared_catalog, tmp_path, tiny_config(), resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_resume_compares_configs_by_value(prepared_catalog: Path, tmp_path: Path) -> None:
    config = tiny_config(training={"steps": 2})
    run(prepared_catalog, tmp_path, config)
    path = tmp_path / "config.toml"
    text = path.read_text()
    assert "loader_timeout_seconds = 300.0\n" in text

    def write(content: str) -> None:
        """Write a config as if the run had begun with it."""
        path.write_text(content)
        checksum = hashlib.sha256(content.encode()).hexdigest()
        write_json(tmp_path / "run.json", {"format": RUN_FORMAT, "config_sha256": checksum})

    # A key that this version added after the run began: the file lacks it, the default counts.
    write(text.replace("loader_timeout_seconds = 300.0\n", ""))
    assert run(prepared_catalog, tmp_path, config, resume=True).steps == 2
    write(text.replace("weight_decay = 0.05\n", "weight_decay = 0.06\n"))
    with pytest.raises(CheckpointError, match=r"in optimizer\.weight_decay: resume with"):
        run(prepared_catalog, tmp_path, config, resume=True)
    changed = tiny_config(training={"steps": 3, "seed": 1})
    with pytest.raises(CheckpointError, match=r"optimizer\.weight_decay, .*seed, training\.steps"):
        run(prepared_catalog, tmp_path, changed, resume=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has format None, .* older version"),
        ('{"format": 99}', "has format 99, .* newer version"),
        ('{"format": "x"}', "has format x, "),
        ('{"format": 1}', "has format 1, .* older version"),
        ("{}", "has format None"),
        ("[1]", "is damaged"),
        ("[" * 100_000, "is damaged"),
    ],
)
def test_resume_refuses_a_run_of_another_format(
    prepared_catalog: Path, tmp_path: Path, content: str | None, message: str
) -> None:
    (tmp_path / "config.toml").write_text(tiny_config().to_toml())
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        run(prepared_catalog, tmp_path, tiny_config(), resume=True)


def test_no_logged_step_builds_dense_pair_labels(
    prepared_catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: PairLabels) -> torch.Tensor:
        raise AssertionError("dense labels of a large batch do not fit into memory")

    monkeypatch.setattr(PairLabels, "dense", refuse)
    run(prepared_catalog, tmp_path, tiny_config(training={"steps": 2, "log_every": 1}))
    lines = [line for line in read_metrics(tmp_path) if "loss" in line]
    assert all(line["effective_negatives"] >= 1 for line in lines)


def test_data_wait_share_counts_only_waits_for_data(prepared_catalog: Path, tmp_path: Path) -> None:
    """Half a second of other work per step must not count, and no share can exceed 1."""
    config = tiny_config(training={"steps": 4, "validate_every": 1, "checkpoint_every": 1})
    run(prepared_catalog, tmp_path, config, progress=lambda done, total, what: time.sleep(0.5))
    shares = [line["data_wait_share"] for line in read_metrics(tmp_path) if "loss" in line]
    assert len(shares) == 4
    # Decoding six clips of two frames takes some hundredths of a second.
    assert max(shares) < 0.5, shares


def test_a_run_killed_at_its_start_can_start_again(prepared_catalog: Path, tmp_path: Path) -> None:
    (tmp_path / "config.partial").write_text("[clip]\nfra")
    config = tiny_config(training={"steps": 1})
    assert run(prepared_catalog, tmp_path, config, resume=True).steps == 1


def test_a_damaged_newest_checkpoint_resumes_from_the_one_before(
    prepared_catalog: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny_config(training={"steps": 6})
    run(prepared_catalog, tmp_path, config)
    newest = tmp_path / "checkpoints" / "step_00000006.safetensors"
    whole = newest.read_bytes()
    newest.write_bytes(whole[:-10] + bytes(255 - byte for byte in whole[-10:]))
    run(prepared_catalog, tmp_path, config, resume=True)
    assert "step_00000006.safetensors' is damaged" in caplog.text
    assert newest.read_bytes() == whole
    assert [line["step"] for line in read_metrics(tmp_path) if "loss" in line] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_or_gradient_that_is_not_finite_stops_with_a_nan_dump(
    prepared_catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def break_it(self: TrainingStep, batch: DeviceBatch, rate: float) -> Any:
        if batch.host.step == 4:
            if what == "loss":
                batch.waveform[0, 0] = torch.nan
            else:
                weights = next(self.model.parameters())
                weights.register_hook(lambda grad: grad * torch.inf)  # type: ignore[no-untyped-call]
        return original(self, batch, rate)

    original = TrainingStep.__call__
    monkeypatch.setattr(TrainingStep, "__call__", break_it)
    with pytest.raises(NotFiniteError, match=r"the loss of step 4 .*lower optimizer.learning_rate"):
        run(prepared_catalog, tmp_path, tiny_config())
    dump = json.loads((tmp_path / "not_finite_step_00000004_rank_0.json").read_text())
    assert dump["step"] == 4
    assert len(dump["clips"]) == 6
    for clip in dump["clips"]:
        assert clip["name"] in {
            "Alpha (2001)", "Beta (2002)", "Gamma (2003)", "Delta S01E01", "Delta S01E02",
        }  # fmt: skip
        assert re.fullmatch(r"0:00:0\d\.\d{3}", clip["timecode"])
        assert float(clip["timecode"][5:]) == clip["start_seconds"]
    loudest = [clip["loudest_sample"] for clip in dump["clips"]]
    norms = {name: value["gradient_norm"] for name, value in dump["parameters"].items()}
    assert all(isinstance(value["norm"], float) for value in dump["parameters"].values())
    if what == "loss":
        assert [value == "nan" for value in loudest] == [True] + [False] * 5
        assert set(norms.values()) == {"nan"}
    else:
        bad = [name for name, value in norms.items() if isinstance(value, str)]
        assert bad == ["model.video_encoder.stem.0.weight"]
        assert dump["gradient_norm"] == "inf"
    assert [line["step"] for line in read_metrics(tmp_path) if "loss" in line] == [1, 2, 3, 4]
    for value in load_file(tmp_path / "checkpoints" / "step_00000003.safetensors").values():
        assert torch.isfinite(value).all()


def test_held_out_titles_are_never_trained_on(
    prepared_catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, float]] = []

    def record(self: TrainingStep, batch: DeviceBatch, rate: float) -> Any:
        seen.extend((spec.item, spec.start_seconds) for spec in batch.host.specs)
        return original(self, batch, rate)

    original = TrainingStep.__call__
    monkeypatch.setattr(TrainingStep, "__call__", record)
    for seed in range(3):
        seen.clear()
        config = tiny_config(training={"seed": seed, "held_out_share": 0.5, "steps": 4})
        path = tmp_path / str(seed)
        run(prepared_catalog, path, config)
        split = json.loads((path / "split.json").read_text())
        assert len(split["train"]) == len(split["held_out"]) == 2
        with open_catalog(prepared_catalog) as catalog:
            names = {title.id: title.name for title in catalog.titles()}
            snapshot = catalog.snapshot()
        wanted = {title["name"] for title in split["train"]}
        assert wanted.isdisjoint(title["name"] for title in split["held_out"])
        train = snapshot.of_titles([key for key, name in names.items() if name in wanted])
        assert {names[int(train.title_id[item])] for item, _ in seen} == wanted


def test_paths_may_be_text(prepared_catalog: Path, tmp_path: Path) -> None:
    config = tiny_config(training={"steps": 1})
    result = toomuchtv.pretrain(str(prepared_catalog), str(tmp_path / "run"), config)
    assert isinstance(result, PretrainResult)
    assert result.run == tmp_path / "run"


def test_training_outside_the_main_thread(prepared_catalog: Path, tmp_path: Path) -> None:
    results: list[PretrainResult] = []
    config = tiny_config(training={"steps": 1})
    thread = threading.Thread(
        target=lambda: results.append(run(prepared_catalog, tmp_path, config))
    )
    thread.start()
    thread.join()
    assert results[0].steps == 1


def test_a_killed_worker_does_not_change_the_weights(
    prepared_catalog: Path, tmp_path: Path
) -> None:
    config = tiny_config(training={"num_workers": 1})
    whole = run(prepared_catalog, tmp_path / "whole", config)
    assert whole.worker_restarts == 0

    def kill_at_two(done: float, total: float, what: str) -> None:
        if done == 2:
            # Other tests of this process may have left it a child: PyTorch's resource tracker.
            (worker,) = (
                child
                for child in psutil.Process().children()
                if "toomuchtv._internal.subprocess_pool" in str(child.cmdline())
            )
            worker.kill()

    result = run(prepared_catalog, tmp_path / "killed", config, progress=kill_at_two)
    assert result.worker_restarts == 1
    assert result.replaced_clips == 0
    assert_same_end(tmp_path / "whole", tmp_path / "killed")


TWO_PROCESSES = tiny_config(
    loss={"learn_temperature": True},
    training={"sync_batch_norm": True, "checkpoint_every": 0},
    # Plain SGD with small steps: AdamW turns a rounding error in a gradient near zero into a whole
    # step, and large steps magnify it.
    optimizer={"name": "sgd", "learning_rate": 1e-4},
)


def train_here(catalog_path: Path, run_path: Path, out: Path) -> None:
    """Train as one of several processes, and save the final weights of this process."""
    ends: list[dict[str, torch.Tensor]] = []
    original = TrainingStep.__call__

    def record(self: TrainingStep, batch: DeviceBatch, rate: float) -> StepResult:
        assert len(batch) == 3
        assert distributed.world_size() == 2
        result = original(self, batch, rate)
        ends[:] = [dict(self.model.named_parameters())]
        return result

    TrainingStep.__call__ = record  # type: ignore[method-assign,assignment]
    rank = os.environ["RANK"]

    def stop_at_4(done: float, total: float, what: str) -> None:
        if done == 4 and rank == "1":  # one process gets the signal, all of them stop
            signal.raise_signal(signal.SIGTERM)

    result = run(catalog_path, run_path, TWO_PROCESSES, progress=stop_at_4)
    assert result.interrupted
    assert result.steps == 5
    weights = {name: value.detach().contiguous() for name, value in ends[0].items()}
    save_file(weights, out / f"{rank}.safetensors")


def test_two_processes_then_one_give_the_weights_of_one(
    prepared_catalog: Path, tmp_path: Path
) -> None:
    run_processes(2, train_here, prepared_catalog, tmp_path / "run", tmp_path)
    zero, one = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))
    saved = load_file(tmp_path / "run" / "checkpoints" / "step_00000005.safetensors")
    for name, value in zero.items():
        assert torch.equal(value, one[name]), name
        assert torch.equal(value, saved[f"model.{name}"]), name
    assert run(prepared_catalog, tmp_path / "run", TWO_PROCESSES, resume=True).steps == 8
    run(prepared_catalog, tmp_path / "alone", TWO_PROCESSES)
    ended, alone = (
        load_file(tmp_path / name / "model" / "model.safetensors") for name in ("run", "alone")
    )
    for name, value in ended.items():
        torch.testing.assert_close(value, alone[name], rtol=1e-3, atol=1e-4, msg=name)
    left, right = (
        [line["loss"] for line in untimed(tmp_path / name) if "loss" in line]
        for name in ("run", "alone")
    )
    assert left == pytest.approx(right, rel=1e-4)
    assert len(left) == 8
