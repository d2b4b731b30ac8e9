"""Batches on the device that trains, copied there while it computes.

A step launches its kernels and returns. While the device runs them, the host takes the next batch
from the loader, draws its augmentation and its patches, and finds its positive pairs. All of that
is copied from pinned memory on a stream of its own, so that neither the host nor the kernels of the
running step wait for a copy. On a CPU the same code runs without streams and copies nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from toomuchtv.data.augmentation import ClipAugmentation
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.data.pair_labels import PairLabels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeviceBatch:
    """The batch of one process, with everything that a step needs of it on the device.

    Attributes:
        host: The decoded batch. It is kept until the step is done, because its memory may still be
            copied from.
        video: `host.video` on the device.
        waveform: `host.waveform` on the device.
        changes: The augmentation of each clip.
        kept: Which patches of each modality the transformers keep; see `TwoTower.draw_patches`.
        pair_labels: Labels of the pairs of the whole batch, that of all processes.
    """

    host: ClipBatch
    video: Tensor
    waveform: Tensor
    changes: ClipAugmentation
    kept: tuple[Tensor | None, Tensor | None]
    pair_labels: PairLabels

    def __len__(self) -> int:
        return len(self.host)

    def tensors(self) -> Iterator[Tensor]:
        """Yield every tensor on the device."""
        yield from (self.video, self.waveform, self.pair_labels.clips)
        yield from self.pair_labels.positives or ()
        yield from (part for part in self.kept if part is not None)
        changes = self.changes
        yield from (changes.box, changes.color, changes.color_bias, changes.gain)
        yield from (changes.time_masks, changes.band_masks)
        if changes.blur_sigma is not None:
            yield changes.blur_sigma


def copy_to(device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return a function that copies a tensor of the host to a device without waiting for it."""

    def copy(value: Tensor) -> Tensor:
        if device.type != "cuda":
            return value.to(device)
        # From memory that is not pinned, the copy would be made in two and might wait.
        pinned = value if value.is_pinned() else value.pin_memory()
        return pinned.to(device, non_blocking=True)

    return copy


class Prefetcher(Iterator[DeviceBatch]):
    """Iterates over batches on the device, each of which is copied on a stream of its own.

    A batch is taken and copied when it is asked for. The step before has only been launched then,
    so the copy overlaps with its kernels.

    Args:
        batches: The decoded batches.
        prepare: A function that copies a batch to the device; see `TrainingStep.prepare`.
        device: The device.
    """

    def __init__(
        self,
        batches: Iterable[ClipBatch],
        prepare: Callable[[ClipBatch], DeviceBatch],
        device: torch.device,
    ) -> None:
        self._batches = iter(batches)
        self._prepare = prepare
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __next__(self) -> DeviceBatch:
        batch = next(self._batches)
        if self._stream is None:
            return self._prepare(batch)
        with torch.cuda.stream(self._stream):
            prepared = self._prepare(batch)
        current = torch.cuda.current_stream(self._stream.device)
        current.wait_stream(self._stream)
        for value in prepared.tensors():
            # Its memory must not be used again before the step that reads it is done.
            value.record_stream(current)
        return prepared


class HostValues:
    """A few numbers of the device that are copied to the host now and read later.

    Args:
        values: A vector on any device.
    """

    def __init__(self, values: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        self._values = values.detach()
        if values.device.type == "cuda":
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values.detach(), non_blocking=True)
            self._event = _recorded_event()

    def read(self) -> list[float]:
        """Wait until the values have been computed, and return them.

        What was launched after them goes on meanwhile.
        """
        if self._event is not None:
            self._event.synchronize()
        values: list[float] = self._values.tolist()
        return values

    def idle_seconds(self) -> float:
        """Return for how long the device has had nothing to do, if these are its last values.

        Returns:
            Infinity on a CPU, which never computes while the host does something else.
        """
        if self._event is None:
            return math.inf
        if not self._event.query():  # type: ignore[no-untyped-call]
            return 0.0
        now = _recorded_event()
        now.synchronize()  # at once: the device is idle
        milliseconds: float = self._event.elapsed_time(now)
        return milliseconds / 1000.0


def _recorded_event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event
