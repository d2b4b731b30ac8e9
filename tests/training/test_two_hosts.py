"""Training on two hosts that a network link connects; see tests/training/two_hosts.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.two_hosts import cut_the_link, is_possible, lose_a_process, train_together

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_possible(), reason="needs root and iproute2"),
]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("two")


def test_two_hosts_train_as_one_process(prepared_catalog: Path, out: Path) -> None:
    found = train_together(prepared_catalog, out, steps=24)
    assert found["largest_difference_of_a_loss"] < 2e-2
    assert found["largest_relative_difference_of_a_weight"] < 1e-2
    assert found["megabytes_over_the_link"] > 1


def test_a_restarted_elastic_job_gives_identical_weights(prepared_catalog: Path, out: Path) -> None:
    assert (out / "together").exists(), "follows the test above"
    assert lose_a_process(prepared_catalog, out, steps=24) == {
        "restarted_run_is_the_same_to_the_bit": 1.0
    }


@pytest.mark.parametrize("kind", ["plain", "elastic"])
def test_both_hosts_end_within_a_minute_after_the_link_is_cut(
    prepared_catalog: Path, out: Path, kind: str
) -> None:
    found = cut_the_link(prepared_catalog, out, is_elastic=kind == "elastic")
    assert found.pop(f"{kind}_seconds_from_the_cut_to_the_end") < 60
    assert found == {
        f"{kind}_hosts_that_ended_by_themselves": 2,
        f"{kind}_hosts_that_failed": 2,
        f"{kind}_hosts_that_said_why": 2,
    }
