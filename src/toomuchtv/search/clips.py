"""Hits as small MP4 files."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toomuchtv._internal.files import PARTIAL, replacing
from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv._internal.subprocess_pool import Failure, run_isolated
from toomuchtv.catalog.store import Catalog, as_open_catalog
from toomuchtv.media.cutting import CutFilm, cut_film
from toomuchtv.media.extent import measure_extent
from toomuchtv.search.hits import Hit
from toomuchtv.search.text import safe_file_name

_SILENCE_SECONDS = 120.0
_MEMORY_BYTES = 4 << 30
_MIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenClip:
    """A hit that was written as a file.

    Attributes:
        hit: The hit.
        path: The file.
        is_copied: Whether the video was copied without encoding it again.
        has_audio: Whether the file has sound.
    """

    hit: Hit
    path: Path
    is_copied: bool
    has_audio: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenClips:
    """What `write_clips` did.

    Attributes:
        written: The files, by rank.
        failed: The other hits with the reasons, by rank.
    """

    written: tuple[WrittenClip, ...]
    failed: tuple[tuple[Hit, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    hit: Hit
    target: Path
    start_seconds: float
    stop_seconds: float


def clip_file_name(hit: Hit, num_hits: int) -> str:
    """Return the name of the file of a hit: `01 Caminandes S01E03 00-01-12.mp4`.

    Windows, macOS and Linux allow it. The rank has as many digits as the last one, at least two.
    """
    digits = max(2, len(str(num_hits)))
    seconds = int(hit.start_seconds + 1e-6)
    time = f"{seconds // 3600:02d}-{seconds // 60 % 60:02d}-{seconds % 60:02d}"
    # The time is kept where a long name is cut.
    name = safe_file_name(hit.name, "", max_bytes=90)
    return safe_file_name(f"{hit.rank:0{digits}d} {name} {time}", ".mp4")


def write_clips(
    hits: Sequence[Hit],
    folder: str | os.PathLike[str],
    *,
    catalog: Catalog | str | os.PathLike[str] | None = None,
    handles_seconds: float = 0.0,
    num_workers: int = 1,
    progress: ProgressCallback = no_progress,
) -> WrittenClips:
    """Cut hits out of their films, one MP4 file each; see `media.cutting`.

    The films are read in processes of their own, with limits. A file is whole or absent; one of the
    same name is replaced.

    Args:
        hits: The hits. Their ranks should differ.
        folder: Where to write the files. It is created if it does not exist.
        catalog: The catalog of the hits, or its folder. If it is given, a folder inside of its
            library is refused.
        handles_seconds: So much more is taken before and after every hit, where the film has it.
        num_workers: Number of processes.
        progress: Called after each hit.

    Raises:
        OSError: The folder cannot be created or written.
        ValueError: The handles are negative, or the folder is inside the library.
    """
    if catalog is not None:
        refuse_library(Path(folder), catalog)
    if not 0 <= handles_seconds < math.inf:
        raise ValueError(f"handles_seconds must be at least 0 and finite, got {handles_seconds}")
    ordered = sorted(hits, key=lambda hit: hit.rank)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=target):
        pass  # the folder can be written
    largest = max((hit.rank for hit in hits), default=0)
    jobs = [
        _Job(
            hit=hit,
            target=target / clip_file_name(hit, largest),
            start_seconds=max(0.0, hit.start_seconds - handles_seconds),
            stop_seconds=hit.stop_seconds + handles_seconds,
        )
        for hit in ordered
    ]
    written: list[WrittenClip] = []
    failed: list[tuple[Hit, str]] = []
    results = run_isolated(
        _cut,
        jobs,
        num_workers=num_workers,
        silence_seconds=_SILENCE_SECONDS,
        memory_bytes=_MEMORY_BYTES,
    )
    with contextlib.closing(results):
        for job, result in results:
            if isinstance(result, Failure):
                failed.append((job.hit, result.reason))
                _remove_partial(job.target)
            else:
                written.append(
                    WrittenClip(
                        hit=job.hit,
                        path=job.target,
                        is_copied=result.is_copied,
                        has_audio=result.has_audio,
                    )
                )
            progress(len(written) + len(failed), len(jobs), job.hit.name)
    return WrittenClips(
        written=tuple(sorted(written, key=lambda one: one.hit.rank)),
        failed=tuple(sorted(failed, key=lambda one: one[0].rank)),
    )


def refuse_library(path: Path, catalog: Catalog | str | os.PathLike[str]) -> None:
    """Refuse to write to a path inside the library of a catalog.

    Raises:
        ValueError: The path is inside the library.
    """
    with as_open_catalog(catalog) as opened:
        library = opened.library
    if path.resolve().is_relative_to(library.resolve()):
        raise ValueError(
            f"{os.fspath(path)!r} is inside the library {os.fspath(library)!r}, which is never "
            "written: choose another folder"
        )


def _cut(job: _Job, report: Callable[[float], None]) -> CutFilm:
    _, end_seconds = measure_extent(job.hit.path, "video")
    # A moment at the very end keeps its last frames.
    start_seconds = min(job.start_seconds, max(0.0, end_seconds - _MIN_SECONDS))
    stop_seconds = min(max(job.stop_seconds, start_seconds + _MIN_SECONDS), end_seconds)
    with replacing(job.target) as partial:
        return cut_film(
            job.hit.path,
            partial,
            start_seconds=start_seconds,
            stop_seconds=max(stop_seconds, start_seconds + 1e-3),
            on_progress=report,
        )


def _remove_partial(target: Path) -> None:
    """Delete what a process that was killed left of a file."""
    prefix = f"{target.name}."
    for path in target.parent.iterdir():
        if path.name.startswith(prefix) and path.name.endswith(PARTIAL):
            path.unlink(missing_ok=True)
