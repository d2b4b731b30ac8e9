"""The folder of a run: created once, and checked when the run resumes."""

from __future__ import annotations

import hashlib
import logging
from contextlib import ExitStack
from pathlib import Path

from toomuchtv._internal.files import (
    PARTIAL,
    parse_json,
    read_json,
    remove_partial_files,
    write_json,
    write_text,
)
from toomuchtv._internal.folder_lock import LOCK_NAME, folder_lock
from toomuchtv.errors import CheckpointError
from toomuchtv.training.checkpoint import Checkpoints
from toomuchtv.training.run_config import Config, config_from, differing_keys, read_toml
from toomuchtv.training.snapshot_record import (
    SNAPSHOT_NAME,
    SnapshotHistory,
    SnapshotRecord,
    Start,
    describe_changes,
    describe_new_titles,
    read_history,
    write_history,
)
from toomuchtv.training.split import (
    SPLIT_NAME,
    PreparedTitles,
    SplitOfCatalog,
    draw_split,
    match_split,
    read_split,
    update_split,
    write_split,
)

_log = logging.getLogger(__name__)

#: Version of the layout of a run folder and of the names in its checkpoints. Increase it when an
#: older run can no longer be resumed.
RUN_FORMAT = 2

_FORMAT_NAME, _CONFIG_NAME = "run.json", "config.toml"
#: What a run that was killed while it was created may have left.
_UNFINISHED = {_FORMAT_NAME, SPLIT_NAME, SNAPSHOT_NAME, LOCK_NAME}


class RunFolder:
    """The folder of a run, as the process with rank 0 sees it.

    Args:
        path: The folder.
        config: The config that the run is started or resumed with.
        checkpoints: Checkpoints of the run.
        titles: The titles of the catalog as it is now.

    Attributes:
        start_step: Number of steps that are done, after `claim`; 0 for a new run.
    """

    start_step: int

    def __init__(
        self, path: Path, config: Config, checkpoints: Checkpoints, titles: PreparedTitles
    ) -> None:
        self._path, self._config, self._checkpoints = path, config, checkpoints
        self._titles = titles

    def claim(self, stack: ExitStack, *, resume: bool, train_new_titles: bool) -> SplitOfCatalog:
        """Lock the folder until `stack` is closed, check it, and decide on the split.

        Nothing is written yet, except that leftovers of killed processes are removed and damaged
        checkpoints are renamed.

        Raises:
            CheckpointError: The folder holds a run and `resume` is false, a run of another config
                or format, or files of something else; a file of the run was damaged or edited; or
                all checkpoints are damaged.
            FolderInUseError: Another process has locked the folder.
            OSError: The folder or a file cannot be read, or the folder cannot be written.
        """
        _holds_run(self._path, resume=resume)
        self._path.mkdir(parents=True, exist_ok=True)
        stack.enter_context(folder_lock(self._path))
        self._history: SnapshotHistory | None = None
        if _holds_run(self._path, resume=resume):
            self.start_step = _check_run(self._path, self._config, self._checkpoints)
            self._history = read_history(self._path)
            self._split = update_split(
                read_split(self._path),
                self._titles,
                train_new_titles=train_new_titles,
                step=self.start_step,
            )
        else:
            self.start_step = 0
            self._split = draw_split(self._titles, self._config)
        self._found = match_split(self._split, self._titles)
        return self._found

    def write(self, now: SnapshotRecord) -> tuple[()]:
        """Create the run, or record and report what has changed since it was started last."""
        start = Start(step=self.start_step, train=now.train, held_out=now.held_out)
        if self._history is None:
            self._create(SnapshotHistory(starts=(start,), files=now.files))
            return ()
        changes = describe_changes(self._history, now, self._found, self._titles)
        last = self._history.starts[-1]
        if changes:
            effect = "the batches stay the same, and the held-out loss is of other clips"
            if last.train != now.train:
                effect = "the batches are others than they would be without these changes"
            changes.append(f"from step {self.start_step} on, {effect}")
            starts = (*self._history.starts, start.model_copy(update={"changes": tuple(changes)}))
            write_split(self._path, self._split)
            write_history(self._path, SnapshotHistory(starts=starts, files=now.files))
        changes += describe_new_titles(self._found, self._titles)
        if changes:
            _log.warning("Since this run was started last: %s.", "; ".join(changes))
        return ()

    def _create(self, history: SnapshotHistory) -> None:
        write_split(self._path, self._split)
        write_history(self._path, history)
        text = self._config.to_toml()
        values = {"format": RUN_FORMAT, "config_sha256": _checksum(text.encode())}
        write_json(self._path / _FORMAT_NAME, values)
        # The config comes last: a folder with a config has everything that a resumed run needs.
        write_text(self._path / _CONFIG_NAME, text)


def _holds_run(path: Path, *, resume: bool) -> bool:
    """Return True if a folder holds a run, and False if a new one can be created there.

    Raises:
        CheckpointError: It holds a run and `resume` is false, or it holds something else.
        OSError: The folder cannot be read.
    """
    try:
        entries = list(path.iterdir())
    except FileNotFoundError:
        return False
    if any(entry.name == _CONFIG_NAME for entry in entries):
        if not resume:
            raise CheckpointError(
                f"{str(path)!r} already holds a run: continue it with --resume, or choose another "
                "folder"
            )
        return True
    if any(entry.suffix != PARTIAL and entry.name not in _UNFINISHED for entry in entries):
        raise CheckpointError(
            f"{str(path)!r} is not empty and does not hold a run: choose another folder"
        )
    return False


def _check_run(path: Path, config: Config, checkpoints: Checkpoints) -> int:
    """Check the folder of a run that is resumed, and return the number of steps that are done."""
    _check_format(path)
    _check_config(path, config)
    for folder in (path, path / "model"):
        remove_partial_files(folder)
    checkpoints.remove_partial_files()
    return checkpoints.newest_good_step()


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_format(path: Path) -> None:
    try:
        found = parse_json(path / _FORMAT_NAME, (path / _FORMAT_NAME).read_bytes()).get("format")
    except FileNotFoundError:
        found = None
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
    file = path / _CONFIG_NAME
    expected = read_json(path / _FORMAT_NAME).get("config_sha256")
    if _checksum(file.read_bytes()) != expected:
        raise CheckpointError(
            f"{str(file)!r} was damaged or edited since the run began: restore it, or start a new "
            "run in another folder"
        )
    try:
        stored = config_from(read_toml(file))
    except ValueError as error:
        raise CheckpointError(
            f"the config of the run in {str(path)!r} cannot be used by this version: {error}"
        ) from error
    if keys := differing_keys(stored, config):
        raise CheckpointError(
            f"the config differs from that of the run in {str(path)!r} in {', '.join(keys)}: "
            "resume with the same settings, or start a new run in another folder"
        )
