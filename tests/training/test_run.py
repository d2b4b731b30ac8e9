"""What is checked before a run begins: parts of a batch and display names of items."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.prepared import FILMS, tiny_config
from toomuchtv.catalog.store import open_catalog
from toomuchtv.training.run import check_world_size, item_names


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
def test_equal_parts_are_accepted(world_size: int) -> None:
    check_world_size(tiny_config(), world_size)


@pytest.mark.parametrize(("world_size", "hint"), [(4, "3 or 6"), (5, "3 or 6"), (7, "6")])
def test_unequal_parts_are_refused_with_the_closest_divisors(world_size: int, hint: str) -> None:
    with pytest.raises(
        ValueError, match=rf"over {world_size} processes: start {hint} processes, or"
    ):
        check_world_size(tiny_config(), world_size)


def test_display_names_of_items(prepared_catalog: Path) -> None:
    with open_catalog(prepared_catalog) as catalog:
        snapshot = catalog.snapshot()
        names = item_names(catalog, snapshot)
    assert len(names) == len(FILMS)
    assert set(names) == {
        "Alpha (2001)", "Beta (2002)", "Gamma (2003)", "Delta S01E01", "Delta S01E02",
    }  # fmt: skip
