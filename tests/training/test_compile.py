"""torch.compile changes training by rounding only, resumes to the bit, and needs a compiler."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.batches import a_batch
from tests.prepared import tiny_config
from tests.processes import run_toomuchtv
from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.catalog.store import open_catalog
from toomuchtv.training.device import keep_compiled_code
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.pretrain import pretrain
from toomuchtv.training.run import _compile, build_step
from toomuchtv.training.run_config import Config

CPU = torch.device("cpu")
LAST = "checkpoints/step_00000005.safetensors"


def train(
    catalog_path: Path,
    run_path: Path,
    config: Config,
    *,
    resume: bool = False,
    progress: ProgressCallback = no_progress,
) -> None:
    with open_catalog(catalog_path) as catalog:
        pretrain(catalog, run_path, config, resume=resume, progress=progress)


def stop_at_2(done: float, total: float, what: str) -> None:
    if done == 2:
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.slow  # the compiler needs two minutes of one core
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own
def test_compiled_training_is_close_to_eager_and_resumes_to_the_bit(
    prepared_catalog: Path, tmp_path: Path
) -> None:
    changes = {"steps": 5, "checkpoint_every": 2, "ema_decay": 0.5}
    eager = tiny_config(training=changes)
    compiled = tiny_config(training={**changes, "compile": True})
    train(prepared_catalog, tmp_path / "eager", eager)
    train(prepared_catalog, tmp_path / "whole", compiled)
    train(prepared_catalog, tmp_path / "stopped", compiled, progress=stop_at_2)
    train(prepared_catalog, tmp_path / "stopped", compiled, resume=True)
    expected, whole, resumed = (
        [line["loss"] for line in read_metrics(tmp_path / name) if "loss" in line]
        for name in ("eager", "whole", "stopped")
    )
    assert len(whole) == 5
    assert whole == pytest.approx(expected, rel=1e-3)
    assert whole != expected, "it was not compiled"
    assert resumed == whole
    kept, again = (load_file(tmp_path / name / LAST) for name in ("whole", "stopped"))
    assert kept.keys() == load_file(tmp_path / "eager" / LAST).keys()  # same names
    for name, value in kept.items():
        assert torch.equal(value, again[name]), name


def test_a_trial_that_fails_falls_back_to_eager(
    prepared_catalog: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("backend='inductor' raised:\nno compiler here\nmore")

    config = tiny_config(training={"steps": 2})
    step = build_step(config, CPU)
    monkeypatch.setattr(torch, "compile", lambda function: fail)
    before = {name: value.clone() for name, value in step.model.state_dict().items()}
    _compile(step, a_batch(6), "auto")
    assert "no compiler here" in caplog.text
    for name, value in step.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(value.grad is None for value in step.model.parameters())
    expected = build_step(config, CPU)(a_batch(6), 1e-3).loss
    assert step(a_batch(6), 1e-3).loss == expected
    # "auto" does not even try on a CPU.
    train(prepared_catalog, tmp_path / "run", config)
    assert [config.training.compiles_on(kind) for kind in ("cpu", "cuda")] == [False, True]
    checkpointing = tiny_config(training={"activation_checkpointing": True}).training
    assert not checkpointing.compiles_on("cuda")
    assert tiny_config(training={"compile": True}).training.compiles_on("cpu")


def test_a_trial_that_succeeds_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            calls.append(function)
            return function(*arguments)

        return call

    config = tiny_config()
    step = build_step(config, CPU)
    monkeypatch.setattr(torch, "compile", counted)
    before = {name: value.clone() for name, value in step.model.state_dict().items()}
    _compile(step, a_batch(6), "auto")
    assert len(calls) == 2  # the transform of the video, and the model
    for name, value in step.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    step(a_batch(6), 1e-3)
    assert len(calls) == 4


def test_compiled_code_is_kept_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "mine")
    keep_compiled_code()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "mine"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    keep_compiled_code()
    assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]) == tmp_path / "toomuchtv" / "compiled"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")


@pytest.mark.slow  # the compiler's own imports take 15 seconds
def test_a_missing_compiler_is_reported_before_the_run_begins(
    prepared_catalog: Path, tmp_path: Path
) -> None:
    environment = {
        "CXX": str(tmp_path / "no compiler"),
        # Nothing that an earlier run has compiled.
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "kernels"),
    }
    (tmp_path / "wanted.toml").write_text(tiny_config(training={"compile": True}).to_toml())
    done = run_toomuchtv(
        "pretrain", "--catalog", prepared_catalog, "--run", tmp_path / "run",
        "--config", tmp_path / "wanted.toml", "--json", environment=environment,
    )  # fmt: skip
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "training.compile=true, but torch.compile cannot build a kernel here" in said
    assert "install a C++ compiler" in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("error", [RuntimeError("backend failed\nno g++"), OSError("no g++")])
def test_a_kernel_that_cannot_be_built_ends_the_run_before_it_begins(
    prepared_catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def compile_nothing(function: object, **options: object) -> object:
        def call(*arguments: object) -> object:
            raise error

        return call

    monkeypatch.setattr(torch, "compile", compile_nothing)
    with pytest.raises(ValueError, match=r"no g\+\+.*install a C\+\+ compiler"):
        train(prepared_catalog, tmp_path / "run", tiny_config(training={"compile": True}))
    assert not (tmp_path / "run").exists()
