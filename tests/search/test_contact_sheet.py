"""Contact sheets, whose pixels are compared with the frames of the film."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.media_files import gray_of_frame
from tests.prepared import FILMS
from tests.search.rated_films import make_hit
from toomuchtv.catalog.store import open_catalog
from toomuchtv.search import contact_sheet
from toomuchtv.search.contact_sheet import QueryPicture, write_contact_sheet
from toomuchtv.search.hits import Hit

ROW = 26 + 126 + 4


@pytest.fixture
def hits(prepared_catalog: Path) -> list[Hit]:
    """A hit in each of two films. Frame i of them is gray, and the second begins at frame 7."""
    with open_catalog(prepared_catalog) as catalog:
        items = catalog.items()[2:4]
        return [
            make_hit(catalog.source_path(item), 0.5, 1.75, rank=rank, item_id=item.id)
            for rank, item in enumerate(items, 1)
        ]


def _read(path: Path) -> NDArray[np.int64]:
    return np.asarray(np.rint(matplotlib.image.imread(path)[..., :3] * 255), np.int64)


def _middle(sheet: NDArray[np.int64], row: int, cell: int) -> NDArray[np.int64]:
    """The color at the middle of a cell."""
    top, left = 12 + row * ROW + 26 + 63, 12 + cell * 228 + 112
    area = sheet[top - 3 : top + 3, left - 3 : left + 3]
    return np.asarray(area.reshape(-1, 3).mean(axis=0), np.int64)


def test_cells_show_the_moment(prepared_catalog: Path, hits: list[Hit], tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    colors = np.stack([np.full((40, 60, 3), color, np.uint8) for color in np.eye(3) * 200])
    query = QueryPicture(name="the query", frames=colors)
    assert write_contact_sheet(hits[::-1], path, catalog=prepared_catalog, query=query) == ()
    sheet = _read(path)
    assert sheet.shape == (2 * 12 + 3 * ROW, 2 * 12 + 5 * 224 + 4 * 4, 3)
    shown = [int(_middle(sheet, 0, cell).argmax()) for cell in range(3)]
    assert shown == [0, 1, 2]
    for row, hit in enumerate(hits, 1):
        expected = []
        for number in range(5):
            seconds = 0.5 + (number + 0.5) * 0.25
            frame = int(np.floor(seconds * 8)) * 3  # a proxy shows every third of 24 frames
            expected.append(gray_of_frame(_first_frame(hit) + frame))
        cells = [int(_middle(sheet, row, cell).mean()) for cell in range(5)]
        np.testing.assert_allclose(cells, expected, atol=4)
        assert sheet[12 + row * ROW : 12 + row * ROW + 26].max() > 200, "there is a label"


def _first_frame(hit: Hit) -> int:
    (number,) = [n for n, name in enumerate(FILMS) if Path(name).name == hit.path.name]
    return 7 * number


def test_a_hit_without_a_proxy_has_a_row(
    prepared_catalog: Path, hits: list[Hit], tmp_path: Path
) -> None:
    lost = replace(hits[0], item_id=999, name="$x^2$ 映画 \udcff\n" + 300 * "long")
    path = tmp_path / "sheet.png"
    warnings = write_contact_sheet([lost, hits[1]], path, catalog=prepared_catalog)
    assert len(warnings) == 1
    assert "999" in warnings[0]
    assert len(_read(path)) == 2 * 12 + 2 * ROW


def test_moments_at_the_end_and_films_that_vanished(
    prepared_catalog: Path, hits: list[Hit], tmp_path: Path
) -> None:
    # Only the proxy is read.
    late = replace(hits[0], start_seconds=3.9, stop_seconds=60.0, path=Path("/nowhere/film.mkv"))
    path = tmp_path / "sheet.png"
    assert write_contact_sheet([late], path, catalog=prepared_catalog) == ()
    sheet = _read(path)
    assert len({tuple(_middle(sheet, 0, cell)) for cell in range(1, 5)}) == 1


def test_a_sheet_has_a_maximum(
    prepared_catalog: Path, hits: list[Hit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact_sheet, "MAX_ROWS", 1)
    path = tmp_path / "sheet.png"
    assert len(write_contact_sheet(hits, path, catalog=prepared_catalog)) == 1
    assert len(_read(path)) == 2 * 12 + ROW


def test_nothing_to_draw(prepared_catalog: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no hits"):
        write_contact_sheet([], tmp_path / "sheet.png", catalog=prepared_catalog)
    assert not list(tmp_path.iterdir())
