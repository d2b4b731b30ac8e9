"""Which streams are the film: one rule for scan, prepare, read_clip and evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from tests.media.transport_streams import split_into_programs
from tests.media_files import write_film
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.probe import probe_file
from toomuchtv.catalog.proxies import choose_audio_track, choose_audio_tracks
from toomuchtv.catalog.records import AudioTrack
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.errors import MediaError
from toomuchtv.media.clip_reader import read_clip
from toomuchtv.media.extent import measure_extent
from toomuchtv.media.file_content import inspect_file
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.proxy_writer import ProxyFormat, write_proxy

RATE = 16_000
LANGUAGE, TITLE, NO_FLAG = "language", "title", Disposition(0)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A video stream to write: gray frames of one level."""

    level: int
    size: tuple[int, int] = (64, 48)
    frames: int = 50
    codec: str = "mpeg4"
    rate: int = 10
    flags: Disposition = NO_FLAG


@dataclass(frozen=True, kw_only=True)
class Sound:
    """An audio stream to write: a tone of constant frequency."""

    hz: int
    flags: Disposition = NO_FLAG
    language: str | None = None
    title: str | None = None
    packets: int = 40


def write(path: Path, *streams: Picture | Sound) -> Path:
    """Write a file of two seconds with these streams, in this order."""
    codec = "mp2" if path.suffix == ".ts" else "aac"
    if path.suffix == ".ts":
        streams = tuple(
            replace(one, codec="mpeg2video", rate=25) if isinstance(one, Picture) else one
            for one in streams
        )
    with av.open(str(path), "w") as container:
        packets: list[Any] = []
        encoders: list[Any] = []
        for one in streams:
            if isinstance(one, Picture):
                video: Any = container.add_stream(one.codec, rate=one.rate)
                video.width, video.height = one.size
                video.pix_fmt = "yuvj420p" if one.codec == "mjpeg" else "yuv420p"
                encoders.append(video)
            else:
                encoders.append(container.add_stream(codec, rate=RATE, layout="mono"))
                for key, value in ((LANGUAGE, one.language), (TITLE, one.title)):
                    if value:
                        encoders[-1].metadata[key] = value
            encoders[-1].disposition = one.flags
        for one, encoder in zip(streams, encoders, strict=True):
            for frame in _frames(one, encoder):
                packets += encoder.encode(frame)
            packets += encoder.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.pts * packet.time_base):
            container.mux(packet)
    return path


