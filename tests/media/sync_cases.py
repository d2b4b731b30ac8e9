"""Films with numbered frames and noise as audio, and the offsets of clips of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tests.media.coded_media import CodedFilm, audio_lag, numbers_of, splice
from toomuchtv.errors import MediaError
from toomuchtv.media.clip_reader import read_clip
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.proxy_writer import ProxyFormat, write_proxy

UNREADABLE = 9999.0
RATE_HZ = 16_000
PROXY_FORMAT = ProxyFormat(short_side=48, sample_rate_hz=RATE_HZ)
FRAMES, AUDIO_SECONDS = 6, 0.8
SPAN_SECONDS = Fraction(FRAMES, 8)
SEARCH = RATE_HZ * 3 // 10  # audio is searched up to 0.3 s away
MIN_CORRELATION = 0.75  # at the low bit rates that some encoders choose

NTSC_FILM, NTSC, NTSC_60 = Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001)
HOURS = Fraction(5 * 3600)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file to make: a film, and what is done to it afterwards.

    `first_number` is the first frame that the file presents, `finish` converts the film as written
    to the file that is read, and times before `listen_from` are not tested.
    """

    name: str
    film: CodedFilm
    first_number: int = 0
    finish: Callable[[Path, Path], Path] | None = None
    listen_from: Fraction = Fraction(0)


@dataclass(kw_only=True)
class Offsets:
    """The worst offsets in one file, from the original and from the proxy.

    `failure` is the reason if a reading failed.
    """

    frames: dict[str, float] = field(default_factory=dict)
    audio_ms: dict[str, float] = field(default_factory=dict)
    failure: str = ""

    def add(self, way: str, frames: float, audio_ms: float) -> None:
        """Keep the worse of these offsets and of those found before."""
        for kept, value in ((self.frames, frames), (self.audio_ms, audio_ms)):
            kept[way] = max(kept.get(way, 0.0), value, key=abs)

    @property
    def worst_frame(self) -> float:
        """The worst offset of frames, in frames."""
        return max(map(abs, self.frames.values()))

    @property
    def worst_audio_ms(self) -> float:
        """The worst offset of audio, in milliseconds."""
        return max(map(abs, self.audio_ms.values()))


def film(suffix: str, video: str, audio: str, rate: Fraction | int = 25, **more: Any) -> Case:
    """Return a case that PyAV writes, named by its container, codecs and rate."""
    made = CodedFilm(
        suffix=suffix, video_codec=video, audio_codec=audio, rate=Fraction(rate), **more
    )
    codecs = f"{video}_{audio}".replace("lib", "").replace("-", "")
    depth = "_10bit" if "10" in made.pixel_format else ""
    return Case(name=f"{suffix[1:]}_{codecs}{depth}_{float(rate):.6g}".replace(".", "_"), film=made)


def by_command(suffix: str, *arguments: str, rate: Fraction | int = 25) -> Case:
    """Return a case that the `ffmpeg` command makes from a lossless film."""

    def convert(source: Path, folder: Path) -> Path:
        out = folder / f"converted{suffix}"
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", "-i", str(source), *arguments, str(out)], check=True
        )
        return out

    lossless = film(".mkv", "ffv1", "pcm_s16le", rate)
    codecs = [arguments[arguments.index(kind) + 1].replace("lib", "") for kind in ("-c:v", "-c:a")]
    name = f"{suffix[1:]}_{'_'.join(codecs)}_{float(rate):.6g}_by_command"
    return Case(name=name.replace(".", "_").replace("-", ""), film=lossless.film, finish=convert)


def usual_cases() -> Iterator[Case]:
    """Yield the usual combinations of containers, codecs and rates."""
    yield from _in_mp4_and_mov()
    yield from _in_other_containers()
    yield from _by_the_command()


