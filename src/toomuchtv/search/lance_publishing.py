"""Copy an index into LanceDB, and bring such a copy up to date; see `lance_store`."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.errors import SearchError
from toomuchtv.search.calibration import Calibration, read_calibration
from toomuchtv.search.hits import MODALITIES, Modality
from toomuchtv.search.index_folder import IndexDescription, IndexedEncoder, IndexFolder
from toomuchtv.search.lance_store import TABLE, connect, first_line, num_partitions_of
from toomuchtv.search.vector_files import ItemVectors

# Fewer windows are compared one by one, which is exact and fast enough.
_LEAST_FOR_INDEX = 100_000
# Windows that are added in one transaction, which takes about 1 KB of memory for each.
_WINDOWS_PER_BATCH = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishResult:
    """What `publish_index` has done.

    Attributes:
        added: Number of items that were added, summed over the encoders.
        kept: Number of items that were there.
        removed: Number of items that were deleted.
        num_windows: Number of windows of all encoders.
    """

    added: int
    kept: int
    removed: int
    num_windows: int


def publish_index(
    index: str | os.PathLike[str],
    uri: str | os.PathLike[str],
    *,
    progress: ProgressCallback = no_progress,
) -> PublishResult:
    """Copy an index into LanceDB, or bring such a copy up to date.

    It can be interrupted and repeated. Searches may go on meanwhile. An inverted file with
    quantized vectors (IVF) is built for more than 100,000 windows.

    Args:
        index: Folder of the index.
        uri: Address of the copy: a folder, or a URI that LanceDB accepts. Only one process may
            write to it at a time; the lock of the index folder ensures that for copies of it.
        progress: Receives the number of windows that are done.

    Raises:
        SearchError: There is no index, another process writes to it, a file of it is damaged,
            LanceDB is not installed, or the address cannot be written.
    """
    folder = IndexFolder(Path(index))
    description = folder.read()
    database = connect(os.fspath(uri))
    try:
        with folder.writing():
            return _publish(folder, description, database, progress)
    except (ValueError, RuntimeError, OSError) as error:
        raise SearchError(f"cannot write to {os.fspath(uri)!r}: {first_line(error)}") from error


def _publish(
    folder: IndexFolder, description: IndexDescription, database: Any, progress: ProgressCallback
) -> PublishResult:
    import pyarrow as pa

    added = kept = removed = total = 0
    texts = {"description": description.model_dump_json()}
    for encoder in description.encoders:
        tables = _Tables(database, encoder)
        contents = sorted(path.stem for path in folder.vectors_of(encoder).glob("*.vec"))
        present = tables.contents()
        stale = sorted(present.difference(contents))
        tables.delete(stale)
        new = [content for content in contents if content not in present]
        done = num_windows = tables.num_windows()
        sizes = [len(folder.read_vectors(encoder, content, verify=False)) for content in new]
        for content, vectors in _in_batches(folder, encoder, new):
            tables.add(content, vectors)
            done += sum(map(len, vectors))
            progress(done, num_windows + sum(sizes), encoder.name)
        tables.build_index(changed=bool(new or stale))
        added, kept, removed = (
            added + len(new),
            kept + len(contents) - len(new),
            removed + len(stale),
        )
        total += done
        calibration = read_calibration(folder.calibration_of(encoder))
        if calibration is not None:
            text = TypeAdapter(Calibration).dump_json(calibration).decode()
            texts[f"calibration {encoder.id}"] = text
    rows = pa.table({"name": list(texts), "text": list(texts.values())})
    database.create_table(TABLE, data=rows, mode="overwrite")
    used = {TABLE, *(f"{k}_{e.id}" for e in description.encoders for k in ("items", *MODALITIES))}
    for name in set(database.list_tables().tables).difference(used):
        if name.startswith(("items_", "video_", "audio_")):
            database.drop_table(name)
    return PublishResult(added=added, kept=kept, removed=removed, num_windows=total)


def _in_batches(
    folder: IndexFolder, encoder: IndexedEncoder, contents: Sequence[str]
) -> Iterator[tuple[list[str], list[ItemVectors]]]:
    """Yield contents with their vectors, about `_WINDOWS_PER_BATCH` windows at a time."""
    names: list[str] = []
    found: list[ItemVectors] = []
    for content in contents:
        names.append(content)
        found.append(folder.read_vectors(encoder, content))
        if sum(map(len, found)) >= _WINDOWS_PER_BATCH:
            yield names, found
            names, found = [], []
    if names:
        yield names, found


class _Tables:
    """The tables of one encoder, for writing."""

    def __init__(self, database: Any, encoder: IndexedEncoder) -> None:
        import pyarrow as pa

        dims = {"video": encoder.video_dim, "audio": encoder.audio_dim}
        self._schemas = {
            modality: pa.schema(
                [
                    ("content", pa.string()),
                    ("number", pa.int32()),
                    ("vector", pa.list_(pa.float16(), dim)),
                ]
            )
            for modality, dim in dims.items()
            if dim is not None
        }
        self._item_schema = pa.schema(
            [
                ("content", pa.string()),
                ("times", pa.binary()),
                ("video", pa.binary()),
                ("audio", pa.binary()),
            ]
        )
        make = database.create_table
        self._items = make(f"items_{encoder.id}", schema=self._item_schema, exist_ok=True)
        self._windows = {
            modality: make(f"{modality}_{encoder.id}", schema=schema, exist_ok=True)
            for modality, schema in self._schemas.items()
        }
        self._remove_incomplete()

    def contents(self) -> set[str]:
        """Return what is complete."""
        return set(self._items.search().select(["content"]).to_arrow()["content"].to_pylist())

    def num_windows(self) -> int:
        """Return the number of windows of all items that are complete."""
        times = self._items.search().select(["times"]).to_arrow()["times"].to_pylist()
        return sum(len(one) // 4 for one in times)

    def add(self, contents: Sequence[str], vectors: Sequence[ItemVectors]) -> None:
        """Add the windows of items, then the items."""
        import pyarrow as pa

        for modality, table in self._windows.items():
            kind: Modality = "video" if modality == "video" else "audio"
            having = [(c, v, v.of(kind)) for c, v in zip(contents, vectors, strict=True)]
            parts = [
                (content, len(item), values)
                for content, item, values in having
                if values is not None
            ]
            if not parts:
                continue
            flat = np.concatenate([values.numpy().ravel() for _, _, values in parts])
            schema = self._schemas[modality]
            dim = schema.field("vector").type.list_size
            columns = {
                "content": np.repeat([c for c, _, _ in parts], [n for _, n, _ in parts]).tolist(),
                "number": np.concatenate([np.arange(n, dtype=np.int32) for _, n, _ in parts]),
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat), dim),
            }
            table.add(pa.table(columns, schema=schema))
        rows: dict[str, Any] = {
            "content": list(contents),
            "times": [item.times.float().numpy().tobytes() for item in vectors],
            **{m: [_mean_bytes(item, m, self._windows) for item in vectors] for m in MODALITIES},
        }
        self._items.add(pa.table(rows, schema=self._item_schema))

    def delete(self, contents: Sequence[str]) -> None:
        """Delete items, then their windows."""
        for table in (self._items, *self._windows.values()):
            _delete(table, contents)

    def build_index(self, *, changed: bool) -> None:
        """Build the indexes of the tables, or bring them up to date."""
        from lancedb.index import BTree, IvfSq

        for table in self._windows.values():
            count = table.count_rows()
            kinds = {index.name: index for index in table.list_indices()}
            if count and "content_idx" not in kinds:
                table.create_index("content", config=BTree())
            old = kinds.get("vector_idx")
            if count >= _LEAST_FOR_INDEX and (old is None or _has_grown(table, count)):
                config = IvfSq(distance_type="cosine", num_partitions=num_partitions_of(count))
                table.create_index("vector", config=config)
            elif changed and count:
                table.optimize()

    def _remove_incomplete(self) -> None:
        """Delete windows whose item is not there, because a copy was interrupted."""
        complete = self._items.search().to_arrow().to_pylist()
        for modality, table in self._windows.items():
            expected = sum(len(r["times"]) // 4 for r in complete if r[modality] is not None)
            if table.count_rows() == expected:
                continue
            known = {row["content"] for row in complete}
            found = table.search().select(["content"]).to_arrow()["content"].unique().to_pylist()
            _delete(table, sorted(set(found) - known))


def _delete(table: Any, contents: Sequence[str]) -> None:
    """Delete all rows of some contents, a thousand contents at a time."""
    for start in range(0, len(contents), 1000):
        quoted = ", ".join(f"'{content}'" for content in contents[start : start + 1000])
        table.delete(f"content IN ({quoted})")


def _has_grown(table: Any, count: int) -> bool:
    """Return whether so much was added since the partitions were chosen that they are too few."""
    statistics = table.index_stats("vector_idx")
    return statistics is None or bool(statistics.num_unindexed_rows > count / 2)


def _mean_bytes(item: ItemVectors, modality: Modality, tables: Container[str]) -> bytes | None:
    mean = item.mean_of(modality) if modality in tables else None
    return None if mean is None else mean.float().numpy().tobytes()
