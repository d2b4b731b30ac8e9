"""Verify all files of an index, and the recall of its copy in LanceDB."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.catalog.store import open_catalog
from toomuchtv.errors import SearchError
from toomuchtv.search.hits import MODALITIES, Modality
from toomuchtv.search.index import open_index
from toomuchtv.search.index_folder import IndexFolder, content_of
from toomuchtv.search.lance_store import LanceEncoderIndex
from toomuchtv.search.vector_files import DamagedVectorFileError


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexCheck:
    """What `check_index` has found.

    Attributes:
        num_files: Number of vector files.
        num_bytes: Their size.
        damaged: One message for each damaged file.
        num_missing: Items of the catalog without embeddings, summed over the encoders.
        num_superfluous: Files of content that the catalog does not have any more.
    """

    num_files: int
    num_bytes: int
    damaged: tuple[str, ...]
    num_missing: int
    num_superfluous: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def check_index(
    index: str | os.PathLike[str],
    *,
    catalog: str | os.PathLike[str] | None = None,
    progress: ProgressCallback = no_progress,
) -> IndexCheck:
    """Read every vector file of an index and compare its checksum.

    Args:
        index: Folder of the index.
        catalog: Folder of its catalog, if it has moved.
        progress: Receives the number of files that are done.

    Raises:
        SearchError: There is no index, or its description is damaged.
        CatalogError: The catalog cannot be opened.
    """
    folder = IndexFolder(Path(index))
    description = folder.read()
    with open_catalog(description.catalog if catalog is None else catalog) as opened:
        items, proxies = opened.items(), opened.proxies()
    contents = [content_of(item, proxies[item.id]) for item in items if item.id in proxies]
    unprepared = len(items) - len(contents)
    jobs = [(encoder, content) for encoder in description.encoders for content in contents]
    num_files = num_bytes = num_superfluous = 0
    num_missing = unprepared * len(description.encoders)
    damaged = []
    for done, (encoder, content) in enumerate(jobs, start=1):
        path = folder.vector_file(encoder, content)
        try:
            num_bytes += path.stat().st_size
            num_files += 1
            folder.read_vectors(encoder, content)
        except FileNotFoundError:
            num_missing += 1
        except DamagedVectorFileError as error:
            damaged.append(str(error))
        progress(done, len(jobs), path.name)
    for encoder in description.encoders:
        found = {path.stem for path in folder.vectors_of(encoder).glob("*.vec")}
        num_superfluous += len(found.difference(contents))
    return IndexCheck(
        num_files=num_files,
        num_bytes=num_bytes,
        damaged=tuple(damaged),
        num_missing=num_missing,
        num_superfluous=num_superfluous,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """How well the approximate search of a copy in LanceDB finds what the exact one finds.

    Attributes:
        encoder: Name of the encoder.
        modality: "video" or "audio".
        num_windows: Number of windows.
        recall: Share of the ten most similar windows of a random window that are found.
        p50_ms: Median duration of an approximate search in milliseconds.
        p95_ms: The duration that 95% of them do not exceed.
    """

    encoder: str
    modality: Modality
    num_windows: int
    recall: float
    p50_ms: float
    p95_ms: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def measure_recall(
    index: str | os.PathLike[str],
    *,
    catalog: str | os.PathLike[str] | None = None,
    queries: int = 100,
    progress: ProgressCallback = no_progress,
) -> list[Recall]:
    """Search a copy in LanceDB for random windows of its own, approximately and exactly.

    Args:
        index: Address of the copy.
        catalog: Folder of its catalog, if it has moved.
        queries: Number of windows for each encoder and modality.
        progress: Receives the number of encoders and modalities that are done.

    Raises:
        SearchError: There is no copy.
        CatalogError: The catalog cannot be opened.
    """
    found = []
    with open_index(index, catalog=catalog) as opened:
        jobs = [(e, m) for e in opened.encoders.values() for m in MODALITIES]
        for done, (encoder, modality) in enumerate(jobs, start=1):
            if not isinstance(encoder, LanceEncoderIndex):
                raise SearchError(f"{os.fspath(index)!r} is no copy in LanceDB")
            measured = encoder.recall(modality, queries=queries)
            if measured is not None:
                recall, seconds = measured
                p50, p95 = (float(np.percentile(seconds * 1000, q)) for q in (50, 95))
                found.append(
                    Recall(
                        encoder=encoder.record.name, modality=modality,
                        num_windows=len(encoder), recall=recall, p50_ms=p50, p95_ms=p95,
                    )
                )  # fmt: skip
            progress(done, len(jobs), encoder.record.name)
    return found
