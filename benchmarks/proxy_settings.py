"""What settings of proxies cost: clips a second on one core, megabytes an hour, likeness.

The first minute of each 24-fps film of the real library is scaled once, without loss, and encoded
by every setting; then the same random moments are read from each by the reader that training uses.
A clip is 16 frames at 8 a second and 2 s of sound. PSNR is of luma, against what was encoded.

    python -m benchmarks.proxy_settings --out DIR --json FILE

makes the files first and keeps them in DIR, so that a second run measures only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from benchmarks.figures import Figures, core_seconds, one_core, parser, spread
from tests.media_files import leave_real_time
from toomuchtv.media.audio import AlignedResampler
from toomuchtv.media.clip import ClipFormat, VideoArray, WaveformArray
from toomuchtv.media.containers import find_video_stream, open_media
from toomuchtv.media.frame_converter import FrameConverter, display_size, size_for_short_side
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.timestamps import read_timeline

FORMAT = ClipFormat()
RATE_HZ = FORMAT.sample_rate_hz
SOURCE_RATE = 24
SECONDS = 60
SHORT_SIDE = 128
REPEATS = 3
MOMENTS_A_FILM = 16
X264 = {"preset": "veryfast"}
FAST = {**X264, "tune": "fastdecode"}


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """One way to store pictures; `options` are the encoder's own."""

    name: str
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    rate: int = 8
    keyframe_every: int = 8
    options: dict[str, str] = field(default_factory=lambda: FAST)
    x264: str = ""


@dataclass(frozen=True, kw_only=True)
class Sound:
    """One way to store sound."""

    name: str
    codec: str = "flac"
    options: dict[str, str] = field(default_factory=dict)


def _gop(every: int, crf: int = 23) -> Pictures:
    name = f"h264_gop_{every}" + ("" if crf == 23 else f"_crf_{crf}")
    return Pictures(name=name, keyframe_every=every, options={**FAST, "crf": str(crf)})


def _mpeg4(
    every: int,
    quantizer: int,
    name: str = "",
    codec: str = "mpeg4",
    rate: int = 8,
    flags: str = "+mv4",
) -> Pictures:
    """What `toomuchtv.media.proxy_writers` does, and its neighbors."""
    step, weight = str(quantizer), str(118 * quantizer)
    return Pictures(
        name=f"mpeg4_gop_{every}_q_{quantizer}_rd{name}", codec=codec, rate=rate,
        keyframe_every=every,
        options={"qmin": step, "qmax": step, "lmin": weight, "lmax": weight, "mbd": "rd",
                 "trellis": "1", **({"flags": flags} if flags else {})},
    )  # fmt: skip


