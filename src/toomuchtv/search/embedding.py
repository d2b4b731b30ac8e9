"""Embed every item of a catalog into an index: incremental, resumable, in several processes."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from toomuchtv._internal.byte_size import format_bytes
from toomuchtv._internal.files import remove_partial_files
from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv._internal.subprocess_pool import Failure
from toomuchtv._internal.system_errors import DISK_FULL, is_disk_full
from toomuchtv.catalog.records import Item, Proxy, SkippedFile
from toomuchtv.catalog.store import Catalog, as_open_catalog
from toomuchtv.engines import Engine, LocalEngine
from toomuchtv.errors import MediaError, SearchError
from toomuchtv.search.calibration import calibrate, read_calibration, write_calibration
from toomuchtv.search.index_folder import (
    IndexDescription,
    IndexedEncoder,
    IndexFolder,
    content_of,
    file_description,
)
from toomuchtv.search.vector_files import DamagedVectorFileError, ItemVectors, write_vector_file
from toomuchtv.search.window_encoders import WindowEncoder, load_window_encoder

# A worker that reports no progress for this long is taken to hang and is killed.
_TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedResult:
    """The result of `embed_catalog`.

    Attributes:
        encoder: The encoder as the index records it.
        embedded: Number of items that were embedded.
        kept: Number of items whose embeddings were there.
        removed: Number of files that were deleted, because no item has their content any more.
        rebuilt: Messages about the damaged files that were replaced.
        failed: The items that could not be embedded, with reasons.
        num_windows: Number of windows of all items of this encoder.
        film_seconds: Duration of the items that were embedded.
        bytes: Size of all vector files of this encoder.
    """

    encoder: IndexedEncoder
    embedded: int
    kept: int
    removed: int
    rebuilt: tuple[str, ...]
    failed: tuple[SkippedFile, ...]
    num_windows: int
    film_seconds: float
    bytes: int


def embed_catalog(
    source: str | os.PathLike[str],
    catalog: Catalog | str | os.PathLike[str],
    index: str | os.PathLike[str],
    *,
    name: str | None = None,
    window_seconds: float | None = None,
    stride_seconds: float = 1.0,
    num_workers: int = 1,
    engine: Engine | None = None,
    device: str = "auto",
    replace: bool = False,
    progress: ProgressCallback = no_progress,
) -> EmbedResult:
    """Embed what is new or has changed in a catalog, and forget what has gone.

    Every item is one file that is written whole or not at all, so a call that was killed can simply
    be repeated. Searches may go on meanwhile.

    Args:
        source: The encoder: the folder of a run or of an exported model, or what `evaluate
            --encoder` takes.
        catalog: The catalog or its folder. Its proxies are read.
        index: Folder of the index, which is made if it does not exist. It may hold several
            encoders.
        name: Name of the encoder in the index. By default the name of the folder.
        window_seconds: Duration of a window. By default that of a clip in training.
        stride_seconds: Time between the starts of two windows.
        num_workers: Number of processes. With 1, the items are embedded in this process.
        engine: Where to embed them instead, such as a `RayEngine`.
        device: "auto", "cpu" or "cuda".
        replace: Replace an encoder of the same name that has other weights or other windows.
        progress: Receives the seconds of film that are done.

    Raises:
        SearchError: Another process writes to the index, it belongs to another catalog, it has
            another encoder of this name, or the disk is too small.
        EncoderError: The encoder cannot be loaded.
        EngineError: A machine of the engine cannot do the work, or the connection to it is lost.
        ValueError: A duration is out of range.
    """
    source = os.fspath(source)
    # Machines of an engine load it themselves, and this one may have no GPU.
    encoder = load_window_encoder(source, device=device if engine is None else "cpu")
    if window_seconds is None:
        window_seconds = encoder.default_window_seconds
    if not (0 < window_seconds < 3600 and 0 < stride_seconds < 3600):
        raise ValueError(
            "window_seconds and stride_seconds must be positive and less than an hour, "
            f"got {window_seconds} and {stride_seconds}"
        )
    record = encoder.describe(
        name=name or encoder.encoder.name,
        source=os.path.abspath(source) if os.path.isdir(source) else source,
        window_seconds=window_seconds,
        stride_seconds=stride_seconds,
    )
    folder = IndexFolder(Path(index))
    with as_open_catalog(catalog) as opened, folder.writing():
        description = _description(folder, opened, record, replace=replace)
        # Without a description, the folders of vectors may be of encoders that are embedded again.
        is_replaced = replace and folder.exists()
        folder.write(description)
        if is_replaced:
            _remove_unused_encoders(folder, description)
        work = _Embedding(opened, folder, record, progress)
        if engine is None and min(num_workers, work.num_jobs) > 1:
            engine = LocalEngine(min(num_workers, work.num_jobs))
        work.run(encoder, record.source, device, engine)
        return work.result()


def _description(
    folder: IndexFolder, catalog: Catalog, record: IndexedEncoder, *, replace: bool
) -> IndexDescription:
    """Return the description of the index with an encoder added.

    Raises:
        SearchError: The index belongs to another catalog or has another encoder of this name.
    """
    path = os.path.abspath(catalog.folder)
    if not folder.exists():
        return IndexDescription(catalog=path, encoders=(record,))
    description = folder.read()
    recorded = description.catalog
    if os.path.exists(recorded) and not os.path.samefile(recorded, path):
        raise SearchError(
            f"the index {str(folder.path)!r} is of the catalog {recorded!r}, not of {path!r}: "
            "give that catalog, or another folder to --index"
        )
    old = description.encoder(record.name)
    if old is not None and old.id != record.id and not replace:
        raise SearchError(
            f"the index {str(folder.path)!r} already has an encoder {record.name!r} with "
            f"{_difference(old, record)}: embeddings of two encoders cannot be compared. Pass "
            "--name to add this one beside it, or --replace to embed everything anew"
        )
    others = tuple(encoder for encoder in description.encoders if encoder.name != record.name)
    return IndexDescription(catalog=path, encoders=(*others, record))


def _difference(old: IndexedEncoder, new: IndexedEncoder) -> str:
    """Return in what the records of two encoders of one name differ, in words."""
    if old.fingerprint != new.fingerprint:
        return "other weights or settings"
    return (
        f"windows of {old.window_seconds:g} s every {old.stride_seconds:g} s, not of "
        f"{new.window_seconds:g} s every {new.stride_seconds:g} s"
    )


def _remove_unused_encoders(folder: IndexFolder, description: IndexDescription) -> None:
    """Delete the vectors of encoders that the index does not have any more."""
    used = {encoder.id for encoder in description.encoders}
    for path in folder.path.glob("vectors/*"):
        if path.name not in used:
            shutil.rmtree(path)
            (folder.path / "calibration" / f"{path.name}.json").unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One item to embed."""

    item: Item
    proxy: Proxy
    content: str

    @property
    def duration_seconds(self) -> float:
        return self.proxy.duration_seconds


