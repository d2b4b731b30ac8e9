"""Write the embeddings of an index as NumPy files or as a Parquet file."""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from toomuchtv._internal.files import write_text
from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.catalog.item_names import item_name
from toomuchtv.errors import SearchError
from toomuchtv.search.encoder_index import EncoderIndex
from toomuchtv.search.hits import Modality
from toomuchtv.search.index import SearchIndex

#: How `export_vectors` writes vectors.
VectorFormat = Literal["numpy", "parquet"]
_COLUMNS = ("item_id", "title", "name", "path", "start_seconds", "stop_seconds")


def export_vectors(
    index: SearchIndex,
    folder: str | os.PathLike[str],
    *,
    encoder: str | None = None,
    format: VectorFormat = "numpy",  # noqa: A002 - as other writers of files call it
    progress: ProgressCallback = no_progress,
) -> int:
    """Write the embeddings of one encoder, whole or not at all.

    As "numpy", the folder gets `video.npy` and `audio.npy` (float16 `[N, D]`; NaN for windows of
    items without the modality), `windows.csv` with one line for each of the N rows, and
    `encoder.json`. As "parquet", it gets `windows.parquet`, which has the columns of `windows.csv`
    and the vectors as lists of half-precision numbers (null without the modality), and
    `encoder.json`.

    Args:
        index: The index.
        folder: The folder to write, which must not exist.
        encoder: Name of the encoder; it may be omitted if there is only one.
        format: "numpy", or "parquet", which needs the extra `parquet`.
        progress: Receives the number of windows that are done.

    Returns:
        The number N of windows.

    Raises:
        SearchError: The index has no such encoder, or several and none is named; or what Parquet
            needs is not installed.
        FileExistsError: The folder exists.
    """
    if encoder is None and len(index.encoders) == 1:
        encoder = next(iter(index.encoders))
    if encoder not in index.encoders:
        raise SearchError(
            f"name one encoder of the index: {', '.join(index.encoders)}; got {encoder!r}"
        )
    target = Path(folder)
    if target.exists():
        raise FileExistsError(f"{os.fspath(target)!r} exists: choose another folder")
    write = _write_numpy if format == "numpy" else _write_parquet
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        record = index.encoders[encoder].record
        write(index, index.encoders[encoder], partial, progress)
        write_text(partial / "encoder.json", record.model_dump_json(indent=1) + "\n")
        partial.chmod(0o777 & ~_umask())
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return len(index.encoders[encoder])


def _write_numpy(
    index: SearchIndex, encoder: EncoderIndex, folder: Path, progress: ProgressCallback
) -> None:
    arrays = {
        modality: np.lib.format.open_memmap(
            folder / f"{modality}.npy", "w+", np.float16, (len(encoder), dim)
        )
        for modality, dim in _dims(encoder).items()
    }
    with (folder / "windows.csv").open("w", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for row, rows in _windows(index, encoder, progress):
            part = slice(encoder.starts[row], encoder.starts[row + 1])
            for modality, array in arrays.items():
                values = encoder.items[row].vectors.of(modality)
                array[part] = np.nan if values is None else values.numpy()
            writer.writerows(rows)
    for array in arrays.values():
        array.flush()


def _write_parquet(
    index: SearchIndex, encoder: EncoderIndex, folder: Path, progress: ProgressCallback
) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise SearchError(
            "pyarrow is not installed: `pip install 'toomuchtv[parquet]'` installs it"
        ) from error
    types = (pa.int64(), pa.string(), pa.string(), pa.string(), pa.float64(), pa.float64())
    fields = list(zip(_COLUMNS, types, strict=True))
    fields += [(modality, pa.list_(pa.float16(), dim)) for modality, dim in _dims(encoder).items()]
    schema = pa.schema(fields)
    with pq.ParquetWriter(folder / "windows.parquet", schema) as writer:
        for row, rows in _windows(index, encoder, progress):
            arrays = [
                pa.array([_escaped(value) for value in column], kind)
                for column, kind in zip(zip(*rows, strict=True), types, strict=True)
            ]
            for modality, dim in _dims(encoder).items():
                values = encoder.items[row].vectors.of(modality)
                if values is None:
                    arrays.append(pa.nulls(len(rows), pa.list_(pa.float16(), dim)))
                else:
                    flat = pa.array(values.numpy().ravel())
                    arrays.append(pa.FixedSizeListArray.from_arrays(flat, dim))
            writer.write_table(pa.table(arrays, schema=schema))


def _dims(encoder: EncoderIndex) -> dict[Modality, int]:
    """Return the size of the vectors of each modality that the encoder has."""
    dims: dict[Modality, int | None] = {
        "video": encoder.record.video_dim,
        "audio": encoder.record.audio_dim,
    }
    return {modality: dim for modality, dim in dims.items() if dim is not None}


def _windows(
    index: SearchIndex, encoder: EncoderIndex, progress: ProgressCallback
) -> Iterator[tuple[int, list[tuple[object, ...]]]]:
    """Yield the number of each item that has windows, and their values of `_COLUMNS`."""
    for row, entry in enumerate(encoder.items):
        name = item_name(entry.title, entry.item)
        path = str(index.catalog.source_path(entry.item))
        rows: list[tuple[object, ...]] = [
            (
                entry.item.id,
                entry.title.name,
                name,
                path,
                start,
                start + encoder.record.window_seconds,
            )
            for start in entry.vectors.times.double().tolist()
        ]
        if rows:
            yield row, rows
        progress(int(encoder.starts[row + 1]), len(encoder), name)


def _escaped(value: object) -> object:
    # Bytes of a path that are no text.
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _umask() -> int:
    # The only way to read it is to set it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
