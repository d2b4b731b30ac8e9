"""Files that are either whole or absent, and JSON files with a checksum."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toomuchtv.errors import CheckpointError

#: Suffix of the temporary name of a file that is being written.
PARTIAL = ".partial"
_CHECKSUM = "sha256"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces `path` when the block succeeds.

    A kill or a full disk leaves the old file as it was. Temporary names are unique, so that two
    processes never write to the same one. The new file has the permissions that the user's umask
    gives.

    Raises:
        OSError: The file cannot be written. The error has the name of `path`.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _flush(partial)
        os.replace(partial, path)
        _flush(path.parent)
    except OSError as error:
        # Errors of `write` have no name, and those of PyAV cannot be given one.
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def creating_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, which becomes `path` when the block succeeds.

    A kill or a full disk leaves no folder with that name.

    Raises:
        ValueError: `path` is a file, or a folder that is not empty. Nothing is written.
        OSError: The folder cannot be written.
    """
    path = Path(os.path.abspath(path))
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ValueError(f"{os.fspath(path)!r} is not a folder: choose another one")
    if path.exists() and any(path.iterdir()):
        raise ValueError(
            f"{os.fspath(path)!r} is not empty: choose a folder that does not exist yet"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    partial.mkdir()
    try:
        yield partial
        _flush(partial)
        os.replace(partial, path)  # replaces an empty folder, and no other
        _flush(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file; see `replacing`."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file; see `replacing`. Parts of names that are not text are escaped."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def remove_partial_files(folder: Path) -> None:
    """Delete the temporary files that killed processes left in a folder."""
    for partial in folder.glob(f"*{PARTIAL}"):
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as JSON with a checksum of its values."""
    write_text(path, json.dumps({**content, _CHECKSUM: _checksum(content)}, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Raises:
        OSError: The file cannot be read.
        CheckpointError: Its content is not what was written.
    """
    content = parse_json(path, path.read_bytes())
    expected = content.pop(_CHECKSUM, None)
    if expected != _checksum(content):
        raise CheckpointError(
            f"{os.fspath(path)!r} was damaged or edited: its content does not match its checksum; "
            "restore it from a copy, or begin anew in another folder"
        )
    return content


def parse_json(path: Path, content: bytes) -> dict[str, Any]:
    """Parse the content of a file that must hold one JSON object.

    Raises:
        CheckpointError: It does not.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{os.fspath(path)!r} is damaged: it is not JSON ({error}); restore it from a copy"
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{os.fspath(path)!r} is damaged: it must hold a JSON object, got a value of type "
            f"{type(value).__name__}; restore it from a copy"
        )
    return value


def _checksum(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _flush(path: Path) -> None:
    """Wait until a file, or the list of files in a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
