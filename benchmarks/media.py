"""How fast random clips are read, beside what others do on the same files and the same moments.

All on one core. The proxies are made by `prepare`; the original is a 1080p film of an hour, looped
from the real one with its real GOPs. A clip is 16 frames at 8 a second with 2 s of sound.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np

from benchmarks.figures import Figures, parser, spread
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.media.clip import ClipFormat
from toomuchtv.media.proxy import ProxyRecipe, write_proxy
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.sampling.batches import ClipReader, PlannedBatches
from toomuchtv.sampling.loader import iterate_batches
from toomuchtv.sampling.plan import Planner
from toomuchtv.sampling.policy import PolicyConfig

FILM = Path("library/Movies/Big Buck Bunny (2008)/Big Buck Bunny (2008).mp4")
FORMAT = ClipFormat()
REPEATS = 5
Read = Callable[[float], object]


@contextmanager
def one_core() -> Iterator[None]:
    """Stay on one core: what is measured is clips a second and core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def rate(read: Read, moments: list[float]) -> list[float]:
    """Clips a second of `read` over the moments, several times."""
    rates = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        for seconds in moments:
            read(seconds)
        rates.append(len(moments) / (time.perf_counter() - begun))
    return rates


def moments_of(seconds: float, count: int) -> list[float]:
    """Random starts on the grid of eight frames a second."""
    rng = np.random.default_rng(0)
    return [int(x) / 8 for x in rng.integers(0, int((seconds - 3) * 8), count)]


def make_original(film: Path, out: Path) -> Path:
    """Scale the film to 1080p, key frames where it has them, and repeat it to an hour."""
    whole = out / "original.mp4"
    if whole.exists():
        return whole
    scaled, partial = out / "scaled.mp4", out / "partial.mp4"
    if not scaled.exists():
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", "-i", film, "-vf", "scale=1920:1080",
             "-c:v", "libx264", "-preset", "veryfast", "-crf", "23",
             "-force_key_frames", "source", "-x264-params", "scenecut=0:keyint=infinite",
             "-c:a", "copy", partial],
            check=True,
        )  # fmt: skip
        partial.rename(scaled)
    listing = out / "list.txt"
    listing.write_text(f"file '{scaled.resolve()}'\n" * 6)
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "concat", "-safe", "0", "-i", listing,
         "-t", "3600", "-c", "copy", partial],
        check=True,
    )  # fmt: skip
    partial.rename(whole)
    return whole


def pyav_to_rgb(path: Path, *, frame_rate: float) -> Read:
    """Read with PyAV, kept open, to RGB: seek, decode, convert the wanted frames."""
    container = av.open(str(path))
    stream = container.streams.video[0]
    stream.thread_type = "NONE"
    tick = float(stream.time_base or 1)

    def read(seconds: float) -> object:
        container.seek(int(seconds / tick), stream=stream)
        images: list[object] = []
        for frame in container.decode(stream):
            if (
                frame.time is not None
                and frame.time >= seconds + len(images) / 8 - 0.5 / frame_rate
            ):
                images.append(frame.to_ndarray(format="rgb24"))
                if len(images) == FORMAT.frames:
                    break
        return np.stack(images)  # type: ignore[arg-type]

    return read


def torchcodec_open(path: Path, *, frame_rate: float) -> Read:
    """Read with torchcodec, kept open."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode="approximate")

    def read(seconds: float) -> object:
        return decoder.get_frames_played_at([seconds + i / 8 for i in range(FORMAT.frames)]).data

    return read


def decord_open(path: Path, *, frame_rate: float) -> Read:
    """Read with decord, kept open."""
    import decord

    reader = decord.VideoReader(str(path), num_threads=1)

    def read(seconds: float) -> object:
        return reader.get_batch(
            [round((seconds + i / 8) * frame_rate) for i in range(FORMAT.frames)]
        ).asnumpy()

    return read


RIVALS: dict[str, Callable[..., Read]] = {
    "pyav": pyav_to_rgb,
    "torchcodec": torchcodec_open,
    "decord": decord_open,
}


def rivals_here() -> dict[str, Callable[..., Read]]:
    """The rivals that are installed."""
    return {
        name: rival
        for name, rival in RIVALS.items()
        if name == "pyav" or importlib.util.find_spec(name) is not None
    }


def decoding_limit(path: Path) -> list[float]:
    """Clips a second if frames came one after the other, as FFmpeg's own program decodes them."""
    with av.open(str(path)) as container:
        num_frames = container.streams.video[0].frames
    rates = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        subprocess.run(
            ["ffmpeg", "-v", "error", "-threads", "1", "-i", path, "-f", "null", "-"], check=True
        )
        rates.append(num_frames / FORMAT.frames / (time.perf_counter() - begun))
    return rates


def read_rates(video: Path, audio: Path, original: Path) -> dict[str, float]:
    """Ours and the rivals' clips a second, on one core."""
    values: dict[str, float] = {}
    reader = ProxyReader(video, audio, frame_rate=8.0, sample_rate_hz=16_000)

    def frames(seconds: float) -> object:
        return reader.planes(first_frame=round(seconds * 8), frames=FORMAT.frames)

    def both(seconds: float) -> object:
        sound = reader.waveform(
            first_sample=FORMAT.audio_start_sample(seconds), num_samples=FORMAT.num_samples
        )
        return frames(seconds), sound

    with av.open(str(video)) as container:
        seconds = container.streams.video[0].frames / 8
    moments = moments_of(seconds, 300)
    values |= spread("frames_clips_per_second", rate(frames, moments))
    values |= spread("frames_and_sound_clips_per_second", rate(both, moments))
    values |= spread("decode_limit_clips_per_second", decoding_limit(video))
    values["decode_limit_share"] = (
        values["frames_clips_per_second"] / values["decode_limit_clips_per_second"]
    )
    best = 0.0
    for name, rival in rivals_here().items():
        figures = spread(
            f"{name}_clips_per_second", rate(rival(video, frame_rate=8.0), moments[:100])
        )
        best = max(best, figures[f"{name}_clips_per_second"])
        values |= figures
    values["over_best_rival"] = values["frames_clips_per_second"] / best
    few = moments_of(3590, 12)
    figures = spread("original_clips_per_second", rate(pyav_to_rgb(original, frame_rate=24.0), few))
    values |= figures
    values["over_original"] = (
        values["frames_clips_per_second"] / figures["original_clips_per_second"]
    )
    return values


