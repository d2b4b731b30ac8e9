"""The loader decodes batches ahead of training, in worker processes that may die or hang.

The batch of a step is a pure function of the step, so another worker can decode the steps of one
that died. Each batch in flight has a buffer in shared memory (see `batch_buffer`), so the training
process never waits for something that a dead worker left half done, and the messages between the
processes are small. A batch is that memory itself, which is used again when nothing refers to the
batch any more. Who keeps more than two batches gets copies of the others.
"""

from __future__ import annotations

import collections
import logging
import os
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

from toomuchtv._internal.subprocess_pool import Worker, WorkerPool, memory_file
from toomuchtv.data.batch_buffer import (
    NO_ITEM,
    MappedBuffer,
    copy_batch,
    decode_batches,
    read_current_item,
    write_current_item,
    write_excluded,
)
from toomuchtv.data.batches import PlannedBatches
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.errors import MediaError

_log = logging.getLogger(__name__)

_BATCHES_AHEAD_PER_WORKER = 3
# Training holds the batch of the step that runs and that of the step before.
_MOST_LENT = 2
# The stream gives up after this many stalls, or deaths of all workers, without one batch between.
_LOSSES_WITHOUT_A_BATCH = 8
# An item is excluded after this many workers were lost at it.
_LOSSES_TO_ONE_ITEM = 2


def batches_ahead(num_workers: int) -> int:
    """Return the maximum number of decoded batches that wait in memory."""
    return _BATCHES_AHEAD_PER_WORKER * num_workers


def iterate_batches(
    batches: PlannedBatches,
    *,
    start: int,
    stop: int,
    num_workers: int,
    on_worker_death: Literal["restart", "stop"] = "restart",
    timeout_seconds: float = 300.0,
    max_restarts: int = 100,
    pin_memory: bool = False,
) -> BatchStream:
    """Decode the batches of steps `start` to `stop`, in order and ahead of their use.

    With 0 workers, batches are decoded in this process when they are asked for, and a crash of the
    decoder ends it. The batches are the same with any number of workers.

    Args:
        batches: The batches to decode.
        start: The first step.
        stop: The step after the last one.
        num_workers: Number of decoding processes.
        on_worker_death: Whether to replace a worker that died or was killed for stalling, or to
            stop with an error.
        timeout_seconds: A worker that delivers no batch for this time counts as stalled.
        max_restarts: Number of workers that may be replaced before the stream stops.
        pin_memory: Whether batches of workers are in pinned memory, for a GPU.
    """
    workers = None
    if num_workers:
        workers = _Workers(
            batches,
            range(start, stop),
            num_workers=num_workers,
            max_restarts=max_restarts if on_worker_death == "restart" else 0,
            timeout_seconds=timeout_seconds,
            pin_memory=pin_memory,
        )
    return BatchStream(batches, range(start, stop), workers)


