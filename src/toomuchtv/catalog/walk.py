"""Which files a library holds: the walk through its folders, and what identifies content.

The walk never leaves the library, never follows a link into a folder (so that no loop can hold
it), and opens nothing: pipes and devices with a film's name do not block it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


VIDEO_SUFFIXES = _suffixes(
    "3g2 3gp asf avi divx dv f4v flv gif h264 h265 hevc ivf m1v m2p m2t m2ts m2v m4v mjpeg mjpg "
    "mk3d mkv mov mp4 mp4v mpe mpeg mpg mpv mts mxf nut nuv obu ogm ogv ogx qt rm rmvb tod ts vob "
    "webm wmv wtv y4m"
)
#: Sound alone is set aside, but some of these can hold a picture too.
AUDIO_SUFFIXES = _suffixes(
    "aac ac3 aif aiff alac amr ape au caf dts eac3 flac m4a m4b mka mp2 mp3 mpc oga ogg opus ra "
    "tta wav weba wma wv"
)
IMAGE_SUFFIXES = _suffixes("avif bmp heic heif jfif jp2 jpe jpeg jpg png tga tif tiff webp")
#: Pictures that media servers keep beside films; they are no films gone wrong.
_ARTWORK = re.compile(
    r"(?:.*[-_. ])?(?:poster|fanart|folder|backdrop|background|banner|logo|clearlogo|clearart|art|"
    r"thumb|thumbnail|cover|front|back|landscape|disc|keyart|default|show|movie|season\d*)[-_ ]?\d*"
    r"|season.*",
    re.IGNORECASE,
)
_SYSTEM_FOLDERS = frozenset(
    {"@eadir", "$recycle.bin", "#recycle", "system volume information", "lost+found"}
)
_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """What tells, without opening it, whether a file is as it was."""

    size_bytes: int
    modified_ns: int


@dataclass(slots=True)
class Walk:
    """What one walk found. All paths are relative to the library."""

    files: dict[Path, FileState] = field(default_factory=dict)
    refused: dict[Path, str] = field(default_factory=dict)
    num_ignored: int = 0


def walk_library(library: Path) -> Walk:
    """Find every file that may hold a film, in an order that depends on the names alone.

    `library` must be a resolved path.
    """
    walk = Walk()
    links: list[Path] = []
    folders = [Path()]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(library / folder) as scan:
                entries = sorted(scan, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            walk.refused[folder] = f"folder cannot be read: {error.strerror or error}"
            continue
        stems = {Path(e.name).stem for e in entries if _suffix(e.name) in VIDEO_SUFFIXES}
        inside = []
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith(".") or entry.name.casefold() in _SYSTEM_FOLDERS:
                walk.num_ignored += 1
            elif entry.is_symlink():
                links.append(path)
            elif entry.is_dir(follow_symlinks=False):
                inside.append(path)
            else:
                _take(walk, library, path, stems)
        folders.extend(reversed(inside))
    for link in links:
        _judge_link(walk, library, link)
    walk.files = dict(sorted(walk.files.items(), key=lambda file: os.fsencode(file[0])))
    return walk


def fingerprint_file(path: Path, size_bytes: int) -> str:
    """Identify content without reading all of it.

    The digest is of the size and of blocks at the start, the end and six places between. Two
    different films agree in all of them only by intent.

    Raises:
        OSError: if the file cannot be read.
    """
    digest = hashlib.blake2b(str(size_bytes).encode(), digest_size=16)
    last = max(0, size_bytes - _BLOCK_BYTES)
    with path.open("rb", buffering=0) as file:
        for offset in sorted({last * part // 7 for part in range(8)}):
            file.seek(offset)
            digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].casefold()


def _take(walk: Walk, library: Path, path: Path, stems: set[str]) -> None:
    """Sort one directory entry that is neither a folder nor a hidden one."""
    suffix = _suffix(path.name)
    if suffix in IMAGE_SUFFIXES:
        if _ARTWORK.fullmatch(path.stem) or path.stem in stems:
            walk.num_ignored += 1
        else:
            walk.refused[path] = "a still image, not a film"
        return
    if suffix not in VIDEO_SUFFIXES and suffix not in AUDIO_SUFFIXES:
        walk.num_ignored += 1
        return
    try:
        status = os.stat(library / path)
    except OSError as error:
        walk.refused[path] = f"cannot be read: {error.strerror or error}"
        return
    if not stat.S_ISREG(status.st_mode):
        walk.refused[path] = "not a regular file (a pipe, socket or device)"
        return
    walk.files[path] = FileState(size_bytes=status.st_size, modified_ns=status.st_mtime_ns)


def _judge_link(walk: Walk, library: Path, link: Path) -> None:
    """Links are followed to files of this library only, and to those that have no other name."""
    full = library / link
    is_media = _suffix(link.name) in VIDEO_SUFFIXES | AUDIO_SUFFIXES
    try:
        os.stat(full)
    except OSError as error:
        if error.errno == errno.ELOOP:
            walk.refused[link] = "a link that leads in a circle"
        elif not is_media:
            walk.num_ignored += 1
        elif error.errno == errno.ENOENT:
            walk.refused[link] = "a link that leads nowhere"
        else:
            walk.refused[link] = f"a link that cannot be followed: {error.strerror or error}"
        return
    target = full.resolve()
    if not target.is_relative_to(library):
        if is_media or target.is_dir():
            walk.refused[link] = "a link that leads out of the library; it is not followed"
        else:
            walk.num_ignored += 1
    elif target.is_dir() or target.relative_to(library) in walk.files:
        walk.num_ignored += 1  # what it leads to is found under its own name
    else:
        _take(walk, library, link, set())
