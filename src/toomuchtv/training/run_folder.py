"""The folder of a run: created once, and checked when the run resumes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from toomuchtv._internal import distributed
from toomuchtv.catalog.records import Title
from toomuchtv.catalog.splits import TitleSplit
from toomuchtv.errors import CheckpointError
from toomuchtv.training.checkpoint import Checkpoints
from toomuchtv.training.run_config import Config, config_from, differing_keys, read_toml

#: Version of the layout of a run folder and of the names in its checkpoints. Increase it when an
#: older run can no longer be resumed.
RUN_FORMAT = 1

_FORMAT_NAME, _CONFIG_NAME = "run.json", "config.toml"


def open_run_folder(
    path: Path, config: Config, checkpoints: Checkpoints, *, resume: bool, device: torch.device
) -> int:
    """Create or check the folder of a run. Rank 0 does so, and all ranks use its result.

    Args:
        path: The folder.
        config: The config that the run is started or resumed with.
        checkpoints: Checkpoints of the run.
        resume: True to continue a run that exists. If there is none, a new run begins.
        device: Device of the collective call.

    Returns:
        The number of steps that are done; 0 for a new run.

    Raises:
        CheckpointError: The folder holds a run and `resume` is false, a run of another config or
            format, or files of something else; or all of its checkpoints are damaged.
    """
    found, problem = -1, None
    if distributed.rank() == 0:
        try:
            found = _open(path, config, checkpoints, resume=resume)
        except CheckpointError as error:
            problem = error
    found = distributed.broadcast_int(found, device)
    if found < 0:
        raise problem or CheckpointError(
            f"rank 0 could not open the run folder {str(path)!r}; see its error message"
        )
    return found


def _open(path: Path, config: Config, checkpoints: Checkpoints, *, resume: bool) -> int:
    if (path / _CONFIG_NAME).exists():
        if not resume:
            raise CheckpointError(
                f"{str(path)!r} already holds a run: continue it with --resume, or choose another "
                "folder"
            )
        _check_format(path)
        _check_config(path, config)
    elif path.exists() and any(
        entry.suffix != ".partial" and entry.name != _FORMAT_NAME for entry in path.iterdir()
    ):
        raise CheckpointError(
            f"{str(path)!r} is not empty and does not hold a run: choose another folder"
        )
    else:
        path.mkdir(parents=True, exist_ok=True)
        # The config comes last: a folder with a config has everything that a resumed run needs.
        _write_whole(path / _FORMAT_NAME, json.dumps({"format": RUN_FORMAT}) + "\n")
        _write_whole(path / _CONFIG_NAME, config.to_toml())
    return checkpoints.newest_good_step()


def _check_format(path: Path) -> None:
    try:
        found = json.loads((path / _FORMAT_NAME).read_text("utf-8"))["format"]
    except FileNotFoundError:
        found = None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{str(path / _FORMAT_NAME)!r} does not state the format of the run: {error}"
        ) from error
    if found == RUN_FORMAT:
        return
    if isinstance(found, int) and found > RUN_FORMAT:
        reason = "it was written by a newer version of toomuchtv: resume it with that version"
    else:
        reason = (
            "it was written by an older version of toomuchtv: resume it with that version, or "
            "start a new run in another folder"
        )
    raise CheckpointError(
        f"the run in {str(path)!r} has format {found}, this version reads format {RUN_FORMAT}; "
        f"{reason}"
    )


def _check_config(path: Path, config: Config) -> None:
    """Compare the values of two configs. Keys that the file lacks have their defaults."""
    try:
        stored = config_from(read_toml(path / _CONFIG_NAME))
    except ValueError as error:
        raise CheckpointError(
            f"the config of the run in {str(path)!r} cannot be used by this version: {error}"
        ) from error
    if keys := differing_keys(stored, config):
        raise CheckpointError(
            f"the config differs from that of the run in {str(path)!r} in {', '.join(keys)}: "
            "resume with the same settings, or start a new run in another folder"
        )


def write_split(path: Path, titles: Sequence[Title], split: TitleSplit) -> None:
    """Write `RUN/split.json`: which titles are trained on and which are held out."""
    names = {
        title.id: {"kind": str(title.kind), "name": title.name, "year": title.year}
        for title in titles
    }
    content = {
        "train": [names[title_id] for title_id in split.train],
        "held_out": [names[title_id] for title_id in split.held_out],
    }
    _write_whole(path / "split.json", json.dumps(content, indent=1) + "\n")


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that a kill leaves either the whole file or none."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
