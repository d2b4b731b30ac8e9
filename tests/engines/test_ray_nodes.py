"""A Ray cluster that loses a node. A process has one cluster at a time, so this is a module."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.engines.jobs import wait_for
from tests.engines.ray_clusters import ray_cluster
from tests.engines.test_ray import until
from toomuchtv.engines import RayEngine

pytest.importorskip("ray", reason="Ray is not installed: `make test-ray` installs it")
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.usefixtures("worker_processes")]


def test_a_node_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    """Its jobs are run again on the other nodes, more often than a bad job would be."""
    with ray_cluster(1) as cluster, RayEngine(cluster.address) as engine:
        node = cluster.add_node(num_cpus=2)
        results = engine.run(partial(wait_for, tmp_path), range(5), silence_seconds=60.0)
        kill = KillWhenBusy(cluster, node, tmp_path)
        kill.start()
        assert dict(results) == {number: number for number in range(5)}
        kill.join()
        assert kill.num_lost >= 1


class KillWhenBusy(threading.Thread):
    """Kills a node once all processors of the cluster are busy, then lets the jobs end."""

    def __init__(self, cluster: Any, node: Any, marks: Path) -> None:
        super().__init__()
        self._cluster, self._node, self._marks = cluster, node, marks
        self.num_lost = 0

    def run(self) -> None:
        until(lambda: len(list(self._marks.glob("begun-*"))) == 3)
        self._cluster.remove_node(self._node, allow_graceful=False)
        begun = [int(path.name.split("-")[2]) for path in self._marks.glob("begun-*")]
        until(lambda: sum(not psutil.pid_exists(pid) for pid in begun) >= 2)
        self.num_lost = sum(not psutil.pid_exists(pid) for pid in begun)
        (self._marks / "go on").touch()
