"""Parse paths: which title a file belongs to, which episode it is, or which kind of extra.

The rules are stated in `docs/reference/names.md`. They work in three stages:

1. Folders are classified from the library down (`places`): shelf, title, season, part of a disc,
   extras. The result for the folder of a file is its `Place`.
2. The name of the file is read by itself (`reading`), with the words of many languages (`words`).
3. Place and name together decide: folders that follow a layout outweigh file names.

Some names are clear only beside their brothers: "Show 05" is an episode if there is a "Show 06",
and "Extras" holds extras if a film lies beside it. So a `TitleParser` is told what lies in a folder
before the files of that folder are parsed. It needs to know nothing of what comes later in a walk.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from toomuchtv.catalog.names.places import (
    EMPTY_FOLDER,
    Folder,
    FolderParts,
    Owner,
    Place,
    Places,
    related,
)
from toomuchtv.catalog.names.reading import (
    EpisodeName,
    FilmName,
    read_episode,
    read_film,
    read_number,
    without_part,
)
from toomuchtv.catalog.names.text import printable, title_key
from toomuchtv.catalog.names.words import extra_suffix, is_generic, is_meaningless
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
        scope: The folder that the title is confined to, or "". A film without a year whose name
            stands only in the file's name is another title than one of that name elsewhere.
        is_sure: False if only the numbers of other files in the folder show that it is an episode.
        is_corrected: True if the owner of the library has corrected it.
    """

    kind: TitleKind
    title: str
    year: int | None
    season: int | None = None
    episode: int | None = None
    extra: str | None = None
    scope: str = ""
    is_sure: bool = True
    is_corrected: bool = False

    @property
    def key(self) -> str:
        """What all files of the title share, and no file of another title of this kind."""
        key = title_key(self.title, self.year)
        return f"{key}/{self.scope}" if self.scope else key

    @property
    def may_be_clip(self) -> bool:
        """Whether a short file of this name is a clip: neither year nor season say otherwise."""
        if self.is_corrected:
            return False
        return self.year is None and (self.kind is TitleKind.MOVIE or not self.is_sure)


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
    files: defaultdict[FolderParts, list[str]] = defaultdict(list)
    folders: defaultdict[FolderParts, set[str]] = defaultdict(set)
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


