"""The speed of onnxruntime against that of PyTorch, on one core of this machine.

Times are those of the processor, which are not longer when other programs use it too.
"""

from __future__ import annotations

import importlib.metadata
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toomuchtv._internal.processor import processor_name

_MIN_REPEATS, _MAX_REPEATS = 3, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Repeated measurements of one encoder.

    Attributes:
        modality: `video` or `audio`.
        batch_size: Number of clips of one call.
        torch_seconds: CPU time of each call of PyTorch.
        onnx_seconds: CPU time of each call of onnxruntime.
    """

    modality: str
    batch_size: int
    torch_seconds: tuple[float, ...]
    onnx_seconds: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """How many times as fast onnxruntime is, by the medians."""
        return statistics.median(self.torch_seconds) / statistics.median(self.onnx_seconds)

    def row(self) -> list[str]:
        """Return the cells of a table; see `SPEED_HEADER`."""
        sides = (self.torch_seconds, self.onnx_seconds)
        rates = [_rates(self.batch_size, seconds) for seconds in sides]
        return [self.modality, str(self.batch_size), *rates, f"{self.ratio:.2f}"]


SPEED_HEADER = ["encoder", "clips per call", "PyTorch", "onnxruntime", "ratio"]


def _rates(batch_size: int, seconds: Sequence[float]) -> str:
    middle, slowest, fastest = (
        batch_size / value for value in (statistics.median(seconds), max(seconds), min(seconds))
    )
    return f"{middle:.3g} ({slowest:.3g} to {fastest:.3g})"


def measure_speed(
    torch_call: Callable[[], object],
    onnx_call: Callable[[], object],
    *,
    modality: str,
    batch_size: int,
    budget_seconds: float,
) -> Speed:
    """Measure two calls in turns: PyTorch, onnxruntime, onnxruntime, PyTorch.

    A runtime keeps its threads busy for a moment after each call, so the two do not alternate call
    by call. The first call of each turn is not counted.

    Args:
        torch_call: Embeds a batch with PyTorch.
        onnx_call: Embeds the same batch with onnxruntime.
        modality: `video` or `audio`.
        batch_size: Number of clips of the batch.
        budget_seconds: Time for all turns together. Every turn has at least three counted calls.
    """
    turns = [
        _repeat(call, budget_seconds / 4) for call in (torch_call, onnx_call, onnx_call, torch_call)
    ]
    return Speed(
        modality=modality,
        batch_size=batch_size,
        torch_seconds=turns[0] + turns[3],
        onnx_seconds=turns[1] + turns[2],
    )


def _repeat(call: Callable[[], object], budget_seconds: float) -> tuple[float, ...]:
    call()
    seconds: list[float] = []
    while len(seconds) < _MIN_REPEATS or (
        sum(seconds) < budget_seconds and len(seconds) < _MAX_REPEATS
    ):
        begun = time.process_time()
        call()
        seconds.append(time.process_time() - begun)
    return tuple(seconds)


def describe_machine() -> str:
    """Describe in words what the speed was measured with."""
    versions = " and ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("torch", "onnxruntime")
    )
    return f"one core ({processor_name()}), with {versions}"
