"""Read one name, of a file or of a folder: as an episode, as a numbered file, or as a film.

In all three, the title is the text in front of the first mark: the number of an episode, a year or
a release tag. guessit is asked where release tags follow a title without a year, because only it
knows all tags. What guessit takes out of the middle of a title ("US", "Part One", "GB") stays in.

All functions take printable text: the name of a folder, or of a file without its suffix.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from toomuchtv.catalog.names.words import season_pack, words_of

_cached = lru_cache(maxsize=1 << 15)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeName:
    """A name with the mark of an episode.

    Attributes:
        title: The text in front of the mark. It may be empty.
        year: The year in front of the mark, or None.
        season: Season number, or None. The year of an episode that is named by a date.
        episode: Episode number; month * 100 + day of an episode that is named by a date.
        is_certain: True for "S01E05". False for "1x05", "Episode 5" and dates, which films have
            in their titles too.
        is_dated: True if the episode is named by a date.
        has_later_year: True if a year in brackets follows the mark, as in a film's title.
    """

    title: str
    year: int | None
    season: int | None
    episode: int
    is_certain: bool
    is_dated: bool = False
    has_later_year: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedName:
    """A name with a number that may be that of an episode.

    Attributes:
        title: The text in front of the number. Empty if the name begins with it.
        season: The season that the title ends with, as in "Show S2 - 05", or None.
        number: The number.
        is_plain: True if it looks like a counter: padded with zeros, or set off by a separator.
        has_group: True if the name begins with a release group: "[Group] Show - 05".
    """

    title: str
    season: int | None
    number: int
    is_plain: bool
    has_group: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmName:
    """A name as the name of a film.

    Attributes:
        title: The title. It may be empty.
        year: Year of release, or None.
        is_certain: True if the year is in brackets, so that the title is certain.
        is_release: True if the name has the tags of a release: "Film.2010.1080p-GRP".
    """

    title: str
    year: int | None
    is_certain: bool
    is_release: bool


# ---- Separators, tags and years

_YEAR = r"(?:18[89]\d|19\d\d|20\d\d)"
_NAME_YEAR = re.compile(
    rf"(?P<name>.*\S.*?)\s*[(\[](?P<year>{_YEAR})(?:\s?[-–]\s?(?:{_YEAR})?)?[)\]]"
)
_YEAR_TOKEN = re.compile(r"[(\[]?(18[89]\d|19\d\d|20[0-3]\d)[)\]]?")
_NOT_BEFORE_A_YEAR = words_of("of in from since year anno class summer jahr année año")
_ID_TAG = re.compile(
    r"[\[({](?:imdb|tmdb|tvdb|anidb|anilist|tvmaze|trakt|edition)(?:id)?\d*\s*[-=:][^\])}]*[\])}]"
    r"|[\[({]tt\d{7,}[\])}]|\{[^}]*\}",
    re.IGNORECASE,
)
_FULL_WIDTH = str.maketrans("（）［］【】", "()[][]")
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_NUMBER_IN_BRACKETS = re.compile(
    r"(?:\d{1,2}x\d{1,4}|s\d+e\d+)(?:[a-i]|v\d)?|\d{1,4}(?:v\d)?", re.IGNORECASE
)
_ALL_IN_BRACKETS = re.compile(r"\[[^\]]+\]\s*\[([^\]]+)\]\s*\[(\d{1,4})(?:v\d)?\]")
_WEBSITE = re.compile(r"\[?\s*www\.[\w-]+\.\w+\s*\]?\s*-\s*", re.IGNORECASE)
_VIDEO_ID = re.compile(r"-(?=[\w-]*\d)(?=[\w-]*[A-Z])(?=[\w-]*[a-z])[\w-]{11}$")
_CAMERA = re.compile(
    r"(?:img|vid|mvi|dsc[nf]?|gopr|g[hxp]\d\d|pxl|mov|wp|dji|p|video|clip|mah|sdc|"
    r"screen ?recording)[\s_-]?\d{4,}.*|whatsapp video.*",
    re.IGNORECASE,
)


# Points between single letters are part of a name: "M.A.S.H.S01E02". Two letters may be words.
_POINT = re.compile(r"((?<![^.])(?:[^\W\d_]\.){2,}[^\W\d_](?![^.]))|\.")


def spaced(name: str) -> str:
    """Return a name with spaces where it has underscores, or dots in place of spaces."""
    if " " not in name and any(character.isalpha() for character in name):
        name = _POINT.sub(lambda found: found[1] or " ", name)
    return " ".join(name.replace("_", " ").split())


def clean(text: str) -> str:
    """Return a title without the separators around it. It is empty if nothing else is there."""
    trimmed = spaced(text).lstrip(" -–,").rstrip(" -–,([")
    # A hyphen in front of a digit is a sign, as in "-1 (2013)".
    return f"-{trimmed}" if trimmed[:1].isdigit() and text.startswith(f"-{trimmed[0]}") else trimmed


@_cached
def _without_tags(name: str) -> tuple[str, bool]:
    """Return a name without ids and tags, and whether it begins with a release group."""
    plain = name.translate(_FULL_WIDTH)
    plain = spaced(_WEBSITE.sub("", _VIDEO_ID.sub("", plain)))
    name = _ID_TAG.sub(" ", plain).strip() or name
    if found := _ALL_IN_BRACKETS.match(name):
        return f"{spaced(found[1])} - {found[2]}", True
    first = _BRACKETS.match(name)
    # "[REC] 2 (2009)" is a title that is partly in brackets. "[Group] Film (2009) [1080p]" is not.
    is_title = bool(first and _NAME_YEAR.match(name) and len(_BRACKETS.findall(name)) == 1)
    head = first[0] if first and is_title else ""
    text = head + _BRACKETS.sub(_unwrapped, name[len(head) :])
    has_group = bool(first and not head and _unwrapped(first) == " " and text.strip())
    return spaced(text) or spaced(name) or name, has_group


def _unwrapped(tag: re.Match[str]) -> str:
    if re.fullmatch(_YEAR, tag[1]):
        return f" ({tag[1]}) "
    return f" {tag[1]} " if _NUMBER_IN_BRACKETS.fullmatch(tag[1]) else " "


def _title_and_year(text: str) -> tuple[str, int | None]:
    """Split the year off the text in front of a mark: "Show (2005) - " or "Show 2005"."""
    if found := _NAME_YEAR.match(text):
        return clean(found["name"]), int(found["year"])
    title = clean(text)
    words = title.split()
    if len(words) > 1 and (year := _YEAR_TOKEN.fullmatch(words[-1])):
        return clean(" ".join(words[:-1])), int(year[1])
    return title, None


# ---- Episodes

_EPISODE_WORD = (
    r"episode|episodio|episódio|épisode|ep|folge|capítulo|capitulo|cap|aflevering|afl|avsnitt|"
    r"afsnit|jakso|odcinek|odc|bölüm|серия|выпуск|díl|epizoda|epizod|episod|tập|επεισόδιο|פרק|"
    r"الحلقة"
)
# Half an episode, as Kodi names it, or another version of the file: "S01E05a", "S01E05v2".
_EPISODE_SUFFIX = r"(?:[a-i]|v\d)(?![^\W_])"
_CERTAIN = re.compile(
    r"(?<![^\W_])(?:"
    r"[st](?P<a>\d{1,4})[\s._-]*(?:x?ep?|episode)[\s._-]?(?P<b>\d{1,4})"
    r"|(?:season|series|staffel|saison|temporada|stagione|seizoen|сезон)\s?(?P<c>\d{1,3})[\s.,_-]*"
    rf"(?:{_EPISODE_WORD})\s?(?P<d>\d{{1,4}})"
    rf")(?:{_EPISODE_SUFFIX}|(?!\d|[^\W_]*[abcdf-wyz]))",
    re.IGNORECASE,
)
_LIKELY = re.compile(
    r"(?<![^\W_])(?:(?P<season>\d{1,2})x(?P<a>\d{1,4})"
    rf"|(?:{_EPISODE_WORD})[\s.]?(?P<b>\d{{1,4}})"
    r"|e(?P<c>\d{2,4})"
    r"|(?P<d>\d{1,4})\.?\s(?:серия|выпуск|rész|bölüm|odcinek|díl))"
    rf"(?:{_EPISODE_SUFFIX}|(?![^\W_]))"
    r"|第(?P<e>\d{1,4})[話话集回]|(?P<f>\d{1,4})[화회](?![^\W_])",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?<!\d)(?:(?P<y>(?:19|20)\d\d)(?P<separator>[-._ ]?)(?P<m>0[1-9]|1[0-2])(?P=separator)"
    r"(?P<d>0[1-9]|[12]\d|3[01])"
    r"|(?P<d2>0[1-9]|[12]\d|3[01])[-._](?P<m2>0[1-9]|1[0-2])[-._](?P<y2>(?:19|20)\d\d))(?!\d)"
)
#: Names that recorders write: onlinetvrecorder.com, Enigma2 and Windows Media Center.
_RECORDINGS = (
    re.compile(r"(?P<title>.+)_(?P<y>\d\d)\.(?P<m>\d\d)\.(?P<d>\d\d)_\d\d-\d\d_.*"),
    re.compile(r"(?P<y>\d{4})(?P<m>\d\d)(?P<d>\d\d) \d{4} - [^-]+ - (?P<title>.+)"),
    re.compile(r"(?P<title>.+)_[^_]+_(?P<y>\d{4})_(?P<m>\d\d)_(?P<d>\d\d)_\d\d_\d\d_\d\d"),
)


@_cached
def read_episode(name: str) -> EpisodeName | None:
    """Read a name as that of an episode. Return None if it has no mark of one."""
    for form in _RECORDINGS:
        if found := form.fullmatch(name):
            year = int(found["y"]) + (2000 if len(found["y"]) == 2 else 0)
            return _dated(clean(found["title"]), year, int(found["m"]), int(found["d"]))
    if _CAMERA.fullmatch(name):
        return None
    text, _ = _without_tags(name)
    if found := _CERTAIN.search(text):
        title, year_before = _title_and_year(text[: found.start()])
        season, episode = found["a"] or found["c"], found["b"] or found["d"]
        return EpisodeName(
            title=title,
            year=year_before,
            season=int(season),
            episode=int(episode),
            is_certain=True,
        )
    date, likely = _DATE.search(text), _LIKELY.search(text)
    if date and not (likely and likely.start() < date.start()):
        title = clean(text[: date.start()])
        year, month, day = (int(date[group] or date[f"{group}2"]) for group in "ymd")
        return _dated(title, year, month, day)
    return _likely_episode(text, likely) if likely else None


def _dated(title: str, year: int, month: int, day: int) -> EpisodeName:
    return EpisodeName(
        title=title, year=None, season=year, episode=month * 100 + day,
        is_certain=False, is_dated=True,
    )  # fmt: skip


def _likely_episode(text: str, found: re.Match[str]) -> EpisodeName:
    title, year = _title_and_year(text[: found.start()])
    season = int(found["season"]) if found["season"] else None
    if season is None and (pack := season_pack(title)):
        title, season = clean(pack[0]), pack[1]
    named_year = _NAME_YEAR.match(text)
    return EpisodeName(
        title=title,
        year=year,
        season=season,
        episode=next(int(found[group]) for group in "abcdef" if found[group]),
        is_certain=False,
        has_later_year=named_year is not None and named_year.end() > found.start(),
    )


# ---- Numbers

_LEADING = re.compile(r"(?P<n>\d{1,4})(?:v\d)?(?:(?P<set_off>\s?[-–)]\s|\.\s?)|\s|$)")
_DASHED = re.compile(r"(?P<title>.*\S)\s-\s(?P<n>\d{1,4})(?:v\d)?(?:\s?[-~]\s?\d{1,4})?(?=$|\s)")
_INNER = re.compile(r"(?P<title>.*\S)\s(?P<n>0\d{1,3}|\d{3})(?:v\d)?\s-\s.*")
_GLUED = re.compile(r"(?P<title>.*[^\W\d_])(?P<n>0\d{1,3})(?:v\d)?")
_TRAILING = re.compile(r"(?P<title>.*\S)\s#?(?P<n>\d{1,4})(?:v\d)?")
_LAST_EPISODE = re.compile(r"\s+(?:end|fin)$", re.IGNORECASE)


@_cached
def read_number(name: str) -> NumberedName | None:
    """Read a name that begins or ends with a number, or has one beside " - ". None if it has not.

    Years are no such numbers.
    """
    if _CAMERA.fullmatch(name):
        return None
    text, has_group = _without_tags(name)
    if tag := _RELEASE_TAG.search(text):
        text = text[: tag.start()].rstrip(" -–([.,") or text
    text = _LAST_EPISODE.sub("", text)
    found, leads = _DASHED.match(text), False
    if found is None and (found := _LEADING.match(text)):
        leads = True
    found = found or _INNER.fullmatch(text) or _TRAILING.fullmatch(text)
    found = found or _GLUED.fullmatch(text)
    if found is None or _NAME_YEAR.match(text) or _is_year(found["n"]):
        return None
    title, season = ("", None) if leads else (clean(found["title"]), None)
    if pack := season_pack(title):
        title, season = clean(pack[0]), pack[1]
    digits = found["n"]
    is_set_off = bool(found["set_off"]) if leads else found.re is _DASHED
    return NumberedName(
        title=title,
        season=season,
        number=int(digits),
        is_plain=found.re is not _GLUED
        and (is_set_off or digits.startswith("0") or digits == text or len(digits) > 2),
        has_group=has_group,
    )


def _is_year(digits: str) -> bool:
    return re.fullmatch(r"19\d\d|20[0-3]\d", digits) is not None


# ---- Films

_EDITION = (
    r"extended(?: (?:cut|edition))?|unrated|uncut|remastered|restored|theatrical(?: cut)?|imax|"
    r"director'?s cut|final cut|special edition|ultimate edition|anniversary edition|"
    r"collector'?s edition|criterion"
)
_RELEASE_TAG = re.compile(
    r"(?<![^\W_])(?:(?:480|540|576|720|1080|1440|2160|4320)[pi]|uhd|4k|blu-?ray|b[dr]rip|bd|web|"
    r"web-?dl|web-?rip|hdtv|pdtv|sdtv|tvrip|vhsrip|dvd|dvd-?rip|dvdscr|dvd[59r]|hdrip|remux|xvid|"
    r"divx|[xh]\.?26[45]|hevc|avc|av1|aac|ac3|e-?ac3|dts|dd[p+]?5\.?1|flac|hdr|hdr10|10bit|"
    r"proper|repack|rerip|internal|limited|multi|dubbed|subbed|german|french|truefrench|vostfr|"
    rf"spanish|castellano|italian|ita|dutch|nordic|complete|{_EDITION})(?![^\W_])",
    re.IGNORECASE,
)
_TRAILING_EDITION = re.compile(rf"(?P<title>.*\S)\s(?P<dash>-\s)?(?:{_EDITION})", re.IGNORECASE)
_ARTICLES = words_of("the a an der die das le la les el il lo de het den det")
_DISC_NUMBER = re.compile(
    r"(?P<title>.*[^\s._(\[-])[\s._-]*[\s._()\[\]-](?:cd|dvd|dis[ck])[\s._-]?\d{1,2}[)\]]?"
    r"|(?P<ripped>(?!title).*\S)[\s_]t\d\d",
    re.IGNORECASE,
)
_PART_NUMBER = re.compile(
    r"(?P<title>.*[^\s._(\[-])[\s._-]*[\s._()\[\]-](?:part|pt|teil)[\s._-]?\d{1,2}[)\]]?",
    re.IGNORECASE,
)
#: Properties of guessit that end a title; and those that end it only where such a one follows.
_ENDS_TITLE = words_of(
    "year screen_size source video_codec audio_codec color_depth video_profile streaming_service "
    "proper_count crc32 website season episode date"
)
_MAY_END_TITLE = words_of("other edition language subtitle_language audio_channels")


def has_year_in_brackets(name: str) -> bool:
    """Whether a name has the form "Name (Year)". Then `read_film` is certain."""
    return _NAME_YEAR.match(_without_tags(name)[0]) is not None


@_cached
def read_film(name: str) -> FilmName:
    """Read a name as that of a film."""
    text, _ = _without_tags(name)
    is_release = _RELEASE_TAG.search(text) is not None
    if _CAMERA.fullmatch(name):
        return FilmName(title=clean(name), year=None, is_certain=False, is_release=False)
    if found := _NAME_YEAR.match(text):
        title, year = _without_edition(clean(found["name"]), after_dash=True), int(found["year"])
        return FilmName(title=title, year=year, is_certain=True, is_release=is_release)
    if found := _DISC_NUMBER.fullmatch(text):
        text = found["title"] or found["ripped"]
    if split := _split_at_year(text, is_dotted=" " not in name.strip()):
        title = _without_edition(clean(split[0]), after_dash=False)
        return FilmName(title=title, year=split[1], is_certain=False, is_release=is_release)
    title = clean(_in_front_of_tags(text) if _RELEASE_TAG.search(text) else text)
    return FilmName(title=title, year=None, is_certain=False, is_release=is_release)


def without_part(title: str) -> str:
    """Return a title without the number of its part: "Film part2" is "Film"."""
    found = _PART_NUMBER.fullmatch(title)
    return title if found is None else clean(found["title"])


def _without_edition(title: str, *, after_dash: bool) -> str:
    found = _TRAILING_EDITION.fullmatch(title)
    if not found or (after_dash and not found["dash"]) or found["title"].casefold() in _ARTICLES:
        return title
    return clean(found["title"])


def _split_at_year(text: str, *, is_dotted: bool) -> tuple[str, int] | None:
    """Split "Film 2010 1080p" at its year, which is followed by nothing or by a release tag.

    Of two years, as in "2012 2009" or "Death Race 2000 1975", the last is that of release.
    """
    words = list(re.finditer(r"\S+", text))
    years = [_YEAR_TOKEN.fullmatch(word[0]) for word in words]
    for index in range(1, len(words)):
        year = years[index]
        if year is None or (index + 1 < len(words) and years[index + 1]):
            continue
        before, rest = words[index - 1][0].casefold(), text[words[index].end() :].lstrip(" -([")
        ends = not rest or _RELEASE_TAG.match(rest) or (is_dotted and _RELEASE_TAG.search(rest))
        if ends and before not in _NOT_BEFORE_A_YEAR:
            return text[: words[index].start()], int(year[1])
    return None


def _in_front_of_tags(text: str) -> str:
    """Return the text in front of the release tags that guessit finds."""
    from guessit import guessit
    from guessit.api import GuessitException

    try:
        found = guessit(f"{text}.mkv", {"advanced": True})
    except GuessitException:  # guessit fails on some odd names; then all of the name is the title
        return text
    spans = [
        (match.start, match.end, name)
        for name, matches in found.items()
        for match in (matches if isinstance(matches, list) else [matches])
        if hasattr(match, "start")
    ]
    end = min(
        (start for start, _, name in spans if name in _ENDS_TITLE and start), default=len(text)
    )
    soft = sorted((span for span in spans if span[2] in _MAY_END_TITLE and span[0]), reverse=True)
    for start, stop, _ in soft:  # tags that lead up to the end of the title belong to the tags
        if start < end and not text[stop:end].strip(" -._()[]"):
            end = start
    return text[:end] if text[:end].strip(" -._()[]") else text
