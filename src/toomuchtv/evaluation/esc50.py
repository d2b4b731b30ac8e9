"""ESC-50 and everything in its layout: five-second sounds in five folds.

Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015. Layout:
`audio/` and `meta/esc50.csv` with the columns filename, fold, target, category, esc10, src_file,
take. ESC-10 is the part with esc10 = True; clips cut from one recording share a fold.
"""

from __future__ import annotations

import csv
from pathlib import Path

from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.labeled import LabeledClip

_COLUMNS = {"filename", "fold", "target", "category"}


def read_esc50(root: Path) -> list[LabeledClip]:
    """Read the list of a folder in ESC-50's layout; `group` is the fold.

    Raises:
        BenchmarkError: The layout is another, or files it names are missing.
    """
    meta = root / "meta" / "esc50.csv"
    try:
        with meta.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise BenchmarkError(
            f"no ESC-50 at {str(root)!r}: {str(meta)!r} cannot be read ({error.strerror}); give "
            "the folder that holds audio/ and meta/"
        ) from error
    if not rows or not rows[0].keys() >= _COLUMNS:
        raise BenchmarkError(
            f"{str(meta)!r} must be a table with the columns {', '.join(sorted(_COLUMNS))}"
        )
    clips = [
        LabeledClip(path=root / "audio" / row["filename"], label=row["category"], group=row["fold"])
        for row in rows
    ]
    missing = [clip.path.name for clip in clips if not clip.path.is_file()]
    if missing:
        raise BenchmarkError(
            f"{len(missing)} of the {len(clips)} sounds that {str(meta)!r} names are missing, "
            f"the first {missing[0]!r}"
        )
    return clips
