"""The shared-memory buffer into which a worker decodes a batch, and which training reads.

    | step, item | video | waveform | valid | columns of the specs | failures, separated by zeros |

The first two numbers say which item the worker is reading for which step. If the worker dies or
hangs, they remain and show where.
"""

from __future__ import annotations

import mmap
import os
import signal
import weakref
from collections.abc import Callable, Collection
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from toomuchtv.data.batches import BatchArrays, PlannedBatches, batch_layout, batch_of_arrays
from toomuchtv.data.clip_reader import ClipReader
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.errors import MediaError

#: In place of an item: the worker is not reading any.
NO_ITEM = -1
_HEADER_BYTES = 16
#: The arrays of a batch that are too large to be copied for nothing.
_LARGE = ("video", "waveform")


def write_current_item(buffer: int, step: int, item: int) -> None:
    """Write into a buffer which item its worker is reading."""
    os.pwrite(buffer, np.array([step, item], np.int64).tobytes(), 0)


def read_current_item(buffer: int, step: int) -> int | None:
    """Return the item that a buffer's worker is reading for a step, or None."""
    header = os.pread(buffer, _HEADER_BYTES, 0)
    found, item = np.frombuffer(header, np.int64).tolist() if header else (NO_ITEM, NO_ITEM)
    return item if found == step and item != NO_ITEM else None


def write_excluded(file: int, items: Collection[int]) -> None:
    """Write which items no worker may read. The list only ever grows."""
    os.pwrite(file, np.array(sorted(items)).tobytes(), 0)