def _in_mp4_and_mov() -> Iterator[Case]:
    fragmented = (("movflags", "frag_keyframe+empty_moov+default_base_moof"),)
    ten_bit: dict[str, Any] = {"pixel_format": "yuv420p10le"}
    yield film(".mp4", "libx264", "aac", NTSC_FILM, audio_rate_hz=44_100)
    yield film(".mp4", "libx264", "ac3", 24)
    yield film(".mp4", "libx264", "eac3", 25)
    yield film(".mp4", "libx264", "libmp3lame", 30, audio_rate_hz=44_100)
    yield film(".mp4", "libx264", "libopus", NTSC_60)
    yield film(".mp4", "libx264", "flac", 50)
    yield film(".mp4", "libx265", "aac", 24)
    yield film(".mp4", "libx265", "eac3", NTSC_FILM, **ten_bit)
    yield film(".mp4", "libsvtav1", "aac", 30, height=64)
    yield film(".mp4", "libvpx-vp9", "libopus", 25)
    yield film(".mp4", "mpeg4", "libmp3lame", 25, video_options=(("bf", "2"),))
    for video, audio, rate in (
        ("libx264", "aac", 24), ("libx264", "libopus", NTSC), ("libx265", "aac", 60),
    ):  # fmt: skip
        made = film(".mp4", video, audio, rate, container_options=fragmented)
        yield replace(made, name=f"fragmented_{made.name}")
    yield film(".mov", "prores_ks", "pcm_s16le", NTSC_FILM, pixel_format="yuv422p10le")
    yield film(".mov", "libx264", "pcm_s16be", 60)
    yield film(".mov", "libx264", "alac", 24, audio_rate_hz=44_100)
    yield film(".mov", "libx265", "aac", NTSC)


def _in_other_containers() -> Iterator[Case]:
    ten_bit: dict[str, Any] = {"pixel_format": "yuv420p10le"}
    yield film(".mkv", "libx264", "aac", NTSC_FILM)
    yield film(".mkv", "libx264", "libmp3lame", 25, audio_rate_hz=44_100)
    yield film(".mkv", "libx264", "flac", 30, audio_rate_hz=44_100)
    yield film(".mkv", "libx265", "ac3", NTSC_FILM, **ten_bit)
    yield film(".mkv", "libx265", "eac3", 25)
    yield film(".mkv", "libx265", "libopus", 60)
    yield film(".mkv", "libsvtav1", "libopus", NTSC_FILM, height=64, **ten_bit)
    yield film(".mkv", "mpeg2video", "ac3", 25)
    yield film(".mkv", "libvpx-vp9", "vorbis", 50, audio_rate_hz=44_100)
    yield film(".mkv", "prores_ks", "pcm_s16le", 24, pixel_format="yuv422p10le")
    yield film(".webm", "libvpx", "vorbis", 25, audio_rate_hz=44_100)
    yield film(".webm", "libvpx", "libopus", NTSC)
    yield film(".webm", "libvpx-vp9", "libopus", NTSC_60)
    yield film(".webm", "libsvtav1", "libopus", 24, height=64)
    yield film(".ts", "libx264", "aac", 25)
    yield film(".ts", "libx264", "ac3", 50)
    yield film(".ts", "libx264", "libopus", 30)
    yield film(".ts", "libx265", "eac3", 25, **ten_bit)
    yield film(".ts", "mpeg2video", "mp2", 25)
    yield film(".ts", "mpeg2video", "ac3", NTSC)
    yield film(".ts", "libx264", "libmp3lame", NTSC_FILM)
    yield film(".avi", "mpeg4", "libmp3lame", NTSC_FILM, audio_rate_hz=44_100)
    yield film(".avi", "mpeg4", "ac3", 25)
    yield film(".avi", "libx264", "pcm_s16le", 25, video_options=(("bf", "0"),))
    yield film(".wmv", "wmv2", "wmav2", 25, audio_rate_hz=44_100)
    yield film(".wmv", "msmpeg4", "wmav2", NTSC, audio_rate_hz=44_100)
    yield film(".wmv", "wmv2", "libmp3lame", 30, audio_rate_hz=44_100)


def _by_the_command() -> Iterator[Case]:
    quality = ("-q:v", "8", "-g", "30")
    yield by_command(".ogv", "-c:v", "libtheora", *quality, "-c:a", "libvorbis", "-q:a", "6")
    yield by_command(".ogv", "-c:v", "libtheora", *quality, "-c:a", "libopus", rate=30)
    yield by_command(".ogv", "-c:v", "libtheora", *quality, "-c:a", "flac", rate=24)
    coarse = ("-g", "30", "-b:a", "160k")
    yield by_command(".mp4", "-c:v", "libx264", "-c:a", "aac", *coarse, rate=NTSC_FILM)
    yield by_command(".ts", "-c:v", "libx264", "-c:a", "aac", *coarse, rate=NTSC)
    yield by_command(".avi", "-c:v", "mpeg4", "-q:v", "3", "-c:a", "libmp3lame", *coarse)
    yield by_command(".webm", "-c:v", "libvpx", "-crf", "10", "-c:a", "libvorbis", *coarse)


