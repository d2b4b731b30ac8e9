"""What identifies a file and its content: size and time, a sampled digest, and a full digest.

A file counts as unchanged only while its path, its size and its modification time are as recorded.
If one of them differs, its content counts as known only if the digest of all its bytes is recorded.
A sampled digest reads eight blocks: it shows that two contents differ, and never that they are
equal, because a download that is not finished may have the right blocks already.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_SAMPLE_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 20
_REPORT_EVERY_BYTES = 64 << 20
# SQLite stores integers of 64 bits. Damaged file systems have times that are outside of them.
_MIN_NS, _MAX_NS = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """What shows, without opening a file, whether it has changed.

    Attributes:
        size_bytes: Size of the file.
        modified_ns: Modification time, nanoseconds since the epoch, within 64 bits.
    """

    size_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return the state that the result of `os.stat` shows."""
        return cls(
            size_bytes=status.st_size,
            modified_ns=min(max(status.st_mtime_ns, _MIN_NS), _MAX_NS),
        )


def sampled_digest(path: Path, size_bytes: int) -> str:
    """Return a digest of the size and of eight blocks of 64 kB: the first, the last, six between.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.blake2b(str(size_bytes).encode(), digest_size=16)
    last = max(0, size_bytes - _SAMPLE_BYTES)
    with path.open("rb", buffering=0) as file:
        for offset in sorted({last * part // 7 for part in range(8)}):
            file.seek(offset)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def full_digest(
    path: Path,
    report: Callable[[int], None] = lambda num_bytes: None,
    use: Callable[[bytes], None] = lambda block: None,
) -> str:
    """Return a digest of all bytes of a file.

    Args:
        path: The file.
        report: Called every 64 MB with the number of bytes that were read.
        use: Called with every block of bytes, in order.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16, person=b"full content")
    num_bytes = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            use(block)
            num_bytes += len(block)
            if num_bytes % _REPORT_EVERY_BYTES < len(block):
                report(num_bytes)
    return digest.hexdigest()
