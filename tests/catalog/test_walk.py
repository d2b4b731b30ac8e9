"""Laws of the walk: what may be a film is used or listed, and nothing else is listed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toomuchtv.catalog.file_kinds import LARGE_FILE_BYTES
from toomuchtv.catalog.walk import LibraryFiles, walk_library


def walk(library: Path, *, follow_links: bool = False) -> LibraryFiles:
    found = LibraryFiles()
    for _ in walk_library(library, found, follow_links=follow_links):
        pass
    return found


def touch(library: Path, *names: str, size: int = 0) -> None:
    for name in names:
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        with (library / name).open("wb") as file:
            file.truncate(size)


@pytest.mark.parametrize(
    "suffix", ["mod", "trp", "tp", "3gpp", "vro", "dvr-ms", "rec", "amv", "nsv", "MKV", "TS"]
)
def test_suffixes_that_ffmpeg_reads_are_used(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, f"Film (2001).{suffix}")
    assert [str(path) for path in walk(tmp_path).files] == [f"Film (2001).{suffix}"]


def test_files_that_stand_for_a_film_are_listed_whatever_their_size(tmp_path: Path) -> None:
    suffixes = ["iso", "img", "bin", "strm", "part", "mkv.part", "rar", "crdownload"]
    names = {f"Film.{suffix}" for suffix in suffixes}
    touch(tmp_path, *names)
    found = walk(tmp_path)
    assert ({str(path) for path in found.unusable}, found.files) == (names, {})
    assert len(set(found.unusable.values())) >= 4


def test_large_files_of_unknown_suffix_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, "Film.xyz", "Film", "a/Other.dat", size=LARGE_FILE_BYTES)
    touch(tmp_path, "small.xyz", "README", size=LARGE_FILE_BYTES - 1)
    touch(tmp_path, "thumbs.bif", "Film.sub", ".hidden", size=LARGE_FILE_BYTES)
    found = walk(tmp_path)
    assert {str(path) for path in found.unusable} == {"Film.xyz", "Film", "a/Other.dat"}
    assert "50 MB" in found.unusable[Path("Film.xyz")]
    assert found.num_ignored == 5


def test_what_servers_keep_beside_films_is_only_counted(tmp_path: Path) -> None:
    film = "Movies/A (2001)/A (2001)"
    kept = [
        f"{film}.trickplay/320 - 10x10/0.jpg",
        f"{film}.nfo", f"{film}.en.srt", f"{film}.jpg", f"{film}-clearlogo.png",
        f"{film}.eng.ac3", f"{film}-320-10.bif",
        "Movies/A (2001)/theme.mp3", "Movies/A (2001)/theme-music/one.flac",
        "Movies/A (2001)/backdrops/one.jpg", "Movies/A (2001)/actors/Some Body.jpg",
        "Movies/A (2001)/.actors/Some Body.jpg", "Movies/A (2001)/extrafanart/1.jpg",
        "Movies/A (2001)/characterart.png", "Movies/A (2001)/season-all-poster.jpg",
        "@eaDir/x/SYNOVIDEO_VIDEO_SCREENSHOT.jpg", ".AppleDouble/A.mkv", "lost+found/1.mkv",
        "$RECYCLE.BIN/B.mkv", "#recycle/C.mkv", "Movies/._A (2001).mkv",
        "Movies/Plex Versions/Optimized for TV/A (2001).mp4",
    ]  # fmt: skip
    touch(tmp_path, f"{film}.mkv", *kept)
    found = walk(tmp_path)
    assert [str(path) for path in found.files] == [f"{film}.mkv"]
    assert found.unusable == {}
    assert found.num_ignored == len(kept)


def test_pictures_and_music_that_belong_to_no_film_are_not_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "Film (2001).mkv", "holiday.png", "song.mp3")
    found = walk(tmp_path)
    assert {str(path) for path in found.unusable} == {"holiday.png"}
    assert {str(path) for path in found.files} == {"Film (2001).mkv", "song.mp3"}


def test_links_out_of_the_library_are_followed_on_request(tmp_path: Path) -> None:
    library, outside = tmp_path / "library", tmp_path / "outside"
    touch(library, "A.mkv")
    touch(outside, "B/B.mkv", "C/C.mkv", "D/deep/D.mkv", "B/note.txt")
    (library / "B.mkv").symlink_to(outside / "B/B.mkv")
    (library / "C").symlink_to(outside / "C")
    (library / "D").symlink_to(outside / "D")
    (library / "again").symlink_to(outside / "D/deep")
    (library / "inside").symlink_to(library)
    (outside / "D/deep/circle").symlink_to(outside / "D")
    (outside / "D/back").symlink_to(library)
    found = walk(library, follow_links=True)
    assert sorted(map(str, found.files)) == ["A.mkv", "B.mkv", "C/C.mkv", "D/deep/D.mkv"]
    assert found.unusable == {}
    assert list(walk(library).files) == [Path("A.mkv")]


def test_a_library_of_links_is_listed_in_a_few_lines(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    for number in range(40):
        touch(tmp_path, f"store/{number}/film.mkv")
        (library / f"{number}.mkv").symlink_to(tmp_path / f"store/{number}/film.mkv")
    found = walk(library)
    (reason,) = found.unusable.values()
    assert os.fspath(tmp_path / "store") in reason
    assert "39 other links" in reason
