"""torch.compile changes training by rounding only, resumes to the bit, and needs a compiler."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.prepared import tiny_config
from tests.processes import run_toomuchtv
from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.catalog.store import open_catalog
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.pretrain import pretrain
from toomuchtv.training.run_config import Config

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
