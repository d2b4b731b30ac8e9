"""Batches decoded ahead, by worker processes that may die or hang without the run doing so.

Plans are pure functions of the step, so a step that a worker took with it is simply done again by
another. Each batch in flight has a slot (see `slots`): nothing is waited for that a worker could
leave half done, and what goes through the pipes between them is small.
"""

from __future__ import annotations

import collections
import logging
import os
import time
from collections.abc import Iterator
from multiprocessing.connection import wait
from typing import Any, Literal

from toomuchtv._internal.subprocess_pool import START_SECONDS, Program, WorkerProcess, memory_file
from toomuchtv.data.batch_buffer import (
    NOBODY,
    copy_batch,
    decode_batches,
    item_at,
    write_avoided,
    write_note,
)
from toomuchtv.data.batches import PlannedBatches
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.errors import MediaError

_log = logging.getLogger(__name__)

#: Batches decoded ahead, for each worker.
_AHEAD = 3
#: Stalls in a row, or deaths of every worker, without one batch between, after which the rest is
#: hopeless.
_LOSSES_WITHOUT_A_BATCH = 8
#: A worker that is lost at the same item of the same step so many times was lost to that item.
_LOSSES_TO_ONE_ITEM = 2


def batches_ahead(num_workers: int) -> int:
    """How many batches lie decoded in memory, at most, before they are taken."""
    return _AHEAD * num_workers


def iterate_batches(
    batches: PlannedBatches,
    *,
    start: int,
    stop: int,
    num_workers: int,
    on_worker_death: Literal["restart", "stop"] = "restart",
    timeout_seconds: float = 300.0,
    max_restarts: int = 100,
) -> BatchStream:
    """Decode the batches of steps `start` to `stop`, in order, ahead of who takes them.

    With 0 workers they are decoded here, when asked for: then nothing keeps a crash or a stall of
    the decoder from this process. The batches are the same with any number.

    Args:
        batches: What to decode.
        start: The first step.
        stop: The step after the last.
        num_workers: Processes that decode.
        on_worker_death: What to do about a worker that died, or was killed for stalling.
        timeout_seconds: How long to wait for one batch before its worker counts as stalled.
        max_restarts: Workers that may be lost before the stream gives up.
    """
    workers = None
    if num_workers:
        workers = _Workers(
            batches,
            range(start, stop),
            num_workers=num_workers,
            max_restarts=max_restarts if on_worker_death == "restart" else 0,
            timeout_seconds=timeout_seconds,
        )
    return BatchStream(batches, range(start, stop), workers)


class BatchStream(Iterator[ClipBatch]):
    """The batches of a range of steps, in order. Closing it, or its end, ends its workers.

    Taking a batch raises `MediaError` where a clip is bad and the policy says stop, or where
    workers die or stall and the policy says stop or the restarts are used up.
    """

    def __init__(
        self, batches: PlannedBatches, steps: range, workers: _Workers | None = None
    ) -> None:
        self._batches = batches
        self._steps = iter(steps)
        self._workers = workers

    @property
    def worker_restarts(self) -> int:
        """Workers that were lost and replaced so far."""
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


class _Worker:
    """A decoding process and the steps that it was given, in order."""

    def __init__(self, program: Program, files: list[int]) -> None:
        self._process = WorkerProcess(program, files=files)
        self.connection = self._process.connection
        self.receive, self.kill = self._process.receive, self._process.kill
        self.steps: collections.deque[int] = collections.deque()
        self.is_ready = False
        self.heard = time.monotonic()

    def begin(self, step: int, slot: int) -> None:
        self.steps.append(step)
        write_note(slot, step, NOBODY)  # what another left there says nothing about this one
        self._process.send((step, slot))


