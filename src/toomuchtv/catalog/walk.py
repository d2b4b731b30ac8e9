"""Find the files of a library, folder by folder.

The walk never leaves the library and never follows a link into a folder, so that it cannot run in a
circle. It opens no file, so that a pipe or a device with the name of a film cannot block it.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from toomuchtv.catalog.file_identity import FileState


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


VIDEO_SUFFIXES = _suffixes(
    "3g2 3gp asf avi divx dv f4v flv gif h264 h265 hevc ivf m1v m2p m2t m2ts m2v m4v mjpeg mjpg "
    "mk3d mkv mov mp4 mp4v mpe mpeg mpg mpv mts mxf nut nuv obu ogm ogv ogx qt rm rmvb tod ts vob "
    "webm wmv wtv y4m"
)
#: Files with only audio are skipped later, but some files with these suffixes contain video too.
AUDIO_SUFFIXES = _suffixes(
    "aac ac3 aif aiff alac amr ape au caf dts eac3 flac m4a m4b mka mp2 mp3 mpc oga ogg opus ra "
    "tta wav weba wma wv"
)
IMAGE_SUFFIXES = _suffixes("avif bmp heic heif jfif jp2 jpe jpeg jpg png tga tif tiff webp")
# Images that media servers keep beside films. They are ignored and not reported as skipped.
_ARTWORK = re.compile(
    r"(?:.*[-_. ])?(?:poster|fanart|folder|backdrop|background|banner|logo|clearlogo|clearart|art|"
    r"thumb|thumbnail|cover|front|back|landscape|disc|keyart|default|show|movie|season\d*)[-_ ]?\d*"
    r"|season.*",
    re.IGNORECASE,
)
_SYSTEM_FOLDERS = frozenset(
    {"@eadir", "$recycle.bin", "#recycle", "system volume information", "lost+found"}
)


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


def walk_library(library: Path, found: LibraryFiles) -> Iterator[WalkedFolder]:
    """Find every file that may contain video. The order depends only on the names.

    Args:
        library: Resolved path of the library.
        found: Receives all files, while the walk goes on.

    Yields:
        Each folder before its subfolders. The links of all folders come last, one by one, when all
        files that they may lead to are known.
    """
    links: list[Path] = []
    folders = [Path()]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(library / folder) as scan:
                entries = sorted(scan, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            found.unusable[folder] = f"folder cannot be read: {error.strerror or error}"
            continue
        video_stems = {Path(e.name).stem for e in entries if _suffix(e.name) in VIDEO_SUFFIXES}
        subfolders: list[str] = []
        files: list[Path] = []
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith(".") or entry.name.casefold() in _SYSTEM_FOLDERS:
                found.num_ignored += 1
            elif entry.is_symlink():
                links.append(path)
            elif entry.is_dir(follow_symlinks=False):
                subfolders.append(entry.name)
            elif _add_file(found, library, path, video_stems):
                files.append(path)
        folders.extend(folder / name for name in reversed(subfolders))
        yield WalkedFolder(folder, files, subfolders)
    for link in links:
        if _add_link(found, library, link):
            yield WalkedFolder(link.parent, [link], [])


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].casefold()


def _add_file(found: LibraryFiles, library: Path, path: Path, video_stems: set[str]) -> bool:
    """Classify one file by its suffix and its file type. Return whether it may contain video."""
    suffix = _suffix(path.name)
    if suffix in IMAGE_SUFFIXES:
        if _ARTWORK.fullmatch(path.stem) or path.stem in video_stems:
            found.num_ignored += 1
        else:
            found.unusable[path] = "a still image, not a film"
        return False
    if suffix not in VIDEO_SUFFIXES and suffix not in AUDIO_SUFFIXES:
        found.num_ignored += 1
        return False
    try:
        status = os.stat(library / path)
    except OSError as error:
        found.unusable[path] = f"cannot be read: {error.strerror or error}"
        return False
    if not stat.S_ISREG(status.st_mode):
        found.unusable[path] = "not a regular file (a pipe, socket or device)"
        return False
    found.files[path] = FileState.of(status)
    return True


def _add_link(found: LibraryFiles, library: Path, link: Path) -> bool:
    """Follow a link only if it leads to a file of this library that was not found by itself.

    Return whether it leads to a file that may contain video.
    """
    full_path = library / link
    is_media = _suffix(link.name) in VIDEO_SUFFIXES | AUDIO_SUFFIXES
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
            found.unusable[link] = "a link that leads out of the library; it is not followed"
        else:
            found.num_ignored += 1
    elif target.is_dir() or target.relative_to(library) in found.files:
        found.num_ignored += 1  # the target was found under its own name
    else:
        return _add_file(found, library, link, set())
    return False