def batch_rates(catalog: Catalog) -> dict[str, float]:
    """Clips a second to ready batches, with more items than may be open at once."""
    snapshot = catalog.snapshot()
    values: dict[str, float] = {}
    for name in ("uniform", "hierarchical"):
        policy = PolicyConfig(
            name="uniform" if name == "uniform" else "hierarchical",
            batch_size=64, clips_per_item=16, level="episode",
        )  # fmt: skip
        planner = Planner(snapshot, policy, FORMAT)
        rates = []
        for repeat in range(REPEATS):
            reader = ClipReader(catalog.folder, snapshot, catalog.proxies(), FORMAT, max_open=8)
            batches = PlannedBatches(reader, planner, seed=repeat)
            batches[0]
            begun = time.perf_counter()
            for step in range(1, 9):
                batches[step]
            rates.append(8 * 64 / (time.perf_counter() - begun))
        values |= spread(f"batch_{name}_clips_per_second", rates)
    values["hierarchical_over_uniform"] = (
        values["batch_hierarchical_clips_per_second"] / values["batch_uniform_clips_per_second"]
    )
    values["batch_clips_per_second"] = values["batch_hierarchical_clips_per_second"]
    return values


def worker_rates(catalog: Catalog) -> dict[str, float]:
    """Clips a second of the loader with 1, 2, ... workers, on all the cores there are."""
    snapshot = catalog.snapshot()
    planner = Planner(snapshot, PolicyConfig(batch_size=64, level="episode"), FORMAT)
    values = {}
    for workers in range(1, len(os.sched_getaffinity(0)) + 1):
        reader = ClipReader(catalog.folder, snapshot, catalog.proxies(), FORMAT)
        stream = iterate_batches(
            PlannedBatches(reader, planner, seed=0), start=0, stop=60, num_workers=workers
        )
        for _ in range(10):
            next(stream)
        begun = time.perf_counter()
        counted = sum(len(batch) for batch in stream)
        values[f"loader_{workers}_workers_clips_per_second"] = counted / (
            time.perf_counter() - begun
        )
    return values


def prepare_rate(original: Path, out: Path) -> dict[str, float]:
    """Proxy making over one ffmpeg process that does the same transcode, on one core."""
    part = out / "part.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-i", original, "-t", "120", "-c", "copy", part], check=True
    )
    recipe = ProxyRecipe()
    shares = []
    for _ in range(3):
        begun = time.perf_counter()
        write_proxy(part, out / "ours.mp4", out / "ours_sound.mp4", recipe)
        ours = time.perf_counter() - begun
        begun = time.perf_counter()
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", "-threads", "1", "-i", part,
             "-map", "0:v:0", "-vf", "fps=8,scale=-2:128:flags=area", "-c:v", "libx264",
             "-threads", "1", "-preset", "veryfast", "-tune", "fastdecode", "-bf", "0",
             "-g", "8", "-crf", "23", out / "theirs.mp4",
             "-map", "0:a:0", "-ac", "1", "-ar", "16000", "-c:a", "flac", "-sample_fmt", "s16",
             "-strict", "-2", out / "theirs_sound.mp4"],
            check=True,
        )  # fmt: skip
        shares.append((time.perf_counter() - begun) / ours)
    return spread("prepare_over_ffmpeg", shares)


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__)
    arguments.add_argument("--media", type=Path, default=Path("../shared/media"))
    options = arguments.parse_args()
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    original = make_original(options.media / FILM, out)
    scan_library(many_items(options.media / FILM, out), out / "cat")
    values: dict[str, float] = {}
    with open_catalog(out / "cat") as catalog:
        result = prepare_catalog(catalog, num_workers=2)
        hours = float(catalog.snapshot().duration_seconds.sum()) / 3600
        values["proxy_mb_per_hour"] = result.bytes / 1e6 / hours
        proxy = max(catalog.proxies().values(), key=lambda proxy: proxy.num_frames)
        assert proxy.audio_path is not None
        with one_core():
            video, audio = catalog.folder / proxy.video_path, catalog.folder / proxy.audio_path
            values |= read_rates(video, audio, original)
            values |= batch_rates(catalog)
            values |= prepare_rate(original, out)
        values |= worker_rates(catalog)
    Figures(benchmark="media", values=values).publish(options.json)


def many_items(film: Path, out: Path) -> Path:
    """A library of the whole film and of 24 episodes cut from it."""
    library = out / "library"
    whole = library / "Whole (2008)" / "Whole (2008).mp4"
    if whole.exists():
        return library
    season = library / "Cuts" / "Season 01"
    season.mkdir(parents=True, exist_ok=True)
    for episode in range(24):
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", "-ss", str(episode * 24), "-i", film, "-t", "40",
             "-c", "copy", season / f"Cuts - S01E{episode + 1:02d}.mp4"],
            check=True,
        )  # fmt: skip
    whole.parent.mkdir(parents=True)
    shutil.copyfile(film, whole)
    return library


if __name__ == "__main__":
    main()
