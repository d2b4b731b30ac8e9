"""The verb `serve`, as a user runs it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import run_toomuchtv
from tests.server.worlds import World


@contextmanager
def served(world: World, *arguments: str, temporary: Path) -> Iterator[subprocess.Popen[str]]:
    temporary.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "toomuchtv", "serve", str(world.index), "--port", "0", "--json",
         "--catalog", str(world.catalog), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def get(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_from_start_to_end(world: World, tmp_path: Path) -> None:
    with served(world, "--host", "0.0.0.0", "--token", "new", temporary=tmp_path / "t") as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        port, token = said["port"], said["url"].partition("?token=")[2]
        assert said["url"].startswith(f"http://127.0.0.1:{port}/?token=")
        assert len(token) >= 32
        assert get(port, "/api/index")[0] == 401
        status, content = get(port, "/api/index", Authorization=f"Bearer {token}")
        assert (status, json.loads(content)["num_items"]) == (200, 5)
        assert len(list((tmp_path / "t").iterdir())) == 1
        taken = run_toomuchtv("serve", world.index, "--port", str(port), "--token", "new")
        assert taken.returncode == 2
        assert f"port {port}" in taken.stderr
        with socket.create_connection(("127.0.0.1", port)) as wrong:
            wrong.sendall(b"no HTTP at all\r\n\r\n")
            answer = wrong.recv(4096)
            assert answer.startswith(b"HTTP/1.1 400")
            assert b"nosniff" in answer
        # A connection that sends half of a request does not delay the end.
        with socket.create_connection(("127.0.0.1", port)) as open_connection:
            open_connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 0
            assert time.monotonic() - start < 20
        assert not list((tmp_path / "t").iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["idx", "--host", "0.0.0.0"],
        ["nothing", "--port", "0"],
    ],
)
def test_wrong_usage(world: World, arguments: list[str]) -> None:
    environment = {"TOOMUCHTV_TOKEN": ""}
    done = run_toomuchtv("serve", *arguments, cwd=world.folder, environment=environment)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr


def test_without_the_extra(world: World, tmp_path: Path) -> None:
    (tmp_path / "fastapi.py").write_text("raise ImportError('No module named fastapi')\n")
    done = subprocess.run(
        [sys.executable, "-m", "toomuchtv", "serve", str(world.index)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'toomuchtv[search]'" in done.stderr
    assert "Traceback" not in done.stderr
