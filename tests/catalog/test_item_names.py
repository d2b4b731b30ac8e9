"""Items are found by their names, however accents are encoded."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Literal

import pytest
import torch

from tests.search.test_encoder_index import make_item
from toomuchtv.catalog.item_names import find_items
from toomuchtv.catalog.records import Title, TitleKind
from toomuchtv.search.filters import Filters
from toomuchtv.search.vector_files import ItemVectors


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("typed", ["NFC", "NFD"])
def test_accents_may_be_characters_of_their_own(
    stored: Literal["NFC", "NFD"], typed: Literal["NFC", "NFD"]
) -> None:
    title = Title(id=1, kind=TitleKind.MOVIE, name="Amélie", year=2001)
    path = Path(unicodedata.normalize(stored, "Amélie/Amélie 4K.mkv"))
    vectors = ItemVectors.from_float(torch.arange(1), torch.ones(1, 2), None)
    item = make_item(1, 1, vectors, path=path).item
    for name in ("AMÉLIE", "amélie (2001)", "Amélie 4K", "Amélie/Amélie 4K.mkv"):
        query = unicodedata.normalize(typed, name)
        assert find_items(query, [(title, item)]) == [(title, item)]
    assert Filters(titles=(unicodedata.normalize(typed, "amélie"),)).accepts(title, item)
