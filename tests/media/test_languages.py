"""Tags of one language are one language, whatever the standard."""

from __future__ import annotations

import pytest
from babelfish import LANGUAGE_MATRIX

from toomuchtv.media.languages import language_mismatch, normalize_language, parse_language


@pytest.mark.parametrize("row", [row for row in LANGUAGE_MATRIX if row.alpha2 and row.alpha3b])
def test_the_codes_of_iso_639_1_2b_2t_and_3_are_one(row: tuple[str, ...]) -> None:
    alpha3, alpha3b, alpha3t, alpha2 = row[:4]
    codes = {normalize_language(code) for code in (alpha3, alpha3b, alpha3t, alpha2)}
    assert len(codes) == 1
    assert None not in codes


@pytest.mark.parametrize(
    ("tag", "normalized"),
    [
        ("ger", "deu"), ("DE", "deu"), ("de_AT", "deu-AT"), ("German", "deu"), ("pt-br", "por-BR"),
        ("zh-hant", "zho-Hant"), ("chi", "zho"), ("cmn", "zho"), ("zh-yue", "yue"), ("nb", "nor"),
        ("iw", "heb"), ("scr", "hrv"), ("eng,fra", "eng"), ("es-419", "spa-419"), ("qaa", "qaa"),
        ("mis", "mis"), ("zxx", "zxx"), ("und", None), ("", None), (" ", None), (None, None),
        ("no such tag", "no such tag"),
    ],
)  # fmt: skip
def test_tags_are_normalized(tag: str | None, normalized: str | None) -> None:
    assert normalize_language(tag) == normalized
    assert normalize_language(normalized) == normalized


def test_requested_languages_are_checked() -> None:
    assert [parse_language(text) for text in ("ger", "Greek", "pt_BR", "qaa", "und")] == [
        "deu", "ell", "por-BR", "qaa", "und",
    ]  # fmt: skip
    for text in ("xx", "", "de+en"):
        with pytest.raises(ValueError, match="no language"):
            parse_language(text)
    with pytest.raises(ValueError, match="'german'"):
        parse_language("germn")


def test_a_region_is_a_preference() -> None:
    assert language_mismatch("por-BR", "pt-BR") == (0, 0)
    brazil, none, portugal = (language_mismatch("por-BR", t) for t in ("pt_br", "por", "pt-PT"))
    assert brazil is not None
    assert none is not None
    assert portugal is not None
    assert brazil < none < portugal
    assert language_mismatch("por", "spa") is None
    assert language_mismatch("und", None) == (0, 0)
    assert language_mismatch("deu", None) is None
