"""Names and paths in the texts of other programs."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

# What XML 1.0 does not allow, even escaped, and JSON readers may refuse: control characters, lone
# surrogates (bytes of a path that are no text) and noncharacters.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# What no file system of a desktop allows in a name, and controls.
_UNSAFE_IN_NAMES = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')


def plain_text(text: str) -> str:
    """Return a text that XML and JSON can hold, in one line.

    Control characters and line breaks become spaces. Bytes of a path that are no text are escaped
    as Python does it.
    """
    escaped = text.encode("utf-8", "backslashreplace").decode()
    return " ".join(_FORBIDDEN.sub(" ", escaped).split())


def file_url(path: Path) -> str:
    """Return the URL of a file, whose special characters and bytes are percent-encoded."""
    return path.absolute().as_uri()


def ascii_text(text: str) -> str:
    """Return a text without accents, in which other characters than ASCII are left out."""
    decomposed = unicodedata.normalize("NFKD", plain_text(text))
    return decomposed.encode("ascii", "ignore").decode()


def safe_file_name(stem: str, suffix: str, *, max_bytes: int = 120) -> str:
    """Return a file name that Windows, macOS and Linux allow.

    Args:
        stem: The name as it should be. It must begin with a letter or a digit.
        suffix: The suffix with its dot.
        max_bytes: The stem is cut to so many bytes of UTF-8. File systems allow 143 and more.
    """
    text = unicodedata.normalize("NFC", plain_text(stem))
    text = _UNSAFE_IN_NAMES.sub("-", text)
    cut = text.encode()[: max_bytes - len(suffix.encode())].decode("utf-8", "ignore")
    return cut.rstrip(" .") + suffix
