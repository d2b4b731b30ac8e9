"""What a file in a library is, by its name: media, something that is kept beside films, or a loss.

Nothing that may be a film is passed over without a word. A file that stands for a film that cannot
be read, such as an image of a disc, is listed with a reason, and so is every large file of an
unknown suffix. What media servers keep beside films is passed over and only counted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from enum import Enum
from pathlib import Path


class FileKind(Enum):
    """What is done with a file that has no reason to be listed."""

    #: It may contain video and is probed.
    MEDIA = "media"
    #: It belongs to a library and is not a film.
    BESIDE = "beside"
    #: Its suffix is unknown. It is listed if it is as large as a film.
    UNKNOWN = "unknown"


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


VIDEO_SUFFIXES = _suffixes(
    "264 265 3g2 3gp 3gpp amv asf av1 avc avi bik dav divx dv dvr-ms evo f4v flv gif gxf h264 "
    "h265 hdmov hevc ismv ivf m1v m2p m2t m2ts m2v m4v mjpeg mjpg mk3d mkv mod mov mp2v mp4 mp4v "
    "mpe mpeg mpeg4 mpg mpv mpv2 mts mxf nsv nut nuv obu ogm ogv ogx pva qt rec rm rmvb roq smk "
    "tod tp trp ts ty vc1 viv vob vp8 vp9 vro webm wmv wtv xesc xvid y4m"
)
#: Files with only audio are skipped later, but some files with these suffixes contain video too.
AUDIO_SUFFIXES = _suffixes(
    "aac ac3 aif aiff alac amr ape au caf dts eac3 flac m4a m4b mka mp2 mp3 mpc oga ogg opus ra "
    "tta wav weba wma wv"
)
IMAGE_SUFFIXES = _suffixes("avif bmp heic heif jfif jp2 jpe jpeg jpg png tbn tga tif tiff webp")
#: Files of these kinds can be large and are no films.
_KNOWN_SUFFIXES = _suffixes(
    "ass bif bup cue db ico idx ifo ini json log lrc m3u m3u8 md5 mks nfo nzb par2 pdf "
    "pls sfv sha1 smi srr srt srs ssa sub sup torrent ttml txt url vtt xml xmp"
)

_DISC_IMAGE = "an image of a disc: mount it, or copy its films to media files"
_UNFINISHED = "a download that is not finished"
_ARCHIVE = "an archive: unpack it if it contains films"
#: Files that stand for a film that is missing, whatever their size.
_REASONS = {
    **dict.fromkeys(_suffixes("iso img nrg mdf dmg cdi"), _DISC_IMAGE),
    **dict.fromkeys(
        _suffixes("part partial crdownload download !qb !ut bc! aria2 opdownload"), _UNFINISHED
    ),
    **dict.fromkeys(_suffixes("rar zip 7z"), _ARCHIVE),
    ".bin": "an image of a disc or an unknown file: copy its films to media files",
    ".strm": "a link to a stream that is kept elsewhere: there is no film in it",
    ".disc": "a note that there is a disc: there is no film in it",
}
#: What a film at least weighs, in bytes.
LARGE_FILE_BYTES = 50_000_000

_ARTWORK = re.compile(
    r"(?:.*[-_. ])?(?:poster|fanart|folder|backdrop|background|banner|logo|clearlogo|clearart|art|"
    r"thumb|thumbnail|cover|front|back|landscape|disc|discart|cdart|keyart|characterart|square|"
    r"icon|default|show|movie|season\d*)[-_ ]?\d*|season.*|screen\d*|screenshot[-_ ]?\d*",
    re.IGNORECASE,
)
_PICTURE_FOLDERS = frozenset(
    {
        "actors", "artwork", "backdrops", "chapters", "covers", "extrafanart", "extrathumbs",
        "images", "metadata", "people", "posters", "scans", "screens", "screenshots", "thumbs",
    }
)  # fmt: skip
_SERVICE_FOLDERS = frozenset(
    {
        "@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot",
        "$recycle.bin", "recycler", "system volume information", "lost+found",
        "network trash folder", "temporary items", "plex versions", "theme-music",
    }
)  # fmt: skip


def suffix_of(name: str) -> str:
    """Return the suffix of a file name in lower case, with its dot."""
    return os.path.splitext(name)[1].casefold()


def is_service_folder(name: str) -> bool:
    """Whether a folder is kept by a media server, a NAS or a file system, and holds no films."""
    folded = name.casefold()
    return folded in _SERVICE_FOLDERS or folded.endswith(".trickplay") or name.startswith(".")


def kind_of_file(path: Path, video_stems: Collection[str]) -> FileKind | str:
    """Return what a file is, or the reason why it is listed and not used.

    Args:
        path: The file.
        video_stems: Names without suffix of the videos in the same folder.
    """
    name, suffix = path.name, suffix_of(path.name)
    if name.startswith("."):
        return FileKind.BESIDE
    if suffix in IMAGE_SUFFIXES:
        is_artwork = _ARTWORK.fullmatch(path.stem) or _belongs_to(path.stem, video_stems)
        in_folder = path.parent.name.casefold() in _PICTURE_FOLDERS
        return FileKind.BESIDE if is_artwork or in_folder else "a still image, not a film"
    if suffix in AUDIO_SUFFIXES:
        is_theme = re.fullmatch(r"theme\d*", path.stem, re.IGNORECASE)
        is_beside = is_theme or _belongs_to(path.stem, video_stems)
        return FileKind.BESIDE if is_beside else FileKind.MEDIA
    if suffix in VIDEO_SUFFIXES:
        return FileKind.MEDIA
    if suffix in _KNOWN_SUFFIXES:
        return FileKind.BESIDE
    return _REASONS.get(suffix, FileKind.UNKNOWN)


def why_large_file_is_listed(path: Path, size_bytes: int) -> str:
    """Return the reason why a large file of an unknown suffix is listed."""
    suffix = suffix_of(path.name)
    what = f"{suffix!r} is not the suffix of a media file" if suffix else "it has no suffix"
    return f"{what}, but it has {size_bytes / 1e6:,.0f} MB: rename it if it is a film"


def _belongs_to(stem: str, video_stems: Collection[str]) -> bool:
    """Whether a name is that of a video, with or without more behind it: "Film.eng"."""
    if stem in video_stems:
        return True
    ends = (index for index, character in enumerate(stem) if character in ".-_ ([")
    return any(stem[:end] in video_stems for end in ends)