def hard_cases() -> Iterator[Case]:
    """Yield combinations that are known to be hard."""
    later: dict[str, Any] = {"audio_start": Fraction(2), "audio_seconds": 4.0, "seconds": 6.0}
    sooner: dict[str, Any] = {"video_start": Fraction(3, 2), "audio_seconds": 6.0}
    mp4 = film(".mp4", "libx264", "aac", 24).film
    mkv = replace(mp4, suffix=".mkv")
    ts = replace(mp4, suffix=".ts", rate=Fraction(25))
    webm = film(".webm", "libvpx", "libopus", 25).film
    for base in (mp4, mkv, ts, webm):
        kind = base.suffix[1:]
        late = replace(base, **later)
        yield Case(name=f"audio_later_{kind}", film=late, listen_from=Fraction(2))
        yield Case(name=f"video_later_{kind}", film=replace(base, **sooner))
    half_before = replace(mp4, video_start=Fraction(-1, 2), audio_seconds=4.0, gop_size=12)
    yield Case(name="edit_list_cuts_pictures_mp4", film=half_before, first_number=12)
    early = replace(mp4, audio_start=Fraction(-1, 2), audio_seconds=5.0)
    yield Case(name="edit_list_cuts_sound_mp4", film=early)
    cadence = (1, 1, 3, 1, 2, 5)
    for base in (mp4, mkv, webm, ts):
        varying = replace(base, rate=Fraction(60), cadence=cadence)
        yield Case(name=f"variable_rate_{base.suffix[1:]}", film=varying)
    hours: dict[str, Any] = {"video_start": HOURS, "audio_start": HOURS}
    yield Case(name="starts_after_hours_ts", film=replace(ts, **hours))
    yield Case(name="starts_after_hours_mkv", film=replace(mkv, **hours))
    wrapping = Fraction(2**33, 90_000) - 2
    wrapped: dict[str, Any] = {"video_start": wrapping, "audio_start": wrapping}
    yield Case(name="clock_wraps_ts", film=replace(ts, **wrapped, seconds=5.0))
    long = replace(ts, seconds=8.0, gop_size=25)
    for name, shift in (("back", -3.9), ("back_to_the_start", -4.0), ("hours_on", 7200.0)):
        yield Case(name=f"clock_jumps_{name}_ts", film=long, finish=_spliced(shift))
    mpeg2 = replace(long, video_codec="mpeg2video", audio_codec="ac3")
    mpeg2 = replace(mpeg2, video_options=(("flags", "+cgop"), ("sc_threshold", "1000000000")))
    yield Case(name="clock_jumps_back_mpeg2_ts", film=mpeg2, finish=_spliced(-3.0))
    avi = film(".avi", "mpeg4", "pcm_s16le", 25).film
    for codec in ("mpeg4", "libx264"):
        reordered = replace(avi, video_codec=codec, video_options=(("bf", "2"),))
        yield Case(name=f"no_timestamps_{codec.removeprefix('lib')}_avi", film=reordered)
    open_x264 = (("x264-params", "open-gop=1:bframes=3:b-adapt=0:scenecut=0"), ("preset", "fast"))
    open_x265 = (("x265-params", "open-gop=1:bframes=3:b-adapt=0:log-level=none"),)
    for base in (ts, mkv, mp4):
        kind = base.suffix[1:]
        h264 = replace(base, video_options=open_x264, gop_size=15)
        yield Case(name=f"open_gop_h264_{kind}", film=h264)
        h265 = replace(base, video_codec="libx265", video_options=open_x265, gop_size=15)
        yield Case(name=f"open_gop_hevc_{kind}", film=h265)
    for suffix in (".ts", ".mkv"):
        opened = replace(ts, suffix=suffix, video_codec="mpeg2video", gop_size=15)
        yield Case(name=f"open_gop_mpeg2_{suffix[1:]}", film=opened)


