"""Parse a path: which title a file belongs to, which episode it is, or which kind of extra.

The layouts are those of the usual media servers (Plex, Jellyfin, Kodi):

    Movies/Name (Year)/Name (Year).mkv
    Movies/Name (Year)/Name (Year)-trailer.mkv      extra by suffix
    Movies/Name (Year)/Featurettes/Anything.mkv     extra by folder
    TV/Show/Season 01/Show - S01E01 - Episode.mkv
    TV/Show/Specials/Show - S00E01.mkv              season 0

Folders that follow a layout outweigh the file name. guessit parses what remains of the name.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toomuchtv.catalog.records import TitleKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedName:
    """The information that a path contains about a file.

    Attributes:
        kind: Movie or show. A name does not show that a file is a short clip.
        title: Name of the title, printable and not empty.
        year: Year of release, or None.
        season: Season number, or None. An episode that is named by a date has the year here.
        episode: Episode number, or None. It is the first of a file with several episodes. An
            episode that is named by a date has month * 100 + day here.
        extra: Kind of extra ("trailer", "featurette", ...), or None for a feature.
    """

    kind: TitleKind
    title: str
    year: int | None
    season: int | None
    episode: int | None
    extra: str | None


_EXTRA_FOLDERS = {
    "trailers": "trailer",
    "featurettes": "featurette",
    "behind the scenes": "behindthescenes",
    "deleted scenes": "deleted",
    "interviews": "interview",
    "scenes": "scene",
    "shorts": "short",
    "extras": "other",
    "other": "other",
    "samples": "sample",
    "sample": "sample",
}
_EXTRA_SUFFIX = re.compile(
    # There is no space around the hyphen, as media servers require ("Show - S01E05 - Interview" is
    # an episode). After a year in brackets spaces are allowed, because nothing else can be meant.
    r"(?:-|(?<=\)) - )"
    r"(trailer|featurette|behindthescenes|deleted|interview|scene|short|other|sample)\d*$",
    re.IGNORECASE,
)
_MOVIE_FOLDERS = frozenset({"movie", "movies", "film", "films", "映画"})
_SHOW_FOLDERS = frozenset({"tv", "tv shows", "shows", "series", "tv series", "anime", "アニメ"})
_CATEGORIES = (
    _MOVIE_FOLDERS | _SHOW_FOLDERS | {"videos", "video", "media", "library", "downloads", "clips"}
)
_SEASON_FOLDER = re.compile(
    r"(?:(?:season|series|staffel|saison|temporada|stagione|シーズン)[ ._-]*|s)(\d{1,4})$"
    r"|specials$",
    re.IGNORECASE,
)
_NAME_YEAR = re.compile(r"(?P<name>.*\S.*?)\s*[(\[](?P<year>(?:18[89]|19\d|20\d)\d)[)\]]")
_EPISODE = re.compile(
    r"(?<![A-Za-z0-9])"
    r"(?:s\d{1,4}[ ._-]*e\d{1,4}|\d{1,2}x\d{1,4}|(?:episode|ep)[ ._]?\d{1,4}|e\d{2,4})"
    r"(?![A-Za-z0-9]*[A-DF-Za-df-z])"
    r"|第\d{1,4}話",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?<!\d)(?:19|20)\d\d[-._ ](?:0[1-9]|1[0-2])[-._ ](?:0[1-9]|[12]\d|3[01])(?!\d)"
)
_NUMBERED = re.compile(r"\s-\s(?!(?:19|20)\d\d\b)(?P<episode>\d{1,4})(?:v\d)?(?=$|[\s\[(_.])")
_MEANINGLESS = re.compile(
    r"(?:vts|title|track|disc|cd|video|movie|film|main|feature|untitled)?[ _.-]*[\d_]*"
    r"|(?=.*\d)[a-z0-9_-]+",
    re.IGNORECASE,
)
_TAGS = re.compile(r"\[[^\]]*\]|\{[^}]*\}")


def parse_name(relative_path: Path) -> ParsedName:
    """Parse a path that is relative to the library. Every path gives a printable title."""
    folders = [printable(part) for part in relative_path.parts[:-1]]
    folders, stem, extra = _split_extra(folders, printable(relative_path.stem))
    season_folder = _SEASON_FOLDER.match(folders[-1]) if folders else None
    if season_folder:
        folders = folders[:-1]

    guess = _guess(stem)
    numbers = _numbers(stem, guess)
    is_show = numbers is not None or season_folder is not None
    if extra and not is_show:
        is_show = any(folder.casefold() in _SHOW_FOLDERS for folder in folders)
    title, year = _name_title(folders, stem, guess, in_season=season_folder is not None)
    season, episode = numbers or (None, None)
    if season_folder:
        if episode is None:  # in "Season 1/03 - Name" the folder shows that 03 is an episode
            episode = guess.get("episode")
        if season is None:
            season = int(season_folder[1] or 0)
    return ParsedName(
        kind=TitleKind.SHOW if is_show else TitleKind.MOVIE,
        title=title,
        year=year,
        season=season,
        episode=episode,
        extra=extra,
    )


def title_key(name: str, year: int | None) -> str:
    """Return a key that all spellings of a title share: letters and digits, and any year."""
    folded = unicodedata.normalize("NFKC", name).casefold().replace("&", "and")
    letters = "".join(character for character in folded if character.isalnum())
    return f"{letters or folded}/{year or ''}"


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


def _split_extra(folders: list[str], stem: str) -> tuple[list[str], str, str | None]:
    """Split the mark of an extra off a path. What remains names the title of the extra."""
    for depth in range(1, len(folders)):
        extra = _EXTRA_FOLDERS.get(folders[depth].casefold())
        # "Movies/Shorts/" is a category of short films, but "Movies/Up (2009)/Shorts/" has extras.
        if extra and folders[depth - 1].casefold() not in _CATEGORIES:
            return folders[:depth], "", extra
    suffix = _EXTRA_SUFFIX.search(stem)
    if suffix and suffix.start() > 0:
        return folders, stem[: suffix.start()].rstrip(), suffix[1].casefold()
    if stem.casefold() in ("trailer", "sample") and folders and _NAME_YEAR.match(folders[-1]):
        return folders, "", stem.casefold()
    return folders, stem, None


def _guess(stem: str) -> dict[str, Any]:
    """Return the properties that guessit finds in a name, each with one value."""
    if not stem:
        return {}
    from guessit import guessit
    from guessit.api import GuessitException

    try:
        guess = guessit(stem + ".mkv")
    except GuessitException:  # guessit fails on some odd names; then the name itself is the title
        return {"title": stem}
    # A property with several values is a list, of which the first value counts.
    return {k: v[0] if isinstance(v, list) and v else v for k, v in guess.items()}


def _numbers(stem: str, guess: dict[str, Any]) -> tuple[int | None, int | None] | None:
    """Return season and episode, or None if the name does not state any of them.

    guessit also takes numbers in the names of camera files and datasets for episodes, so its answer
    counts only if the name has one of the usual marks.
    """
    if _EPISODE.search(stem):
        return guess.get("season"), guess.get("episode")
    if _DATE.search(stem) and (date := guess.get("date")) is not None:
        return date.year, date.month * 100 + date.day
    if numbered := _NUMBERED.search(stem):  # as in "[Group] Show - 134 [720p]"
        return None, int(numbered["episode"])
    return None


def _name_title(
    folders: list[str], stem: str, guess: dict[str, Any], *, in_season: bool
) -> tuple[str, int | None]:
    """Return name and year of the title.

    In order of preference: a folder "Name (Year)", the parent folder (inside a season folder, for
    extras and for meaningless file names), a file "Name (Year)", guessit's title.
    """
    in_file = _NAME_YEAR.match(stem)
    in_folder = next((m for folder in reversed(folders) if (m := _NAME_YEAR.match(folder))), None)
    if in_folder and not (in_file and in_file["year"] != in_folder["year"] and not in_season):
        return _clean(in_folder["name"]), int(in_folder["year"])
    parent = folders[-1] if folders and folders[-1].casefold() not in _CATEGORIES else None
    in_movie_folder = len(folders) > 1 and folders[-2].casefold() in _MOVIE_FOLDERS
    is_meaningless = in_movie_folder and _MEANINGLESS.fullmatch(stem) is not None
    if parent and (in_season or not stem or is_meaningless):
        return _clean(parent), None
    if in_file:
        return _clean(in_file["name"]), int(in_file["year"])
    title = guess.get("title")
    if not in_season and _numbers(stem, guess) is None and "episode" in guess:
        title = stem  # in "IMG_1234" guessit takes the number for an episode and removes it
    return _clean(title or parent or stem or "\ufffd"), guess.get("year")


def _clean(name: str) -> str:
    spaced = name if " " in name else name.replace(".", " ").replace("_", " ")
    return " ".join(_TAGS.sub(" ", spaced).split()).strip(" -") or name
