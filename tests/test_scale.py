"""The arithmetic of the benchmarks of scale and cost: the simulated cluster and the cost sheet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.cost import Rates, cost_sheet, table
from benchmarks.paper_collection import _drawn_words, paper_items
from benchmarks.scale import Cluster, TaskTimes, simulate

TIMES = TaskTimes(fixed_seconds=0.0, per_second=[0.1], record_seconds=0.0)
FAST = Cluster(
    cores_per_node=1,
    dispatch_seconds=0.0,
    node_bytes_per_second=1e15,
    storage_bytes_per_second=1e15,
)


def test_the_longest_item_is_sent_first() -> None:
    """Of 1, 1, 1 and 3 s, two cores take 3 s in this order and 4 s in the reverse order."""
    assert simulate([10, 10, 10, 30], TIMES, FAST, 2) == pytest.approx(3.0, rel=1e-4)
    assert simulate([10, 10, 10, 30], TIMES, FAST, 1) == pytest.approx(6.0, rel=1e-4)
    assert simulate([10, 10, 10, 30], TIMES, FAST, 64) == pytest.approx(3.0, rel=1e-4)


def test_the_driver_and_the_storage_bound_what_many_nodes_gain() -> None:
    slow_driver = replace(FAST, dispatch_seconds=2.0)
    assert simulate([10.0] * 100, TIMES, slow_driver, 50) == pytest.approx(200.0 + 1.0)
    # 1,000 s of film are 1 GB, which are read twice at 1 GB/s. The last film of 10 MB is read for
    # its digest before its second of work begins, and again during that.
    one_node = replace(FAST, cores_per_node=100)
    for once in (
        replace(one_node, storage_bytes_per_second=1e9),
        replace(one_node, node_bytes_per_second=1e9),
    ):
        twice = replace(once, num_reads=2)
        assert simulate([10.0] * 100, TIMES, twice, 1) == pytest.approx(1.99 + 1.0)
        assert simulate([10.0] * 100, TIMES, once, 1) == pytest.approx(1.0 + 1.0)


def test_the_collection_has_the_size_of_the_papers() -> None:
    items = paper_items()
    assert len({item.path for item in items}) == len(items) == 12_800
    assert sum(item.show is None for item in items) == 3_600
    assert sum(item.seconds for item in items) / 3600 == pytest.approx(12_000)
    episodes = np.bincount([item.show for item in items if item.show is not None])
    assert episodes.max() == episodes[0] == 500


def test_drawn_words_are_equal_by_chance_as_often_as_those_of_real_sound() -> None:
    """Of real films, 15 times as many pairs of words are equal as of random 32 bits."""
    one, other = (_drawn_words(np.random.default_rng(seed), 500_000) for seed in (1, 2))
    order = np.argsort(other)
    at = np.searchsorted(other[order], one)
    is_equal = other[order[np.minimum(at, len(other) - 1)]] == one
    first = np.flatnonzero(is_equal[:-1])
    second = order[at[first]]
    assert len(first) / 500_000**2 * 2**32 == pytest.approx(16, rel=0.1)
    after = one[first + 1] == other[np.minimum(second + 1, len(other) - 1)]
    assert after.mean() == pytest.approx(0.06, abs=0.02)


def test_the_cost_sheet_follows_from_the_rates() -> None:
    rates = Rates(
        prepare_times_real_time=50.0, duplicates_core_hours=1.0, library_mb_per_hour=1000.0,
        proxy_mb_per_hour=100.0, features_mb_per_hour=0.0, training_clips=3.6e6,
        base_clips_per_second=100.0, loader_clips_per_second=10.0, embed_times_real_time=10.0,
    )  # fmt: skip
    sheet = {cost.stage: cost for cost in cost_sheet(rates, hours=1000.0, num_items=10)}
    assert sheet["prepare"].core_hours == pytest.approx(21.0)
    assert sheet["prepare"].stored_tb == pytest.approx(0.1)
    assert sheet["prepare"].network_tb == pytest.approx(2 * 1.0 + 2 * 0.1)
    assert sheet["pretrain, `base`"].gpu_hours == pytest.approx(10.0)
    assert sheet["pretrain, `base`"].core_hours == pytest.approx(100.0)
    assert sheet["embed, `tiny` on cores"].core_hours == pytest.approx(100.0)
    assert sheet["embed, `tiny` on cores"].stored_tb == pytest.approx(3.6e6 * 1024e-12)
    assert table(list(sheet.values())).count("\n") == 1 + len(sheet)