def _frames(one: Picture | Sound, encoder: object) -> Iterator[av.VideoFrame | av.AudioFrame]:
    if isinstance(one, Picture):
        for number in range(one.frames):
            gray = np.full((one.size[1], one.size[0], 3), one.level, np.uint8)
            frame = av.VideoFrame.from_ndarray(gray, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, one.rate)
            yield frame
        return
    assert isinstance(encoder, av.AudioStream)
    step = encoder.codec_context.frame_size or 1024
    resampler = av.AudioResampler(format=encoder.format.name, layout="mono", rate=RATE)
    for number in range(min(one.packets, 2 * RATE // step)):
        time = np.arange(number * step, (number + 1) * step) / RATE
        wave = (0.5 * np.sin(2 * np.pi * one.hz * time)).astype(np.float32)[None]
        sound = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = RATE, number * step, Fraction(1, RATE)
        yield from resampler.resample(sound)


def loudest_hz(waveform: np.ndarray) -> int:
    """Return the strongest frequency of a waveform, 0 of zeros."""
    if not waveform.any():
        return 0
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return round(float(np.argmax(spectrum)) * RATE / len(waveform))


def film_of(path: Path) -> tuple[int, int, int]:
    """Return gray level, width and frequency of the film, on which all readers must agree."""
    folder = path.parent
    probe = probe_file(path)
    track = choose_audio_track(probe.audio_tracks)
    proxy_format = ProxyFormat(short_side=48, frame_rate=10.0)
    video, audio = folder / "v.mp4", None if track is None else folder / "a.mp4"
    index = None if track is None else track.index
    made = write_proxy(path, video, audio, proxy_format, audio_track=index)
    reader = ProxyReader(video, audio, frame_rate=10.0, sample_rate_hz=RATE)
    planes = reader.read_planes(first_frame=5, frames=1)
    sound = reader.read_waveform(first_sample=RATE // 2, num_samples=RATE // 2)
    reader.close()
    clip = read_clip(path, start_seconds=0.5, frames=4, frame_rate=8.0, audio_seconds=0.5)
    gray, hz = int(clip.video.mean()), loudest_hz(clip.waveform)
    assert made.width / made.height == pytest.approx(clip.video.shape[2] / clip.video.shape[1])
    assert clip.video.shape[2] == probe.video.width
    assert gray == pytest.approx((planes[0, : made.height].mean() - 16) * 255 / 219, abs=4)
    assert abs(hz - loudest_hz(sound)) <= 4
    assert inspect_file(path).has_audio == (hz > 0)
    return round(gray, -1), clip.video.shape[2], round(hz, -2)


FILM, SMALL = Picture(level=200), Picture(level=60, size=(32, 32))
COVER = Picture(level=60, size=(128, 128), frames=1, codec="mjpeg")
DEFAULT = Disposition.default


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize(
    "videos",
    [
        (COVER, FILM),
        (FILM, COVER),
        (Picture(level=60, size=(16, 16), frames=1, codec="mjpeg", flags=DEFAULT), FILM),
        (SMALL, Picture(level=200, flags=DEFAULT)),
        (Picture(level=60, size=(128, 96)), Picture(level=200, flags=DEFAULT)),
    ],
)
def test_the_film_is_neither_a_cover_nor_a_preview(
    tmp_path: Path, suffix: str, videos: tuple[Picture, ...]
) -> None:
    gray, width, hz = film_of(write(tmp_path / f"film{suffix}", *videos, Sound(hz=400)))
    assert (gray, width, hz) == (200, 64, 400)


@pytest.mark.parametrize(
    "videos",
    [
        (SMALL, FILM),
        (SMALL, COVER, FILM),
        (Picture(level=60, size=(32, 32), frames=3), FILM),
    ],
)
def test_without_a_default_the_largest_is_the_film(
    tmp_path: Path, videos: tuple[Picture, ...]
) -> None:
    """In Matroska; MP4 cannot say that no track is the default one."""
    assert film_of(write(tmp_path / "film.mkv", *videos)) == (200, 64, 0)


def test_a_file_of_stills_only_has_no_film(tmp_path: Path) -> None:
    path = write(tmp_path / "covers.mkv", COVER, COVER, Sound(hz=400))
    with pytest.raises(MediaError, match="a still image"):
        probe_file(path)


SPEECH = Sound(hz=400)
COMMENTARY = "Director's Commentary"


@pytest.mark.parametrize(
    "sounds",
    [
        (Sound(hz=2000, title=COMMENTARY), Sound(hz=400, flags=DEFAULT)),
        (Sound(hz=2000, title=COMMENTARY, flags=DEFAULT), SPEECH),
        (Sound(hz=2000, flags=DEFAULT | Disposition.comment), SPEECH),
        (Sound(hz=2000, flags=DEFAULT | Disposition.visual_impaired), SPEECH),
        (Sound(hz=2000, flags=DEFAULT), Sound(hz=400, flags=Disposition.original)),
        (Sound(hz=2000), Sound(hz=400, flags=DEFAULT)),
        (Sound(hz=2000, flags=DEFAULT, packets=0), Sound(hz=400)),
        (Sound(hz=2000, language="qad"), Sound(hz=400, language="fra")),
        (Sound(hz=400),),
        (),
    ],
)
def test_all_readers_hear_the_sound_of_the_film(tmp_path: Path, sounds: tuple[Sound, ...]) -> None:
    path = write(tmp_path / "film.mkv", FILM, *sounds)
    assert film_of(path)[2] == (400 if sounds else 0)


def _track(index: int = 0, **values: object) -> AudioTrack:
    tags: dict[str, object] = {"language": None, "title": None, "dispositions": frozenset()}
    return AudioTrack(
        index=index, codec="aac", channels=2, sample_rate_hz=48_000, start_seconds=0.0,
        **(tags | values),  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    "title",
    [
        "Commentary", "Director's commentary by A. B.", "Audio Commentary (cast)", "Kommentar",
        "Audiokommentar mit dem Regisseur", "Commentaire audio", "Comentario", "Comentário",
        "Commento del regista", "Komentarz", "Komentář", "Kommentaari", "Kommentarspor",
        "комментарий режиссёра", "解説", "音声解説", "オーディオコメンタリー", "评论音轨",
        "코멘터리",
        "Audio Description", "Audiodescription", "Audiodeskription", "Audiodescripción",
        "Audiodescrição", "English AD", "AD", "[AD] 5.1", "English Descriptive Audio", "Described",
        "DVS", "Hörfilmfassung", "Syntolkning", "Lydbeskrivelse", "тифлокомментарий", "音声ガイド",
        "für Blinde und Sehbehinderte", "Isolated score", "Karaoke", "ＡＤ",
    ],
)  # fmt: skip
def test_titles_tell_commentaries_and_descriptions(title: str) -> None:
    unusual, plain = _track(0, title=title, dispositions=frozenset({"default"})), _track(1)
    assert choose_audio_track([unusual, plain]) == plain
    assert choose_audio_tracks([unusual, plain], ["und"]) == (plain,)
    assert choose_audio_track([unusual]) == unusual


@pytest.mark.parametrize(
    "title",
    [
        "Stereo", "DTS-HD MA 5.1", "English", "Documentary", "Recommended", "Adventure", "Ad Astra",
        "Deutsch (ohne Kommentar)", "Without commentary", "sans commentaire", "Movie soundtrack",
        "Cinema", "Dolby Atmos", "Surround", "Original", "SoundHandler",
    ],
)  # fmt: skip
def test_other_titles_do_not(title: str) -> None:
    titled = _track(0, title=title)
    assert choose_audio_track([titled, _track(1, dispositions=frozenset({"comment"}))]) == titled
    assert choose_audio_track([titled, _track(1)]) == titled


def test_a_track_that_does_not_exist_is_an_error_that_lists_the_tracks(tmp_path: Path) -> None:
    path = write(
        tmp_path / "film.mkv",
        FILM,
        Sound(hz=400, language="ger", title="Stereo"),
        Sound(hz=800, language="fre"),
    )
    with pytest.raises(MediaError, match=r"no audio track 5.*0 \(deu, 'Stereo'.*1 \(fra"):
        read_clip(path, frames=1, audio_track=5)
    assert loudest_hz(read_clip(path, frames=8, audio_track=1).waveform) == 800
    silent = write(tmp_path / "silent.mkv", FILM)
    with pytest.raises(MediaError, match="no audio track 0: the file has no audio"):
        read_clip(silent, frames=1, audio_track=0)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        read_clip(path, frames=1, audio_track=-1)


# ---- Programs


@pytest.mark.parametrize(
    ("streams", "programs", "heard"),
    [
        ((Sound(hz=2000), FILM, SPEECH), ([0], [1, 2]), 400),
        ((Sound(hz=2000), FILM), ([0], [1]), 0),
        ((SMALL, Sound(hz=2000), FILM, SPEECH), ([0, 1], [2, 3]), 400),
        ((FILM, SPEECH, Sound(hz=2000)), ([0, 1, 2],), 400),
        ((Sound(hz=2000), FILM, SPEECH), (), 2000),  # without tables, all streams belong to it
    ],
)
def test_the_sound_is_of_the_program_that_holds_the_picture(
    tmp_path: Path,
    streams: tuple[Picture | Sound, ...],
    programs: Sequence[Sequence[int]],
    heard: int,
) -> None:
    path = write(tmp_path / "film.ts", *streams)
    split_into_programs(path, programs)
    assert film_of(path) == (200, 64, heard)


def test_a_file_of_sound_alone_follows_the_rule_too(tmp_path: Path) -> None:
    path = write(tmp_path / "song.mkv", Sound(hz=2000, title="Commentary", packets=8), SPEECH)
    assert measure_extent(path, "audio")[1] == pytest.approx(2.0, abs=0.15)


# ---- Languages


def test_items_without_a_requested_language_are_listed(tmp_path: Path) -> None:
    library, cat = tmp_path / "library", tmp_path / "cat"
    codes = ("ger", "deu", "fra", None)
    for number, code in enumerate(codes):
        write_film(library / f"F{number} ({2001 + number}).mkv", seconds=0.5 + number / 8,
                   languages=("eng", code))  # fmt: skip
    write_film(library / "Silent (2009).mkv", seconds=0.5, languages=())
    scan_library(library, cat)
    with open_catalog(cat) as catalog:
        prepared = {}
        for languages in (("German",), ("de",)):
            result = prepare_catalog(catalog, ProxyFormat(short_side=32, languages=languages))
            assert [file.path.name[:2] for file in result.other_language] == ["F2", "F3"]
            assert "fra" in result.other_language[0].reason
            prepared[languages] = result.prepared
        assert prepared == {("German",): 5, ("de",): 0}  # one language is one format
        proxies = catalog.proxies()
        tracks = [
            [(audio.audio_track, audio.language) for audio in proxies[item.id].audio_files]
            for item in sorted(catalog.items(), key=lambda item: item.path)
        ]
    assert tracks == [[(1, "deu")], [(1, "deu")], [(0, "eng")], [(0, "eng")], []]


def test_unknown_languages_are_refused() -> None:
    with pytest.raises(ValueError, match="'german'"):
        ProxyFormat(languages=("germn",))
    tracks = (_track(0, language="pt-PT"), _track(1, language="por-BR"), _track(2, language="spa"))
    assert choose_audio_tracks(tracks, ["pt_BR", "por"]) == (tracks[1], tracks[0])
