"""Checkpoints are written atomically, the newest are kept, and damaged ones are never loaded."""

from __future__ import annotations

import copy
import errno
import hashlib
import logging
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from toomuchtv.errors import CheckpointError
from toomuchtv.training.checkpoint import Checkpoints
from toomuchtv.training.optimizer import build_optimizer
from toomuchtv.training.run_config import OptimizerConfig

State = tuple[dict[str, nn.Module], torch.optim.Optimizer]


def state(seed: int = 0, width: int = 4, config: OptimizerConfig | None = None) -> State:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    modules: dict[str, nn.Module] = {"model": model, "loss": nn.Linear(2, 1)}
    return modules, build_optimizer(list(modules.values()), config or OptimizerConfig())


def train(modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, steps: int) -> None:
    generator = torch.Generator().manual_seed(9)
    for _ in range(steps):
        optimizer.zero_grad()
        x = torch.randn(4, 3, 8, 8, generator=generator)
        loss = modules["model"](x.contiguous(memory_format=torch.channels_last)).square().mean()
        (loss + modules["loss"](torch.ones(2)).sum()).backward()
        optimizer.step()


def weights(modules: dict[str, nn.Module]) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": value.clone()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }


@pytest.mark.parametrize(
    "config",
    [
        OptimizerConfig(),
        OptimizerConfig(name="sgd", nesterov=True),
        OptimizerConfig(name="sgd", momentum=0.0),
    ],
    ids=["adamw", "nesterov", "sgd"],
)
def test_resumed_training_is_identical_to_the_bit(tmp_path: Path, config: OptimizerConfig) -> None:
    modules, optimizer = state(config=config)
    train(modules, optimizer, 3)
    Checkpoints(tmp_path, keep=1).save(3, modules, optimizer)
    other, other_optimizer = state(seed=1, config=config)
    Checkpoints(tmp_path, keep=1).load(3, other, other_optimizer)
    for _ in range(2):
        train(modules, optimizer, 3)
        train(other, other_optimizer, 3)
    for name, value in weights(modules).items():
        assert torch.equal(value, weights(other)[name]), name


def test_one_module_can_be_loaded_alone(tmp_path: Path) -> None:
    modules, optimizer = state()
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, modules, optimizer)
    other, _ = state(seed=1)
    before = weights({"loss": other["loss"]})
    checkpoints.load_module(1, "model", other["model"])
    for name, value in weights({"model": modules["model"]}).items():
        assert torch.equal(value, weights(other)[name]), name
    for name, value in before.items():
        assert torch.equal(value, weights(other)[name]), name
    with pytest.raises(CheckpointError, match="does not fit the model"):
        checkpoints.load_module(1, "model", other["loss"])


def test_optimizer_state_has_the_strides_of_its_parameter(tmp_path: Path) -> None:
    modules, optimizer = state()
    train(modules, optimizer, 1)
    Checkpoints(tmp_path, keep=1).save(1, modules, optimizer)
    other, other_optimizer = state(seed=1)
    Checkpoints(tmp_path, keep=1).load(1, other, other_optimizer)
    for parameter in other["model"].parameters():
        for key in ("exp_avg", "exp_avg_sq"):
            assert other_optimizer.state[parameter][key].stride() == parameter.stride()


def test_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "new" / "folder", keep=2)
    assert checkpoints.steps() == []
    modules, optimizer = state()
    for step in (5, 10, 15, 100_000):
        assert checkpoints.save(step, modules, optimizer) == checkpoints.path(step)
    assert checkpoints.steps() == [15, 100_000]
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 2


def test_checkpoints_of_multiples_are_never_deleted(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2, keep_every=20)
    modules, optimizer = state()
    for step in range(5, 65, 5):
        checkpoints.save(step, modules, optimizer)
    assert checkpoints.steps() == [20, 40, 55, 60]


