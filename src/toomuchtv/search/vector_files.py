"""One file with the embeddings of one item by one encoder, mapped into memory by readers.

    0        magic `TMTVVEC1`
    8        length of the header in bytes, and its CRC-32, two little-endian uint32
    16       header: JSON with the arrays' dtypes, shapes and offsets and the CRC-32 of the payload
    ...      payload: the arrays, each at a multiple of 64 bytes

The name of a file says what it is of: the content of the item and the encoder. So a file is never
changed. It is written under a temporary name and renamed, and readers that have mapped it keep it
even after it was deleted.
"""

from __future__ import annotations

import errno
import json
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from toomuchtv._internal.files import replacing
from toomuchtv.errors import SearchError
from toomuchtv.search.hits import Modality

#: Version of the file format, which names of files depend on.
FORMAT = 1
_MAGIC = b"TMTVVEC1"
_PREFIX = struct.Struct("<8sII")
_ALIGNMENT = 64
_MAX_HEADER_BYTES = 1 << 20
_DTYPES = {
    "times": torch.float32,
    "video": torch.float16,
    "audio": torch.float16,
    "video_mean": torch.float32,
    "audio_mean": torch.float32,
}


class DamagedVectorFileError(SearchError):
    """A vector file is not what was written. `toomuchtv embed` makes it again."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemVectors:
    """The embeddings of the N windows of one item.

    Attributes:
        times: Start of each window in seconds, float32 `[N]`, ascending.
        video: Unit vectors, float16 `[N, D]`; None if the item or the encoder has no video.
        audio: Unit vectors, float16 `[N, D]`; None likewise.
        video_mean: Mean of `video`, float32 `[D]`; None likewise.
        audio_mean: Mean of `audio`, float32 `[D]`; None likewise.
    """

    times: Tensor
    video: Tensor | None
    audio: Tensor | None
    video_mean: Tensor | None
    audio_mean: Tensor | None

    @classmethod
    def from_float(cls, times: Tensor, video: Tensor | None, audio: Tensor | None) -> ItemVectors:
        """Round embeddings of any length and any floating dtype to unit vectors in float16.

        Raises:
            ValueError: Shapes do not fit, or a number is not finite.
        """
        times = times.float()
        if not (times.isfinite().all() and (times.diff() > 0).all()):
            raise ValueError("the times of windows must be finite and ascending")
        arrays: dict[str, Tensor | None] = {}
        for name, values in (("video", video), ("audio", audio)):
            arrays[name] = arrays[f"{name}_mean"] = None
            if values is None:
                continue
            if values.dim() != 2 or len(values) != len(times):
                raise ValueError(
                    f"expected {len(times)} vectors of {name}, got {list(values.shape)}"
                )
            norms = values.double().norm(dim=1, keepdim=True)
            # A vector of zeros has no direction, so the encoder has failed.
            if not (norms.isfinite().all() and (norms > 0).all()):
                raise ValueError(f"an embedding of {name} is zero or not finite")
            unit = (values.double() / norms).half()
            arrays[name] = unit
            arrays[f"{name}_mean"] = unit.double().mean(dim=0).float()
        return cls(times=times, **arrays)

    def __len__(self) -> int:
        return len(self.times)

    def has(self, modality: Modality) -> bool:
        """Return whether there are vectors of a modality."""
        return self.mean_of(modality) is not None

    def of(self, modality: Modality) -> Tensor | None:
        """Return the vectors of a modality."""
        return self.video if modality == "video" else self.audio

    def mean_of(self, modality: Modality) -> Tensor | None:
        """Return the mean vector of a modality."""
        return self.video_mean if modality == "video" else self.audio_mean


def write_vector_file(path: Path, vectors: ItemVectors, description: dict[str, str]) -> None:
    """Write the embeddings of one item, whole or not at all.

    Args:
        path: The file.
        vectors: The embeddings.
        description: What they are of; `read_vector_file` compares it.

    Raises:
        OSError: The file cannot be written.
    """
    entries: dict[str, dict[str, Any]] = {}
    payload = bytearray()
    for name, dtype in _DTYPES.items():
        values: Tensor | None = getattr(vectors, name)
        if values is not None:
            payload.extend(bytes(-len(payload) % _ALIGNMENT))
            entries[name] = {"shape": list(values.shape), "offset": len(payload)}
            payload.extend(values.to(dtype).contiguous().numpy().tobytes())
    header = {
        "format": FORMAT,
        "description": description,
        "arrays": entries,
        "bytes": len(payload),
        "crc32": zlib.crc32(payload),
    }
    text = json.dumps(header, sort_keys=True).encode()
    text += b" " * (-(_PREFIX.size + len(text)) % _ALIGNMENT)
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(_PREFIX.pack(_MAGIC, len(text), zlib.crc32(text)))
        file.write(text)
        file.write(payload)


def read_vector_file(
    path: Path, description: dict[str, str], *, verify: bool = True
) -> ItemVectors:
    """Map the embeddings of one item into memory.

    Args:
        path: The file.
        description: What it must be of.
        verify: Also read the payload and compare its checksum.

    Raises:
        DamagedVectorFileError: The file is not what was written.
        FileNotFoundError: There is no such file.
        OSError: The file cannot be read, which says nothing about its content.
    """
    with path.open("rb") as file:
        prefix = file.read(_PREFIX.size)
        magic, length, crc32 = (
            _PREFIX.unpack(prefix) if len(prefix) == _PREFIX.size else (b"", 0, 0)
        )
        text = file.read(length) if magic == _MAGIC and length <= _MAX_HEADER_BYTES else b""
        if not text or len(text) != length or zlib.crc32(text) != crc32:
            raise _damaged(path, "its header is not what was written")
        # The checksum has proved that this program wrote the header, so its values are sound.
        header = json.loads(text)
        if header["format"] != FORMAT or header["description"] != description:
            raise _damaged(path, "it is of another item, encoder or version")
        start, size = _PREFIX.size + length, header["bytes"]
        if os.fstat(file.fileno()).st_size != start + size:
            raise _damaged(path, "its length is not what was written")
    # The mapping keeps no file descriptor, of which a process may have as few as 1,024. It is
    # private, so that nothing can be written to the file through it.
    try:
        mapped = torch.from_file(
            os.fspath(path), shared=False, size=start + size, dtype=torch.uint8
        )
    except RuntimeError as error:
        if path.exists():
            raise
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path)) from error
    payload = mapped[start:]
    if verify and zlib.crc32(payload.numpy().data) != header["crc32"]:
        raise _damaged(path, "its content does not match its checksum")
    arrays: dict[str, Any] = dict.fromkeys(_DTYPES)
    for name, entry in header["arrays"].items():
        shape, offset = entry["shape"], entry["offset"]
        stop = offset + math.prod(shape) * _DTYPES[name].itemsize
        arrays[name] = payload[offset:stop].view(_DTYPES[name]).view(shape)
    return ItemVectors(**arrays)


def _damaged(path: Path, reason: str) -> DamagedVectorFileError:
    return DamagedVectorFileError(
        f"{os.fspath(path)!r} is damaged: {reason}; run `toomuchtv embed` again to replace it"
    )
