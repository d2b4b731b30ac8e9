"""The loader under failures: workers are killed or hang, proxies are cut or missing."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from tests.data.deadly import AlwaysDeadly, Deadly, Stalling
from tests.data.test_loader import assert_equal, batches_of, proxies_of, was_replaced
from toomuchtv.data.clip_reader import ClipReader
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.data.loader import BatchStream, iterate_batches
from toomuchtv.errors import MediaError


def stream_of(
    catalog_path: Path,
    *,
    stop: int = 8,
    num_workers: int = 1,
    reader: Callable[..., ClipReader] = ClipReader,
    **policy: object,
) -> BatchStream:
    return iterate_batches(
        batches_of(catalog_path, reader=reader),
        start=0,
        stop=stop,
        num_workers=num_workers,
        **policy,  # type: ignore[arg-type]
    )


def expected_of(catalog_path: Path, stop: int = 8) -> list[ClipBatch]:
    batches = batches_of(catalog_path)
    return [batches[step] for step in range(stop)]


def workers() -> set[psutil.Process]:
    """Return the running worker processes of the loader."""
    return {
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE
        and "toomuchtv._internal.subprocess_pool" in str(child.cmdline())
    }


def signal_workers(number: signal.Signals) -> None:
    found = workers()
    assert found
    for worker in found:
        worker.send_signal(number)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_killed_workers_do_not_change_the_batches(prepared_catalog: Path, num_workers: int) -> None:
    expected = expected_of(prepared_catalog, 12)
    stream = stream_of(prepared_catalog, stop=12, num_workers=num_workers)
    found = []
    for batch in stream:
        found.append(batch)
        if len(found) == 3:
            signal_workers(signal.SIGKILL)
    for one, two in zip(expected, found, strict=True):
        assert_equal(one, two)
    # A death may go unnoticed only if the worker had finished all its steps.
    assert num_workers >= stream.worker_restarts >= 1
    assert not workers()


def test_a_worker_killed_at_its_start_blames_no_proxy(
    prepared_catalog: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = expected_of(prepared_catalog, 4)
    stream = stream_of(prepared_catalog, stop=4)
    signal_workers(signal.SIGKILL)
    for one, two in zip(expected, stream, strict=True):
        assert_equal(one, two)
    assert stream.worker_restarts == 1
    assert [record.getMessage() for record in caplog.records] == [
        "a loader worker died (signal 9): another takes over"
    ]


def test_a_stopped_worker_is_replaced_after_the_timeout(prepared_catalog: Path) -> None:
    expected = expected_of(prepared_catalog)
    stream = stream_of(prepared_catalog, timeout_seconds=3.0)
    found = [next(stream)]
    signal_workers(signal.SIGSTOP)
    found.extend(stream)
    for one, two in zip(expected, found, strict=True):
        assert_equal(one, two)
    assert stream.worker_restarts == 1
    assert not workers()


def test_a_lost_worker_stops_the_stream_if_configured(prepared_catalog: Path) -> None:
    stream = stream_of(prepared_catalog, on_worker_death="stop")
    next(stream)
    signal_workers(signal.SIGKILL)
    with pytest.raises(MediaError, match=r"died \(signal 9\).*training.on_worker_death is 'stop'"):
        list(stream)
    assert not workers()


def test_restarts_are_bounded(prepared_catalog: Path) -> None:
    stream = stream_of(prepared_catalog, stop=40, max_restarts=1)
    next(stream)
    signal_workers(signal.SIGKILL)
    while stream.worker_restarts == 0:  # it takes what was ready before
        next(stream)
    signal_workers(signal.SIGKILL)
    with pytest.raises(MediaError, match=r"after 1 others: training\.max_worker_restarts is"):
        list(stream)
    assert stream.worker_restarts == 1


def test_a_proxy_that_crashes_workers_is_excluded(prepared_catalog: Path) -> None:
    expected = expected_of(prepared_catalog)
    stream = stream_of(prepared_catalog, reader=Deadly)
    avoided = 0
    for good, batch in zip(expected, stream, strict=True):
        assert np.array_equal(batch.specs.title, good.specs.title)
        item = batch.specs.item
        untouched = torch.from_numpy((item == good.specs.item) & (item != 0))
        assert torch.equal(batch.video[untouched], good.video[untouched])
        assert not batch.valid[item == 0].any()
        assert all("crashed or stalled before" in failure for failure in batch.failures)
        avoided += len(batch.failures)
    assert avoided
    assert stream.worker_restarts == 2


def test_restarts_end_if_no_batch_is_decoded(prepared_catalog: Path) -> None:
    stream = stream_of(prepared_catalog, reader=AlwaysDeadly, max_restarts=3)
    with pytest.raises(MediaError, match=r"died \(exit code 7\) while reading the proxy .*mp4"):
        list(stream)


def test_a_proxy_that_stalls_is_replaced_inside_its_title(own_catalog: Path) -> None:
    expected = expected_of(own_catalog, 4)
    names = batches_of(own_catalog).reader.name
    drawn = {names(item) for batch in expected for item in batch.specs.item.tolist()}
    stalls = next(one for one in proxies_of(own_catalog, "Delta") if one.video_path.name in drawn)
    path = own_catalog / stalls.video_path
    path.unlink()
    os.mkfifo(path)
    stream = stream_of(own_catalog, stop=4, num_workers=2, timeout_seconds=2.0, reader=Stalling)
    found = list(stream)
    failures = [failure for batch in found for failure in batch.failures]
    assert failures
    assert all(path.name in failure for failure in failures)
    for good, batch in zip(expected, found, strict=True):
        assert np.array_equal(batch.specs.title, good.specs.title)
        moved = was_replaced(batch, good)
        assert torch.equal(batch.video[~moved & batch.valid], good.video[~moved & batch.valid])
    assert stream.worker_restarts >= 2


def test_a_stall_stops_the_stream_if_configured(own_catalog: Path) -> None:
    path = own_catalog / proxies_of(own_catalog, "Alpha")[0].video_path
    path.unlink()
    os.mkfifo(path)
    stream = stream_of(own_catalog, timeout_seconds=0.5, on_worker_death="stop", reader=Stalling)
    with pytest.raises(
        MediaError, match=r"delivered no batch for 0.5 s while reading the proxy .*mp4"
    ):
        list(stream)


def test_a_proxy_cut_while_it_is_read_is_replaced(own_catalog: Path) -> None:
    expected = expected_of(own_catalog, 20)
    path = own_catalog / proxies_of(own_catalog, "E01")[0].video_path
    # One proxy open at once: these are so small that one stays in memory while it is open.
    reader = functools.partial(ClipReader, max_open=1)
    stream = stream_of(own_catalog, stop=20, reader=reader)
    found = [next(stream) for _ in range(3)]
    os.truncate(path, path.stat().st_size // 3)
    found.extend(stream)
    failures = [failure for batch in found for failure in batch.failures]
    assert failures
    assert all(path.name in failure for failure in failures)
    for good, batch in zip(expected, found, strict=True):
        assert np.array_equal(batch.specs.title, good.specs.title)
        assert batch.video.shape == good.video.shape
    assert stream.worker_restarts == 0


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_bad_clip_stops_the_stream_if_configured(own_catalog: Path, num_workers: int) -> None:
    path = own_catalog / proxies_of(own_catalog, "Alpha")[0].video_path
    path.unlink()
    batches = batches_of(own_catalog, on_bad_clip="stop")
    stream = iterate_batches(batches, start=0, stop=8, num_workers=num_workers)
    with pytest.raises(
        MediaError, match=r"training.on_bad_clip is 'stop': run `toomuchtv prepare`"
    ):
        list(stream)
    assert not workers()


def test_dropping_a_stream_ends_its_workers(prepared_catalog: Path) -> None:
    stream = stream_of(prepared_catalog, num_workers=2)
    next(stream)
    assert len(workers()) == 2
    del stream
    assert not workers()