@contextmanager
def limited_file_size(size: int) -> Iterator[None]:
    """Make the system refuse longer files, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_failed_write_keeps_the_older_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    modules, optimizer = state()
    checkpoints.save(1, modules, optimizer)
    before = checkpoints.path(1).read_bytes()
    with (
        limited_file_size(len(before) // 2),
        pytest.raises(CheckpointError, match=r"cannot write .*older checkpoints .*free disk"),
    ):
        checkpoints.save(2, modules, optimizer)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001.safetensors"]
    assert checkpoints.path(1).read_bytes() == before
    checkpoints.save(2, modules, optimizer)
    assert checkpoints.steps() == [2]


def test_partial_files_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "step_00000007.partial").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    assert Checkpoints(tmp_path, keep=1).steps() == []


@pytest.mark.parametrize("size", [0, 5, 200, -1])
def test_a_damaged_file_is_refused(tmp_path: Path, size: int) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    modules, optimizer = state()
    path = checkpoints.save(1, modules, optimizer)
    path.write_bytes(path.read_bytes()[:size])
    before = copy.deepcopy(weights(modules))
    with pytest.raises(CheckpointError, match=r"step_00000001\.safetensors' is damaged"):
        checkpoints.load(1, modules, optimizer)
    for name, value in weights(modules).items():
        assert torch.equal(value, before[name])


def saved(folder: Path, *steps: int) -> Checkpoints:
    checkpoints = Checkpoints(folder, keep=9)
    modules, optimizer = state()
    for step in steps:
        train(modules, optimizer, 1)
        checkpoints.save(step, modules, optimizer)
    return checkpoints


@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=60)
def test_a_flipped_bit_anywhere_is_detected(
    tmp_path_factory: pytest.TempPathFactory, where: float, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    checkpoints = saved(folder, 1, 2)
    content = bytearray(checkpoints.path(2).read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    checkpoints.path(2).write_bytes(content)
    assert checkpoints.newest_good_step() == 1
    assert checkpoints.steps() == [1]
    assert (folder / "step_00000002.damaged").read_bytes() == content


def test_checksum_covers_names_types_shapes_and_bytes(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 7)
    tensors = load_file(checkpoints.path(7))
    expected = hashlib.sha256(b"step 7\n")
    for name in sorted(tensors):
        value = tensors[name]
        expected.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        expected.update(value.numpy().tobytes())
    with safe_open(checkpoints.path(7), framework="pt") as file:
        assert file.metadata() == {"sha256": expected.hexdigest()}


def test_a_renamed_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 3)
    checkpoints.path(3).rename(checkpoints.path(5))
    with pytest.raises(CheckpointError, match="does not match its"):
        checkpoints.load(5, *state())


def test_damaged_checkpoints_are_renamed_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = saved(tmp_path, 1, 2, 3)
    save_file({"model.0.bias": torch.zeros(4)}, checkpoints.path(3))  # no checksum
    checkpoints.path(2).write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert checkpoints.newest_good_step() == 1
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert all("renamed to step_0000000" in text for text in messages)
    checkpoints.path(1).write_bytes(b"")
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"all checkpoints .* start a new run"):
            checkpoints.newest_good_step()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read the checkpoint"):
        Checkpoints(tmp_path, keep=1).load(4, *state())


def test_another_model_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, *state())
    with pytest.raises(CheckpointError, match="does not fit the model"):
        checkpoints.load(1, *state(width=8))


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_checkpoint_that_cannot_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    original = Path.read_bytes

    def read(path: Path) -> bytes:
        if path.name.startswith("step_00000002"):
            raise OSError(code, os.strerror(code), str(path))
        return original(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", read)
        with pytest.raises(CheckpointError, match=f"step_00000002.*{os.strerror(code)}"):
            checkpoints.newest_good_step()
        with pytest.raises(CheckpointError, match=os.strerror(code)):
            checkpoints.load(2, *state())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert checkpoints.newest_good_step() == 2


def test_a_folder_that_cannot_be_read_is_no_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = saved(tmp_path, 1)

    def refuse(folder: Path) -> list[str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(PermissionError):
        checkpoints.newest_good_step()


def test_checkpoints_have_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path = saved(tmp_path, 1).path(1)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


def test_two_writers_of_one_checkpoint_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second writes while the first is about to rename its file."""
    checkpoints = Checkpoints(tmp_path, keep=1)
    original = os.replace
    nested = [True]

    def replace(source: Path, target: Path) -> None:
        if nested.pop() if nested else False:
            checkpoints.save(1, *state())
        original(source, target)

    monkeypatch.setattr(os, "replace", replace)
    checkpoints.save(1, *state())
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001.safetensors"]
    assert checkpoints.newest_good_step() == 1
