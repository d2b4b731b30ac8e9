"""Find the files of a library, folder by folder.

The walk leaves the library only where it is told to follow links, and it enters no folder twice, so
that it cannot run in a circle. It opens no file, so that a pipe or a device with the name of a film
cannot block it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from toomuchtv.catalog.file_identity import FileState
from toomuchtv.catalog.file_kinds import (
    AUDIO_SUFFIXES,
    LARGE_FILE_BYTES,
    VIDEO_SUFFIXES,
    FileKind,
    is_service_folder,
    kind_of_file,
    suffix_of,
    why_large_file_is_listed,
)

# A library that consists of links may have thousands of them.
_MAX_LISTED_TARGETS = 5


@dataclass(slots=True)
class LibraryFiles:
    """The files that a walk has found so far. All paths are relative to the library.

    Attributes:
        files: The files that may contain video.
        unusable: Files and folders that cannot be used, with reasons.
        num_ignored: Number of files that belong to a library but are not films.
    """

    files: dict[Path, FileState] = field(default_factory=dict)
    unusable: dict[Path, str] = field(default_factory=dict)
    num_ignored: int = 0


@dataclass(frozen=True, slots=True)
class WalkedFolder:
    """One folder of a library.

    Attributes:
        path: The folder.
        files: The files in it that may contain video.
        subfolders: Names of the folders in it.
    """

    path: Path
    files: list[Path]
    subfolders: list[str]


def walk_library(
    library: Path, found: LibraryFiles, *, follow_links: bool = False
) -> Iterator[WalkedFolder]:
    """Find every file that may contain video. The order depends only on the names.

    Args:
        library: Resolved path of the library.
        found: Receives all files, while the walk goes on.
        follow_links: Use files and folders outside of the library that links lead to.

    Yields:
        Each folder before its subfolders. The links that stay inside of the library come last, one
        by one, when all files that they may lead to are known.
    """
    links: list[Path] = []
    entered: set[tuple[int, int]] = set()  # device and number of folders behind links
    folders = [Path()]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(library / folder) as scan:
                entries = sorted(scan, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            found.unusable[folder] = f"folder cannot be read: {error.strerror or error}"
            continue
        video_stems = {Path(e.name).stem for e in entries if suffix_of(e.name) in VIDEO_SUFFIXES}
        subfolders: list[str] = []
        files: list[Path] = []
        for entry in entries:
            path = folder / entry.name
            leads_out = follow_links and entry.is_symlink() and _leads_out(library, path)
            if is_service_folder(entry.name):
                found.num_ignored += 1
            elif entry.is_symlink() and not leads_out:
                links.append(path)
            elif entry.is_dir(follow_symlinks=leads_out):
                if not leads_out or _enters(library / path, entered):
                    subfolders.append(entry.name)
                else:
                    found.num_ignored += 1
            elif _add_file(found, library, path, video_stems):
                files.append(path)
        folders.extend(folder / name for name in reversed(subfolders))
        yield WalkedFolder(folder, files, subfolders)
    outside: dict[Path, list[Path]] = {}
    for link in links:
        if _add_link(found, library, link, outside):
            yield WalkedFolder(link.parent, [link], [])
    _list_links_out(found, outside)


def _leads_out(library: Path, link: Path) -> bool:
    """Whether a link leads to something that exists outside of the library."""
    try:
        return not (library / link).resolve(strict=True).is_relative_to(library)
    except (OSError, RuntimeError):  # it leads nowhere, or in a circle
        return False


def _enters(folder: Path, entered: set[tuple[int, int]]) -> bool:
    """Note that a folder is entered. Return False if it, or a folder above it, was before."""
    try:
        chain = [folder.resolve(), *folder.resolve().parents]
        identities = [(status.st_dev, status.st_ino) for status in map(os.stat, chain)]
    except OSError:
        return True  # the walk says why it cannot be read
    if not entered.isdisjoint(identities):
        return False
    entered.add(identities[0])
    return True


def _add_file(found: LibraryFiles, library: Path, path: Path, video_stems: set[str]) -> bool:
    """Classify one file by its name and its file type. Return whether it may contain video."""
    kind = kind_of_file(path, video_stems)
    if isinstance(kind, str):
        found.unusable[path] = kind
        return False
    if kind is FileKind.BESIDE:
        found.num_ignored += 1
        return False
    try:
        status = os.stat(library / path)
    except OSError as error:
        found.unusable[path] = f"cannot be read: {error.strerror or error}"
        return False
    is_file = stat.S_ISREG(status.st_mode)
    if kind is FileKind.UNKNOWN:
        if is_file and status.st_size >= LARGE_FILE_BYTES:
            found.unusable[path] = why_large_file_is_listed(path, status.st_size)
        else:
            found.num_ignored += 1
        return False
    if not is_file:
        found.unusable[path] = "not a regular file (a pipe, socket or device)"
        return False
    found.files[path] = FileState.of(status)
    return True


def _add_link(
    found: LibraryFiles, library: Path, link: Path, outside: dict[Path, list[Path]]
) -> bool:
    """Follow a link only if it leads to a file of this library that was not found by itself.

    Links that lead out of the library are added to `outside`, by the folder that they lead to.

    Return whether it leads to a file that may contain video.
    """
    full_path = library / link
    is_media = suffix_of(link.name) in VIDEO_SUFFIXES | AUDIO_SUFFIXES
    try:
        os.stat(full_path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            found.unusable[link] = "a link that leads in a circle"
        elif not is_media:
            found.num_ignored += 1
        elif error.errno == errno.ENOENT:
            found.unusable[link] = "a link that leads nowhere"
        else:
            found.unusable[link] = f"a link that cannot be followed: {error.strerror or error}"
        return False
    target = full_path.resolve()
    if not target.is_relative_to(library):
        if is_media or target.is_dir():
            outside.setdefault(target if target.is_dir() else target.parent, []).append(link)
        else:
            found.num_ignored += 1
    elif target.is_dir() or target.relative_to(library) in found.files:
        found.num_ignored += 1  # the target was found under its own name
    else:
        return _add_file(found, library, link, set())
    return False


def _list_links_out(found: LibraryFiles, outside: dict[Path, list[Path]]) -> None:
    """List the links that lead out of the library, once for each of few folders above targets."""
    while len(outside) > _MAX_LISTED_TARGETS:
        depth = max(len(folder.parts) for folder in outside)
        merged: dict[Path, list[Path]] = {}
        for folder, links in outside.items():
            above = folder.parent if len(folder.parts) == depth else folder
            merged.setdefault(above, []).extend(links)
        outside = merged
    for folder, links in outside.items():
        others = "" if len(links) == 1 else f", and so do {len(links) - 1} other links"
        found.unusable[links[0]] = (
            f"a link that leads out of the library, to {folder}{others}: use --follow-links if "
            "these are films of yours"
        )
