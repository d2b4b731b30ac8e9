"""Metrics of a run: meters of loss and time, and the log in `metrics.jsonl` and TensorBoard."""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from toomuchtv._internal.files import write_text
from toomuchtv.data.config import MAX_STEPS

_Batch = TypeVar("_Batch")


class MetricsLog:
    """A log that appends one JSON object per logged step to `RUN/metrics.jsonl`.

    The same values go to TensorBoard and, on request, to Weights & Biases. When a run resumes,
    the lines of steps that it will repeat are removed first.

    Args:
        run_path: Folder of the run.
        resume_step: Lines of later steps are removed.
        wandb_project: Weights & Biases project; empty for none.

    Raises:
        ValueError: `wandb_project` is set and `wandb` is not installed.
    """

    def __init__(self, run_path: Path, *, resume_step: int = 0, wandb_project: str = "") -> None:
        self._wandb = _start_wandb(wandb_project, run_path) if wandb_project else None
        self._path = run_path / "metrics.jsonl"
        lines = [line for line in read_metrics(run_path) if line["step"] <= resume_step]
        write_text(self._path, "".join(json.dumps(line) + "\n" for line in lines))
        self._file = self._path.open("a", encoding="utf-8")
        self._board = _EventFile(run_path / "tensorboard", first_step=resume_step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the metrics after `step` steps. Values that are not finite become null."""
        finite = {key: value if math.isfinite(value) else None for key, value in values.items()}
        try:
            self._file.write(json.dumps({"step": step, **finite}) + "\n")
            self._file.flush()
            self._board.write(step, values)
        except OSError as error:
            error.filename = error.filename or os.fspath(self._path)
            raise
        if self._wandb is not None:
            self._wandb.log({**values, "step": step}, step=step)

    def close(self) -> None:
        """Close the log."""
        with contextlib.suppress(OSError):  # every line was flushed when it was written
            self._file.close()
            self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


class _EventFile:
    """A file of scalars for TensorBoard.

    PyTorch's writer would put the name of this host into the name of the file, and would write in
    a thread, where an error of the disk has no reader.
    """

    def __init__(self, folder: Path, *, first_step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.{secrets.token_hex(4)}"
        self._file = (folder / name).open("wb")
        self._records = RecordWriter(self._file)
        self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))
        # TensorBoard drops what an interrupted run wrote about later steps.
        self._append(
            Event(
                wall_time=time.time(),
                step=first_step,
                session_log=SessionLog(status=SessionLog.START),
            )
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        scalars = [Summary.Value(tag=key, simple_value=value) for key, value in values.items()]
        self._append(Event(wall_time=time.time(), step=step, summary=Summary(value=scalars)))

    def _append(self, event: Any) -> None:
        self._records.write(event.SerializeToString())
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_metrics(run_path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read `RUN/metrics.jsonl`.

    Lines that are damaged are ignored, such as a last one that a kill cut off. The figures are for
    people; nothing that a run computes depends on them.

    Returns:
        One mapping per line: `step`, and figures. A figure that was not finite is None.

    Raises:
        OSError: The file exists and cannot be read.
    """
    try:
        text = (Path(run_path) / "metrics.jsonl").read_text("utf-8", "replace")
    except FileNotFoundError:
        return []
    lines = []
    for line in text.splitlines():
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict) and _is_line(values):
            lines.append(values)
    return lines


def _is_line(values: dict[str, Any]) -> bool:
    """Return True if values are those of a logged step: a step, and figures or null."""
    step = values.get("step")
    return (isinstance(step, int) and 0 <= step <= MAX_STEPS) and all(
        value is None or isinstance(value, float) or (isinstance(value, int) and value < 2**63)
        for value in values.values()
    )


def _start_wandb(project: str, run_path: Path) -> Any:
    """Start a run of Weights & Biases, or continue the one whose id is in the run's folder."""
    try:
        wandb = importlib.import_module("wandb")
    except ImportError as error:
        raise ValueError(
            "training.wandb_project is set, but the package wandb is not installed: "
            "pip install 'toomuchtv[wandb]', or leave the setting empty"
        ) from error
    id_path = run_path / "wandb_id.txt"
    if not id_path.exists():
        id_path.write_text(secrets.token_hex(4) + "\n")
    return wandb.init(
        project=project,
        id=id_path.read_text().strip(),
        name=run_path.name,
        dir=str(run_path),
        resume="allow",
    )