PICTURES = (
    *(_gop(every) for every in (1, 2, 4, 8, 16, 32, 64)),
    _gop(8, crf=26),
    _gop(16, crf=26),
    Pictures(name="h264_gop_8_no_fastdecode", options=X264, x264=":bframes=0"),
    Pictures(name="h264_gop_8_cabac", x264=":cabac=1"),
    Pictures(name="h264_gop_8_deblock", x264=":deblock=0,0:no-deblock=0"),
    Pictures(name="h264_gop_8_medium", options={**FAST, "preset": "medium"}),
    Pictures(name="h264_gop_8_medium_crf_25",
             options={**FAST, "preset": "medium", "crf": "25"}),
    Pictures(name="h264_gop_8_medium_crf_26_16x16",
             options={**FAST, "preset": "medium", "crf": "26"}, x264=":partitions=none:8x8dct=0"),
    Pictures(name="h264_gop_16_medium", keyframe_every=16, options={**FAST, "preset": "medium"}),
    Pictures(name="h264_gop_8_ultrafast", options={**FAST, "preset": "ultrafast"}),
    Pictures(name="h264_gop_16_at_16_fps", rate=16, keyframe_every=16),
    Pictures(name="h264_gop_24_at_24_fps", rate=24, keyframe_every=24),
    Pictures(name="mjpeg_q_3", codec="mjpeg", pixel_format="yuvj420p",
             options={"qmin": "3", "qmax": "3"}),
    Pictures(name="mjpeg_q_8", codec="mjpeg", pixel_format="yuvj420p",
             options={"qmin": "8", "qmax": "8"}),
    Pictures(name="mpeg4_gop_8_q_4", codec="mpeg4", options={"qmin": "4", "qmax": "4"}),
    *(_mpeg4(every, 4) for every in (4, 6, 8, 12, 16)),
    *(_mpeg4(8, quantizer) for quantizer in (3, 5)),
    _mpeg4(8, 4, name="_one_vector", flags=""),
    _mpeg4(8, 4, name="_ac_prediction", flags="+mv4+aic"),
    _mpeg4(16, 4, name="_at_16_fps", rate=16),
    _mpeg4(8, 4, name="_mpeg2", codec="mpeg2video", flags=""),
    Pictures(name="av1_gop_8", codec="libsvtav1",
             options={"preset": "8", "crf": "30", "svtav1-params": "fast-decode=1:lp=1"}),
    Pictures(name="av1_gop_16", codec="libsvtav1", keyframe_every=16,
             options={"preset": "8", "crf": "30", "svtav1-params": "fast-decode=1:lp=1"}),
)  # fmt: skip

SOUNDS = (
    Sound(name="sound_flac_default_blocks"),
    *(Sound(name=f"sound_flac_blocks_{size}", options={"frame_size": str(size)})
      for size in (2048, 4096, 8192, 16384)),
    *(Sound(name=f"sound_flac_blocks_4096_level_{level}",
            options={"frame_size": "4096", "compression_level": str(level)})
      for level in (0, 8)),
    Sound(name="sound_pcm", codec="pcm_s16le"),
)  # fmt: skip


BASE, BEST_SOUND = "h264_gop_8", "sound_flac_blocks_4096"


@dataclass(frozen=True, kw_only=True)
class Film:
    """A minute of a film, as it is before encoding: yuv420p frames and int16 samples."""

    name: str
    frames: list[VideoFrame]
    samples: NDArray[np.int16]

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.frames) / SOURCE_RATE


def read_film(path: Path) -> Film | None:
    """Scale its first minute; None if it is not at 24 frames a second."""
    with open_media(path) as container:
        stream = find_video_stream(container)
        if round(float(stream.average_rate or 0)) != SOURCE_RATE:
            return None
        upright: FrameConverter | None = None
        frames: list[VideoFrame] = []
        for frame in container.decode(stream):
            if upright is None:
                width, height = size_for_short_side(display_size(frame, stream), SHORT_SIDE)
                upright = FrameConverter(width=width, height=height, pixel_format="yuv420p")
            frames.append(upright.convert(frame))
            if len(frames) == SECONDS * SOURCE_RATE:
                break
    return Film(name=path.stem, frames=frames, samples=_samples(path, len(frames) / SOURCE_RATE))


def _samples(path: Path, seconds: float) -> NDArray[np.int16]:
    with open_media(path) as container:
        clock = read_timeline(path, container).audio_clock()
    timeline = AlignedResampler(sample_rate_hz=RATE_HZ)
    parts: list[WaveformArray] = []
    with open_media(path) as container:
        for frame in container.decode(container.streams.audio[0]):
            at = clock(frame)
            if at is not None:
                parts.append(timeline.push(frame, at))
                if at > seconds:
                    break
    samples = np.concatenate([*parts, np.zeros(round(seconds * RATE_HZ), np.float32)])
    samples = samples[: round(seconds * RATE_HZ)]
    return np.asarray(np.clip(np.rint(samples * 32768), -32768, 32767), np.int16)


