"""Checkpoints: written whole or not at all, never believed unread, and never unpickled.

One safetensors file holds weights, buffers and the optimizer's moments, and in its header the
SHA-256 of all of them. Nothing else is needed: plans, augmentation and the learning rate are
functions of the step.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from toomuchtv.errors import CheckpointError

_log = logging.getLogger(__name__)

_NAME = re.compile(r"step_(\d{8})\.safetensors")


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: `RUN/checkpoints`.
        keep: How many of the newest stay.
        keep_every: Those of a multiple of so many steps stay as well; 0: none.
    """

    def __init__(self, folder: Path, keep: int, keep_every: int = 0) -> None:
        self._folder = folder
        self._keep, self._keep_every = keep, keep_every

    def steps(self) -> list[int]:
        """Steps that there are checkpoints of, ascending."""
        if not self._folder.is_dir():
            return []
        matches = (_NAME.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step lies."""
        return self._folder / f"step_{step:08d}.safetensors"

    def save(
        self, step: int, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
    ) -> Path:
        """Write the state after `step` steps, then drop what no policy keeps.

        Raises:
            CheckpointError: It cannot be written, for want of disk, say; older ones stay.
        """
        path = self.path(step)
        partial = path.with_suffix(".partial")
        tensors = _tensors(modules, optimizer)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            save_file(tensors, partial, metadata={"sha256": _digest(step, tensors)})
            _to_disk(partial)
            os.replace(partial, path)
            _to_disk(self._folder)
        except (OSError, SafetensorError) as error:
            partial.unlink(missing_ok=True)
            raise CheckpointError(
                f"cannot write the checkpoint {str(path)!r}: {error}; the ones before it stay: "
                "make room, then go on with --resume"
            ) from error
        for old in self.steps()[: -self._keep]:
            if not (self._keep_every and old % self._keep_every == 0):
                self.path(old).unlink(missing_ok=True)
        return path

    def newest_good_step(self) -> int:
        """Return the newest step whose checkpoint is undamaged; 0 if there is no checkpoint.

        Damaged ones are set aside as `*.damaged`, with a warning.

        Raises:
            CheckpointError: There are checkpoints and all of them are damaged.
        """
        for step in reversed(self.steps()):
            try:
                self._read(step)
            except CheckpointError as error:
                aside = self.path(step).with_suffix(".damaged")
                self.path(step).replace(aside)
                _log.warning("%s; it is set aside as %s", error, aside.name)
            else:
                return step
        if any(self._folder.glob("*.damaged")):
            raise CheckpointError(
                f"all checkpoints in {str(self._folder)!r} are damaged and set aside: begin the "
                "run anew in another folder"
            )
        return 0

    def load(
        self, step: int, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
    ) -> None:
        """Put the state of a step back, in place.

        Raises:
            CheckpointError: The file is damaged or of another model.
        """
        stored = self._read(step)
        for name, module in modules.items():
            _put_back(self.path(step), stored, name, module)
        _load_optimizer(optimizer, stored)

    def load_module(self, step: int, name: str, module: nn.Module) -> None:
        """Put the state that one of the saved modules had at a step into a module.

        Raises:
            CheckpointError: The file is damaged or of another model.
        """
        _put_back(self.path(step), self._read(step), name, module)

    def _read(self, step: int) -> dict[str, Tensor]:
        """Every tensor of a checkpoint, once its sum is found right.

        Raises:
            CheckpointError: It cannot be read, or is not what was written.
        """
        path = self.path(step)
        try:
            with safe_open(path, framework="pt") as file:
                stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                expected = (file.metadata() or {}).get("sha256")
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"cannot read the checkpoint {str(path)!r}: {error}") from error
        if _digest(step, stored) != expected:
            raise CheckpointError(
                f"the checkpoint {str(path)!r} is damaged: its content does not have the checksum "
                "that was written with it"
            )
        return stored


def _digest(step: int, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the step and every tensor: name, type, shape and bytes, by name."""
    found = hashlib.sha256(f"step {step}\n".encode())
    for name in sorted(tensors):
        value = tensors[name]
        found.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _to_disk(path: Path) -> None:
    """Have the system write out a file, or the names in a folder, before anything else is done."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [value for group in optimizer.param_groups for value in group["params"]]


def _tensors(
    modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    tensors = {
        f"{name}.{key}": value
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    for index, parameter in enumerate(_parameters(optimizer)):
        for key, value in optimizer.state[parameter].items():
            if value is not None:  # SGD has no momentum before its first step
                tensors[f"optimizer/{index}/{key}"] = value
    # A copy: some tensors share memory or are channels-last, which the format does not hold.
    return {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in tensors.items()
    }


def _put_back(path: Path, stored: Mapping[str, Tensor], name: str, module: nn.Module) -> None:
    try:
        module.load_state_dict(_under(f"{name}.", stored))
    except RuntimeError as error:
        raise CheckpointError(
            f"{str(path)!r} is of another model than the config says: {error}"
        ) from error


def _under(prefix: str, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, stored: Mapping[str, Tensor]) -> None:
    for index, parameter in enumerate(_parameters(optimizer)):
        state = _under(f"optimizer/{index}/", stored)
        for key, value in state.items():
            if value.shape == parameter.shape:
                # Moments lie in memory as their parameter does, or the fused kernel would
                # add up in another order after a resume.
                moment = torch.empty_like(parameter, dtype=value.dtype)
                state[key] = moment.copy_(value)
            else:
                state[key] = value.to(parameter.device)
        if state:
            optimizer.state[parameter] = state
