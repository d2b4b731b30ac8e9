"""Text of file names: what can be printed, and what counts as the same."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from pathlib import Path


class _WithoutSeparators(dict[int, int | None]):
    """A table for `str.translate` that removes what does not tell titles apart.

    These are spaces, dashes, underscores, brackets, quotes, control signs, dots, commas and colons,
    and the signs that some file systems forbid.
    """

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        category = unicodedata.category(character)
        separates = category[0] == "Z" or category in _CATEGORIES or character in ".,:;'\"/\\?*"
        self[code] = None if separates else code
        return self[code]


_CATEGORIES = frozenset({"Pd", "Pc", "Ps", "Pe", "Pi", "Pf", "Cc", "Cf"})
_WITHOUT_SEPARATORS = _WithoutSeparators()


@lru_cache(maxsize=1 << 15)
def printable(path: str | Path) -> str:
    """Return a name or path as printable text. Bytes that are not UTF-8 are read as Latin-1."""
    path = str(path)
    if path.isascii() and path.isprintable() and path == " ".join(path.split()) and path:
        return path
    text = "".join(
        chr(ord(character) - 0xDC00) if "\udc80" <= character <= "\udcff" else character
        for character in path
    )
    text = unicodedata.normalize("NFC", text)
    text = "".join(
        " " if character.isspace() else character if character.isprintable() else "\ufffd"
        for character in text
    )
    return " ".join(text.split()) or "\ufffd"


def fold(text: str) -> str:
    """Return text in lower case, with one space for every run of spaces, dots, hyphens and `_`."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.split(r"[\s._\-]+", folded)).strip()


@lru_cache(maxsize=1 << 15)
def title_key(name: str, year: int | None) -> str:
    """Return a key that all spellings of a title share.

    Spaces, dots, hyphens, quotes and brackets do not tell titles apart. All other signs do, such as
    vowel signs, "+" and "!".
    """
    folded = unicodedata.normalize("NFKC", name).casefold().replace("&", "and")
    letters = folded.translate(_WITHOUT_SEPARATORS)
    sign = "-" if folded.startswith("-") and folded[1:2].isdigit() else ""
    return f"{sign}{letters or folded}/{year or ''}"