class TitleParser:
    """A parser of the paths of one library.

    Add each folder before its subfolders, as a walk finds them, and parse its files at any time
    after that.
    """

    def __init__(self, library_name: str = "") -> None:
        self._places = Places(library_name)
        self._titles: dict[FolderParts, ParsedName] = {}

    def add_folder(self, folder: Path, files: Iterable[str], subfolders: Iterable[str]) -> None:
        """Add what lies directly in a folder.

        Args:
            folder: The folder, relative to the library.
            files: Names of the media files in it.
            subfolders: Names of the folders in it.
        """
        self._places.add_folder(folder, files, subfolders)

    def parse(self, path: Path) -> ParsedName:
        """Parse a path that is relative to the library. Every path gives a printable title."""
        parts, stem = path.parts[:-1], printable(path.stem)
        place, folder = self._places.place(parts), self._places.folder(parts)
        if place.extra:
            return self._extra(place, stem, place.extra)
        if suffix := extra_suffix(stem):
            base, kind, is_certain = suffix
            if is_certain or (place.owner and not place.owner.is_generic):
                return self._extra_beside_feature(place, folder, base, kind)
        return self._feature(place, folder, stem)

    # ---- Features

    def _feature(self, place: Place, folder: Folder, stem: str) -> ParsedName:
        return self._episode(place, folder, stem) or self._film(place, folder, stem)

    def _episode(self, place: Place, folder: Folder, stem: str) -> ParsedName | None:
        """Parse a file as an episode, or return None if it is a film."""
        # The folder of a release is written more carefully than the file in it.
        mark = (read_episode(place.release) if place.release else None) or read_episode(stem)
        if mark and (mark.is_certain or place.in_season or self._is_episode(place, folder, mark)):
            season = place.season if place.in_season and mark.season is None else mark.season
            return self._of_show(place, folder, mark.title, mark.year, season, mark.episode)
        return self._numbered_episode(place, folder, stem)

    def _is_episode(self, place: Place, folder: Folder, mark: EpisodeName) -> bool:
        """Whether a mark that films have too is that of an episode."""
        owner = place.owner if place.owner and not place.owner.is_generic else None
        if place.shelf is TitleKind.MOVIE or mark.has_later_year:
            return False
        if mark.is_dated and not mark.title:
            return owner is not None and (place.shelf is TitleKind.SHOW or folder.num_dated > 1)
        return bool(mark.title) or owner is not None

    def _numbered_episode(self, place: Place, folder: Folder, stem: str) -> ParsedName | None:
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
            if film.is_certain and not related(film.title, place.owner.name):
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
        self, place: Place, folder: Folder, own: str, year: int | None,
        season: int | None, episode: int | None,
    ) -> ParsedName:  # fmt: skip
        """Return an episode of the show that its folder or its own name states."""
        owner, scope = place.owner, ""
        title = own or self._places.fallback_title(place)
        if owner and (place.in_season or self._owns(owner, folder, own)):
            film = owner.film
            title, year = film.title or owner.name, film.year
            is_known = place.in_season or owner.shelf is TitleKind.SHOW or owner.is_certain
            if owner.is_generic or not (is_known or related(title, own)):
                scope = _scope(owner.folder)
        elif not own or is_generic(own):
            scope = _scope(place.base)
        return ParsedName(
            kind=TitleKind.SHOW, title=title, year=year, season=season, episode=episode, scope=scope
        )

    def _owns(self, owner: Owner, folder: Folder, own: str) -> bool:
        """Whether the folder above an episode names its show, and not the episode itself."""
        if not own or is_generic(own):
            return True
        key = title_key(own, None)
        if owner.is_generic or key == title_key(owner.film.title, None):
            return not owner.is_generic
        is_only = len(folder.show_titles | folder.series) <= 1
        return is_only and (
            owner.shelf is TitleKind.SHOW or owner.is_certain or related(own, owner.name)
        )

    def _film(self, place: Place, folder: Folder, stem: str) -> ParsedName:
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
        self, owner: Owner, own: FilmName, place: Place, folder: Folder, stem: str
    ) -> bool:
        """Whether the folder above a film names it, and not the file itself."""
        film = owner.film
        if place.is_disc or is_generic(stem):
            return True
        is_same = related(own.title, film.title)
        titles = folder.film_titles
        if film.is_certain or (film.is_release and film.year):
            if own.year is not None and not is_same:
                return own.year == film.year and sum(one.year is not None for one in titles) < 2
            # A folder with films of which none has its name is a collection: "Best of (2019)".
            is_collection = len(titles) > 1 and not any(
                related(t.title, film.title) for t in titles
            )
            return own.year in (None, film.year) and not is_collection
        if own.is_certain:  # "Name (Year)"
            return False
        keys = {title_key(own.title, None), title_key(without_part(own.title), None)}
        if title_key(film.title, None) in keys and own.year is None:
            return True
        if own.year is not None:
            return False
        is_only = len(folder.features) == 1
        means_nothing = is_meaningless(stem) and place.shelf is TitleKind.MOVIE
        return is_only and (means_nothing or film.is_release)

    # ---- Extras

    def _extra(self, place: Place, stem: str, kind: str) -> ParsedName:
        """Return an extra of the title whose folder it lies in."""
        mark = read_episode(stem)
        of_season = mark is not None and (mark.season, mark.episode)
        season, episode = of_season or (place.season if place.in_season else None, None)
        if place.owner is None:
            return replace(self._film(place, EMPTY_FOLDER, stem), extra=kind)
        title = self._title_of_owner(place.owner, place)
        return replace(title, season=season, episode=episode, extra=kind, is_sure=True)

    def _title_of_owner(self, owner: Owner, place: Place) -> ParsedName:
        """Return the title of the only feature in a folder, or else that of the folder."""
        if owner.folder not in self._titles:
            folder, above = self._places.folder(owner.folder), self._places.place(owner.folder)
            parsed = [self._feature(above, folder, stem) for stem in folder.features]
            if len({(name.kind, name.key) for name in parsed}) == 1 and not folder.has_seasons:
                title = parsed[0]
            else:
                is_show = place.in_season or folder.has_seasons or owner.shelf is TitleKind.SHOW
                title = ParsedName(
                    kind=TitleKind.SHOW if is_show else TitleKind.MOVIE,
                    title=owner.film.title or owner.name,
                    year=owner.film.year,
                )
            self._titles[owner.folder] = title
        return self._titles[owner.folder]

    def _extra_beside_feature(
        self, place: Place, folder: Folder, base: str, kind: str
    ) -> ParsedName:
        """Return an extra whose own name says so: "Film (2010)-trailer"."""
        mark = read_episode(base) if base else None
        season, episode = (mark.season, mark.episode) if mark else (None, None)
        if season is None and place.in_season:
            season = place.season
        feature = folder.feature_named(base) if base else None
        if feature is not None:
            title = self._feature(place, folder, feature)
        elif place.owner and not place.owner.is_generic:
            title = self._title_of_owner(place.owner, place)
        else:
            title = self._feature(place, folder, base or kind)
        return replace(title, season=season, episode=episode, extra=kind, is_sure=True)


def _scope(folder: FolderParts) -> str:
    return os.path.join(*folder) if folder else "."
