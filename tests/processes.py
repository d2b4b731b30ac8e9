"""Run a function in several processes that know each other, as torchrun would start them."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Any

from torch.multiprocessing.spawn import start_processes

# The processes are forked from a server that has imported these once: importing torch and what the
# training step needs takes each of them seconds otherwise.
_IMPORTED_ONCE = ["torch", "torch.distributed", "pytest", "toomuchtv.training.pretrain"]


def _begin(
    rank: int, world_size: int, port: int, function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        WORLD_SIZE=str(world_size),
        RANK=str(rank),
        LOCAL_RANK=str(rank),
    )
    import torch

    torch.set_num_threads(1)
    function(*arguments)


def run_processes(world_size: int, function: Callable[..., None], *arguments: object) -> None:
    """Call `function(*arguments)` in every one of `world_size` processes; it must pickle."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.set_forkserver_preload(_IMPORTED_ONCE)
    start_processes(  # type: ignore[no-untyped-call]
        _begin,
        (world_size, port, function, arguments),
        nprocs=world_size,
        start_method="forkserver",
    )