class Stopwatch:
    """A stopwatch that measures throughput and the time spent waiting for data.

    An interval lasts from one logged step to the next. Only the time inside `next(batches)` counts
    as waiting: logging, validation and checkpoints belong to the interval, but they are not waits.
    """

    def __init__(self) -> None:
        self._start_seconds = time.perf_counter()
        self._all_clips = 0
        self.start_interval()

    def start_interval(self) -> None:
        """Start a new interval."""
        self._interval_start_seconds = time.perf_counter()
        self._waited_seconds = 0.0
        self._interval_clips = 0

    def time_waits(
        self, batches: Iterable[_Batch], idle_seconds: Callable[[], float] = lambda: math.inf
    ) -> Iterator[_Batch]:
        """Yield the batches, and measure how long each `next` takes.

        Args:
            batches: The batches.
            idle_seconds: Returns for how long the device has had nothing to do. Only this part of a
                wait counts: a GPU may compute while the host waits for the next batch.
        """
        iterator = iter(batches)
        while True:
            before = time.perf_counter()
            batch = next(iterator, None)
            waited_seconds = time.perf_counter() - before
            self._waited_seconds += min(waited_seconds, idle_seconds())
            if batch is None:
                return
            yield batch

    def count_clips(self, num_clips: int) -> None:
        """Count the clips of a finished step, those of all processes."""
        self._interval_clips += num_clips
        self._all_clips += num_clips

    @property
    def clips_per_second(self) -> float:
        """Clips per second in this interval."""
        return self._interval_clips / self._interval_seconds

    @property
    def overall_clips_per_second(self) -> float:
        """Clips per second since the stopwatch was created."""
        return self._all_clips / max(1e-9, time.perf_counter() - self._start_seconds)

    @property
    def data_wait_share(self) -> float:
        """Share of the wall time of this interval that was spent waiting for data, 0 to 1."""
        return self._waited_seconds / self._interval_seconds

    @property
    def _interval_seconds(self) -> float:
        return max(1e-9, time.perf_counter() - self._interval_start_seconds)


class LossMeter(nn.Module):
    """The mean loss since the last logged step.

    It is a module so that checkpoints hold it: a resumed run logs what an uninterrupted run logs.
    """

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros((), dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def add(self, loss: float) -> None:
        """Add the loss of one step."""
        self.total += loss
        self.count += 1

    def reset(self) -> None:
        """Start a new interval."""
        self.total.zero_()
        self.count.zero_()

    @property
    def mean(self) -> float:
        """Mean loss of the interval so far; 0 before its first step."""
        return self.total.item() / max(1, int(self.count))


class MetricsTracker:
    """Counts finished steps and turns them into the metrics of an interval.

    Attributes:
        stopwatch: Throughput and waiting time.
        loss_meter: Mean loss of the current interval.
        last_loss: Mean loss of the last logged interval; NaN before the first one.
        replaced_clips: Number of clips of this process that could not be decoded as planned.
    """

    def __init__(self, *, last_loss: float = math.nan) -> None:
        self.stopwatch = Stopwatch()
        self.loss_meter = LossMeter()
        self.last_loss = last_loss
        self.replaced_clips = 0

    def update(self, *, loss: float, num_clips: int, replaced_clips: int) -> None:
        """Count a finished step."""
        self.stopwatch.count_clips(num_clips)
        self.loss_meter.add(loss)
        self.replaced_clips += replaced_clips

    def finish_interval(self) -> dict[str, float]:
        """Return the metrics of the interval, and start a new one."""
        self.last_loss = self.loss_meter.mean
        metrics = {
            "loss": self.last_loss,
            "clips_per_second": self.stopwatch.clips_per_second,
            "data_wait_share": self.stopwatch.data_wait_share,
        }
        self.stopwatch.start_interval()
        self.loss_meter.reset()
        return metrics