def _offsets(
    num_clips: int, reader: ClipReader
) -> tuple[dict[str, tuple[DTypeLike, tuple[int, ...], int]], int]:
    """Return dtype, shape and offset of each array in a buffer, and the end of the arrays."""
    end, offsets = _HEADER_BYTES, {}
    for name, (dtype, shape) in batch_layout(num_clips, reader).items():
        begin = -(-end // 64) * 64
        offsets[name] = (dtype, shape, begin)
        end = begin + int(np.prod(shape)) * np.dtype(dtype).itemsize
    return offsets, end


class MappedBuffer:
    """The memory of one batch, as the training process sees it.

    Args:
        file: File descriptor of the buffer.
        pin_memory: Whether the memory is pinned where it is, so that a GPU reads it directly.
    """

    def __init__(self, file: int, *, pin_memory: bool) -> None:
        self._file, self._wants_pinned = file, pin_memory
        self._memory: mmap.mmap | None = None
        self._pinned_address = 0

    def lend(
        self,
        step: int,
        num_clips: int,
        num_bytes: int,
        reader: ClipReader,
        on_release: Callable[[], None],
    ) -> ClipBatch | None:
        """Return a finished batch whose video and waveforms are this memory, without a copy.

        Args:
            step: The step of the batch.
            num_clips: Number of its clips.
            num_bytes: Number of bytes of the failures' text.
            reader: The reader of the batches, which determines the layout.
            on_release: Called when nothing refers to video and waveforms any more. Until then the
                memory must not be written.

        Returns:
            The batch; None if the memory cannot be pinned and should be.
        """
        offsets, end = _offsets(num_clips, reader)
        if self._memory is None or len(self._memory) != end:
            self.unpin()
            self._memory = mmap.mmap(self._file, end)
            if self._wants_pinned:
                self._pin()
        if self._wants_pinned and not self._pinned_address:
            return None
        arrays: BatchArrays = {}
        remaining = set(_LARGE)

        def release(name: str) -> None:
            remaining.discard(name)
            if not remaining:
                on_release()

        for name, (dtype, shape, offset) in offsets.items():
            array = np.ndarray(shape, dtype, self._memory, offset=offset)
            arrays[name] = array if name in _LARGE else array.copy()
            if name in _LARGE:
                weakref.finalize(array, release, name).atexit = False
        return batch_of_arrays(arrays, step, _failures(self._file, num_bytes, end))

    def _pin(self) -> None:
        import torch

        assert self._memory is not None
        address = np.frombuffer(self._memory, np.uint8).ctypes.data
        runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        status = runtime.cudaHostRegister(address, len(self._memory), 0)
        if int(status) == 0:  # it fails where a process may not lock so much memory
            self._pinned_address = address

    def unpin(self) -> None:
        """Undo the pinning. Batches that are still in use stay valid."""
        if self._pinned_address:
            import torch

            runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
            runtime.cudaHostUnregister(self._pinned_address)
            self._pinned_address = 0


def copy_batch(
    buffer: int,
    step: int,
    num_clips: int,
    num_bytes: int,
    reader: ClipReader,
    *,
    pin_memory: bool = False,
) -> ClipBatch:
    """Copy a finished batch out of its buffer.

    Args:
        buffer: File descriptor of the buffer.
        step: The step of the batch.
        num_clips: Number of its clips.
        num_bytes: Number of bytes of the failures' text.
        reader: The reader of the batches, which determines the layout.
        pin_memory: Whether video and waveforms are copied to pinned memory, from which a GPU reads
            without another copy and without keeping the host waiting.
    """
    offsets, end = _offsets(num_clips, reader)
    arrays = {}
    for name, (dtype, shape, offset) in offsets.items():
        is_pinned = pin_memory and name in _LARGE
        arrays[name] = _pinned(shape, dtype) if is_pinned else np.empty(shape, dtype)
        flat, done = memoryview(arrays[name].data).cast("B"), 0
        while done < len(flat):  # one call copies at most 2 GiB
            done += os.preadv(buffer, [flat[done:]], offset + done)
    return batch_of_arrays(arrays, step, _failures(buffer, num_bytes, end))


def _failures(buffer: int, num_bytes: int, offset: int) -> tuple[str, ...]:
    text = os.pread(buffer, num_bytes, offset).decode("utf-8", "surrogateescape")
    return tuple(text.split("\0")) if text else ()


def _pinned(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    # PyTorch keeps pinned memory that is freed, and uses it again for the next batch.
    import torch

    num_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = torch.empty(num_bytes, dtype=torch.uint8, pin_memory=True).numpy()
    return memory.view(dtype).reshape(shape)


def decode_batches(connection: Connection, batches: PlannedBatches, excluded_file: int) -> None:
    """Decode batches in a worker process: receive (step, buffer), send the result."""
    # Schedulers signal every process of a job. The training process decides what to do, and needs
    # its workers until it has saved a checkpoint.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    buffers: dict[int, BatchBuffer] = {}
    connection.send(("ready", None))
    while True:
        step, file = connection.recv()
        buffer = buffers.setdefault(file, BatchBuffer(file, batches, excluded_file))
        try:
            num_clips, num_bytes = buffer.fill(step)
        except MediaError as error:
            connection.send(("failed", str(error)))
        except MemoryError:
            os._exit(os.EX_OSERR)  # the parent treats it like a process that the system killed
        else:
            connection.send(("done", (num_clips, num_bytes)))


class BatchBuffer:
    """The memory of one batch, as its worker sees it.

    Args:
        file: File descriptor of the buffer.
        batches: The batches to decode.
        excluded_file: File that lists the items not to read.
    """

    def __init__(self, file: int, batches: PlannedBatches, excluded_file: int) -> None:
        self._file = file
        self._batches = batches
        self._excluded_file = excluded_file
        self._arrays: BatchArrays | None = None

    def fill(self, step: int) -> tuple[int, int]:
        """Decode the batch of a step; return its number of clips and of bytes of failures."""

        def is_readable(item: int) -> bool:
            write_current_item(self._file, step, item)
            return item not in self._excluded()

        write_current_item(self._file, step, NO_ITEM)
        arrays, failures = self._batches.decode(step, self._allocate, is_readable=is_readable)
        write_current_item(self._file, step, NO_ITEM)
        num_clips = len(arrays["valid"])
        text = "\0".join(failures).encode("utf-8", "surrogateescape")
        os.pwrite(self._file, text, _offsets(num_clips, self._batches.reader)[1])
        return num_clips, len(text)

    def _excluded(self) -> list[int]:
        size = os.fstat(self._excluded_file).st_size
        content = os.pread(self._excluded_file, size, 0)
        items: list[int] = np.frombuffer(content, np.int64).tolist()
        return items

    def _allocate(self, num_clips: int) -> BatchArrays:
        if self._arrays is None or len(self._arrays["valid"]) != num_clips:
            offsets, end = _offsets(num_clips, self._batches.reader)
            os.ftruncate(self._file, end)
            memory = mmap.mmap(self._file, end)
            self._arrays = {
                name: np.ndarray(shape, dtype, memory, offset=offset)
                for name, (dtype, shape, offset) in offsets.items()
            }
        return self._arrays
