"""A run that was really trained and evaluated, for the tests of its export."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.prepared import tiny_config
from toomuchtv.evaluation.evaluate import evaluate
from toomuchtv.training.pretrain import pretrain


@pytest.fixture(scope="session")
def run(prepared_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run with a result of retrieval; tests only read it."""
    path = tmp_path_factory.mktemp("exported") / "first"
    pretrain(prepared_catalog, path, tiny_config())
    evaluate(path, "retrieval", prepared_catalog, num_clips=16, out=path / "evaluations")
    return path
