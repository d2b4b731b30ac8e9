"""Hits as JSON, as CSV, and as rows of a table."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

from toomuchtv._internal.timecode import format_timecode
from toomuchtv.search.hits import Hit, Match

#: Columns of `hits_to_csv`, which are also the first keys of a hit in `hits_to_json`.
COLUMNS = (
    "rank", "name", "title", "kind", "season", "episode", "item_id", "path", "start", "stop",
    "start_seconds", "stop_seconds", "center_seconds", "similarity", "z_score", "is_confident",
    "score", "encoder", "query_modality", "modality", "num_collapsed",
    "then_seconds",
)  # fmt: skip
#: Header of `table_rows`.
TABLE_HEADER = ("", "name", "start", "stop", "similarity", "z-score", "found by")
# A spreadsheet takes a cell that begins with one of these for a formula and runs it.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def hit_to_dict(hit: Hit) -> dict[str, Any]:
    """Return the values of a hit by `COLUMNS`, and its matches, as JSON can hold them.

    `start` and `stop` are times for people. The scores, the encoder and the modalities are those of
    the best match. A z-score that is not known is None.
    """
    best = hit.matches[0] if hit.matches else None
    values = (
        hit.rank, hit.name, hit.title, str(hit.kind), hit.season, hit.episode, hit.item_id,
        str(hit.path), format_timecode(hit.start_seconds), format_timecode(hit.stop_seconds),
        hit.start_seconds, hit.stop_seconds, hit.center_seconds,
        best.similarity if best else None, _finite(best.z_score) if best else None,
        hit.is_confident, hit.score, best.encoder if best else None,
        best.query_modality if best else None, best.modality if best else None, hit.num_collapsed,
        hit.then_seconds,
    )  # fmt: skip
    return {
        **dict(zip(COLUMNS, values, strict=True)),
        "matches": [_match_to_dict(match) for match in hit.matches],
    }


def hits_to_json(hits: Sequence[Hit]) -> str:
    """Return hits as a JSON object with the list `hits`.

    Bytes of a path that are no text are lone surrogates, which `json.loads` and `os.fsencode` turn
    back into the bytes.
    """
    content = {"hits": [hit_to_dict(hit) for hit in hits]}
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def hits_to_csv(hits: Sequence[Hit]) -> str:
    """Return hits as CSV with the header `COLUMNS`, one line per hit.

    Texts that a spreadsheet would run as a formula get an apostrophe in front.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for hit in hits:
        values = hit_to_dict(hit)
        writer.writerow([_cell(values[name]) for name in COLUMNS])
    return text.getvalue()


def table_rows(hits: Sequence[Hit]) -> list[list[object]]:
    """Return one row per hit for a terminal, with the columns `TABLE_HEADER`.

    A hit of which no encoder is confident has a question mark behind its rank.
    """
    return [
        [
            f"{hit.rank}" if hit.is_confident else f"{hit.rank}?",
            hit.name,
            format_timecode(hit.start_seconds),
            format_timecode(hit.stop_seconds),
            f"{hit.similarity:.3f}" if hit.matches else "",
            f"{hit.z_score:.1f}" if hit.matches and math.isfinite(hit.z_score) else "",
            ", ".join(dict.fromkeys(describe_match(match) for match in hit.matches)),
        ]
        for hit in hits
    ]


def describe_match(match: Match) -> str:
    """Return how a moment was found: `base video`, or `base audio to video` across modalities."""
    if match.query_modality == match.modality:
        return f"{match.encoder} {match.modality}"
    return f"{match.encoder} {match.query_modality} to {match.modality}"


def _match_to_dict(match: Match) -> dict[str, Any]:
    return {
        "encoder": match.encoder,
        "query_modality": match.query_modality,
        "modality": match.modality,
        "similarity": match.similarity,
        "z_score": _finite(match.z_score),
        "is_confident": match.is_confident,
        "rank": match.rank,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value
