"""The words of file names: shelves, seasons, episodes, extras, discs and release tags.

Every table is matched against text that `fold` has made comparable. The lists follow the
documentation of Jellyfin, Plex and Kodi, and the habits of libraries in other languages. The page
`docs/reference/names.md` states the rules that use them.
"""

from __future__ import annotations

import re
import unicodedata

from toomuchtv.catalog.names.text import fold
from toomuchtv.catalog.records import TitleKind


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


# ---- Shelves: folders that hold many titles

_MOVIE_WORDS = words_of(
    "movie movies film films filme filmes filmek filmy filmer filmovi spielfilm spielfilme "
    "kinofilme pelicula peliculas película películas pelis cine cinema kino elokuvat phim "
    "фильм фильмы кино мультфильмы 映画 电影 電影 영화 फिल्में أفلام סרטים ταινίες"
)
_SHOW_WORDS = words_of(
    "tv tvshows shows series serie serien fernsehserien tvserien séries serials serier sarjat "
    "seriale seriály dizi diziler sorozatok sitcoms miniseries webseries anime animes animé "
    "cartoons сериалы сериал аниме アニメ ドラマ 드라마 애니메이션 电视剧 電視劇 动漫 動漫 动画 "
    "番剧 סדרות مسلسلات σειρές"
)
_NEUTRAL_WORDS = words_of(
    "video videos media library mediathek videothek downloads download clips youtube recordings "
    "recorded aufnahmen dvr torrents complete incoming unsorted misc sonstiges documentaries "
    "dokus doku dokumentationen documentales documentaires collection collections boxsets"
)
#: Words that say which part of a shelf a folder holds.
_QUALIFIERS = words_of(
    "kids kid children kinder enfants niños bambini family 4k uhd hd sd 3d hdr new neu old my all "
    "the and und et foreign english german french spanish italian dutch japanese korean chinese "
    "russian deutsch deutsche classic classics action adventure animation animated anime comedy "
    "comedies crime documentary drama dramas family fantasy history horror indie krimi musicals "
    "mystery romance scifi sci fi science fiction thriller thrillers war western westerns "
    "christmas box sets music"
)
_YEARS_AND_RANGES = re.compile(r"[(\[][^)\]]*[)\]]|\b\d+s?\b|\b[a-z0-9#]\s*[-–]\s*[a-z0-9]\b|#")


def shelf_kind(name: str) -> TitleKind | str | None:
    """Return what a shelf holds: movies, shows, or "" for either. None if it is not a shelf.

    "Movies", "Movies (2019)", "Kids Movies", "TV Shows 2" and "Filme A-F" are shelves.
    """
    words = _shelf_words(name)
    if not words <= _MOVIE_WORDS | _SHOW_WORDS | _NEUTRAL_WORDS | _QUALIFIERS:
        return None
    if words & _MOVIE_WORDS:
        return TitleKind.MOVIE
    if words & _SHOW_WORDS:
        return TitleKind.SHOW
    return "" if words & _NEUTRAL_WORDS else None


def is_subdivision(name: str) -> bool:
    """Whether a folder below a shelf divides it: by genre, by first letter, by language."""
    return all(len(word) == 1 or word in _QUALIFIERS for word in _shelf_words(name))


def _shelf_words(name: str) -> set[str]:
    folded = unicodedata.normalize("NFKC", name).casefold()
    rest = _YEARS_AND_RANGES.sub(" ", folded.replace("_", " ").replace(".", " "))
    return set(fold(re.sub(r"(?<=[^\W\d])\d+$", "", rest.strip())).split())


# ---- Seasons

