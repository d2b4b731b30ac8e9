"""Write the embeddings of an index as NumPy files."""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from toomuchtv._internal.files import write_text
from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.catalog.item_names import item_name
from toomuchtv.errors import SearchError
from toomuchtv.search.encoder_index import EncoderIndex
from toomuchtv.search.index import SearchIndex


def export_vectors(
    index: SearchIndex,
    folder: str | os.PathLike[str],
    *,
    encoder: str | None = None,
    progress: ProgressCallback = no_progress,
) -> int:
    """Write the embeddings of one encoder, whole or not at all.

    The folder gets `video.npy` and `audio.npy` (float16 `[N, D]`; NaN for windows of items without
    the modality), `windows.csv` with one line for each of the N rows, and `encoder.json`.

    Args:
        index: The index.
        folder: The folder to write, which must not exist.
        encoder: Name of the encoder; it may be omitted if there is only one.
        progress: Receives the number of windows that are done.

    Returns:
        The number N of windows.

    Raises:
        SearchError: The index has no such encoder, or several and none is named.
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
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        _write(index, index.encoders[encoder], partial, progress)
        partial.chmod(0o777 & ~_umask())
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return len(index.encoders[encoder])


def _write(
    index: SearchIndex, encoder: EncoderIndex, folder: Path, progress: ProgressCallback
) -> None:
    record = encoder.record
    arrays = {
        modality: np.lib.format.open_memmap(
            folder / f"{modality}.npy", "w+", np.float16, (len(encoder), dim)
        )
        for modality, dim in (("video", record.video_dim), ("audio", record.audio_dim))
        if dim is not None
    }
    with (folder / "windows.csv").open("w", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["item_id", "title", "name", "path", "start_seconds", "stop_seconds"])
        for row, entry in enumerate(encoder.items):
            part = slice(encoder.starts[row], encoder.starts[row + 1])
            for modality, array in arrays.items():
                values = entry.vectors.of("video" if modality == "video" else "audio")
                array[part] = np.nan if values is None else values.numpy()
            name = item_name(entry.title, entry.item)
            path = index.catalog.source_path(entry.item)
            for start in entry.vectors.times.double().tolist():
                stop = start + record.window_seconds
                writer.writerow([entry.item.id, entry.title.name, name, path, start, stop])
            progress(int(encoder.starts[row + 1]), len(encoder), name)
    for array in arrays.values():
        array.flush()
    write_text(folder / "encoder.json", record.model_dump_json(indent=1) + "\n")


def _umask() -> int:
    # The only way to read it is to set it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
