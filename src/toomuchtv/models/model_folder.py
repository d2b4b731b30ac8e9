"""A folder with `config.json` and `model.safetensors`: finding it, and reading checked weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from toomuchtv._internal.files import parse_json
from toomuchtv._internal.tensor_files import DamagedFileError, read_tensors
from toomuchtv.errors import CheckpointError
from toomuchtv.models.two_tower import ModelConfig, TwoTower

CONFIG_NAME, WEIGHTS_NAME = "config.json", "model.safetensors"

_Config = TypeVar("_Config", bound=BaseModel)


class _Architecture(BaseModel):
    """The part of `config.json` that the networks depend on."""

    model_config = ConfigDict(frozen=True)

    model: ModelConfig


def find_model_folder(path: str | os.PathLike[str]) -> tuple[Path, str]:
    """Return the model folder that a path means, and the text of its `config.json`.

    Args:
        path: A model folder, or the folder of a run, whose model is in the folder `model`.

    Raises:
        CheckpointError: There is no model, or its config cannot be read.
    """
    for folder in (Path(path), Path(path) / "model"):
        file = folder / CONFIG_NAME
        try:
            return folder, file.read_bytes().decode("utf-8", "replace")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise CheckpointError(f"cannot read {str(file)!r}: {error.strerror}") from error
    raise CheckpointError(
        f"no model in {os.fspath(path)!r}: give a run's folder whose training has finished, or "
        f"one with {CONFIG_NAME} and {WEIGHTS_NAME}. Nothing is downloaded: fetch models of others "
        "yourself"
    )


def parse_config(file: Path, text: str, kind: type[_Config]) -> _Config:
    """Parse the text of a `config.json`.

    Raises:
        CheckpointError: It is damaged or was edited.
    """
    try:
        return kind.model_validate(parse_json(file, text.encode()))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
        )
        raise CheckpointError(
            f"{str(file)!r} is damaged or was edited: {problems}; restore it from a copy"
        ) from error


def load_weights(path: Path, config: ModelConfig, config_text: str) -> TwoTower:
    """Build a model and load its weights.

    Args:
        path: The file of the weights.
        config: The architecture.
        config_text: The text of `config.json`, which the checksum of the weights covers.

    Raises:
        CheckpointError: The file cannot be read, is damaged or does not fit the architecture, or
            the weights are not finite.
    """
    try:
        # Weights of an older version, or of another program, have no checksum.
        state = read_tensors(path, config_text, needs_checksum=False)
    except OSError as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except DamagedFileError as error:
        raise CheckpointError(
            f"{error}, which is of this file and of config.json beside it; restore both from a copy"
        ) from error
    for name, value in state.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise CheckpointError(
                f"the weights {name} in {str(path)!r} are not finite: train again, or load the "
                "model of another run"
            )
    model = TwoTower(config)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights in {str(path)!r} do not fit config.json beside them: {error}"
        ) from error
    return model


def load_two_tower(path: str | os.PathLike[str]) -> TwoTower:
    """Load the two towers of a folder; see `TwoTower.from_pretrained`."""
    folder, text = find_model_folder(path)
    config = parse_config(folder / CONFIG_NAME, text, _Architecture)
    return load_weights(folder / WEIGHTS_NAME, config.model, text).eval()
