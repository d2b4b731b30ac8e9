"""Parse paths: which title a file belongs to, which episode it is, or which kind of extra.

The rules are stated in `docs/reference/names.md`. They work in three stages:

1. Folders are classified from the library down (`_enter`): shelf, title, season, part of a disc,
   extras. The result for the folder of a file is a `_Place`.
2. The name of the file is read by itself (`name_reading`).
3. Place and name together decide (`parse`): folders that follow a layout outweigh file names.

Some names are clear only beside their brothers: "Show 05" is an episode if there is a "Show 06",
and "Extras" holds extras if a film lies beside it. So a `TitleParser` is told what lies in a folder
before the files of that folder are parsed. It needs to know nothing of what comes later in a walk.
"""

from __future__ import annotations

import os
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from toomuchtv.catalog.name_reading import (
    EpisodeName,
    FilmName,
    clean,
    read_episode,
    read_film,
    read_number,
    without_part,
)
from toomuchtv.catalog.name_words import (
    CERTAIN_EXTRAS,
    POSSIBLE_EXTRAS,
    extra_suffix,
    fold,
    is_disc_folder,
    is_generic,
    is_meaningless,
    is_part_folder,
    is_subdivision,
    season_number,
    season_pack,
    shelf_kind,
    weak_season_number,
)
from toomuchtv.catalog.records import TitleKind

