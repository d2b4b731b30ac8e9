"""What is seen before a run begins: shares of a batch, names of items, what a person is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.prepared import FILMS, tiny_config
from toomuchtv.catalog.store import open_catalog
from toomuchtv.training.assembly import check_world_size, item_names
from toomuchtv.training.summary import describe


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
def test_equal_shares_are_fine(world_size: int) -> None:
    check_world_size(tiny_config(), world_size)


@pytest.mark.parametrize(("world_size", "hint"), [(4, "3 or 6"), (5, "3 or 6"), (7, "6")])
def test_unequal_shares_are_refused_with_what_would_do(world_size: int, hint: str) -> None:
    with pytest.raises(ValueError, match=rf"by {world_size} processes: start {hint} of them, or"):
        check_world_size(tiny_config(), world_size)


def test_items_are_called_as_people_call_them(prepared_catalog: Path) -> None:
    with open_catalog(prepared_catalog) as catalog:
        snapshot = catalog.snapshot()
        names = item_names(catalog, snapshot)
    assert len(names) == len(FILMS)
    assert set(names) == {
        "Alpha (2001)", "Beta (2002)", "Gamma (2003)", "Delta S01E01", "Delta S01E02",
    }  # fmt: skip


def test_what_will_happen_is_said(prepared_catalog: Path) -> None:
    with open_catalog(prepared_catalog) as catalog:
        said = describe(catalog, tiny_config(), world_size=2)
    assert said["batch"] == "3 titles x 1 items x 2 clips, 3 a process"
    assert str(said["trains on"]).startswith("3 titles, ")
    assert said["holds out"] == "1 title"
    assert "2 processes" in str(said["computes on"])
    assert "weights, gradients and moments" in str(said["memory"])
    assert "measured now: " in str(said["expected time"])
