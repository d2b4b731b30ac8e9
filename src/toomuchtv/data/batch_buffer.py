"""Where a batch in flight lies: a file in memory that a worker fills and the run copies from.

| step, item | video | waveform | ... | failures, divided by zero bytes |

The first two say what its worker is at: who is lost leaves a note of where.
"""

from __future__ import annotations

import mmap
import os
import signal
from collections.abc import Collection
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import DTypeLike

from toomuchtv.data.batches import (
    BatchArrays,
    PlannedBatches,
    batch_layout,
    batch_of_arrays,
)
from toomuchtv.data.clip_reader import ClipReader
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.errors import MediaError

#: In place of an item: none is being read.
NOBODY = -1
_NOTE_BYTES = 16


def write_note(slot: int, step: int, item: int) -> None:
    """Say in a slot what its worker is at."""
    os.pwrite(slot, np.array([step, item], np.int64).tobytes(), 0)


def item_at(slot: int, step: int) -> int | None:
    """The item that a slot's worker is reading for a step; None where it is at something else."""
    note = os.pread(slot, _NOTE_BYTES, 0)
    found, item = np.frombuffer(note, np.int64).tolist() if note else (NOBODY, NOBODY)
    return item if found == step and item != NOBODY else None


def write_avoided(file: int, items: Collection[int]) -> None:
    """Say which items no worker may read; there is never one fewer than before."""
    os.pwrite(file, np.array(sorted(items)).tobytes(), 0)


def _places(
    num_clips: int, reader: ClipReader
) -> tuple[dict[str, tuple[DTypeLike, tuple[int, ...], int]], int]:
    """Dtype, shape and offset of each array in a slot, and where the arrays end."""
    at, places = _NOTE_BYTES, {}
    layout = batch_layout(num_clips, reader.clip_format, reader.side)
    for name, (dtype, shape) in layout.items():
        at = -(-at // 64) * 64
        places[name] = (dtype, shape, at)
        at += int(np.prod(shape)) * np.dtype(dtype).itemsize
    return places, at


def copy_batch(
    slot: int, step: int, num_clips: int, num_bytes: int, reader: ClipReader
) -> ClipBatch:
    """Copy a finished batch out of its slot."""
    places, end = _places(num_clips, reader)
    arrays = {}
    for name, (dtype, shape, at) in places.items():
        arrays[name] = np.empty(shape, dtype)
        flat, done = memoryview(arrays[name].data).cast("B"), 0
        while done < len(flat):  # a call copies 2 GiB at most
            done += os.preadv(slot, [flat[done:]], at + done)
    text = os.pread(slot, num_bytes, end).decode("utf-8", "surrogateescape")
    return batch_of_arrays(arrays, step, tuple(text.split("\0")) if text else ())


def decode_batches(connection: Connection, batches: PlannedBatches, avoided_file: int) -> None:
    """The life of a worker."""
    # Schedulers signal every process of a job: the run that this works for decides what to do,
    # and needs its workers until it has saved.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    slots: dict[int, Slot] = {}
    connection.send(("ready", None))
    while True:
        step, file = connection.recv()
        slot = slots.setdefault(file, Slot(file, batches, avoided_file))
        try:
            num_clips, num_bytes = slot.fill(step)
        except MediaError as error:
            connection.send(("failed", str(error)))
        except MemoryError:
            os._exit(os.EX_OSERR)  # as if the system had killed it
        else:
            connection.send(("done", (num_clips, num_bytes)))


class Slot:
    """The memory of one batch in flight, as its worker sees it.

    Args:
        file: The slot.
        batches: What to decode.
        avoided_file: Where the run says which items not to read.
    """

    def __init__(self, file: int, batches: PlannedBatches, avoided_file: int) -> None:
        self._file = file
        self._batches = batches
        self._avoided_file = avoided_file
        self._arrays: BatchArrays | None = None

    def fill(self, step: int) -> tuple[int, int]:
        """Decode a step into it; gives the number of clips, and of the bytes that tell failures."""

        def is_readable(item: int) -> bool:
            write_note(self._file, step, item)
            return item not in self._avoided()

        write_note(self._file, step, NOBODY)
        arrays, failures = self._batches.decode(step, self._allocate, is_readable=is_readable)
        write_note(self._file, step, NOBODY)
        num_clips = len(arrays["valid"])
        text = "\0".join(failures).encode("utf-8", "surrogateescape")
        os.pwrite(self._file, text, _places(num_clips, self._batches.reader)[1])
        return num_clips, len(text)

    def _avoided(self) -> list[int]:
        size = os.fstat(self._avoided_file).st_size
        items: list[int] = np.frombuffer(os.pread(self._avoided_file, size, 0), np.int64).tolist()
        return items

    def _allocate(self, num_clips: int) -> BatchArrays:
        if self._arrays is None or len(self._arrays["valid"]) != num_clips:
            places, end = _places(num_clips, self._batches.reader)
            os.ftruncate(self._file, end)
            memory = mmap.mmap(self._file, end)
            self._arrays = {
                name: np.ndarray(shape, dtype, memory, offset=at)
                for name, (dtype, shape, at) in places.items()
            }
        return self._arrays