def _spliced(shift_seconds: float) -> Callable[[Path, Path], Path]:
    def finish(source: Path, folder: Path) -> Path:
        at = _first_frame_seconds(source) + 3.5
        out = folder / "spliced.ts"
        return splice(source, out, at_seconds=at, shift_seconds=shift_seconds)

    return finish


def _first_frame_seconds(path: Path) -> float:
    with av.open(str(path)) as container:
        return next(iter(container.decode(video=0))).time


def measure(case: Case, folder: Path) -> Offsets:
    """Make the file of a case, and read it and its proxy."""
    folder.mkdir(parents=True, exist_ok=True)
    path = case.film.write(folder)
    if case.finish is not None:
        path = case.finish(path, folder)
    offsets = Offsets()
    for way, read in (("original", _from_original), ("proxy", _from_proxy)):
        try:
            for start, numbers, first_sample, heard in read(case, path, folder):
                frames = _frames_off(case, start, numbers)
                offsets.add(way, frames, _audio_off_ms(case, first_sample, heard))
        except MediaError as error:
            offsets.add(way, UNREADABLE, UNREADABLE)
            offsets.failure = str(error)
    return offsets


Reading = tuple[Fraction, list[int], int, NDArray[np.float32]]


def _from_original(case: Case, path: Path, folder: Path) -> Iterator[Reading]:
    del folder
    for start in _starts(case):
        clip = read_clip(
            path, start_seconds=float(start), frames=FRAMES, audio_seconds=AUDIO_SECONDS
        )
        middle = float(start + SPAN_SECONDS / 2)
        first_sample = round((middle - AUDIO_SECONDS / 2) * RATE_HZ)
        yield start, numbers_of(clip.video), first_sample, clip.waveform


def _from_proxy(case: Case, path: Path, folder: Path) -> Iterator[Reading]:
    video, audio = folder / "proxy_video.mp4", folder / "proxy_audio.mp4"
    write_proxy(path, video, audio, PROXY_FORMAT)
    reader = ProxyReader(video, audio, frame_rate=PROXY_FORMAT.frame_rate, sample_rate_hz=RATE_HZ)
    try:
        for start in _starts(case):
            first = round(start * 8)
            first_sample = round(float(start) * RATE_HZ)
            images = reader.read_rgb(first_frame=first, frames=FRAMES)
            heard = reader.read_waveform(
                first_sample=first_sample, num_samples=round(AUDIO_SECONDS * RATE_HZ)
            )
            yield Fraction(first, 8), numbers_of(images), first_sample, heard
    finally:
        reader.close()


def _starts(case: Case) -> Sequence[Fraction]:
    """Return starts in no order, among them the first one and one near the end."""
    shown = Fraction(case.film.seconds) - case.film.frame_start(case.first_number)
    last = shown - Fraction(12, 10)
    inside = [Fraction(share, 100) * (last - case.listen_from) for share in (71, 23, 48, 100, 9)]
    return [case.listen_from, *(case.listen_from + start for start in inside)]


def _frames_off(case: Case, start: Fraction, numbers: list[int]) -> float:
    """Return the largest offset; differences within the rounding of timestamps do not count."""
    film, worst = case.film, 0
    begin = film.frame_start(case.first_number)
    for index, number in enumerate(numbers):
        at = begin + start + Fraction(index, 8)
        right = [film.frame_at(at + Fraction(near, 1000)) for near in (0, -2, 2) if at + near >= 0]
        worst = max(worst, min((number - r for r in right), key=abs), key=abs)
    return float(worst)


def _audio_off_ms(case: Case, first_sample: int, heard: NDArray[np.float32]) -> float:
    begin = float(case.film.frame_start(case.first_number))
    index = np.arange(first_sample - SEARCH, first_sample + len(heard) + SEARCH)
    expected = case.film.audio_at(index / RATE_HZ + begin)
    lag, correlation = audio_lag(heard, expected, within=SEARCH)
    return 1000 * lag / RATE_HZ if correlation >= MIN_CORRELATION else UNREADABLE


def missing(case: Case) -> str | None:
    """Return what this machine lacks to make a case, or None."""
    if "_by_command" in case.name and shutil.which("ffmpeg") is None:
        return "no ffmpeg command"
    for codec in (case.film.video_codec, case.film.audio_codec):
        try:
            av.Codec(codec, "w")
        except av.codec.codec.UnknownCodecError:
            return f"no encoder {codec}"
    return None