_SEASON_WORD = (
    r"season|series|staffel|saison|temporada|stagione|seizoen|sæson|saeson|säsong|sesong|kausi|"
    r"sezon|sezona|sezóna|serija|сезон|évad|evad|sería|シーズン|시즌|κύκλος|σεζόν|עונה|الموسم|mùa"
)
# These count parts of other things too, so that they name a season only in the folder of a show.
_WEAK_SEASON_WORD = r"serie|série|book|livre|buch|libro|volume|vol|cour"
_NUMBER_WORDS = {
    word: number
    for number, words in enumerate(
        [
            "one first erste première premiere primera prima primeira eerste 一",
            "two second zweite deuxième seconde segunda seconda tweede 二",
            "three third dritte troisième tercera terza terceira derde 三",
            "four fourth vierte quatrième cuarta quarta vierde 四",
            "five fifth fünfte cinquième quinta vijfde 五",
            "six sixth sechste sixième sexta sesta zesde 六",
            "seven seventh siebte septième séptima settima sétima zevende 七",
            "eight eighth achte huitième octava ottava oitava achtste 八",
            "nine ninth neunte neuvième novena nona negende 九",
            "ten tenth zehnte dixième décima decima tiende 十",
        ],
        start=1,
    )
    for word in words.split()
}
_NUMBER_WORD = "|".join(word for word in _NUMBER_WORDS if word.isalpha() and word.isascii())
_ORDINAL = r"(?:st|nd|rd|th|[.ªºaoeª]|e|er|re|ère|ere|ème|eme|ste|de)?"
_END = r"(?=$|[\s._\-–:(\[{,])"
_SEASON = re.compile(
    rf"(?:(?:{_SEASON_WORD})[\s._\-]*(?P<a>\d{{1,4}}){_END}"
    rf"|s(?P<b>\d{{1,4}})(?:[\s._]*d(?:is[ck])?[\s._]*\d{{1,2}})?{_END}"
    rf"|(?P<c>\d{{1,2}}){_ORDINAL}[\s._\-]*(?:{_SEASON_WORD}){_END}"
    rf"|(?:{_SEASON_WORD})[\s._\-]*(?P<d>{_NUMBER_WORD}){_END}"
    rf"|(?P<e>[^\W\d]+)[\s._\-]*(?:{_SEASON_WORD}){_END}"
    r"|第?(?P<f>\d{1,2}|[一二三四五六七八九十])[季期部](?=$|\W)"
    r"|第(?P<g>\d{1,2})シーズン|(?P<h>\d{1,2})기$)",
    re.IGNORECASE,
)
_PACK = re.compile(
    rf"(?<=[\s._\-\[(])(?:s(?P<a>\d{{1,2}})(?:[\s._]*d(?:is[ck])?[\s._]*\d{{1,2}})?"
    rf"|(?:{_SEASON_WORD})[\s._\-]*(?P<b>\d{{1,2}})"
    rf"|(?P<c>\d{{1,2}})(?:st|nd|rd|th|[.ªº])[\s._\-]*(?:{_SEASON_WORD})"
    rf"|第?(?P<d>\d{{1,2}}|[一二三四五六七八九十])[季期])(?=$|[\s._\-()\[\]])"
    r"(?![\s._]*[-–+][\s._]*(?:s|season)?[\s._]*\d)",
    re.IGNORECASE,
)
_WEAK_SEASON = re.compile(
    rf"(?:{_WEAK_SEASON_WORD})[\s._\-]*(?P<a>\d{{1,4}}){_END}|t(?P<b>\d{{1,2}})$", re.IGNORECASE
)
_SPECIALS = words_of(
    "specials special especiales spéciaux speciali specialen sonderfolgen ovas спецвыпуски 特典"
)


def season_number(name: str) -> int | None:
    """Return the season that a folder is named for, 0 for specials, or None.

    "Season 01", "Season 1 - Name", "Staffel 2", "1ª Temporada", "S01", "第一季", "Specials".
    """
    text = unicodedata.normalize("NFC", name).strip()
    if fold(text) in _SPECIALS:
        return 0
    match = _SEASON.match(text)
    return None if match is None else _number(match)


def weak_season_number(name: str) -> int | None:
    """Return the number of a folder that is a season in a show only: "Book 1", "T1", or None."""
    match = _WEAK_SEASON.match(name)
    return None if match is None else _number(match)


def season_pack(name: str) -> tuple[str, int, bool] | None:
    """Split a name such as "Show S02 1080p" or "Show Season 2".

    Returns:
        The title, the season, and whether it is certain: "Open Season 2" is a film. None if the
        name has no season.
    """
    match = _PACK.search(name)
    number = None if match is None else _number(match)
    if match is None or number is None:
        return None
    return name[: match.start()].rstrip(" ._-[("), number, match["a"] is not None


def _number(match: re.Match[str]) -> int | None:
    groups = match.groupdict()
    text = next(value for value in groups.values() if value).casefold()
    return int(text) if text.isdecimal() else _NUMBER_WORDS.get(text)


# ---- Extras

#: Folders that can only mean extras.
CERTAIN_EXTRAS = {
    "trailers": "trailer",
    "trailer": "trailer",
    "featurettes": "featurette",
    "featurette": "featurette",
    "behind the scenes": "behindthescenes",
    "making of": "behindthescenes",
    "deleted scenes": "deleted",
    "deleted": "deleted",
    "interviews": "interview",
    "interview": "interview",
    "samples": "sample",
    "sample": "sample",
    "backdrops": "backdrop",
    "special features": "other",
    "bonus features": "other",
    "bonus disc": "other",
    "bonusmaterial": "other",
}
#: Folders that are also the names of shelves and shows.
POSSIBLE_EXTRAS = {
    "extras": "other",
    "extra": "other",
    "bonus": "other",
    "other": "other",
    "others": "other",
    "scenes": "scene",
    "shorts": "short",
    "clips": "clip",
}


