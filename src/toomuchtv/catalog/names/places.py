"""The first stage of parsing paths: what the folders above a file say about it.

Folders are classified from the library down: shelf, title, season, part of a disc, extras. The
names of folders are not enough for that. "Extras" is a folder of extras beside a film, and a show
beside other shows; so what lies in a folder is looked at too.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from toomuchtv.catalog.names.reading import (
    FilmName,
    clean,
    has_year_in_brackets,
    read_episode,
    read_film,
    read_number,
)
from toomuchtv.catalog.names.text import fold, printable, title_key
from toomuchtv.catalog.names.words import (
    extra_suffix,
    extras_of_folder,
    is_disc_folder,
    is_meaningless,
    is_part_folder,
    is_subdivision,
    season_number,
    season_pack,
    shelf_kind,
    weak_season_number,
)
from toomuchtv.catalog.records import TitleKind

#: A folder, as the parts of its path relative to the library.
FolderParts = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The folder that names the title of the files below it.

    Attributes:
        name: The folder's name, or the title of a folder such as "Show S02 1080p".
        folder: The folder.
        shelf: Kind of the shelf that the folder lies directly on, or None.
        is_generic: True if many folders have this name ("Disc 1").
    """

    name: str
    folder: FolderParts
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
        return has_year_in_brackets(self.name) or "id-" in self.name.casefold().replace("=", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
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

    base: FolderParts = ()
    shelf: TitleKind | str | None = None
    owner: Owner | None = None
    in_season: bool = False
    season: int | None = None
    is_disc: bool = False
    extra: str | None = None
    release: str = ""


class Folder:
    """What lies directly in one folder, and what follows from it. Extras are left out.

    Attributes:
        subfolders: Names of the folders.
        features: Names of the media files, without suffixes.
        has_marks: True if a file has the mark of an episode.
        num_dated: Number of files that are named by a date.
        show_titles: Keys of the titles in front of the marks.
        numbers: Numbers of the files that have a number and no mark.
        has_bare_numbers: True if a file begins with its number.
        series: Keys of the titles in front of numbers that two or more files share.
        has_seasons: True if there are season folders.
        has_discs: True if there is the structure of a disc.
        has_titles: True if there are folders "Name (Year)".
    """

    def __init__(self, files: Iterable[str] = (), subfolders: Iterable[str] = ()) -> None:
        self.subfolders = [printable(name) for name in subfolders]
        stems = [printable(os.path.splitext(name)[0]) for name in files]
        self.features = [stem for stem in stems if extra_suffix(stem) is None]
        marks = {stem: read_episode(stem) for stem in self.features}
        found = [mark for mark in marks.values() if mark]
        self.has_marks = bool(found)
        self.num_dated = sum(mark.is_dated for mark in found)
        self.show_titles = {title_key(mark.title, None) for mark in found if mark.title}
        counted = [read_number(stem) for stem, mark in marks.items() if mark is None]
        numbered = [number for number in counted if number]
        self.numbers = {number.number for number in numbered}
        self.has_bare_numbers = any(not number.title for number in numbered)
        by_title: defaultdict[str, set[int]] = defaultdict(set)
        for number in numbered:
            if number.is_plain:
                by_title[title_key(number.title, None)].add(number.number)
        self.series = {key for key, numbers in by_title.items() if len(numbers) > 1}
        self.has_seasons = any(season_number(name) is not None for name in self.subfolders)
        self.has_discs = any(is_disc_folder(name) for name in self.subfolders)
        self.has_titles = any(map(has_year_in_brackets, self.subfolders))

    @property
    def holds_title(self) -> bool:
        """Whether a film, a season or a disc lies directly in the folder."""
        return bool(self.features) or self.has_seasons or self.has_discs

    @property
    def has_episodes(self) -> bool:
        """Whether files have the mark of an episode, or begin with a number."""
        return self.has_marks or self.has_bare_numbers

    @cached_property
    def by_folded(self) -> list[tuple[str, str]]:
        """The features, sorted by their folded names."""
        return sorted((fold(stem), stem) for stem in self.features)

    def feature_named(self, name: str) -> str | None:
        """Return a feature whose name begins with this name, or that this name begins with."""
        features, folded = self.by_folded, fold(name)
        index = bisect_left(features, (folded,))
        if index < len(features) and features[index][0].startswith(folded):
            return features[index][1]
        words = folded.split()
        for length in range(len(words) - 1, 0, -1):
            beginning = " ".join(words[:length])
            index = bisect_left(features, (beginning,))
            if index < len(features) and features[index][0] == beginning:
                return features[index][1]
        return None

    @cached_property
    def pack_titles(self) -> set[str]:
        """Keys of the titles of subfolders such as "Show S02 1080p"."""
        packs = map(season_pack, self.subfolders)
        return {title_key(clean(pack[0]), None) for pack in packs if pack}

    @cached_property
    def film_titles(self) -> list[FilmName]:
        """The features as films, one for each title, without names that mean nothing."""
        films = [read_film(stem) for stem in self.features if not is_meaningless(stem)]
        return list({title_key(film.title, film.year): film for film in films}.values())


EMPTY_FOLDER = Folder()


def related(one: str, other: str) -> bool:
    """Whether one of two titles begins with the other."""
    a, b = title_key(one, None)[:-1], title_key(other, None)[:-1]
    return bool(a and b) and (a.startswith(b) or b.startswith(a))


class Places:
    """The places of all folders of one library.

    Add each folder before its subfolders, as a walk finds them. What comes later in a walk does not
    change the place of a folder.
    """

    def __init__(self, library_name: str = "") -> None:
        self._library_name = printable(library_name) if library_name else ""
        self._folders: dict[FolderParts, Folder] = {}
        self._places: dict[FolderParts, Place] = {}

    def add_folder(self, folder: Path, files: Iterable[str], subfolders: Iterable[str]) -> None:
        """Add what lies directly in a folder.

        Args:
            folder: The folder, relative to the library.
            files: Names of the media files in it.
            subfolders: Names of the folders in it.
        """
        self._folders[folder.parts] = Folder(files, subfolders)
        self._places.pop(folder.parts, None)

    def fallback_title(self, place: Place) -> str:
        """Return a name for files whose names and folders state no title."""
        return (printable(place.base[-1]) if place.base else self._library_name) or "\ufffd"

    def folder(self, parts: FolderParts) -> Folder:
        """Return what lies in a folder."""
        return self._folders.get(parts) or EMPTY_FOLDER

    def place(self, parts: FolderParts) -> Place:
        """Return the place of the files in a folder."""
        place = self._places.get(parts)
        if place is None:
            place = self._enter(self.place(parts[:-1]), parts) if parts else self._root()
            self._places[parts] = place
        return place

    def _root(self) -> Place:
        """Return the place of files directly in the library."""
        name, root = self._library_name, self.folder(())
        shelf = shelf_kind(name) if name else None
        is_counted = root.series == {title_key("", None)} and not root.show_titles
        is_title = root.has_seasons or root.has_discs or is_counted
        if name and shelf is None and is_title:
            return Place(owner=Owner(name=name, folder=()))
        return Place(shelf=shelf)

    def _enter(self, place: Place, parts: FolderParts) -> Place:
        """Return the place of the files in a folder, from the place of the folder above it."""
        name, here = printable(parts[-1]), self.folder(parts)
        if extra := self._extras_folder(place, parts, name):
            return replace(place, extra=extra)
        if place.extra or place.is_disc:
            return place
        if is_disc_folder(name) or (name.casefold() == "private" and here.has_discs):
            owner = place.owner or Owner(name=name, folder=parts, is_generic=True)
            return replace(place, is_disc=True, owner=owner)
        if is_part_folder(name):
            owner = place.owner or Owner(name=name, folder=parts, is_generic=True)
            return replace(place, owner=owner)
        mark = read_episode(name)
        if mark and mark.is_certain and here.features:
            return replace(place, base=parts, release=name)
        if in_season := self._season_folder(place, parts, name, here):
            return in_season
        shelf = self._shelf(place, name, here)
        if shelf is not None:
            return Place(base=parts, shelf=shelf)
        if place.in_season:
            return place
        return self._title_folder(place, parts, name)

    def _title_folder(self, place: Place, parts: FolderParts, name: str) -> Place:
        if place.owner and place.owner.is_certain and not has_year_in_brackets(name):
            return place  # a folder without a year, inside of "Name (Year)"
        above = place.owner
        is_counted = name.isdecimal() or weak_season_number(name) is not None
        if above and is_counted:  # "Volume 1" says nothing without "Kill Bill"
            name = f"{above.film.title or above.name} {name}"
        owner = Owner(
            name=name,
            folder=parts,
            shelf=place.shelf if above is None else None,
            is_generic=above is not None and is_counted,
        )
        return replace(place, base=parts, owner=owner)

    def _extras_folder(self, place: Place, parts: FolderParts, name: str) -> str | None:
        """Return the kind of extras that a folder holds, or None if it is no folder of extras.

        The names of such folders are names of shelves and shows too. So there must be a title that
        the extras belong to, and the folder must not look as if it held titles of its own.
        """
        kind, is_certain = extras_of_folder(name)
        owner, here, above = place.owner, self.folder(parts), self.folder(parts[:-1])
        if kind is None or place.extra:
            return kind
        if owner is None or owner.is_generic or here.has_titles:
            return None
        if is_certain or place.in_season or above.has_seasons or above.has_discs:
            return kind
        if here.has_seasons or any(related(title, name) for title in here.show_titles):
            return None
        if owner.is_certain:
            return kind
        for stem in here.features:
            film = read_film(stem)
            if film.is_certain and not related(film.title, owner.name):
                return None
        on_shelf = isinstance(owner.shelf, TitleKind) and kind == "other"
        return kind if above.holds_title or on_shelf else None

    def _shelf(self, place: Place, name: str, here: Folder) -> TitleKind | str | None:
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
        self, place: Place, parts: FolderParts, name: str, here: Folder
    ) -> Place | None:
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
            is_own = all(related(title, owner.name) for title in here.show_titles)
            is_plausible = season < 100 or 1900 <= season < 2100
            if has_proof and is_own and is_plausible and place.shelf is not TitleKind.MOVIE:
                return replace(place, in_season=True, season=season)
            return None
        pack = season_pack(name)
        if pack and (has_proof or (pack[2] and place.shelf is not TitleKind.MOVIE)):
            return self._pack_folder(place, parts, clean(pack[0]), pack[1])
        return None

    def _pack_folder(
        self, place: Place, parts: FolderParts, title: str, season: int
    ) -> Place | None:
        """Return the place inside of a folder such as "Show S02 1080p"."""
        if not title:
            return None
        owner = place.owner
        is_theirs = owner and (
            owner.is_certain
            or related(owner.name, title)
            or (owner.shelf is TitleKind.SHOW and len(self.folder(parts[:-1]).pack_titles) == 1)
        )
        if not is_theirs:
            owner = Owner(name=title, folder=parts, shelf=TitleKind.SHOW)
        return replace(place, owner=owner, in_season=True, season=season)
