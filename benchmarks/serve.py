"""The server of the page: how long a search takes with many clients, errors, and memory.

    python -m benchmarks.serve --json FILE

The index has 1,000,000 windows of random vectors, which `benchmarks.search speed` measures without
a server. The server is a process of its own, and the clients are threads of this one, on the same
cores: each sends its next request when it has the answer to the one before.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import torch

from benchmarks.figures import Figures, argument_parser
from benchmarks.search import build_large_index
from toomuchtv import embed_catalog, open_index
from toomuchtv.search.vector_files import ItemVectors
from toomuchtv.server.app import PAGE_FOLDER

_NUM_CLIENTS, _NUM_MANY_CLIENTS = 8, 32
_WARM_UP = 40
#: A path and a body to POST, or None to GET.
Call = tuple[str, object]


def main() -> None:
    """Run the benchmark."""
    from benchmarks.page_times import browser_figures  # which imports `served` from here

    parser = argument_parser(__doc__)
    parser.add_argument("--windows", type=int, default=1_000_000)
    parser.add_argument("--searches", type=int, default=400, help="of each way to compare")
    parser.add_argument("--growth-searches", type=int, default=2000)
    parser.add_argument("--requests", type=int, default=2000, help="of 32 clients")
    options = parser.parse_args()
    figures = Figures("serve", options.json)
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)

    def random_vectors(count: int) -> ItemVectors:
        video, audio = (
            torch.from_numpy(rng.standard_normal((count, 256), dtype=np.float32)) for _ in range(2)
        )
        return ItemVectors.from_float(torch.arange(count), video, audio)

    build_large_index(out, options.windows, random_vectors)
    embed_catalog(out / "model", out / "catalog", out / "index")  # measures the calibration
    figures.add({"page_kb": sum(p.stat().st_size for p in PAGE_FOLDER.iterdir()) / 1000})
    moments = _random_moments(out / "index", 5000, rng)
    begun = time.perf_counter()
    with served(out / "index") as server:
        figures.add({"start_seconds": time.perf_counter() - begun})
        searches = _Searches(moments)
        run_clients(server.url, _NUM_CLIENTS, [searches.next("both") for _ in range(_WARM_UP)])
        for by, name in (("both", "search"), ("look", "search_look")):
            calls = [searches.next(by) for _ in range(options.searches)]
            _add(figures, name, run_clients(server.url, _NUM_CLIENTS, calls))
        before = server.megabytes()
        calls = [searches.next("both") for _ in range(options.growth_searches)]
        run_clients(server.url, _NUM_CLIENTS, calls)
        figures.add({"memory_mb": server.megabytes(), "growth_mb": server.megabytes() - before})
        calls = _mixed_calls(searches, options.requests)
        _add(figures, "requests", run_clients(server.url, _NUM_MANY_CLIENTS, calls))
    figures.add(browser_figures(out))


def _add(figures: Figures, name: str, results: Sequence[Result]) -> None:
    good = [result.milliseconds for result in results if result.is_good]
    p50, p95 = np.percentile(good, [50, 95]) if good else (np.nan, np.nan)
    errors = "errors" if name == "requests" else f"{name}_errors"
    figures.add(
        {
            f"{name}_p50_ms": float(p50),
            f"{name}_p95_ms": float(p95),
            errors: sum(not result.is_good for result in results),
        }
    )


# ---- The server


@dataclass(frozen=True)
class Served:
    """A server that runs.

    Attributes:
        url: Its address.
        process_id: Its process.
    """

    url: str
    process_id: int

    def megabytes(self) -> float:
        """Return its memory without mapped files, in MB."""
        status = Path(f"/proc/{self.process_id}/status").read_text()
        match = re.search(r"RssAnon:\s+(\d+)", status)
        assert match is not None
        return int(match[1]) * 1024 / 1e6


@contextmanager
def served(index: Path, *arguments: str) -> Iterator[Served]:
    """Serve an index in another process on a free port.

    Args:
        index: The index.
        arguments: Further arguments of `toomuchtv serve`.
    """
    command = [sys.executable, "-m", "toomuchtv", "serve", os.fspath(index)]
    process = subprocess.Popen(
        [*command, "--port", "0", "--json", *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield Served(json.loads(process.stdout.readline())["url"], process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=60)
    assert code == 0


# ---- Clients


@dataclass(frozen=True)
class Result:
    """The answer to one request.

    Attributes:
        milliseconds: The time from the request to the end of the answer.
        is_good: Whether its status was 200.
    """

    milliseconds: float
    is_good: bool


def run_clients(url: str, num_clients: int, calls: Sequence[Call]) -> list[Result]:
    """Send requests from clients that each wait for an answer before the next request."""
    waiting = iter(calls)
    lock = threading.Lock()
    results: list[Result] = []

    def work() -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
        while True:
            with lock:
                call = next(waiting, None)
            if call is None:
                break
            results.append(_send(connection, call))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(num_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _send(connection: http.client.HTTPConnection, call: Call) -> Result:
    path, body = call
    start = time.perf_counter()
    try:
        if body is None:
            connection.request("GET", path)
        else:
            headers = {"X-Toomuchtv": "1", "Content-Type": "application/json"}
            connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        is_good = answer.status == 200
    except (OSError, http.client.HTTPException):
        connection.close()
        is_good = False
    return Result(1000 * (time.perf_counter() - start), is_good)


class _Searches:
    """Searches from random moments, each another one."""

    def __init__(self, moments: Sequence[tuple[int, float]]) -> None:
        self._moments = moments
        self._number = 0

    def next(self, by: str) -> Call:
        item_id, seconds = self._moments[self._number % len(self._moments)]
        self._number += 1
        query = {"item_id": item_id, "seconds": seconds}
        return "/api/search", {"query": query, "by": by, "k": 24}


def _mixed_calls(searches: _Searches, count: int) -> list[Call]:
    """Return what a page sends: one search in ten requests, pictures, and facts."""
    kinds: list[Callable[[int], Call]] = [
        lambda number: searches.next("both"),
        *[lambda number: (f"/api/items/1/thumbnail?at={number % 60}", None)] * 4,
        *[lambda number: (f"/api/complete?q=film+{number}", None)] * 2,
        lambda number: ("/api/items/1", None),
        lambda number: ("/api/generation", None),
        lambda number: ("/", None),
    ]
    return [kinds[number % len(kinds)](number) for number in range(count)]


def _random_moments(index: Path, count: int, rng: np.random.Generator) -> list[tuple[int, float]]:
    with open_index(index) as opened:
        [encoder] = opened.encoders.values()
        found = []
        for window in rng.integers(len(encoder), size=count).tolist():
            row, number = encoder.locate(window)
            found.append((encoder.items[row].item.id, float(encoder.centers(row)[number])))
    return found


if __name__ == "__main__":
    main()
