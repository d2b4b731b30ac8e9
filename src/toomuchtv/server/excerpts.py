"""Short parts of items in a form that every browser plays, made from their proxies.

This module imports neither PyTorch nor FastAPI, so that worker processes that use it start fast.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from toomuchtv._internal.files import replacing
from toomuchtv._internal.subprocess_pool import Failure, run_isolated
from toomuchtv.catalog.records import Proxy
from toomuchtv.errors import MediaError
from toomuchtv.media.cutting import cut_film

_SILENCE_SECONDS = 60.0
_MEMORY_BYTES = 2 << 30
_MAX_CACHE_BYTES = 512 << 20
_MIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    video_path: Path
    audio_path: Path | None
    target: Path
    start_seconds: float
    stop_seconds: float


class ExcerptCache:
    """Excerpts of proxies as MP4 files with H.264 and AAC, in a folder of bounded size.

    Args:
        folder: An empty folder.
        max_bytes: Size of all excerpts that are kept, at most.
    """

    def __init__(self, folder: Path, *, max_bytes: int = _MAX_CACHE_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()  # the least recently used first
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}

    def open(
        self, catalog_folder: Path, proxy: Proxy, start_seconds: float, seconds: float
    ) -> BinaryIO:
        """Return an excerpt as an open file; the caller closes it.

        Args:
            catalog_folder: The catalog's folder.
            proxy: The proxy.
            start_seconds: Where it starts: time zero of the excerpt.
            seconds: Its duration. It is less where the item ends before.

        Raises:
            MediaError: The proxy cannot be read.
        """
        start = min(start_seconds, max(0.0, proxy.duration_seconds - _MIN_SECONDS))
        stop = min(max(start + _MIN_SECONDS, start + seconds), proxy.duration_seconds)
        facts = (proxy.fingerprint, proxy.format_id, str(proxy.video_path), start, stop)
        name = hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
        with self._lock:
            making = self._making.setdefault(name, threading.Lock())
        with making:
            try:
                found = self._kept(name)
                if found is None:
                    audio = proxy.audio_path
                    job = _Job(
                        video_path=catalog_folder / proxy.video_path,
                        audio_path=None if audio is None else catalog_folder / audio,
                        target=self._folder / name,
                        start_seconds=start,
                        stop_seconds=max(stop, start + 1e-3),
                    )
                    found = self._make(job)
                return found
            finally:
                with self._lock:
                    self._making.pop(name, None)

    def _kept(self, name: str) -> BinaryIO | None:
        with self._lock:
            if name not in self._sizes:
                return None
            self._sizes.move_to_end(name)
            return (self._folder / name).open("rb")

    def _make(self, job: _Job) -> BinaryIO:
        results = run_isolated(
            _cut, [job], num_workers=1, silence_seconds=_SILENCE_SECONDS, memory_bytes=_MEMORY_BYTES
        )
        with contextlib.closing(results):
            for _, result in results:
                if isinstance(result, Failure):
                    # A process that was killed could not delete what it had begun.
                    for partial in self._folder.glob(f"{job.target.name}.*"):
                        partial.unlink(missing_ok=True)
                    raise MediaError(f"no excerpt can be made: {result.reason}")
        file = job.target.open("rb")
        with self._lock:
            self._sizes[job.target.name] = job.target.stat().st_size
            while len(self._sizes) > 1 and sum(self._sizes.values()) > self._max_bytes:
                oldest, _ = self._sizes.popitem(last=False)
                (self._folder / oldest).unlink(missing_ok=True)
        return file


def _cut(job: _Job, report: Callable[[float], None]) -> None:
    with replacing(job.target) as partial:
        cut_film(
            job.video_path,
            partial,
            start_seconds=job.start_seconds,
            stop_seconds=job.stop_seconds,
            audio_source=job.audio_path,
            copy=False,
            on_progress=report,
        )
