"""Ray clusters of several nodes on this machine, each node with its own processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

_MEMORY = {"object_store_memory": 80_000_000, "memory": 4 << 30}


@contextlib.contextmanager
def ray_cluster(num_nodes: int, cpus_per_node: int = 1) -> Iterator[Any]:
    """Start a cluster whose first node is the head, and shut it down in the end."""
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": cpus_per_node, **_MEMORY}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        for _ in range(num_nodes - 1):
            cluster.add_node(**node)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