def _frames_at(film: Film, rate: int) -> Iterator[VideoFrame]:
    for number in range(int(film.seconds * rate)):
        frame = film.frames[number * SOURCE_RATE // rate]
        frame.pts, frame.time_base, frame.pict_type = number, Fraction(1, rate), 0
        yield frame


def encode_pictures(film: Film, setting: Pictures, path: Path) -> None:
    """Write a film's pictures by a setting."""
    with av.open(str(path), "w") as container:
        _add_pictures(container, film, setting)()
    if setting.codec == "libsvtav1":
        leave_real_time()


def _add_pictures(
    container: av.container.OutputContainer, film: Film, setting: Pictures
) -> Callable[[], None]:
    stream = container.add_stream(setting.codec, rate=setting.rate)
    assert isinstance(stream, av.VideoStream)
    stream.width, stream.height = film.frames[0].width, film.frames[0].height
    stream.pix_fmt = setting.pixel_format
    stream.codec_context.time_base = Fraction(1, setting.rate)
    stream.codec_context.gop_size = setting.keyframe_every
    stream.thread_count = 1
    options = dict(setting.options)
    if setting.codec == "libx264":
        options.setdefault("crf", "23")
        every = setting.keyframe_every
        options["x264-params"] = (
            f"keyint={every}:min-keyint={every}:scenecut=0:bframes=0:open-gop=0:mbtree=0"
            + setting.x264
        )
    stream.options = {**options}

    def run() -> None:
        for frame in _frames_at(film, setting.rate):
            converted = frame.reformat(format=setting.pixel_format)
            converted.pts, converted.time_base = frame.pts, frame.time_base
            container.mux(stream.encode(converted))
        container.mux(stream.encode(None))

    return run


def encode_sound(film: Film, setting: Sound, path: Path) -> None:
    """Write a film's sound by a setting."""
    with av.open(str(path), "w", format="mov" if setting.codec.startswith("pcm") else "mp4") as out:
        stream = out.add_stream(setting.codec, rate=RATE_HZ)
        assert isinstance(stream, av.AudioStream)
        stream.layout, stream.format = "mono", "s16"
        stream.options = {**setting.options}
        for first in range(0, len(film.samples), RATE_HZ):
            part = film.samples[first : first + RATE_HZ]
            frame = AudioFrame.from_ndarray(part.reshape(1, -1), format="s16", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = RATE_HZ, Fraction(1, RATE_HZ), first
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def joined(video: Path, audio: Path, out: Path) -> None:
    """Put pictures and sound into one file, as they are."""
    with open_media(video) as one, open_media(audio) as two, av.open(str(out), "w") as container:
        inputs = [one.streams.video[0], two.streams.audio[0]]
        outputs = [container.add_stream_from_template(stream) for stream in inputs]
        packets = [
            packet
            for number, source in enumerate((one, two))
            for packet in source.demux(inputs[number])
            if packet.dts is not None
        ]
        packets.sort(key=lambda packet: float((packet.dts or 0) * packet.time_base))
        for packet in packets:
            packet.stream = outputs[0 if packet.stream is inputs[0] else 1]
            container.mux(packet)


class OneFile:
    """Reads pictures and sound of one file in one pass, for comparison with two files."""

    def __init__(self, path: Path) -> None:
        self._container = open_media(path)
        self._video = self._container.streams.video[0]
        self._audio = self._container.streams.audio[0]
        self._video.thread_type = "NONE"

    def read(self, first_frame: int) -> tuple[VideoArray, WaveformArray]:
        """Read the clip that begins at a frame."""
        first = FORMAT.audio_start_sample(first_frame / 8)
        tick = float(self._video.time_base or 1)
        sound_tick = float(self._audio.time_base or 1) * RATE_HZ
        self._container.seek(int(first_frame / 8 / tick), stream=self._video)
        waveform = np.zeros(FORMAT.num_samples, np.float32)
        pictures: list[VideoArray] = []
        ready = False
        for packet in self._container.demux([self._video, self._audio]):
            for frame in packet.decode():
                if isinstance(frame, VideoFrame):
                    if round((frame.pts or 0) * tick * 8) >= first_frame:
                        pictures.append(square(frame))
                elif isinstance(frame, AudioFrame):
                    at = round((frame.pts or 0) * sound_tick) - first
                    begin, stop = max(at, 0), min(at + frame.samples, FORMAT.num_samples)
                    if begin < stop:
                        waveform[begin:stop] = frame.to_ndarray()[0, begin - at : stop - at]
                    ready = stop == FORMAT.num_samples
            if ready and len(pictures) >= FORMAT.frames:
                break
        return np.stack(pictures[: FORMAT.frames]), waveform


def square(frame: VideoFrame) -> VideoArray:
    """The planes of the middle square, as one array."""
    parts = []
    for number, plane in enumerate(frame.planes):
        side = SHORT_SIDE if number == 0 else SHORT_SIDE // 2
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        left = (frame.width - SHORT_SIDE) // 2 * side // SHORT_SIDE
        parts.append(rows[:side, left : left + side].reshape(-1, SHORT_SIDE))
    return np.concatenate(parts)


def psnr(film: Film, setting: Pictures, path: Path) -> float:
    """Of luma, over all frames, in decibels."""
    errors: list[float] = []
    with open_media(path) as container:
        decoded = container.decode(video=0)
        for ours, wanted in zip(decoded, _frames_at(film, setting.rate), strict=False):
            one = _luma(ours.reformat(format="yuv420p")).astype(np.float32)
            two = _luma(wanted).astype(np.float32)
            errors.append(float(np.square(one - two).mean()))
    return float(10 * np.log10(255**2 / np.mean(errors)))


def _luma(frame: VideoFrame) -> VideoArray:
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width]


Read = Callable[[int, int], object]


def rates(reads: dict[str, Read], seconds: list[float], rounds: int = REPEATS) -> dict[str, float]:
    """Clips a second of each way to read, over the same random moments of all films.

    The ways take turns, so that what else the machine does falls on all alike.
    """
    rng = np.random.default_rng(0)
    moments = [
        (number, int(first))
        for number, length in enumerate(seconds)
        for first in rng.integers(0, int(length * 8) - FORMAT.frames - 8, MOMENTS_A_FILM)
    ]
    found: dict[str, list[float]] = {name: [] for name in reads}
    for _ in range(rounds):
        for name, read in reads.items():
            begun = core_seconds()
            for number, first in moments:
                read(number, first)
            found[name].append(len(moments) / (core_seconds() - begun))
    values: dict[str, float] = {}
    for name, some in found.items():
        values |= spread(f"{name}_clips_per_second", some)
    return values


def make(films: list[Film], out: Path) -> dict[str, float]:
    """Encode by every setting, those not in the folder yet; their sizes and likeness."""
    values: dict[str, float] = {}
    for sound in SOUNDS:
        values |= _made(out, sound.name, films, partial(_sound, sound))
    for setting in PICTURES:
        values |= _made(out, setting.name, films, partial(_pictures, setting))
    return values


def _made(
    out: Path, name: str, films: list[Film], encode: Callable[[Film, Path], dict[str, float]]
) -> dict[str, float]:
    known = out / f"{name}.json"
    if not known.exists():
        paths = _paths(out, name, len(films))
        told = [encode(film, path) for film, path in zip(films, paths, strict=True)]
        values = {key: float(np.mean([one[key] for one in told])) for key in told[0]}
        values[f"{name}_mb_per_hour"] = (
            sum(os.path.getsize(path) for path in paths)
            / 1e6
            / (sum(film.seconds for film in films) / 3600)
        )
        print(name, values, flush=True)
        known.write_text(json.dumps(values))
    found: dict[str, float] = json.loads(known.read_text())
    return found


def _paths(out: Path, name: str, count: int) -> list[Path]:
    return [out / f"{name}_{number}.mp4" for number in range(count)]


def _sound(setting: Sound, film: Film, path: Path) -> dict[str, float]:
    encode_sound(film, setting, path)
    return {}


def _pictures(setting: Pictures, film: Film, path: Path) -> dict[str, float]:
    encode_pictures(film, setting, path)
    return {f"{setting.name}_psnr_db": psnr(film, setting, path)}


def ways_to_read(out: Path, count: int) -> dict[str, Read]:
    """Every way to read the films that is compared."""
    videos = {setting.name: _paths(out, setting.name, count) for setting in PICTURES}
    audios = {setting.name: _paths(out, setting.name, count) for setting in SOUNDS}
    sounds = audios[BEST_SOUND]
    reads: dict[str, Read] = {}
    for setting in PICTURES:
        reads[setting.name] = _frames(videos[setting.name], sounds, setting.rate)
        reads[f"{setting.name}_with_sound"] = _both(videos[setting.name], sounds, setting.rate)
    for name, paths in audios.items():
        reads[name] = _sounds(videos[BASE], paths)
    one = _paths(out, "one_file", count)
    for video, audio, path in zip(videos[BASE], sounds, one, strict=True):
        joined(video, audio, path)
    files = [OneFile(path) for path in one]
    for file, path in zip(files, one, strict=True):  # what is compared must be the same
        reader = _reader(path, path)
        np.testing.assert_array_equal(
            file.read(21)[0], reader.read_planes(first_frame=21, frames=16)
        )
        reader.close()
    reads["one_file_one_pass_with_sound"] = lambda number, first: files[number].read(first)
    reads["one_file_opened_twice_with_sound"] = _both(one, one, 8)
    return reads


def _frames(videos: list[Path], audios: list[Path], rate: int) -> Read:
    stride = rate // 8
    readers = [_reader(*paths, rate) for paths in zip(videos, audios, strict=True)]

    def read(number: int, first: int) -> object:
        readers[number].clear_cache()  # random moments: what chance brings near is not to count
        return readers[number].read_planes(
            first_frame=first * stride, frames=FORMAT.frames, stride=stride
        )

    return read


def _sounds(videos: list[Path], audios: list[Path]) -> Read:
    readers = [_reader(*paths) for paths in zip(videos, audios, strict=True)]

    def read(number: int, first: int) -> object:
        return readers[number].read_waveform(
            first_sample=FORMAT.audio_start_sample(first / 8), num_samples=FORMAT.num_samples
        )

    return read


def _both(videos: list[Path], audios: list[Path], rate: int) -> Read:
    frames, sounds = _frames(videos, audios, rate), _sounds(videos, audios)
    return lambda number, first: (frames(number, first), sounds(number, first))


def _reader(video: Path, audio: Path, rate: int = 8) -> ProxyReader:
    return ProxyReader(video, audio, frame_rate=float(rate), sample_rate_hz=RATE_HZ)


def main() -> None:
    """Run the benchmark."""
    made = parser(__doc__)
    made.add_argument("--library", type=Path, default=Path("../shared/media/library"))
    made.add_argument("--only-make", action="store_true", help="make the files and stop")
    made.add_argument("--only", nargs="+", help="ways to read, by name: these alone are measured")
    made.add_argument("--rounds", type=int, default=REPEATS)
    arguments = made.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    lengths = out / "lengths.json"
    if not lengths.exists():
        paths = sorted(path for path in arguments.library.rglob("*.*") if path.is_file())
        films = [film for film in map(read_film, paths) if film is not None]
        print("films: " + ", ".join(film.name for film in films))
        values = make(films, out)
        lengths.write_text(json.dumps([film.seconds for film in films]))
    else:
        values = make([], out)
    seconds: list[float] = json.loads(lengths.read_text())
    if arguments.only_make:
        return
    ways = ways_to_read(out, len(seconds))
    if arguments.only:
        ways = {name: ways[name] for name in arguments.only}
    with one_core():
        values |= rates(ways, seconds, arguments.rounds)
    Figures(benchmark="proxy_settings", values=values).publish(arguments.json)


if __name__ == "__main__":
    main()
