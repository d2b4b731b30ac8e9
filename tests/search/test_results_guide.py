"""The code in the guide to results runs as it is printed, and the library is never written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.search.rated_films import make_hit
from toomuchtv.catalog.store import open_catalog
from toomuchtv.search.clips import write_clips
from toomuchtv.search.results import FORMATS, write_results

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "results.md"


def test_the_code_of_the_guide_runs(
    prepared_catalog: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "cat").symlink_to(prepared_catalog)
    monkeypatch.chdir(tmp_path)
    with open_catalog("cat") as catalog:
        hits = [
            make_hit(catalog.source_path(item), 0.5, 1.5, rank=rank, item_id=item.id)
            for rank, item in enumerate(catalog.items()[:2], 1)
        ]
    text = GUIDE.read_text("utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    exec(compile(block, str(GUIDE), "exec"), {"hits": hits})
    assert capsys.readouterr().out == ""
    written = {path.suffix for path in (tmp_path / "found").iterdir() if path.is_file()}
    assert written == set(FORMATS)
    assert len(list((tmp_path / "found" / "clips").glob("*.mp4"))) == 2
    for suffix in FORMATS:
        assert f"| `{suffix}` |" in text


def test_the_library_is_never_written(prepared_catalog: Path) -> None:
    with open_catalog(prepared_catalog) as catalog:
        library = catalog.library
        before = sorted(library.rglob("*"))
        hit = make_hit(catalog.source_path(catalog.items()[0]), 0.5, 1.5)
        with pytest.raises(ValueError, match="never written"):
            write_results([hit], library / "hits.csv", catalog=catalog)
        with pytest.raises(ValueError, match="never written"):
            write_clips([hit], library / "new" / ".." / "clips", catalog=prepared_catalog)
    assert sorted(library.rglob("*")) == before
