"""Asked to stop, a run need not wait for its data first."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import cast

import pytest

from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.training.stop import asked_to_stop


def batch() -> ClipBatch:
    return cast(ClipBatch, object())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_wait_for_data_is_left(number: signal.Signals) -> None:
    def slow() -> Iterator[ClipBatch]:
        yield batch()
        time.sleep(60)
        yield batch()

    taken = 0
    with asked_to_stop() as stop:
        threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
        for _ in stop.unless_asked(slow()):
            taken += 1
    assert stop.is_set
    assert taken == 1


def test_a_step_under_way_is_finished() -> None:
    with asked_to_stop() as stop:
        steps = []
        for step, _ in enumerate(stop.unless_asked(iter([batch(), batch(), batch()]))):
            if step == 1:
                signal.raise_signal(signal.SIGTERM)
            steps.append(step)
    assert steps == [0, 1]


def test_unless_asked_all_come() -> None:
    with asked_to_stop() as stop:
        assert len(list(stop.unless_asked(iter([batch(), batch()])))) == 2
    assert not stop.is_set
