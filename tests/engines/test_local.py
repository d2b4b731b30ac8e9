"""The engine of one machine, and what the command line says about engines, without Ray."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.engines.jobs import square_of
from toomuchtv.cli import app
from toomuchtv.engines import LocalEngine, RayEngine
from toomuchtv.errors import EngineError


def test_jobs_and_threads() -> None:
    engine = LocalEngine(2)
    engine.check_folders(Path("/nowhere"), [Path("/nowhere")])
    assert dict(engine.run(square_of, [3, 4], silence_seconds=30.0)) == {3: 9, 4: 16}
    assert LocalEngine(10_000).threads_per_job == 1
    with pytest.raises(ValueError, match="num_workers must be at least 1, got 0"):
        LocalEngine(0)


def test_an_address_is_of_a_ray_cluster(prepared_catalog: Path) -> None:
    words = ["prepare", "--catalog", str(prepared_catalog), "--address", "10.0.0.1:6379"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "--address is of a Ray cluster: pass --engine ray too" in done.stderr


def test_without_ray_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without_ray(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "ray":
            raise ImportError(name)
        return imported(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(EngineError, match=r"needs Ray: run `pip install 'toomuchtv\[ray\]'`"):
        RayEngine().__enter__()


def test_numbers_of_an_engine_are_checked() -> None:
    with pytest.raises(ValueError, match="got 0, 1 and 0"):
        RayEngine(max_jobs=0)
    with pytest.raises(ValueError, match="got None, 0 and 0"):
        RayEngine(cpus_per_job=0)