class _Embedding:
    """One call of `embed_catalog`, which holds the index's lock."""

    def __init__(
        self,
        catalog: Catalog,
        folder: IndexFolder,
        record: IndexedEncoder,
        progress: ProgressCallback,
    ) -> None:
        self._catalog = catalog
        self._folder = folder
        self._record = record
        self._progress = progress
        self._failed: list[SkippedFile] = []
        self._rebuilt: list[str] = []
        self._removed = 0
        self._vectors: dict[int, ItemVectors] = {}  # by item id, mapped and not in memory
        self._jobs = self._missing_items()
        self._num_kept = len(self._vectors)
        self._done_seconds = dict.fromkeys((job.item.id for job in self._jobs), 0.0)
        self._total_seconds = sum(job.duration_seconds for job in self._jobs)

    def _missing_items(self) -> list[_Job]:
        """Return the items to embed, the longest first, so that all workers end together."""
        proxies = self._catalog.proxies()
        items = self._catalog.items(include_missing=True)
        used = {content_of(i, proxies[i.id]) for i in items if i.id in proxies}
        remove_partial_files(self._folder.vectors_of(self._record))
        for path in self._folder.vectors_of(self._record).glob("*.vec"):
            if path.stem not in used:
                path.unlink()
                self._removed += 1
        all_jobs, jobs = [], []
        for item in items:
            if item.missing:
                continue
            if item.id not in proxies:
                reason = "it has no proxy of its present content: run `toomuchtv prepare`"
                self._failed.append(SkippedFile(path=item.path, reason=reason))
                continue
            content = content_of(item, proxies[item.id])
            all_jobs.append(_Job(item=item, proxy=proxies[item.id], content=content))
        read = self._folder.read_all(self._record, [job.content for job in all_jobs])
        for job, found in zip(all_jobs, read, strict=True):
            if isinstance(found, ItemVectors):
                self._vectors[job.item.id] = found
                continue
            if isinstance(found, DamagedVectorFileError):
                self._rebuilt.append(str(found))
            jobs.append(job)
        return sorted(jobs, key=lambda job: (-job.duration_seconds, job.item.id))

    @property
    def num_jobs(self) -> int:
        """Number of items to embed."""
        return len(self._jobs)

    def run(self, encoder: WindowEncoder, source: str, device: str, engine: Engine | None) -> None:
        """Embed all items that are missing, and measure the calibration if it is not current.

        Without an engine, they are embedded in this process.
        """
        self._check_disk()
        remaining = {job.item.id: job for job in self._jobs}
        for job, result in self._results(encoder, source, device, engine):
            del remaining[job.item.id]
            if isinstance(result, Failure):
                self._failed.append(SkippedFile(path=job.item.path, reason=result.reason))
                if result.is_disk_full:
                    break
            else:
                self._vectors[job.item.id] = self._folder.read_vectors(
                    self._record, job.content, verify=False
                )
            self._report(job, job.duration_seconds)
        for job in remaining.values():
            reason = f"not started: {DISK_FULL}"
            self._failed.append(SkippedFile(path=job.item.path, reason=reason))
        self._calibrate()

    def _results(
        self, encoder: WindowEncoder, source: str, device: str, engine: Engine | None
    ) -> Iterator[tuple[_Job, Failure | None]]:
        """Yield each job when it is done, with the reason if it failed."""
        catalog = Path(os.path.abspath(self._catalog.folder))
        index = Path(os.path.abspath(self._folder.path))
        settings = (catalog, index, self._record)
        if engine is not None and self._jobs:
            engine.check_folders(index, [catalog, *filter(Path.is_absolute, [Path(source)])])
            threads = engine.threads_per_job
            yield from engine.run(
                functools.partial(_embed_in_worker, *settings, source, device, threads),
                self._jobs,
                silence_seconds=_TIMEOUT_SECONDS,
                on_report=self._report,
            )
            return
        for job in self._jobs:
            try:
                _embed_item(*settings, encoder, job, functools.partial(self._report, job))
            except MediaError as error:
                yield job, Failure(str(error))
            except OSError as error:
                if not is_disk_full(error):
                    raise
                yield job, Failure(DISK_FULL, is_disk_full=True)
            else:
                yield job, None

    def _report(self, job: _Job, seconds: float) -> None:
        self._done_seconds[job.item.id] = min(seconds, job.duration_seconds)
        self._progress(sum(self._done_seconds.values()), self._total_seconds, job.item.path.name)

    def _check_disk(self) -> None:
        record = self._record
        per_window = 4 + 2 * ((record.video_dim or 0) + (record.audio_dim or 0))
        needed = round(per_window * self._total_seconds / record.stride_seconds)
        free = shutil.disk_usage(self._folder.path).free
        if needed > free:
            raise SearchError(
                f"the embeddings will take about {format_bytes(needed)} and the disk of "
                f"{str(self._folder.path)!r} has {format_bytes(free)} free: free some space or "
                "pass a larger --stride-seconds"
            )

    def _calibrate(self) -> None:
        path = self._folder.calibration_of(self._record)
        current = read_calibration(path)
        proxies = self._catalog.proxies()
        # Of two equal files, one is enough.
        item_of = {
            content_of(item, proxies[item.id]): item
            for item in sorted(self._catalog.items(), key=lambda item: item.id)
            if item.id in self._vectors
        }
        vectors = {content: self._vectors[item.id] for content, item in item_of.items()}
        if not vectors:
            return
        title_ids = np.array([item.title_id for item in item_of.values()], np.int64)
        num_windows_of = {content: len(one) for content, one in vectors.items()}
        if current is None or not current.is_current(num_windows_of, title_ids):
            write_calibration(path, calibrate(self._record, vectors, title_ids))

    def result(self) -> EmbedResult:
        """Return what was done."""
        paths = self._folder.vectors_of(self._record).glob("*.vec")
        return EmbedResult(
            encoder=self._record,
            embedded=len(self._vectors) - self._num_kept,
            kept=self._num_kept,
            removed=self._removed,
            rebuilt=tuple(self._rebuilt),
            failed=tuple(self._failed),
            num_windows=sum(map(len, self._vectors.values())),
            film_seconds=self._total_seconds,
            bytes=sum(path.stat().st_size for path in paths),
        )


