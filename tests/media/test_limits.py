"""A file of a few bytes cannot make FFmpeg allocate gigabytes, and one function opens files."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.media.hostile_media import gif, h264, mux, png
from tests.media_files import write_film
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.probe import probe_file
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.errors import MediaError
from toomuchtv.media.clip_reader import read_clip
from toomuchtv.media.containers import MediaOpenError, open_media
from toomuchtv.media.proxy_writer import ProxyFormat, write_proxy

MUXERS = ("mpegts", "flv", "mpeg", "mov", "matroska", "avi")
# Address space beyond what the readers take after a normal file. Without the limits, each of these
# files takes 1 to 9 GB.
EXTRA_BYTES = 400 * 2**20

_READ = """
import resource, sys
from pathlib import Path
from tests.media.test_limits import use_all_readers
good, *paths = sys.argv[2:]
use_all_readers(Path(good))
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in paths:
    print(path, *use_all_readers(Path(path)))
"""


def use_all_readers(path: Path) -> list[str]:
    """Return for probe, proxy and clip whether a file was used or refused."""
    results = []
    for read in (
        probe_file,
        lambda path: write_proxy(path, path.with_suffix(".v.mp4"), None, ProxyFormat()),
        lambda path: read_clip(path, frames=2, audio_seconds=0.1),
    ):
        try:
            read(path)
            results.append("used")
        except MediaError:
            results.append("refused")
    return results


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the size of the process")
def test_huge_frames_are_refused_before_they_are_allocated(tmp_path: Path) -> None:
    noise, small = h264(16_000, 16_000), (64, 64)
    files = {
        "a.gif": gif(12_000, 12_000),
        "b.gif": gif(32_767, 8_000),
        "c.mov": mux(png(16_000, 16_000), "mov", "png", small),
        "d.avi": mux(png(16_000, 16_000), "avi", "png", small),
        "e.h264": noise,
        **{f"f.{muxer}": mux(noise, muxer, "libx264", small) for muxer in MUXERS},
    }
    paths = []
    for name, content in files.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)
    good = write_film(tmp_path / "good.mp4", seconds=0.5)
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(EXTRA_BYTES), str(good), *map(str, paths)],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [f"{path} refused refused refused" for path in paths]


def test_the_message_names_size_and_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.flv"
    path.write_bytes(mux(h264(16_000, 16_000), "flv", "libx264", (64, 64)))
    with pytest.raises(MediaError, match=r"16000x16000 pixels, and at most 35\.7 million"):
        probe_file(path)


# ---- One function opens media


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/film.mp4", "tcp://127.0.0.1:9", "cache:http://127.0.0.1:9/a", "pipe:0",
        "concat:film.mp4|film.mp4", "data:video/mp4;base64,AAAA", "file:film.mp4",
        "subfile,,start,0,end,9,,:film.mp4", "lavfi:testsrc", "a\0b", "",
    ],
)  # fmt: skip
def test_a_url_is_a_file_that_does_not_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    write_film(tmp_path / "film.mp4", seconds=0.5)
    monkeypatch.chdir(tmp_path)
    begun = time.monotonic()
    with pytest.raises(MediaError):
        read_clip(url, frames=1)
    assert time.monotonic() - begun < 1


def test_names_with_colons_are_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("Alien: Covenant (2017).mkv", "concat:a.mkv", "http:b.mp4", "-i.mkv"):
        path = write_film(tmp_path / name, seconds=0.5)
        assert read_clip(name, frames=1).video.shape == (1, 48, 64, 3)
        assert probe_file(path).video.width == 64


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")  # opening it would wait for a writer
    for path in (tmp_path / "pipe.mp4", tmp_path, Path("/dev/zero")):
        with pytest.raises(MediaOpenError, match="not a regular file"):
            open_media(path)


def test_a_playlist_that_lists_itself_opens_no_descriptors(tmp_path: Path) -> None:
    concat = tmp_path / "concat.mp4"
    concat.write_text("ffconcat version 1.0\nfile concat.mp4\n")
    master = tmp_path / "master.m3u8"
    master.write_text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nmaster.m3u8\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 8, hard))
    try:
        for path in (concat, master):
            with pytest.raises(MediaOpenError, match="playlist"):
                read_clip(path, frames=1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile '{other}'\n", "#EXTM3U\n{other}\n"])
def test_prepare_refuses_a_playlist_in_a_films_place(tmp_path: Path, text: str) -> None:
    library, cat = tmp_path / "library", tmp_path / "cat"
    film = write_film(library / "Film (2001).mkv", seconds=0.5)
    other = write_film(tmp_path / "private.mkv", seconds=0.5)
    scan_library(library, cat)
    film.write_text(text.format(other=other))
    with open_catalog(cat) as catalog:
        result = prepare_catalog(catalog, ProxyFormat(short_side=32))
        assert (result.prepared, len(result.failed)) == (0, 1)
        assert catalog.proxies() == {}
