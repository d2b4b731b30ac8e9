"""One function opens media for reading, and it opens nothing but the file that it was given."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from tests.media_files import keep_part, write_audio_file, write_film, write_still
from toomuchtv.catalog.probe import probe_file
from toomuchtv.errors import MediaError
from toomuchtv.evaluation.benchmark import LabeledClip
from toomuchtv.evaluation.reading import read_video_views
from toomuchtv.evaluation.views import VideoViews
from toomuchtv.media.clip_reader import iterate_frames, read_audio, read_clip
from toomuchtv.media.containers import MediaOpenError, naming_errors, open_media
from toomuchtv.media.extent import measure_extent
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.proxy_writer import ProxyFormat, write_proxy
from toomuchtv.media.timestamps import read_timeline

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for folder in ("src", "experiments", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)
# `open_media` itself, and other readers that a benchmark compares with ours.
EXCEPTIONS = {"src/toomuchtv/media/containers.py", "benchmarks/video_readers.py"}


def _evaluate(path: Path) -> None:
    clip = LabeledClip(
        path=path, labels=("a",), source="a", group="a", start_seconds=0.0, stop_seconds=0.5
    )
    views = VideoViews(frames=2, frame_rate=8.0, crop=16, short_side=16)
    read_video_views(clip, views, seed=0)


READERS: dict[str, Callable[[Path], object]] = {
    "probe": probe_file,
    "read_clip": lambda path: read_clip(path, frames=2, audio_seconds=0.1),
    "read_audio": lambda path: read_audio(
        path, timeline=read_timeline(path), first_sample=0, num_samples=10, sample_rate_hz=16_000
    ),
    "iterate_frames": lambda path: list(iterate_frames(path, timeline=read_timeline(path))),
    "evaluation": _evaluate,
    "duration": lambda path: measure_extent(path, "video"),
    "proxy": lambda path: write_proxy(path, path.with_name("v.mp4"), None, ProxyFormat()),
    "proxy reader": lambda path: ProxyReader(path, None, frame_rate=8.0, sample_rate_hz=16_000),
}


def _ffconcat(folder: Path, film: Path) -> Path:
    path = folder / "list.mkv"
    path.write_text(f"ffconcat version 1.0\nfile {film.name}\n")
    return path


def _m3u8(folder: Path, film: Path) -> Path:
    path = folder / "list.m3u8"
    path.write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{film.resolve()}\n#EXT-X-ENDLIST\n"
    )
    return path


def _image_sequence(folder: Path, film: Path) -> Path:
    for number in range(2):
        write_still(folder / f"image{number}.png")
    return folder / "image%d.png"


def _session_description(folder: Path, film: Path) -> Path:
    path = folder / "session.mp4"
    path.write_text("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nt=0 0\nm=video 5004 RTP/AVP 96\n")
    return path


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("write", [_ffconcat, _m3u8, _image_sequence, _session_description])
def test_every_reader_refuses_files_that_refer_to_others(
    tmp_path: Path, reader: str, write: Callable[[Path, Path], Path]
) -> None:
    film = write_film(tmp_path / "film.mp4", seconds=1.0)
    READERS[reader](film)
    with pytest.raises(MediaError):
        READERS[reader](write(tmp_path, film))


def _header_cut(folder: Path, film: Path) -> Path:
    return keep_part(Path(shutil.copy(film, folder / "header_cut.mp4")), 0.1, 1.0)


def _index_cut(folder: Path, film: Path) -> Path:
    return keep_part(Path(shutil.copy(film, folder / "index_cut.mp4")), 0.0, 0.5)


def _audio_only(folder: Path, film: Path) -> Path:
    return write_audio_file(folder / "song.mp4")


def _cover_art(folder: Path, film: Path) -> Path:
    return write_audio_file(folder / "cover.mp4", cover=True)


def _empty(folder: Path, film: Path) -> Path:
    (folder / "empty.mp4").touch()
    return folder / "empty.mp4"


def _text(folder: Path, film: Path) -> Path:
    (folder / "text.mp4").write_text("not a film")
    return folder / "text.mp4"


@pytest.mark.parametrize(
    "write", [_header_cut, _index_cut, _audio_only, _cover_art, _empty, _text, _ffconcat, _m3u8]
)
def test_probe_clips_and_proxies_refuse_a_file_for_the_same_reason(
    tmp_path: Path, write: Callable[[Path, Path], Path]
) -> None:
    path = write(tmp_path, write_film(tmp_path / "film.mp4", seconds=0.5))
    with pytest.raises(MediaError) as refused:
        probe_file(path)
    for reader in ("read_clip", "iterate_frames", "proxy", "duration"):
        with pytest.raises(MediaError) as error:
            READERS[reader](path)
        assert str(error.value).endswith(f"{str(path)!r}: {refused.value}")


@pytest.mark.parametrize("write", [_ffconcat, _m3u8])
def test_playlists_would_open_without_the_policy(
    tmp_path: Path, write: Callable[[Path, Path], Path]
) -> None:
    """FFmpeg itself reads what the test above sees refused, so that the refusal is the policy's."""
    film = write_film(tmp_path / "film.mp4", seconds=1.0)
    path = write(tmp_path, film)
    with av.open(str(path)) as container:
        assert container.format.name in {"concat", "hls"}
    with pytest.raises(MediaOpenError, match="a playlist or manifest"):
        open_media(path)


def test_a_path_is_never_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_film(tmp_path / "http:a.mp4", seconds=0.5)
    monkeypatch.chdir(tmp_path)
    assert read_clip("http:a.mp4", frames=1).video.shape[0] == 1
    with pytest.raises(MediaOpenError):
        open_media("concat:http:a.mp4")


def test_paths_may_be_strings_or_path_objects(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", seconds=0.5)
    for one in (path, str(path)):
        with open_media(one) as container:
            assert container.streams.video[0].width == 64


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_other_module_opens_media_for_reading(path: Path) -> None:
    """A call of `av.open` is either in `open_media` or has the mode "w" as a literal."""
    if path.relative_to(ROOT).as_posix() in EXCEPTIONS:
        return
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"av.open", "container.open"}:
            modes = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "mode")]
            assert [ast.unparse(mode) for mode in modes] == ["'w'"], path


def test_an_error_names_a_relative_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = f"cannot read {str(tmp_path / 'a.wav')!r}: no frame"
    with pytest.raises(MediaError) as caught, naming_errors("cannot decode", "a.wav"):
        raise MediaError(text)
    assert str(caught.value) == text
