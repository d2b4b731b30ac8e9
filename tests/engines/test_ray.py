"""Jobs on a Ray cluster of three nodes: results of the local engine, and what losses cost.

Run by `make test-ray`: CI does not install Ray, which takes 240 MB.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests._internal.jobs import act, allocate
from tests.engines.jobs import kill_ray_worker, square_of, stop_ray_worker, wait_for
from tests.engines.ray_clusters import ray_cluster
from tests.media_files import write_film
from tests.prepared import RECIPE, tiny_config
from tests.search.indexes import tiny_encoder
from tests.test_readme import execute, python_blocks
from toomuchtv._internal.subprocess_pool import Failure
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.detection.detect import detect_segments
from toomuchtv.engines import Engine, LocalEngine, RayEngine, ray_engine, ray_jobs
from toomuchtv.engines.ray_worker import versions
from toomuchtv.errors import EngineError
from toomuchtv.search.embedding import embed_catalog

pytest.importorskip("ray", reason="Ray is not installed: `make test-ray` installs it")
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.usefixtures("worker_processes")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_cluster(3) as started:
        yield started


@pytest.fixture
def engine(cluster: Any) -> Iterator[RayEngine]:
    with RayEngine(cluster.address) as entered:
        yield entered


def until(condition: Any, seconds: float = 60.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_results_and_failures_are_those_of_the_local_engine(engine: RayEngine) -> None:
    words = ["a", "crash", "b", "leave", "media", "os", "memory", "bug", "print", "slow but alive"]

    def results(any_engine: Engine) -> dict[str, Any]:
        return dict(any_engine.run(act, words, silence_seconds=30.0))

    assert results(engine) == results(LocalEngine(2))
    [(_, failure)] = engine.run(allocate, [900], silence_seconds=30.0, memory_bytes=600 << 20)
    assert isinstance(failure, Failure)
    assert "not enough memory" in failure.reason


def test_many_jobs_and_progress(engine: RayEngine, tmp_path: Path) -> None:
    results = dict(engine.run(square_of, range(200), silence_seconds=30.0))
    assert results == {number: number * number for number in range(200)}
    heard = []

    def report(number: int, amount: float) -> None:
        heard.append((number, amount))
        if (7, 0.5) in heard:
            (tmp_path / "go on").touch()

    list(engine.run(partial(wait_for, tmp_path), [7], silence_seconds=30.0, on_report=report))
    assert (7, 0.5) in heard


def test_a_silent_job_is_ended(engine: RayEngine) -> None:
    results = dict(engine.run(act, ["hang", "a"], silence_seconds=1.0))
    assert results == {"hang": Failure("no sign of life for 1 s"), "a": "A"}


def test_a_job_whose_ray_worker_dies_each_time_is_set_aside(
    engine: RayEngine, tmp_path: Path
) -> None:
    results = dict(
        engine.run(partial(kill_ray_worker, tmp_path), ["bad", "a", "b"], silence_seconds=30.0)
    )
    bad = results.pop("bad")
    assert isinstance(bad, Failure)
    assert not bad.is_of_input
    assert "died twice" in bad.reason
    assert len(list(tmp_path.glob("attempt-*"))) == 2
    assert results == {"a": "a", "b": "b"}


def test_a_machine_that_stalls_loses_its_job_only(
    engine: RayEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_jobs, "START_SECONDS", 1.0)
    monkeypatch.setattr(ray_jobs, "_GRACE_SECONDS", 1.0)
    results = dict(engine.run(stop_ray_worker, ["stalled", "a", "b"], silence_seconds=2.0))
    assert results == {"stalled": Failure("no sign of life for 4 s"), "a": "a", "b": "b"}


def test_jobs_of_a_call_that_is_given_up_end(engine: RayEngine, tmp_path: Path) -> None:
    results = engine.run(partial(wait_for, tmp_path), range(12), silence_seconds=60.0)
    (tmp_path / "go on").touch()
    next(results)
    (tmp_path / "go on").unlink()
    until(lambda: waiting_jobs(tmp_path))
    results.close()
    assert dict(engine.run(square_of, range(6), silence_seconds=30.0))[5] == 25
    until(lambda: not waiting_jobs(tmp_path))
    assert len(list(tmp_path.glob("begun-*"))) < 12


def waiting_jobs(marks: Path) -> list[int]:
    """The processes of jobs that have begun and not ended."""
    numbers = [int(mark.read_text() or 0) for mark in marks.glob("begun-*")]
    return [number for number in numbers if psutil.pid_exists(number)]


def test_no_more_jobs_at_once_than_allowed(cluster: Any, tmp_path: Path) -> None:
    with RayEngine(cluster.address, max_jobs=1) as engine:
        results = engine.run(partial(wait_for, tmp_path), range(3), silence_seconds=60.0)
        for number in range(3):
            (tmp_path / "go on").touch()
            assert next(results) == (number, number)
            assert len(list(tmp_path.glob("begun-*"))) == number + 1
        results.close()


def test_folders_that_a_machine_does_not_see(engine: RayEngine, tmp_path: Path) -> None:
    engine.check_folders(tmp_path, [tmp_path])
    assert not list(tmp_path.iterdir())
    with pytest.raises(EngineError, match=r"does not see '/nowhere/films' of this machine: put"):
        engine.check_folders(tmp_path, [Path("/nowhere/films")])


def test_other_versions_are_refused(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = versions()
    monkeypatch.setattr(ray_engine, "versions", lambda: here | {"av": "1.2.3"})
    with pytest.raises(EngineError, match=r"this one has \{'av': '1\.2\.3'\}: install the same"):
        engine.check_folders(tmp_path, [])
    [(_, failure)] = engine.run(square_of, [3], silence_seconds=30.0)
    assert isinstance(failure, Failure)
    assert "install the same versions" in failure.reason


def test_no_cluster_is_one_sentence() -> None:
    with pytest.raises(EngineError, match=r"no Ray cluster answers at '127\.0\.0\.1:9'"):
        RayEngine("127.0.0.1:9").__enter__()
    with pytest.raises(ValueError, match="is of the Ray client"):
        RayEngine("ray://somewhere:10001")


# ---- Whole commands

NAMES = (
    "Alpha (2001)/Alpha (2001).mp4", "Beta (2002)/Beta (2002).mkv",
    "Delta/Season 01/Delta S01E01.mp4", "Delta/Season 01/Delta S01E02.mp4",
)  # fmt: skip


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared") / "library"
    for number, name in enumerate(NAMES):
        write_film(folder / name, seconds=6.0 - number / 2, first_frame=9 * number)
    (folder / "Broken (2009).mp4").write_bytes((folder / NAMES[0]).read_bytes()[:4000])
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "first"
    tiny_encoder(tiny_config()).save(folder)
    return folder


def contents(*folders: Path) -> dict[str, bytes]:
    """Every file that jobs write, and none that is left in parts."""
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in found if path.name.endswith(".partial")]
    return {path.name: path.read_bytes() for path in found}


def state(catalog: Path) -> tuple[object, ...]:
    with open_catalog(catalog) as opened:
        recorded = (opened.items(), opened.proxies(), opened.segments(), opened.duplicates())
    return *recorded, contents(catalog / "proxies", catalog / "features")


def make(library: Path, folder: Path, model: Path, engine: Engine) -> tuple[object, ...]:
    """Scan, prepare, detect and embed, and return everything that was written."""
    scan_library(library, folder / "cat")
    prepared = prepare_catalog(folder / "cat", RECIPE, engine=engine)
    assert (prepared.prepared, len(prepared.failed)) == (len(NAMES), 0)
    detect_segments(folder / "cat", engine=engine)
    embedded = embed_catalog(model, folder / "cat", folder / "idx", engine=engine)
    assert (embedded.embedded, embedded.failed) == (len(NAMES), ())
    return *state(folder / "cat"), contents(folder / "idx" / "vectors")


def test_everything_equals_the_local_engine_byte_for_byte(
    library: Path, model: Path, engine: RayEngine, tmp_path: Path
) -> None:
    here = make(library, tmp_path / "local", model, LocalEngine(2))
    there = make(library, tmp_path / "ray", model, engine)
    assert here == there


def prepare_command(catalog: Path, address: str) -> list[str]:
    verb = [sys.executable, "-m", "toomuchtv", "prepare", "--catalog", str(catalog)]
    return [*verb, "--short-side", "32", "--engine", "ray", "--address", address]


def workers_of(catalog: Path) -> list[psutil.Process]:
    """The processes that write proxies of a catalog."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if any(str(catalog) in file.path for file in process.open_files()):
                found.append(process)
    return found


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_driver_that_ends_in_the_middle_is_resumed(
    cluster: Any, tmp_path: Path, ending: signal.Signals
) -> None:
    library, catalog = tmp_path / "library", tmp_path / "cat"
    for number in range(4):
        write_film(library / f"Film {number} (200{number}).mp4", seconds=40.0, first_frame=number)
    scan_library(library, catalog)
    driver = subprocess.Popen(
        prepare_command(catalog, cluster.address), stderr=subprocess.PIPE, text=True
    )
    until(lambda: list(catalog.glob("proxies/*/*.partial")))
    driver.send_signal(ending)
    _, message = driver.communicate(timeout=60)
    codes = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}
    assert driver.returncode == codes[ending], message
    assert "Traceback" not in message
    until(lambda: not workers_of(catalog))
    done = subprocess.run(
        prepare_command(catalog, cluster.address), check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    scan_library(library, tmp_path / "whole")
    prepare_catalog(tmp_path / "whole", RECIPE, engine=LocalEngine(2))
    detect_segments(tmp_path / "whole")
    assert state(catalog) == state(tmp_path / "whole")


def test_the_code_of_the_guide(
    cluster: Any, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan_library(library, tmp_path / "cat")
    (code,) = python_blocks("docs/guide/many_machines.md")
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    # The nodes of the test have one processor each.
    execute(code.replace("/shared", str(tmp_path)).replace("cpus_per_job=2", "cpus_per_job=1"))
    with open_catalog(tmp_path / "cat") as catalog:
        assert len(catalog.proxies()) == len(NAMES)


def test_the_command_line_without_a_cluster(tmp_path: Path) -> None:
    write_film(tmp_path / "library" / "a (2001).mp4", seconds=1.0)
    scan_library(tmp_path / "library", tmp_path / "cat")
    environment = {**os.environ, "RAY_ADDRESS": ""}
    done = subprocess.run(
        prepare_command(tmp_path / "cat", "127.0.0.1:9"),
        check=False, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no Ray cluster answers" in done.stderr
    assert "Traceback" not in done.stderr