@functools.lru_cache(maxsize=1)
def _encoder_of_worker(source: str, device: str, num_threads: int) -> WindowEncoder:
    torch.set_num_threads(num_threads)
    return load_window_encoder(source, device=device)


def _embed_in_worker(
    catalog: Path,
    index: Path,
    record: IndexedEncoder,
    source: str,
    device: str,
    num_threads: int,
    job: _Job,
    report: Callable[[float], None],
) -> None:
    encoder = _encoder_of_worker(source, device, num_threads)
    if encoder.encoder.fingerprint != record.fingerprint:
        raise SearchError(f"the encoder {source!r} has changed while it was used: run embed again")
    _embed_item(catalog, index, record, encoder, job, report)


def _embed_item(
    catalog: Path,
    index: Path,
    record: IndexedEncoder,
    encoder: WindowEncoder,
    job: _Job,
    report: Callable[[float], None],
) -> None:
    """Embed one item and write its file: a pure function of the proxy, the encoder and the windows.

    Raises:
        MediaError: The proxy is missing or damaged, or the encoder gives no vectors for it.
    """
    try:
        vectors = encoder.embed_proxy(
            catalog,
            job.proxy,
            window_seconds=record.window_seconds,
            stride_seconds=record.stride_seconds,
            report=report,
        )
    except ValueError as error:
        raise MediaError(f"the encoder {record.name} cannot embed it: {error}") from error
    path = IndexFolder(index).vector_file(record, job.content)
    write_vector_file(path, vectors, file_description(record, job.content))
