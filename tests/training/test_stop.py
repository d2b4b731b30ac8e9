"""A stop request takes effect between two steps, and during a wait for data at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import cast

import pytest

from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.training.stop import stop_on_signals


def batch() -> ClipBatch:
    return cast(ClipBatch, object())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_a_wait_for_data(number: signal.Signals) -> None:
    def slow() -> Iterator[ClipBatch]:
        yield batch()
        time.sleep(60)
        yield batch()

    taken = 0
    with stop_on_signals() as stop:
        threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
        for _ in stop.until_set(slow()):
            taken += 1
    assert stop.is_set
    assert taken == 1


def test_a_signal_lets_the_current_step_finish() -> None:
    with stop_on_signals() as stop:
        steps = []
        for step, _ in enumerate(stop.until_set(iter([batch(), batch(), batch()]))):
            if step == 1:
                signal.raise_signal(signal.SIGTERM)
            steps.append(step)
    assert steps == [0, 1]


def test_without_a_signal_every_batch_is_yielded() -> None:
    with stop_on_signals() as stop:
        assert len(list(stop.until_set(iter([batch(), batch()])))) == 2
    assert not stop.is_set