_Folders = tuple[str, ...]


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
        scope: The folder that the title is confined to, or "". A film without a year whose name
            stands only in the file's name is another title than one of that name elsewhere.
        is_sure: False if only the numbers of other files in the folder show that it is an episode.
    """

    kind: TitleKind
    title: str
    year: int | None
    season: int | None = None
    episode: int | None = None
    extra: str | None = None
    scope: str = ""
    is_sure: bool = True

    @property
    def key(self) -> str:
        """What all files of the title share, and no file of another title of this kind."""
        key = title_key(self.title, self.year)
        return f"{key}/{self.scope}" if self.scope else key


def parse_name(relative_path: Path, library_name: str = "") -> ParsedName:
    """Parse a path that is relative to the library, as if it were the only file there."""
    return assign_titles([relative_path], library_name)[relative_path]


def assign_titles(paths: Iterable[Path], library_name: str = "") -> dict[Path, ParsedName]:
    """Parse all paths of a library. The result does not depend on their order.

    Args:
        paths: Paths of files, relative to the library.
        library_name: Name of the library's folder. It is the title where a season folder or the
            structure of a disc lies directly in the library.
    """
    files: defaultdict[_Folders, list[str]] = defaultdict(list)
    folders: defaultdict[_Folders, set[str]] = defaultdict(set)
    unique = list(dict.fromkeys(paths))
    for path in unique:
        *parents, name = path.parts
        files[tuple(parents)].append(name)
        for depth, folder in enumerate(parents):
            folders[tuple(parents[:depth])].add(folder)
    parser = TitleParser(library_name)
    for parts in sorted({(), *files, *folders}, key=len):
        parser.add_folder(Path(*parts), sorted(files[parts]), sorted(folders[parts]))
    return {path: parser.parse(path) for path in unique}


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


# ---- Stage 1: folders


@dataclass(frozen=True, slots=True, kw_only=True)
class _Owner:
    """The folder that names the title of the files below it.

    Attributes:
        name: The folder's name, or the title of a folder such as "Show S02 1080p".
        folder: The folder.
        shelf: Kind of the shelf that the folder lies directly on, or None.
        is_generic: True if many folders have this name ("Disc 1").
    """

    name: str
    folder: _Folders
    shelf: TitleKind | str | None = None
    is_generic: bool = False

    @property
    def film(self) -> FilmName:
        """The folder's name as that of a film. A bare year at its end belongs to the title."""
        film = read_film(self.name)
        if film.year and not film.is_certain and not film.is_release:
            return replace(film, title=clean(self.name), year=None)
        return film

    @property
    def is_certain(self) -> bool:
        """Whether the folder can only be that of one title: "Name (Year)" or "Name [tmdbid-1]"."""
        return self.film.is_certain or "id-" in self.name.casefold().replace("=", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What the folders above a file say about it.

    Attributes:
        base: The folder that titles without a year are confined to.
        shelf: What the nearest shelf above holds, "" for anything, None if there is no shelf.
        owner: The folder that names the title, or None.
        in_season: True below a season folder.
        season: The season of that folder.
        is_disc: True inside of the structure of a disc.
        extra: Kind of the extras that the folder holds, or None.
        release: Name of a folder that is made for one episode, such as "Show.S01E05.1080p", or "".
    """

    base: _Folders = ()
    shelf: TitleKind | str | None = None
    owner: _Owner | None = None
    in_season: bool = False
    season: int | None = None
    is_disc: bool = False
    extra: str | None = None
    release: str = ""


class _Folder:
    """What lies directly in one folder, and what follows from it. Extras are left out."""

    def __init__(self, files: Iterable[str] = (), subfolders: Iterable[str] = ()) -> None:
        self.subfolders = [printable(name) for name in subfolders]
        stems = [printable(os.path.splitext(name)[0]) for name in files]
        self.features = [stem for stem in stems if extra_suffix(stem) is None]
        self.by_folded = sorted((fold(stem), stem) for stem in self.features)
        numbers: defaultdict[str, set[int]] = defaultdict(set)
        self.numbers: set[int] = set()
        self.show_titles: set[str] = set()
        self.number_titles: set[str] = set()
        self.has_marks = False
        self.num_dated = 0
        for stem in self.features:
            mark, number = read_episode(stem), read_number(stem)
            if mark:
                self.has_marks = True
                self.num_dated += mark.is_dated
                self.show_titles.add(title_key(mark.title, None) if mark.title else "")
            elif number:
                self.numbers.add(number.number)
                self.number_titles.add(title_key(number.title, None))
                if number.is_plain:
                    numbers[title_key(number.title, None)].add(number.number)
        self.series = {key for key, found in numbers.items() if len(found) > 1}
        self.show_titles -= {""}
        self.has_seasons = any(season_number(name) is not None for name in self.subfolders)
        self.has_discs = any(is_disc_folder(name) for name in self.subfolders)
        self.has_titles = any(read_film(name).is_certain for name in self.subfolders)
        self.owner_title: ParsedName | None = None

    @property
    def holds_title(self) -> bool:
        """Whether a film, a season or a disc lies directly in the folder."""
        return bool(self.features) or self.has_seasons or self.has_discs

    @property
    def has_episodes(self) -> bool:
        """Whether files have the mark of an episode, or nothing but a number in front."""
        return self.has_marks or "/" in self.number_titles


def _related(one: str, other: str) -> bool:
    """Whether one of two titles begins with the other."""
    a, b = title_key(one, None)[:-1], title_key(other, None)[:-1]
    return bool(a and b) and (a.startswith(b) or b.startswith(a))


class TitleParser:
    """A parser of the paths of one library.

    Add each folder before its subfolders, as a walk finds them, and parse its files at any time
    after that.
    """

    def __init__(self, library_name: str = "") -> None:
        self._library_name = printable(library_name) if library_name else ""
        self._folders: dict[_Folders, _Folder] = {}
        self._places: dict[_Folders, _Place] = {}

    def add_folder(self, folder: Path, files: Iterable[str], subfolders: Iterable[str]) -> None:
        """Add what lies directly in a folder.

        Args:
            folder: The folder, relative to the library.
            files: Names of the media files in it.
            subfolders: Names of the folders in it.
        """
        self._folders[folder.parts] = _Folder(files, subfolders)
        self._places.pop(folder.parts, None)

    def parse(self, path: Path) -> ParsedName:
        """Parse a path that is relative to the library. Every path gives a printable title."""
        return self._decide(path.parts[:-1], printable(path.stem))

    def _folder(self, parts: _Folders) -> _Folder:
        return self._folders.get(parts) or _EMPTY

    def _place(self, parts: _Folders) -> _Place:
        place = self._places.get(parts)
        if place is None:
            place = self._enter(self._place(parts[:-1]), parts) if parts else self._root()
            self._places[parts] = place
        return place

    def _root(self) -> _Place:
        """Return the place of files directly in the library."""
        name, root = self._library_name, self._folder(())
        shelf = shelf_kind(name) if name else None
        is_counted = bool(root.features) and "/" in root.series and len(root.series) == 1
        is_title = root.has_seasons or root.has_discs or (is_counted and not root.show_titles)
        if name and shelf is None and is_title:
            return _Place(owner=_Owner(name=name, folder=()))
        return _Place(shelf=shelf)

    def _enter(self, place: _Place, parts: _Folders) -> _Place:
        """Return the place of the files in a folder, from the place of the folder above it."""
        name, here = printable(parts[-1]), self._folder(parts)
        if extra := self._extras_folder(place, parts, name):
            return replace(place, extra=extra)
        if place.extra or place.is_disc:
            return place
        if is_disc_folder(name) or (name.casefold() == "private" and here.has_discs):
            owner = place.owner or _Owner(name=name, folder=parts, is_generic=True)
            return replace(place, is_disc=True, owner=owner)
        if is_part_folder(name):
            owner = place.owner or _Owner(name=name, folder=parts, is_generic=True)
            return replace(place, owner=owner)
        mark = read_episode(name)
        if mark and mark.is_certain and here.features:
            return replace(place, base=parts, release=name)
        if in_season := self._season_folder(place, parts, name, here):
            return in_season
        shelf = self._shelf(place, name, here)
        if shelf is not None:
            return _Place(base=parts, shelf=shelf)
        if place.in_season:
            return place
        return self._title_folder(place, parts, name)

    def _title_folder(self, place: _Place, parts: _Folders, name: str) -> _Place:
        film = read_film(name)
        if place.owner and place.owner.is_certain and not film.is_certain:
            return place  # a folder without a year, inside of "Name (Year)"
        above = place.owner
        is_counted = name.isdecimal() or weak_season_number(name) is not None
        if above and is_counted:  # "Volume 1" says nothing without "Kill Bill"
            name = f"{above.film.title or above.name} {name}"
        owner = _Owner(
            name=name,
            folder=parts,
            shelf=place.shelf if above is None else None,
            is_generic=above is not None and is_counted,
        )
        return replace(place, base=parts, owner=owner)

    def _extras_folder(self, place: _Place, parts: _Folders, name: str) -> str | None:
        """Return the kind of extras that a folder holds, or None if it is no folder of extras.

        The names of such folders are names of shelves and shows too. So there must be a title that
        the extras belong to, and the folder must not look as if it held titles of its own.
        """
        key = fold(name)
        kind = CERTAIN_EXTRAS.get(key) or POSSIBLE_EXTRAS.get(key)
        owner, here, above = place.owner, self._folder(parts), self._folder(parts[:-1])
        if kind is None or place.extra:
            return kind
        if owner is None or owner.is_generic or here.has_titles:
            return None
        if key in CERTAIN_EXTRAS or place.in_season or above.has_seasons or above.has_discs:
            return kind
        if here.has_seasons or any(_related(title, name) for title in here.show_titles):
            return None
        if owner.is_certain:
            return kind
        for stem in here.features:
            film = read_film(stem)
            if film.is_certain and not _related(film.title, owner.name):
                return None
        on_shelf = isinstance(owner.shelf, TitleKind) and kind == "other"
        return kind if above.holds_title or on_shelf else None

    def _shelf(self, place: _Place, name: str, here: _Folder) -> TitleKind | str | None:
        """Return the kind of shelf that a folder is, or None."""
        kind = shelf_kind(name)
        if place.in_season or (place.owner and place.owner.is_certain):
            return None
        if here.has_seasons and kind is not TitleKind.MOVIE:
            return None
        if kind is not None:
            return kind or place.shelf or ""
        divides = place.owner is None and isinstance(place.shelf, TitleKind)
        if divides and is_subdivision(name) and not all(map(is_meaningless, here.features)):
            return place.shelf
        if divides and is_subdivision(name) and here.subfolders and not here.features:
            return place.shelf
        return None

    def _season_folder(
        self, place: _Place, parts: _Folders, name: str, here: _Folder
    ) -> _Place | None:
        """Return the place inside of a season folder, or None if the folder is not one."""
        if place.in_season:
            return None
        owner = None if place.owner and place.owner.is_generic else place.owner
        has_proof = here.has_episodes or (place.shelf is TitleKind.SHOW)
        season = season_number(name)
        if season is not None:
            is_special = season == 0 and not any(map(str.isdigit, name))
            if is_special and (owner is None or here.has_titles):
                return None
            if place.shelf is TitleKind.MOVIE and not here.has_episodes:
                return None
            return replace(place, in_season=True, season=season)
        season = int(name) if name.isdecimal() else weak_season_number(name)
        if season is not None and owner:
            is_own = all(_related(title, owner.name) for title in here.show_titles)
            is_plausible = season < 100 or 1900 <= season < 2100
            if has_proof and is_own and is_plausible and place.shelf is not TitleKind.MOVIE:
                return replace(place, in_season=True, season=season)
            return None
        pack = season_pack(name)
        if pack and (has_proof or (pack[2] and place.shelf is not TitleKind.MOVIE)):
            return self._pack_folder(place, parts, clean(pack[0]), pack[1])
        return None

    def _pack_folder(
        self, place: _Place, parts: _Folders, title: str, season: int
    ) -> _Place | None:
        """Return the place inside of a folder such as "Show S02 1080p"."""
        if not title:
            return None
        owner = place.owner
        packs = map(season_pack, self._folder(parts[:-1]).subfolders)
        titles = {title_key(clean(pack[0]), None) for pack in packs if pack}
        is_theirs = owner and (
            owner.is_certain
            or _related(owner.name, title)
            or (owner.shelf is TitleKind.SHOW and len(titles) == 1)
        )
        if not is_theirs:
            owner = _Owner(name=title, folder=parts, shelf=TitleKind.SHOW)
        return replace(place, owner=owner, in_season=True, season=season)

    # ---- Stages 2 and 3: the file

    def _decide(self, parts: _Folders, stem: str) -> ParsedName:
        place = self._place(parts)
        if place.extra:
            return self._extra(place, stem, place.extra)
        if suffix := extra_suffix(stem):
            base, kind, is_certain = suffix
            if is_certain or (place.owner and not place.owner.is_generic):
                return self._extra_beside_feature(place, parts, base, kind)
        return self._feature(place, self._folder(parts), stem)

    def _feature(self, place: _Place, folder: _Folder, stem: str) -> ParsedName:
        return self._episode(place, folder, stem) or self._film(place, folder, stem)

    def _episode(self, place: _Place, folder: _Folder, stem: str) -> ParsedName | None:
        """Parse a file as an episode, or return None if it is a film."""
        # The folder of a release is written more carefully than the file in it.
        mark = (read_episode(place.release) if place.release else None) or read_episode(stem)
        if mark and (mark.is_certain or place.in_season or self._is_episode(place, folder, mark)):
            season = place.season if place.in_season and mark.season is None else mark.season
            return self._of_show(place, folder, mark.title, mark.year, season, mark.episode)
        return self._numbered_episode(place, folder, stem)

    def _is_episode(self, place: _Place, folder: _Folder, mark: EpisodeName) -> bool:
        """Whether a mark that films have too is that of an episode."""
        owner = place.owner if place.owner and not place.owner.is_generic else None
        if place.shelf is TitleKind.MOVIE or mark.has_later_year:
            return False
        if mark.is_dated and not mark.title:
            return owner is not None and (
                place.shelf is TitleKind.SHOW or folder.num_dated > 1
            )
        return bool(mark.title) or owner is not None

    def _numbered_episode(self, place: _Place, folder: _Folder, stem: str) -> ParsedName | None:
        """Parse a file as an episode that has a number and no mark."""
        number = None if place.is_disc or is_generic(stem) else read_number(stem)
        own, season = (number.title, number.season) if number else ("", None)
        if place.in_season:
            episode = number.number if number else None
            first = place.season or 0
            if first and episode and all(one // 100 == first for one in folder.numbers):
                episode %= 100  # 105 in the folder of season 1 is episode 5
            return self._of_show(place, folder, own, None, place.season, episode or None)
        if place.shelf is TitleKind.MOVIE:
            return None
        if place.shelf is TitleKind.SHOW and place.owner:
            film = read_film(stem)
            if film.is_certain and not _related(film.title, place.owner.name):
                return None
            episode = number.number if number else None
            return self._of_show(place, folder, own, None, season, episode)
        if number is None or not (number.title or place.owner):
            return None
        is_series = number.is_plain and title_key(number.title, None) in folder.series
        if is_series or (number.has_group and number.title):
            parsed = self._of_show(place, folder, own, None, season, number.number)
            return replace(parsed, is_sure=number.has_group)
        return None

    def _of_show(
        self, place: _Place, folder: _Folder, own: str, year: int | None,
        season: int | None, episode: int | None,
    ) -> ParsedName:  # fmt: skip
        """Return an episode of the show that its folder or its own name states."""
        owner, scope = place.owner, ""
        title = own or "\ufffd"
        if owner and (place.in_season or self._owns(owner, folder, own)):
            film = owner.film
            title, year = film.title or owner.name, film.year
            is_known = place.in_season or owner.shelf is TitleKind.SHOW or owner.is_certain
            if owner.is_generic or not (is_known or _related(title, own)):
                scope = _scope(owner.folder)
        elif not own or is_generic(own):
            scope = _scope(place.base)
        return ParsedName(
            kind=TitleKind.SHOW, title=title, year=year, season=season, episode=episode, scope=scope
        )

    def _owns(self, owner: _Owner, folder: _Folder, own: str) -> bool:
        """Whether the folder above an episode names its show, and not the episode itself."""
        if not own or is_generic(own):
            return True
        key = title_key(own, None)
        if owner.is_generic or key == title_key(owner.film.title, None):
            return not owner.is_generic
        is_only = len(folder.show_titles | folder.series) <= 1
        return is_only and (owner.shelf is TitleKind.SHOW or owner.is_certain or _related(own, owner.name))

    def _film(self, place: _Place, folder: _Folder, stem: str) -> ParsedName:
        """Return the film that a file's folder or its own name states."""
        own, owner = read_film(stem), place.owner
        title, year, scope = own.title or stem, own.year, _scope(place.base)
        if owner and self._names_film(owner, own, place, folder, stem):
            title, year, scope = owner.film.title or owner.name, owner.film.year, ""
            keys = {title_key(own.title, None), title_key(without_part(own.title), None)}
            if owner.is_generic or title_key(title, None) not in keys:
                scope = _scope(owner.folder)
        scope = "" if year is not None else scope
        return ParsedName(kind=TitleKind.MOVIE, title=title, year=year, scope=scope)

    def _names_film(
        self, owner: _Owner, own: FilmName, place: _Place, folder: _Folder, stem: str
    ) -> bool:
        """Whether the folder above a film names it, and not the file itself."""
        film = owner.film
        if place.is_disc or is_generic(stem):
            return True
        if own.is_certain:  # "Name (Year)"
            others = {one.title for one in map(read_film, folder.features) if one.is_certain}
            is_same = _related(own.title, film.title) or len(others) == 1
            return film.year == own.year and is_same
        if film.is_certain or (film.is_release and film.year):
            is_other = own.year not in (None, film.year) and not _related(own.title, film.title)
            return not is_other
        keys = {title_key(own.title, None), title_key(without_part(own.title), None)}
        if title_key(film.title, None) in keys and own.year is None:
            return True
        if own.year is not None:
            return False
        is_only = len(folder.features) == 1
        means_nothing = is_meaningless(stem) and place.shelf is TitleKind.MOVIE
        return is_only and (means_nothing or film.is_release)

    # ---- Extras

    def _extra(self, place: _Place, stem: str, kind: str) -> ParsedName:
        """Return an extra of the title whose folder it lies in."""
        mark = read_episode(stem)
        of_season = mark is not None and (mark.season, mark.episode)
        season, episode = of_season or (place.season if place.in_season else None, None)
        if place.owner is None:
            return replace(self._film(place, _EMPTY, stem), extra=kind)
        title = self._title_of_owner(place.owner, place)
        return replace(title, season=season, episode=episode, extra=kind, is_sure=True)

    def _title_of_owner(self, owner: _Owner, place: _Place) -> ParsedName:
        """Return the title of the only feature in a folder, or else that of the folder."""
        folder = self._folder(owner.folder)
        if folder.owner_title is None:
            own_place = self._place(owner.folder)
            found = {
                (parsed.key, parsed.kind): parsed
                for parsed in (self._feature(own_place, folder, s) for s in folder.features)
            }
            is_show = place.in_season or folder.has_seasons or owner.shelf is TitleKind.SHOW
            film = owner.film
            title = ParsedName(
                kind=TitleKind.SHOW if is_show else TitleKind.MOVIE,
                title=film.title or owner.name,
                year=film.year,
            )
            if len(found) == 1 and not folder.has_seasons:
                (title,) = found.values()
            if folder is _EMPTY:
                return title
            folder.owner_title = title
        return folder.owner_title

    def _extra_beside_feature(
        self, place: _Place, parts: _Folders, base: str, kind: str
    ) -> ParsedName:
        """Return an extra whose own name says so: "Film (2010)-trailer"."""
        folder = self._folder(parts)
        mark = read_episode(base) if base else None
        season = mark.season if mark else None
        if season is None and place.in_season:
            season = place.season
        feature = _feature_named(folder, fold(base)) if base else None
        if feature is not None:
            title = self._feature(place, folder, feature)
        elif place.owner and not place.owner.is_generic:
            title = self._title_of_owner(place.owner, place)
        else:
            title = self._feature(place, folder, base or kind)
        episode = mark.episode if mark else None
        return replace(title, season=season, episode=episode, extra=kind, is_sure=True)


_EMPTY = _Folder()


def _scope(folder: _Folders) -> str:
    return os.path.join(*folder) if folder else "."


def _feature_named(folder: _Folder, base: str) -> str | None:
    """Return a feature in a folder whose name begins with a text, or that the text begins with."""
    index = bisect_left(folder.by_folded, (base,))
    if index < len(folder.by_folded) and folder.by_folded[index][0].startswith(base):
        return folder.by_folded[index][1]
    words = base.split()
    for length in range(len(words) - 1, 0, -1):
        beginning = " ".join(words[:length])
        index = bisect_left(folder.by_folded, (beginning,))
        if index < len(folder.by_folded) and folder.by_folded[index][0] == beginning:
            return folder.by_folded[index][1]
    return None
