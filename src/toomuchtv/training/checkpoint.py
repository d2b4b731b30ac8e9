"""Checkpoints: written atomically, verified by a checksum when read, and never unpickled.

A checkpoint is one safetensors file with weights, buffers and optimizer state. Its header holds the
SHA-256 of all of them. Nothing else is needed to resume: sampling, augmentation and the learning
rate are functions of the step.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from toomuchtv._internal.files import remove_partial_files
from toomuchtv._internal.tensor_files import DamagedFileError, read_tensors, write_tensors
from toomuchtv.errors import CheckpointError

_log = logging.getLogger(__name__)

_NAME = re.compile(r"step_(\d{8})\.safetensors")


class Checkpoints:
    """The checkpoints in one folder.

    Args:
        folder: The folder, such as `RUN/checkpoints`. `save` creates it.
        keep: Number of newest checkpoints to keep; 1 or more.
        keep_every: Checkpoints of steps that are a multiple of this number are kept too; 0 for
            none.
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 1, keep_every: int = 0) -> None:
        self._folder = Path(folder)
        self._keep, self._keep_every = keep, keep_every

    def steps(self) -> list[int]:
        """Return the steps of all checkpoints, ascending. They are not verified.

        Raises:
            OSError: The folder cannot be read.
        """
        try:
            matches = [_NAME.fullmatch(name) for name in os.listdir(self._folder)]
        except FileNotFoundError:
            return []
        return sorted(int(match[1]) for match in matches if match)

    def path(self, step: int) -> Path:
        """Return the path of the checkpoint of a step."""
        return self._folder / f"step_{step:08d}.safetensors"

    def save(
        self, step: int, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
    ) -> Path:
        """Write the state after `step` steps, then delete checkpoints that need not be kept.

        Raises:
            CheckpointError: The file cannot be written, because the disk is full for example. The
                older checkpoints are kept.
        """
        path = self.path(step)
        try:
            write_tensors(path, _tensors(modules, optimizer), _salt(step))
            for old in self.steps()[: -self._keep]:
                if not (self._keep_every and old % self._keep_every == 0):
                    self.path(old).unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"cannot write the checkpoint {str(path)!r}: {error.strerror}; older checkpoints "
                "are kept: free disk space or correct the permissions, then continue with --resume"
            ) from error
        return path

    def newest_good_step(self) -> int:
        """Return the newest step whose checkpoint is undamaged; 0 if there is no checkpoint.

        A file whose content was read and is damaged is renamed to `*.damaged`, with a warning.

        Raises:
            CheckpointError: A checkpoint cannot be read, which says nothing about its content, so
                nothing is renamed; or there are checkpoints, and all of them are damaged.
        """
        for step in reversed(self.steps()):
            try:
                self._read(step)
            except DamagedFileError as error:
                renamed = self.path(step).with_suffix(".damaged")
                self.path(step).replace(renamed)
                _log.warning("%s; it was renamed to %s", error, renamed.name)
            else:
                return step
        if any(self._folder.glob("*.damaged")):
            raise CheckpointError(
                f"all checkpoints in {str(self._folder)!r} are damaged and were renamed: start a "
                "new run in another folder"
            )
        return 0

    def remove_partial_files(self) -> None:
        """Delete what a killed process had not finished writing."""
        remove_partial_files(self._folder)

    def load(
        self, step: int, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
    ) -> None:
        """Load the state after `step` steps in place.

        Raises:
            CheckpointError: The file cannot be read, is damaged, or is of another model.
        """
        stored = self._read(step)
        for name, module in modules.items():
            _load_module(self.path(step), stored, name, module)
        _load_optimizer(optimizer, stored)

    def load_module(self, step: int, name: str, module: nn.Module) -> None:
        """Load the state of one of the saved modules.

        Raises:
            CheckpointError: The file cannot be read, is damaged, or is of another model.
        """
        _load_module(self.path(step), self._read(step), name, module)

    def _read(self, step: int) -> dict[str, Tensor]:
        """Read every tensor of a checkpoint, and verify the checksum.

        Raises:
            CheckpointError: The file cannot be read.
            DamagedFileError: Its content is not what was written.
        """
        path = self.path(step)
        try:
            return read_tensors(path, _salt(step))
        except OSError as error:
            raise CheckpointError(
                f"cannot read the checkpoint {str(path)!r}: {error.strerror}; nothing was changed. "
                "Correct the permissions or the storage, then try again"
            ) from error


def _salt(step: int) -> str:
    """Return what the checksum covers besides the tensors, so that no file passes for another."""
    return f"step {step}\n"


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
    # Copies, because safetensors holds neither shared memory nor channels-last strides.
    return {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in tensors.items()
    }


def _load_module(path: Path, stored: Mapping[str, Tensor], name: str, module: nn.Module) -> None:
    try:
        module.load_state_dict(_under(f"{name}.", stored))
    except RuntimeError as error:
        raise CheckpointError(
            f"{str(path)!r} does not fit the model of the config: {error}"
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
                # With the strides of its parameter (channels-last, say). Otherwise the fused
                # kernel would add in another order than in an uninterrupted run.
                state[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
            else:
                state[key] = value.to(parameter.device)
        if state:
            optimizer.state[parameter] = state
