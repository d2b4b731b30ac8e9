"""Languages of audio tracks: the codes and names of one language are one.

Containers tag languages in several ways. Matroska and MP4 use ISO 639-2, of which twenty languages
have two codes (`ger` and `deu`); newer files use BCP 47 (`de`, `pt-BR`, `zh-Hant`). All are mapped
to ISO 639-3, whose table comes from the library babelfish, on which guessit depends too.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping

from babelfish import LANGUAGE_MATRIX

# Codes that ISO withdrew, individual languages that films are tagged with in place of their
# macrolanguage, and everyday English names.
_OTHER_NAMES = {
    "iw": "heb", "in": "ind", "ji": "yid", "jw": "jav", "mo": "ron", "mol": "ron", "scc": "srp",
    "scr": "hrv", "arb": "ara", "cmn": "zho", "ekk": "est", "lvs": "lav", "nob": "nor",
    "pes": "fas", "swh": "swa", "zsm": "msa", "mandarin": "zho", "farsi": "fas", "greek": "ell",
    "castilian": "spa", "flemish": "nld", "moldovan": "ron", "cantonese": "yue", "malay": "msa",
    "norwegian bokmal": "nor", "swahili": "swa", "nepali": "nep",
}  # fmt: skip
_PRIVATE_USE = re.compile(r"q[a-t][a-z]")  # ISO 639-2; broadcasts use qaa for the original sound
_UNKNOWN = "und"


def normalize_language(tag: str | None) -> str | None:
    """Return a language tag with its language as ISO 639-3: "ger" gives "deu", "pt_BR" "por-BR".

    Args:
        tag: A tag as containers have it, or the English name of a language. Of a list such as
            "eng,fra", the first is used.

    Returns:
        The tag, or None if the language is undetermined. A tag that is no language is returned as
        it is.
    """
    if tag is None or not (first := re.split(r"[,;/]", tag)[0].strip(" \0")):
        return None
    named = _codes().get(first.casefold())
    if named is not None:
        return None if named == _UNKNOWN else named
    primary, *subtags = re.split(r"[-_]", first)
    if subtags and len(subtags[0]) == 3 and subtags[0].casefold() in _codes():
        primary, *subtags = subtags  # an extended language, such as zh-yue
    code = _code(primary.casefold())
    if code is None:
        return first
    return None if code == _UNKNOWN else "-".join([code, *map(_written, subtags)])


def parse_language(value: str) -> str:
    """Return the tag that a user asks for, as `normalize_language` gives it, or "und".

    Args:
        value: A code or tag of any of the standards, or an English name. "und" stands for tracks
            without a language.

    Raises:
        ValueError: There is no such language. The message has suggestions.
    """
    tag = normalize_language(value)
    if tag is None:
        if value.strip().casefold() in (_UNKNOWN, "undetermined"):
            return _UNKNOWN
    elif _code(language_of(tag)) is not None:
        return tag
    names = {row.name.casefold() for row in LANGUAGE_MATRIX if row.alpha2}
    near = difflib.get_close_matches(value.strip().casefold(), [*names, *_OTHER_NAMES], n=3)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ValueError(
        f"there is no language {value!r}: give a code such as 'deu', 'ger' or 'de', a tag such as "
        f"'pt-BR', or an English name.{hint}"
    )


def language_of(tag: str) -> str:
    """Return the language of a normalized tag without its region and script."""
    return tag.partition("-")[0]


def language_mismatch(wanted: str, tag: str | None) -> tuple[int, int] | None:
    """Return how far a track's tag is from a wanted one, (0, 0) if equal, None if another language.

    Args:
        wanted: A tag of `parse_language`.
        tag: The track's tag.
    """
    has = normalize_language(tag) or _UNKNOWN
    if language_of(wanted) != language_of(has):
        return None
    wanted_parts, parts = set(wanted.casefold().split("-")), set(has.casefold().split("-"))
    return len(wanted_parts - parts), len(parts - wanted_parts)


def _code(name: str) -> str | None:
    return name if _PRIVATE_USE.fullmatch(name) else _codes().get(name)


def _written(subtag: str) -> str:
    return subtag.upper() if len(subtag) == 2 else subtag.title()


@functools.cache
def _codes() -> Mapping[str, str]:
    """Return ISO 639-3 codes by code and by English name, both in lower case."""
    names, codes = {}, {}
    for row in LANGUAGE_MATRIX:
        code = _OTHER_NAMES.get(row.alpha3, row.alpha3)
        names[row.name.casefold()] = code
        codes.update(dict.fromkeys((row.alpha3, row.alpha3b, row.alpha3t, row.alpha2), code))
    del codes[""]
    return names | codes | _OTHER_NAMES  # some languages have a name that is another's code
