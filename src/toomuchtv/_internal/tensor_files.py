"""Tensors in safetensors files with a checksum, which is verified before anything is used.

Reading such a file never executes code. Files are read and written with Python's own functions and
not with those of safetensors, which reports every failure of the system as a missing file, and
writes files that only their owner can read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from toomuchtv._internal.files import parse_json, write_bytes
from toomuchtv.errors import CheckpointError


class DamagedFileError(CheckpointError):
    """A file was read, and its content is not what was written."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], salt: str = "") -> None:
    """Write tensors that share no memory, whole or not at all.

    Args:
        path: The file.
        tensors: Contiguous tensors on any device.
        salt: Anything else that the checksum covers. `read_tensors` needs the same.

    Raises:
        OSError: The file cannot be written; an older one is unchanged.
    """
    metadata = {"sha256": digest(tensors, salt)}
    write_bytes(path, safetensors.torch.save(dict(tensors), metadata))


def read_tensors(path: Path, salt: str = "", *, needs_checksum: bool = True) -> dict[str, Tensor]:
    """Read all tensors of a file and verify its checksum.

    Args:
        path: The file.
        salt: As for `write_tensors`.
        needs_checksum: Whether a file without a checksum, such as one of another program, is
            refused.

    Raises:
        OSError: The file cannot be read, which says nothing about its content.
        DamagedFileError: Its content is not what was written.
    """
    content = path.read_bytes()
    try:
        tensors = safetensors.torch.load(content)
        length = int.from_bytes(content[:8], "little")
        header = parse_json(path, content[8 : 8 + length])
    except (SafetensorError, CheckpointError, KeyError) as error:
        raise DamagedFileError(
            f"{os.fspath(path)!r} is damaged: it is not a safetensors file ({error})"
        ) from error
    expected = header.get("__metadata__", {}).get("sha256")
    if (expected or needs_checksum) and digest(tensors, salt) != expected:
        raise DamagedFileError(
            f"{os.fspath(path)!r} is damaged: its content does not match its checksum"
        )
    return tensors


def digest(tensors: Mapping[str, Tensor], salt: str = "") -> str:
    """Return the SHA-256 of the salt and of name, dtype, shape and bytes of every tensor."""
    found = hashlib.sha256(salt.encode())
    for name in sorted(tensors):
        value = tensors[name]
        found.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        found.update(value.reshape(-1).view(torch.uint8).cpu().numpy().data)
    return found.hexdigest()
