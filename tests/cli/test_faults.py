"""Faults of the world: one sentence that names the file, the documented exit code, nothing lost."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from pydantic import BaseModel, ValidationError

from tests.prepared import tiny_config
from toomuchtv._internal.folder_lock import folder_lock
from toomuchtv.cli import main
from toomuchtv.cli.options import describe_error
from toomuchtv.reports import run_page
from toomuchtv.training.metrics import read_metrics

CONFIG = tiny_config(training={"steps": 4, "checkpoint_every": 2})


def run_verb(*arguments: str | Path) -> tuple[int, str]:
    """Run a verb in this process. An exception that is not expected comes out."""
    err = io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["toomuchtv", *map(str, arguments)]),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0), err.getvalue()
    return 0, err.getvalue()


@pytest.fixture
def pretrain(prepared_catalog: Path, tmp_path: Path) -> list[str | Path]:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG.to_toml())
    return [
        "pretrain", "--catalog", prepared_catalog, "--run", tmp_path / "run", "--resume",
        "--config", config,
    ]  # fmt: skip


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the profile and the page of a run, which take most of its time."""
    monkeypatch.setattr("toomuchtv.training.profile.describe_run", mock.Mock(return_value={}))
    monkeypatch.setattr(run_page, "write_run_page", mock.Mock())


@contextlib.contextmanager
def full_disk(num_files: int) -> Iterator[None]:
    """Make the disk full after this many files. As from `write`, the error has no name."""
    original, left = Path.write_bytes, [num_files]

    def write(path: Path, content: bytes) -> int:
        left[0] -= 1
        if left[0] < 0:
            original(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(path, content)

    with mock.patch.object(Path, "write_bytes", write):
        yield


@pytest.mark.usefixtures("no_report")
def test_a_training_goes_on_after_a_full_disk(pretrain: list[str | Path], tmp_path: Path) -> None:
    """Each file is once the first that does not fit. The run goes on from where it was."""
    run, whole, named = tmp_path / "run", tmp_path / "whole", set()
    assert run_verb(*[whole if one == run else one for one in pretrain])[0] == 0
    # The files of a new run, then those of one that is resumed.
    for num_files in (*range(5), *range(20)):
        with full_disk(num_files):
            code, err = run_verb(*pretrain)
        assert not list(run.rglob("*.partial"))
        if code == 0:
            break
        assert (code, err.count("error: ")) == (2, 1), err
        named.add(err.split(f"{run}/")[1].split("'")[0])
    assert {"split.json", "config.toml", "metrics.jsonl"} <= named
    assert {name.split("/")[0] for name in named} >= {"checkpoints", "model"}
    assert run_verb(*pretrain)[0] == 0
    assert [line["step"] for line in read_metrics(run) if "loss" in line] == [1, 2, 3, 4]
    name = "model/model.safetensors"
    assert (run / name).read_bytes() == (whole / name).read_bytes()
    with full_disk(0):
        code, err = run_verb("diagnose", whole, "--catalog", pretrain[2], "--clips", "32")
    assert code == 2
    assert "diagnosis.html" in err


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EIO, errno.ESTALE, errno.EDQUOT])
def test_other_faults_of_a_disk(
    pretrain: list[str | Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(path: Path, content: bytes) -> int:
        raise OSError(code, os.strerror(code), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refuse)
        found, err = run_verb(*pretrain)
    assert found == 2
    assert "split.json'" in err
    assert os.strerror(code) in err
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left"), ValueError("x"), RuntimeError("x")]
)
def test_a_report_that_fails_does_not_change_the_exit_code(
    pretrain: list[str | Path], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(run_page, "write_run_page", mock.Mock(side_effect=error))
    code, err = run_verb(*pretrain)
    assert code == 0
    assert "report was not written" in err


def test_a_run_has_one_owner(pretrain: list[str | Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with folder_lock(run):
        code, err = run_verb(*pretrain)
    assert code == 2
    assert str(os.getpid()) in err
    assert socket.gethostname() in err
    assert not list(run.iterdir())


@pytest.mark.usefixtures("no_report")
def test_a_damaged_config_or_metrics_file(pretrain: list[str | Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert run_verb(*pretrain)[0] == 0
    resume = pretrain[:6]
    for content in (b"\xff\xfe", b"[" * 100_000, b"training = 5", b""):
        whole = (run / "config.toml").read_bytes()
        (run / "config.toml").write_bytes(content)
        for verb in (resume, ["diagnose", run, "--catalog", pretrain[2]]):
            if content == b"" and verb[0] == "diagnose":
                continue  # it takes the defaults, which are those of large encoders
            code, err = run_verb(*verb)
            assert code == 2, err
            assert "config" in err or "training" in err
        (run / "config.toml").write_bytes(whole)
    lines = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(
        lines + b"5\nnull\n[]\n{}\n" + b"[" * 100_000 + b'\n{"step": "x"}\n{"step": 1e999}\n\xff\n'
        b'{"step": 4, "loss": "high"}\n{"step": 4, "loss": 1' + b"0" * 400 + b'}\n{"step": 4, "l'
    )
    assert run_verb(*resume)[0] == 0
    assert (run / "metrics.jsonl").read_bytes() == lines


def test_the_output_goes_nowhere(prepared_catalog: Path) -> None:
    command = [sys.executable, "-m", "toomuchtv", "catalog", "show", str(prepared_catalog)]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "output" in done.stderr
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "output" in done.stderr


@pytest.mark.parametrize(
    ("number", "seconds"),
    [(signal.SIGINT, 0.0), (signal.SIGTERM, 0.3), (signal.SIGINT, 1.0), (signal.SIGTERM, 2.0)],
)
def test_a_signal_at_any_moment_ends_with_a_sentence(
    prepared_catalog: Path, tmp_path: Path, number: signal.Signals, seconds: float
) -> None:
    """`read` of a pipe that never ends makes the verb wait once it is through its imports."""
    os.mkfifo(tmp_path / "config.json")
    process = subprocess.Popen(
        [sys.executable, "-m", "toomuchtv", "evaluate", tmp_path, "--benchmark", "retrieval",
         "--data", prepared_catalog],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 60
    while not _handles_sigterm(process.pid) and time.monotonic() < until:
        time.sleep(0.005)
    time.sleep(seconds)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.count("Interrupted")) == (128 + number, 1), err
    assert "Traceback" not in err


def _handles_sigterm(process: int) -> bool:
    """Return True once a process has more than the signal handlers of a fresh Python."""
    (line,) = re.findall(r"^SigCgt:\s*(\w+)", Path(f"/proc/{process}/status").read_text(), re.M)
    return bool(int(line, 16) >> (signal.SIGTERM - 1) & 1)


def test_errors_are_described_in_one_sentence() -> None:
    text = describe_error(OSError(errno.ENOSPC, "No space left on device", "/a/b"))
    assert "'/a/b'" in text
    assert "free disk space" in text
    for code in errno.errorcode:
        assert os.strerror(code) in describe_error(OSError(code, os.strerror(code)))

    class Number(BaseModel):
        number: int

    with pytest.raises(ValidationError) as caught:
        Number.model_validate({"number": "many"})
    assert "number: " in describe_error(caught.value)
    assert "\n" not in describe_error(caught.value)
    assert "http" not in describe_error(caught.value)


def test_a_bug_keeps_its_traceback(
    pretrain: list[str | Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toomuchtv.training.profile.describe_run", mock.Mock(side_effect=KeyError))
    with pytest.raises(KeyError):
        run_verb(*pretrain)
