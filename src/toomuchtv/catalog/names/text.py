"""Text of file names: what can be printed, and what counts as the same."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from pathlib import Path

# Categories of Unicode that separate words: dashes, underscores, brackets, quotes, control signs.
_SEPARATORS = frozenset({"Pd", "Pc", "Ps", "Pe", "Pi", "Pf", "Cc", "Cf"})


@lru_cache(maxsize=1 << 15)
def printable(path: str | Path) -> str:
    """Return a name or path as printable text. Bytes that are not UTF-8 are read as Latin-1."""
    text = "".join(
        chr(ord(character) - 0xDC00) if "\udc80" <= character <= "\udcff" else character
        for character in str(path)
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


def title_key(name: str, year: int | None) -> str:
    """Return a key that all spellings of a title share.

    Spaces, dots, hyphens, quotes and brackets do not tell titles apart. All other signs do, such as
    vowel signs, "+" and "!".
    """
    folded = unicodedata.normalize("NFKC", name).casefold().replace("&", "and")
    letters = "".join(character for character in folded if not _separates(character))
    sign = "-" if folded.startswith("-") and folded[1:2].isdigit() else ""
    return f"{sign}{letters or folded}/{year or ''}"


def _separates(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] == "Z" or category in _SEPARATORS or character in ".,:;'\"/\\?*"