class _Workers:
    """The worker processes of one stream, and the batches in flight."""

    def __init__(
        self,
        batches: PlannedBatches,
        steps: range,
        *,
        num_workers: int,
        max_restarts: int,
        timeout_seconds: float,
    ) -> None:
        self.restarts = 0
        self._reader = batches.reader
        self._left = collections.deque(steps)
        self._max_restarts = max_restarts
        self._timeout_seconds = timeout_seconds
        self._free = [memory_file() for _ in range(batches_ahead(num_workers))]
        self._avoided_file = memory_file()
        self._files = [self._avoided_file, *self._free]
        self._program = Program.of(decode_batches, batches, self._avoided_file)
        self._slot_of: dict[int, int] = {}
        self._done: dict[int, tuple[str, Any]] = {}
        self._avoided: set[int] = set()
        self._losses: collections.Counter[tuple[int, int]] = collections.Counter()
        self._hopelessness = 0.0
        self._is_closed = False
        self._workers = [
            _Worker(self._program, self._files) for _ in range(min(num_workers, len(steps)))
        ]
        self._hand_out()

    def batch(self, step: int) -> ClipBatch:
        """Wait for the batch of a step; steps must be asked for in order."""
        begun = time.monotonic()
        self._listen(0.0)
        while step not in self._done:
            worker = next(worker for worker in self._workers if step in worker.steps)
            patience = self._timeout_seconds if worker.is_ready else START_SECONDS
            # While nobody asked for a batch, nobody listened: that time does not count.
            left = max(begun, worker.heard) + patience - time.monotonic()
            if left > 0:
                self._listen(left)
            else:
                self._replace(worker, f"gave nothing for {patience:g} s", stalled=True)
        self._hopelessness = 0.0
        word, content = self._done.pop(step)
        slot = self._slot_of.pop(step)
        if word == "failed":
            raise MediaError(f"step {step}: {content}")
        num_clips, num_bytes = content
        batch = copy_batch(slot, step, num_clips, num_bytes, self._reader)
        self._free.append(slot)
        self._hand_out()
        return batch

    def _hand_out(self) -> None:
        while self._left and self._free:
            step, slot = self._left.popleft(), self._free.pop()
            self._slot_of[step] = slot
            min(self._workers, key=lambda worker: len(worker.steps)).begin(step, slot)

    def _listen(self, seconds: float) -> None:
        """Take what workers have to say, waiting for it so long."""
        by_connection = {worker.connection: worker for worker in self._workers}
        for connection in wait(list(by_connection), timeout=seconds):
            worker = by_connection[connection]  # type: ignore[index]
            if worker not in self._workers:
                continue  # it was stuck at what another was just lost to
            word, content = worker.receive()
            worker.heard = time.monotonic()
            if word == "ready":
                worker.is_ready = True
            elif word == "died":
                self._replace(worker, f"died ({content})")
            elif word == "bug":
                raise content
            else:
                self._done[worker.steps.popleft()] = (word, content)

    def _replace(self, worker: _Worker, how: str, *, stalled: bool = False) -> None:
        """Put another worker in the place of one that died or stalls, and at its steps.

        Raises:
            MediaError: By policy, or because it has happened too often.
        """
        worker.kill()
        item = self._item_at(worker)
        where = "" if item is None else f" while reading the proxy {self._reader.name(item)}"
        what = f"a loader worker {how}{where}"
        self._hopelessness += 1.0 if stalled else 1.0 / len(self._workers)
        if self.restarts >= self._max_restarts or self._hopelessness > _LOSSES_WITHOUT_A_BATCH:
            raise MediaError(self._why_to_stop(what))
        self.restarts += 1
        _log.warning("%s: another takes over", what)
        other = _Worker(self._program, self._files)
        self._workers[self._workers.index(worker)] = other
        if item is not None and item not in self._avoided:
            # A stall is the file's; a death may have come from outside, so it must hit twice at
            # the very same place.
            place = (NOBODY if stalled else worker.steps[0], item)
            self._losses[place] += 1
            if self._losses[place] >= _LOSSES_TO_ONE_ITEM:
                self._avoid(item)
        for step in worker.steps:
            other.begin(step, self._slot_of[step])

    def _item_at(self, worker: _Worker) -> int | None:
        """The item that a worker is reading, if it is."""
        if not worker.steps:
            return None
        return item_at(self._slot_of[worker.steps[0]], worker.steps[0])

    def _avoid(self, item: int) -> None:
        """Leave an item out from now on; whoever is stuck in it already is replaced."""
        _log.warning("the proxy %s is left out from now on", self._reader.name(item))
        self._avoided.add(item)
        write_avoided(self._avoided_file, self._avoided)
        for worker in list(self._workers):
            if self._item_at(worker) == item:
                self._replace(worker, "is stuck too")

    def _why_to_stop(self, what: str) -> str:
        if self._max_restarts == 0:
            return f"{what}; training.on_worker_death is 'stop'"
        if self.restarts >= self._max_restarts:
            return f"{what}, after {self.restarts} others: training.max_worker_restarts is reached"
        return f"{what}, as others did before: not one batch came between"

    def close(self) -> None:
        """Kill the workers and let the memory go."""
        if self._is_closed:
            return
        self._is_closed = True
        for worker in self._workers:
            worker.kill()
        for file in self._files:
            os.close(file)
        self._program.close()