def extras_of_folder(name: str) -> tuple[str | None, bool]:
    """Return the kind of extras that a folder is named for, and whether the name is certain."""
    key = fold(name).replace(" ", "")
    for kinds, is_certain in ((CERTAIN_EXTRAS, True), (POSSIBLE_EXTRAS, False)):
        for words, kind in kinds.items():
            if words.replace(" ", "") == key:
                return kind, is_certain
    return None, False


_SUFFIX_KINDS = {
    "trailer": "trailer",
    "sample": "sample",
    "behindthescenes": "behindthescenes",
    "deletedscene": "deleted",
    "deleted": "deleted",
    "featurette": "featurette",
    "interview": "interview",
    "scene": "scene",
    "short": "short",
    "clip": "clip",
    "extra": "other",
    "other": "other",
}
_EXTRA_SUFFIX = re.compile(
    # There is no space around the hyphen, as media servers require ("Show - S01E05 - Interview" is
    # an episode). After a year in brackets spaces are allowed, because nothing else can be meant.
    rf"(?:(?:-|(?<=[)\]}}]) - )(?P<a>{'|'.join(_SUFFIX_KINDS)})"
    r"|(?P<separator>[._ ])(?P<b>trailer|sample))[\s._-]?\d*$",
    re.IGNORECASE,
)
_EXTRA_NAME = re.compile(r"(trailer|sample)[\s._-]?\d*", re.IGNORECASE)


def extra_suffix(stem: str) -> tuple[str, str, bool] | None:
    """Return what precedes the suffix of an extra, its kind, and whether it is certain, or None."""
    if name := _EXTRA_NAME.fullmatch(stem):
        return "", name[1].casefold(), False
    match = _EXTRA_SUFFIX.search(stem)
    if match is None or not match.start():
        return None
    kind = _SUFFIX_KINDS[(match["a"] or match["b"]).casefold()]
    base = stem[: match.start()].rstrip()
    return base, kind, match["separator"] != " " or base.endswith((")", "]", "}"))


# ---- Discs, parts and other names that say nothing of a title

_DISC = words_of("bdmv video_ts audio_ts hvdvd_ts avchd mpegav")
_PART = re.compile(
    r"(?:cd|dvd|disc|disk|disque|part|pt|teil|bd|blu-?ray|hddvd)[\s._-]*\d{1,2}", re.IGNORECASE
)
_FORMAT = re.compile(
    r"(?:480|576|720|1080|2160)[pi]|4k|uhd|hdr|sdr|remux|x26[45]|hevc|h26[45]|dvds?|blu-?rays?|"
    r"hd-?dvd|discs?|seasons|staffeln|saisons|temporadas",
    re.IGNORECASE,
)
_GENERIC = re.compile(
    r"vts[ _]?\d\d[ _]\d+|video[ _]ts|title[ _]?t?\d*|(?:[a-z]\d{1,2}[ _])?t\d\d|"
    r"avseq\d*(?:\.dat)?|movie|video|film|feature|"
    r"main(?:[ _]?(?:movie|feature|title))?|(?:track|chapter|stream)[ _]?\d*|index|untitled|"
    r"unknown|(?:disc|disk|cd|dvd|part|pt)[ _]?\d*|\W*",
    re.IGNORECASE,
)
_MEANINGLESS = re.compile(r"(?=.*\d)[a-z0-9_-]+|[^\W\d]", re.IGNORECASE)


def is_disc_folder(name: str) -> bool:
    """Whether a folder is the root of the structure of a disc, such as `BDMV`."""
    return name.casefold() in _DISC


def is_part_folder(name: str) -> bool:
    """Whether a folder holds one disc or one format of a title: "CD1", "Disc 2", "DVD", "1080p"."""
    return bool(_PART.fullmatch(name) or _FORMAT.fullmatch(name))


def is_generic(stem: str) -> bool:
    """Whether many films have this file name, as programs that copy discs write it."""
    return _GENERIC.fullmatch(stem) is not None


def is_meaningless(stem: str) -> bool:
    """Whether a file name looks like a code, a number or a single letter."""
    return is_generic(stem) or _MEANINGLESS.fullmatch(stem) is not None
