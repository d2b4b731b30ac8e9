"""Checkpoints: written whole or not at all, and read without unpickling anything.

One safetensors file holds weights, buffers and the optimizer's moments. Nothing else is needed:
plans, augmentation and the learning rate are functions of the step.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from toomuchtv.errors import CheckpointError

_NAME = re.compile(r"step_(\d{8})\.safetensors")


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: `RUN/checkpoints`.
        keep: How many of the newest stay.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder = folder
        self._keep = keep

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
        self, step: int, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer
    ) -> Path:
        """Write the state after `step` steps, then drop the oldest beyond `keep`.

        Raises:
            CheckpointError: It cannot be written, for want of disk, say; older ones stay.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self.path(step)
        partial = path.with_suffix(".partial")
        try:
            save_file(_tensors(modules, optimizer), partial, metadata={"step": str(step)})
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
        except (OSError, SafetensorError) as error:
            partial.unlink(missing_ok=True)
            raise CheckpointError(
                f"cannot write the checkpoint {str(path)!r}: {error}; the ones before it stay"
            ) from error
        for old in self.steps()[: -self._keep]:
            self.path(old).unlink(missing_ok=True)
        return path

    def load(
        self, step: int, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer
    ) -> None:
        """Put the state of a step back, in place.

        Raises:
            CheckpointError: The file is damaged or of another model.
        """
        path = self.path(step)
        try:
            with safe_open(path, framework="pt") as file:
                stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"cannot read the checkpoint {str(path)!r}: {error}; delete it to go on from the "
                "one before"
            ) from error
        for name, module in modules.items():
            prefix = f"{name}."
            state = {
                key.removeprefix(prefix): value
                for key, value in stored.items()
                if key.startswith(prefix)
            }
            try:
                module.load_state_dict(state)
            except RuntimeError as error:
                raise CheckpointError(
                    f"{str(path)!r} is of another model than the config says: {error}"
                ) from error
        _load_optimizer(optimizer, stored)


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [value for group in optimizer.param_groups for value in group["params"]]


def _tensors(modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {
        f"{name}.{key}": value
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    for index, parameter in enumerate(_parameters(optimizer)):
        for key, value in optimizer.state[parameter].items():
            tensors[f"optimizer/{index}/{key}"] = value
    # A copy: some tensors share memory or are channels-last, which the format does not hold.
    return {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in tensors.items()
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, stored: dict[str, Tensor]) -> None:
    for index, parameter in enumerate(_parameters(optimizer)):
        prefix = f"optimizer/{index}/"
        state = {
            key.removeprefix(prefix): value
            for key, value in stored.items()
            if key.startswith(prefix)
        }
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
