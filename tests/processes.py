"""Run functions and commands in processes that need no imports.

The processes are forked from a server that has imported these once: importing torch and what the
training step needs takes each of them seconds otherwise.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from torch.multiprocessing.spawn import start_processes

_IMPORTED_ONCE = [
    "torch", "torch.distributed", "pytest", "toomuchtv.training.pretrain",
    "toomuchtv.evaluation.evaluate", "toomuchtv.reports.run_page", "toomuchtv.cli",
]  # fmt: skip


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
    """Call `function(*arguments)` in processes that know each other, as torchrun starts them.

    Args:
        world_size: Number of processes.
        function: The function; it must pickle.
        arguments: Its arguments.
    """
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


def start_process(function: Callable[..., None], *arguments: object) -> ForkServerProcess:
    """Start a process that calls `function(*arguments)`; all of these must pickle."""
    multiprocessing.set_forkserver_preload(_IMPORTED_ONCE)
    process = multiprocessing.get_context("forkserver").Process(target=function, args=arguments)
    process.start()
    return process


def _command_line(
    arguments: list[str], folder: Path, cwd: Path, environment: Mapping[str, str]
) -> None:
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), descriptor)
    import torch

    torch.set_num_threads(1)
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = ["toomuchtv", *arguments]
    runpy.run_module("toomuchtv", run_name="__main__", alter_sys=False)


def run_toomuchtv(
    *arguments: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `toomuchtv` with these arguments in a process of its own, and wait for its end."""
    command = [*map(str, arguments)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = start_process(
            _command_line, command, folder, (cwd or Path.cwd()).resolve(), dict(environment or {})
        )
        process.join(timeout=240)
        code = process.exitcode
        assert code is not None, f"{command} takes longer than four minutes"
        out, err = ((folder / name).read_text() for name in ("out", "err"))
    return subprocess.CompletedProcess(command, code, out, err)