class BatchStream(Iterator[ClipBatch]):
    """The batches of a range of steps, in order. Its workers end with it, or when it is closed.

    Taking a batch raises `MediaError` if a clip is bad and the settings say stop, or if workers die
    or stall and the settings say stop or the restarts are used up.
    """

    def __init__(
        self, batches: PlannedBatches, steps: range, workers: _Workers | None = None
    ) -> None:
        self._batches = batches
        self._steps = iter(steps)
        self._workers = workers

    @property
    def worker_restarts(self) -> int:
        """Number of workers that were replaced so far."""
        return 0 if self._workers is None else self._workers.restarts

    def __next__(self) -> ClipBatch:
        step = next(self._steps, None)
        if step is None:
            self.close()
            raise StopIteration
        if self._workers is None:
            return self._batches[step]
        try:
            return self._workers.batch(step)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the workers."""
        self._steps = iter(())
        if self._workers is not None:
            self._workers.close()

    def __del__(self) -> None:
        self.close()


class _Workers:
    """The workers of one stream, and the batches in flight. A job of a worker is a step."""

    def __init__(
        self,
        batches: PlannedBatches,
        steps: range,
        *,
        num_workers: int,
        max_restarts: int,
        timeout_seconds: float,
        pin_memory: bool,
    ) -> None:
        self.restarts = 0
        self._pin_memory = pin_memory
        self._reader = batches.reader
        self._steps_left = iter(steps)
        self._max_restarts = max_restarts
        self._timeout_seconds = timeout_seconds
        self._most_ahead = batches_ahead(num_workers)
        self._free_buffers = [memory_file() for _ in range(self._most_ahead + _MOST_LENT)]
        self._num_lent = 0
        self._mapped = {
            file: MappedBuffer(file, pin_memory=pin_memory) for file in self._free_buffers
        }
        self._excluded_file = memory_file()
        self._files = [self._excluded_file, *self._free_buffers]
        self._pool = WorkerPool[int](
            decode_batches, batches, self._excluded_file, files=self._files
        )
        self._buffer_of: dict[int, int] = {}
        self._finished: dict[int, tuple[str, Any]] = {}
        self._excluded: set[int] = set()
        self._losses_at: collections.Counter[tuple[int, int]] = collections.Counter()
        self._losses_since_batch = 0.0
        self._is_closed = False
        for _ in range(min(num_workers, len(steps))):
            self._pool.start()
        self._assign_steps()

    def batch(self, step: int) -> ClipBatch:
        """Wait for the batch of a step; steps must be asked for in order."""
        begun = time.monotonic()
        self._receive(0.0)
        while step not in self._finished:
            worker = next(worker for worker in self._pool.workers if step in worker.jobs)
            # While no batch was asked for, no message was read: that time does not count.
            seconds_left = worker.seconds_left(self._timeout_seconds, since=begun)
            if seconds_left > 0:
                self._receive(seconds_left)
            else:
                limit = worker.time_limit(self._timeout_seconds)
                self._replace(worker, f"delivered no batch for {limit:g} s", stalled=True)
        self._losses_since_batch = 0.0
        kind, content = self._finished.pop(step)
        buffer = self._buffer_of.pop(step)
        if kind == "failed":
            raise MediaError(f"step {step}: {content}")
        num_clips, num_bytes = content
        batch: ClipBatch | None = None
        if self._num_lent < _MOST_LENT:
            batch = self._mapped[buffer].lend(
                step, num_clips, num_bytes, self._reader, partial(self._take_back, buffer)
            )
        if batch is not None:
            self._num_lent += 1
        else:
            batch = copy_batch(
                buffer, step, num_clips, num_bytes, self._reader, pin_memory=self._pin_memory
            )
            self._free_buffers.append(buffer)
        self._assign_steps()
        return batch

    def _take_back(self, buffer: int) -> None:
        """Use the memory of a batch again that nothing refers to any more."""
        self._num_lent -= 1
        if not self._is_closed:
            self._free_buffers.append(buffer)

    def close(self) -> None:
        """Kill the workers and free the buffers."""
        if self._is_closed:
            return
        self._is_closed = True
        self._pool.close()
        for mapped in self._mapped.values():
            mapped.unpin()
        for file in self._files:
            os.close(file)

    def _assign_steps(self) -> None:
        while self._free_buffers and len(self._buffer_of) < self._most_ahead:
            step = next(self._steps_left, None)
            if step is None:
                return
            buffer = self._free_buffers.pop()
            self._buffer_of[step] = buffer
            self._submit(min(self._pool.workers, key=lambda worker: len(worker.jobs)), step)

    def _submit(self, worker: Worker[int], step: int) -> None:
        buffer = self._buffer_of[step]
        write_current_item(buffer, step, NO_ITEM)  # another worker may have left an item there
        worker.submit(step, (step, buffer))

    def _receive(self, seconds: float) -> None:
        """Handle the messages of the workers, waiting at most `seconds` for one."""
        for worker in self._pool.wait(seconds):
            if worker not in self._pool.workers:
                continue  # it was replaced while the others' messages were handled
            kind, content = worker.receive()
            if kind == "died":
                self._replace(worker, f"died ({content})")
            elif kind == "bug":
                raise content
            elif kind != "ready":
                self._finished[worker.jobs.popleft()] = (kind, content)

    def _replace(self, worker: Worker[int], how: str, *, stalled: bool = False) -> None:
        """Replace a worker that died or stalls by a new one, which gets its steps.

        Raises:
            MediaError: The settings say stop, or it has happened too often.
        """
        num_workers = len(self._pool.workers)
        self._pool.stop(worker)
        item = self._current_item(worker)
        where = "" if item is None else f" while reading the proxy {self._reader.name(item)}"
        what = f"a loader worker {how}{where}"
        self._losses_since_batch += 1.0 if stalled else 1.0 / num_workers
        is_hopeless = self._losses_since_batch > _LOSSES_WITHOUT_A_BATCH
        if self.restarts >= self._max_restarts or is_hopeless:
            raise MediaError(self._explain_stop(what))
        self.restarts += 1
        _log.warning("%s: another takes over", what)
        replacement = self._pool.start()
        if item is not None and item not in self._excluded:
            # A stall is the fault of the file. A death may have come from outside, so it must
            # happen twice at the same item of the same step.
            place = (NO_ITEM if stalled else worker.jobs[0], item)
            self._losses_at[place] += 1
            if self._losses_at[place] >= _LOSSES_TO_ONE_ITEM:
                self._exclude(item)
        for step in worker.jobs:
            self._submit(replacement, step)

    def _current_item(self, worker: Worker[int]) -> int | None:
        """Return the item that a worker is reading, or None."""
        if not worker.jobs:
            return None
        return read_current_item(self._buffer_of[worker.jobs[0]], worker.jobs[0])

    def _exclude(self, item: int) -> None:
        """Exclude an item from all further batches, and replace workers that are stuck in it."""
        _log.warning("the proxy %s is excluded from now on", self._reader.name(item))
        self._excluded.add(item)
        write_excluded(self._excluded_file, self._excluded)
        for worker in list(self._pool.workers):
            if self._current_item(worker) == item:
                self._replace(worker, "is stuck too")

    def _explain_stop(self, what: str) -> str:
        if self._max_restarts == 0:
            return f"{what}; training.on_worker_death is 'stop'"
        if self.restarts >= self._max_restarts:
            return f"{what}, after {self.restarts} others: training.max_worker_restarts is reached"
        return f"{what}; workers were lost repeatedly without one batch between: giving up"
