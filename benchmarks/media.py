"""Speed of reading random clips, beside other readers of the same clips of the same files.

    python -m benchmarks.media --out DIR --json FILE       ten minutes; needs the ffmpeg command

All rates are per second of one core's work. A clip has 16 frames at 8 per second and 2 s of audio.
There are two sets of proxies: those of a small real library (`library`), and an hour of film, which
is the library's longest film in a loop. The original is that film at 1080p with its own keyframes,
also looped to an hour. The files are made first and kept, so that a second run only measures.
"""

from __future__ import annotations

import collections
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks.catalogs import open_prepared, repeat_items
from benchmarks.figures import Figures, argument_parser, core_seconds, median_and_range, one_core
from benchmarks.video_readers import ReadClip, installed_readers, open_pyav
from toomuchtv._internal.subprocess_pool import memory_file
from toomuchtv.catalog.records import Proxy
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.catalog.store import Catalog
from toomuchtv.data.augmentation import AugmentationConfig, draw_augmentation
from toomuchtv.data.batch_buffer import BatchBuffer, MappedBuffer, copy_batch
from toomuchtv.data.batches import PlannedBatches
from toomuchtv.data.clip_reader import ClipReader
from toomuchtv.data.clip_transform import ClipTransform, TransformConfig
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.loader import iterate_batches
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.media.clip import ClipFormat, VideoArray
from toomuchtv.media.containers import open_media
from toomuchtv.media.proxy_reader import FrameReader, ProxyReader
from toomuchtv.media.proxy_writer import ProxyFormat, write_proxy

FILM = Path("library/Movies/Big Buck Bunny (2008)/Big Buck Bunny (2008).mp4")
FORMAT = ClipFormat()
PROXY_FORMAT = ProxyFormat()
ROUNDS, BATCH_ROUNDS = 3, 9
LOOPS_PER_HOUR = 6
NUM_CLIPS = 200
#: Something to be timed; returns the number of clips that it read.
Work = Callable[[], int]
#: The clips to read: index of the file, and start in seconds.
Starts = list[tuple[int, float]]


class Proxies:
    """A set of proxies with open readers."""

    def __init__(self, videos: Sequence[Path], audios: Sequence[Path]) -> None:
        self.videos = videos
        self.readers = [
            ProxyReader(video, audio, frame_rate=8.0, sample_rate_hz=FORMAT.sample_rate_hz)
            for video, audio in zip(videos, audios, strict=True)
        ]
        self.seconds = [num_frames(path) / 8 for path in videos]

    def read_video(self, file: int, start_seconds: float) -> VideoArray:
        """Read the planes of a clip without the help of frames that were read before."""
        reader = self.readers[file]
        reader.clear_cache()
        return reader.read_planes(first_frame=round(start_seconds * 8), frames=FORMAT.frames)

    def read_both(self, file: int, start_seconds: float) -> object:
        """Read the planes and the audio of a clip."""
        waveform = self.readers[file].read_waveform(
            first_sample=FORMAT.audio_start_sample(start_seconds), num_samples=FORMAT.num_samples
        )
        return self.read_video(file, start_seconds), waveform

    def draw_starts(self, count: int) -> Starts:
        """Draw starts on the grid of frames, uniformly over the whole duration."""
        rng = np.random.default_rng(0)
        weights = np.array(self.seconds) / sum(self.seconds)
        return [
            (int(file), int(rng.integers(0, int((self.seconds[file] - 3) * 8))) / 8)
            for file in rng.choice(len(weights), count, p=weights)
        ]


def num_frames(path: Path) -> int:
    """Return the number of frames that a file's header states."""
    with open_media(path) as container:
        return container.streams.video[0].frames


def measure_rounds(works: dict[str, Work], rounds: int) -> dict[str, list[float]]:
    """Measure clips per second of all works in turn, so that other load affects all alike."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            begun = core_seconds()
            clips = work()
            found[name].append(clips / (core_seconds() - begun))
    return found


def read_all(read: Callable[[int, float], object], starts: Starts) -> Work:
    """Return the work of reading these clips."""

    def work() -> int:
        for file, start_seconds in starts:
            read(file, start_seconds)
        return len(starts)

    return work


def ffmpeg(*arguments: str | Path) -> None:
    """Run the `ffmpeg` command."""
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True)


def loop_film(path: Path, out: Path) -> Path:
    """Repeat a film to an hour without encoding it again."""
    if not out.exists():
        listing, partial = out.with_suffix(".txt"), out.with_suffix(".partial.mp4")
        listing.write_text(f"file '{path.resolve()}'\n" * LOOPS_PER_HOUR)
        ffmpeg(
            "-f", "concat", "-safe", "0", "-i", listing, "-t", "3600",
            "-c", "copy", "-strict", "-2", partial,
        )  # fmt: skip
        partial.rename(out)
    return out


def scale_film(film: Path, out: Path) -> Path:
    """Encode the film at 1080p with its own keyframes."""
    scaled, partial = out / "scaled.mp4", out / "partial.mp4"
    if not scaled.exists():
        ffmpeg(
            "-i", film, "-vf", "scale=1920:1080", "-c:v", "libx264", "-preset", "veryfast",
            "-crf", "23", "-force_key_frames", "source",
            "-x264-params", "scenecut=0:keyint=infinite", "-c:a", "copy", partial,
        )  # fmt: skip
        partial.rename(scaled)
    return scaled


def open_proxies(catalog: Catalog, out: Path) -> tuple[Proxies, Proxies]:
    """Return the longest film's proxy, looped to an hour, and all proxies that have audio."""
    paths = [
        (catalog.folder / proxy.video_path, catalog.folder / proxy.audio_path)
        for proxy in sorted(catalog.proxies().values(), key=lambda proxy: proxy.num_frames)
        if proxy.audio_path is not None
    ]
    video, audio = paths[-1]
    hour = Proxies(
        [loop_film(video, out / "hour_video.mp4")], [loop_film(audio, out / "hour_audio.mp4")]
    )
    return hour, Proxies([video for video, _ in paths], [audio for _, audio in paths])


def decode_limit(paths: Sequence[Path]) -> Work:
    """Return the work of decoding all frames in order with ffmpeg; 16 frames count as a clip."""

    def work() -> int:
        for path in paths:
            ffmpeg("-threads", "1", "-t", "600", "-i", path, "-f", "null", "-")
        return sum(min(num_frames(path), 4800) for path in paths) // FORMAT.frames

    return work


def read_to_input(proxies: Proxies, starts: Starts) -> Work:
    """Return the work of reading 16 clips and converting them to normalized RGB on this core."""
    transform = ClipTransform(TransformConfig(size=112))
    augmentation = draw_augmentation(AugmentationConfig.none(), np.zeros(16, np.uint64))

    def work() -> int:
        planes = np.stack([proxies.read_video(file, start) for file, start in starts[:16]])
        transform.video(torch.from_numpy(planes), augmentation)
        return 16

    return work


def measure_reading(
    proxies: Proxies, prefix: str, original: Path | None = None
) -> dict[str, float]:
    """Measure our reader, ffmpeg's speed of decoding, and the other readers on the same clips."""
    starts = proxies.draw_starts(NUM_CLIPS)
    others = {
        name: opener(proxies.videos, 8.0, FORMAT) for name, opener in installed_readers().items()
    }
    values = {
        f"{prefix}{name}_differs_by_levels": check_same_frames(proxies, read, starts)
        for name, read in others.items()
    }
    works = {
        "frames": read_all(proxies.read_video, starts),
        "frames_and_sound": read_all(proxies.read_both, starts),
        "frames_to_input": read_to_input(proxies, starts),
        "decode_limit": decode_limit(proxies.videos),
        **{name: read_all(read, starts[:100]) for name, read in others.items()},
    }
    if original is not None:
        works["original"] = read_all(open_pyav([original], 24.0, FORMAT), starts[:8])
    rate = {}
    for name, rates in measure_rounds(works, ROUNDS).items():
        values |= median_and_range(f"{prefix}{name}_clips_per_second", rates)
        rate[name] = statistics.median(rates)
    best = max(rate[name] for name in others)
    values[f"{prefix}decode_limit_share"] = rate["frames"] / rate["decode_limit"]
    values[f"{prefix}over_best_rival"] = rate["frames"] / best
    values[f"{prefix}to_input_over_best_rival"] = rate["frames_to_input"] / best
    if original is not None:
        values[f"{prefix}over_original"] = rate["frames"] / rate["original"]
    return values


def check_same_frames(proxies: Proxies, read: ReadClip, starts: Starts) -> float:
    """Return the mean difference of another reader's clips from ours, in levels of 255.

    Raises:
        SystemExit: The other reader returned other frames.
    """
    found = []
    for file, start_seconds in starts[:8]:
        reader, first = proxies.readers[file], round(start_seconds * 8)
        ours = reader.read_rgb(first_frame=first, frames=FORMAT.frames).astype(np.float64)
        other = read(file, start_seconds)
        found.append(float(np.abs(ours - other).mean()))
        earlier = reader.read_rgb(first_frame=max(first - 1, 0), frames=FORMAT.frames)
        shifted = float(np.abs(earlier.astype(np.float64) - other).mean())
        if found[-1] > 4.0 or found[-1] > shifted:
            raise SystemExit(f"other frames at {start_seconds} s: {found[-1]:.1f} levels off")
    return statistics.mean(found)


def measure_batches(
    catalog: Catalog, snapshot: CatalogSnapshot, proxies: dict[int, Proxy]
) -> dict[str, float]:
    """Measure the reading of whole batches from more items than may be open at once."""
    works: dict[str, Work] = {}
    for name in ("uniform", "hierarchical", "hierarchical_in_30_s"):
        sampling = SamplingConfig(
            name="uniform" if name == "uniform" else "hierarchical",
            batch_size=64, clips_per_item=16, level="episode", title_weight="duration",
            window_seconds=30.0 if name.endswith("_30_s") else None, min_gap_seconds=0.5,
        )  # fmt: skip
        batches = PlannedBatches(
            ClipReader(catalog.folder, snapshot, proxies, FORMAT),
            ClipSampler(snapshot, sampling, FORMAT),
            seed=0,
        )
        steps = iter(range(1000))
        batches[next(steps)]  # opens about as many files as are kept open

        def work(batches: PlannedBatches = batches, steps: Iterator[int] = steps) -> int:
            return sum(len(batches[next(steps)]) for _ in range(3))

        works[f"batch_{name}"] = work
    found = measure_rounds(works, BATCH_ROUNDS)
    values: dict[str, float] = {}
    for name, rates in found.items():
        values |= median_and_range(f"{name}_clips_per_second", rates)
    for name in ("hierarchical", "hierarchical_in_30_s"):
        # Ratios within a round: the machine's speed changes more between rounds than within one.
        pairs = zip(found[f"batch_{name}"], found["batch_uniform"], strict=True)
        values |= median_and_range(f"{name}_over_uniform", [rate / base for rate, base in pairs])
    values["batch_clips_per_second"] = values["batch_hierarchical_clips_per_second"]
    return values


def measure_parts(
    catalog: Catalog, snapshot: CatalogSnapshot, proxies: dict[int, Proxy]
) -> dict[str, float]:
    """Measure where the processor time of a clip goes, from the proxies to the training process.

    The parts are decoding of frames, copying of their planes to the batch buffer, sound, everything
    else in the worker (drawing, seeking in files, bookkeeping), and how the batch comes to the
    training process: by a copy, or by lending its memory, as the loader does.
    """
    sampling = SamplingConfig(batch_size=64, clips_per_item=16, level="episode")
    batches = PlannedBatches(
        ClipReader(catalog.folder, snapshot, proxies, FORMAT),
        ClipSampler(snapshot, sampling, FORMAT),
        seed=0,
    )
    files = memory_file(), memory_file()
    buffer = BatchBuffer(files[0], batches, files[1])
    buffer.fill(0)  # opens files
    mapped = MappedBuffer(files[0], pin_memory=False)
    spent: dict[str, float] = collections.defaultdict(float)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            begun = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                spent[name] += time.process_time() - begun

        return call

    rounds: list[dict[str, float]] = []
    for first_step in range(1, 1 + 4 * BATCH_ROUNDS, 4):
        spent.clear()
        num_clips = 0
        with (
            mock.patch.object(FrameReader, "read", timed("frames", FrameReader.read)),
            mock.patch.object(ProxyReader, "read_planes", timed("video", ProxyReader.read_planes)),
            mock.patch.object(
                ProxyReader, "read_waveform", timed("sound", ProxyReader.read_waveform)
            ),
        ):
            for step in range(first_step, first_step + 4):
                count, num_bytes = timed("worker", buffer.fill)(step)
                facts = step, count, num_bytes, batches.reader
                timed("copy", copy_batch)(files[0], *facts)
                timed("lend", mapped.lend)(*facts, lambda: None)
                num_clips += count
        parts = {
            "decoding": spent["frames"],
            "planes": spent["video"] - spent["frames"],
            "sound": spent["sound"],
            "rest": spent["worker"] - spent["video"] - spent["sound"],
            "copy_to_training": spent["copy"],
            "lend_to_training": spent["lend"],
        }
        rounds.append({name: 1e6 * seconds / num_clips for name, seconds in parts.items()})
    for file in files:
        os.close(file)
    values: dict[str, float] = {}
    for name in rounds[0]:
        values |= median_and_range(f"clip_{name}_microseconds", [one[name] for one in rounds])
    for way in ("copy", "lend"):
        other = f"clip_{'lend' if way == 'copy' else 'copy'}_to_training_microseconds"
        rates = [
            1e6 / sum(value for name, value in one.items() if f"clip_{name}_microseconds" != other)
            for one in rounds
        ]
        values |= median_and_range(f"clips_per_core_second_with_{way}", rates)
    return values


def measure_workers(
    catalog: Catalog, snapshot: CatalogSnapshot, proxies: dict[int, Proxy]
) -> dict[str, float]:
    """Measure the loader by wall-clock time with 1, 2, ... workers, on all cores."""
    sampler = ClipSampler(snapshot, SamplingConfig(batch_size=64, level="episode"), FORMAT)
    values = {}
    for workers in range(1, len(os.sched_getaffinity(0)) + 1):
        reader = ClipReader(catalog.folder, snapshot, proxies, FORMAT)
        batches = PlannedBatches(reader, sampler, seed=0)
        stream = iterate_batches(batches, start=0, stop=40, num_workers=workers)
        for _ in range(8):
            next(stream)
        begun = time.perf_counter()
        num_clips = sum(len(batch) for batch in stream)
        rate = num_clips / (time.perf_counter() - begun)
        values[f"loader_{workers}_workers_clips_per_second"] = rate
    return values


def measure_prepare(scaled: Path, out: Path) -> dict[str, float]:
    """Measure the making of a proxy, relative to the same transcoding by ffmpeg, on one core."""
    part = out / "part.mp4"
    ffmpeg("-i", scaled, "-t", "60", "-c", "copy", part)
    every = str(PROXY_FORMAT.keyframe_every)
    step, weight = str(PROXY_FORMAT.quantizer), str(118 * PROXY_FORMAT.quantizer)
    ratios = []
    for _ in range(ROUNDS):
        begun = core_seconds()
        write_proxy(part, out / "ours.mp4", out / "ours_sound.mp4", PROXY_FORMAT)
        ours = core_seconds() - begun
        begun = core_seconds()
        ffmpeg(
            "-threads", "1", "-filter_threads", "1", "-i", part,
            "-map", "0:v:0", "-vf", "fps=8,scale=-2:128:flags=area+accurate_rnd+full_chroma_int",
            "-c:v", "mpeg4", "-threads", "1", "-g", every, "-mbd", "rd", "-trellis", "1",
            "-flags", "+mv4", "-qmin", step, "-qmax", step, "-lmin", weight,
            "-lmax", weight, out / "theirs.mp4",
            "-map", "0:a:0", "-ac", "1", "-ar", "16000", "-c:a", "flac", "-sample_fmt", "s16",
            "-strict", "-2", out / "theirs_sound.mp4",
        )  # fmt: skip
        ratios.append((core_seconds() - begun) / ours)
    return median_and_range("prepare_over_ffmpeg", ratios)


def main() -> None:
    """Make the files and measure."""
    parser = argument_parser(__doc__)
    parser.add_argument("--media", type=Path, default=Path("../shared/media"))
    parser.add_argument("--only-make", action="store_true", help="make the files and stop")
    parser.add_argument("--only-parts", action="store_true", help="where a clip's time goes, alone")
    options = parser.parse_args()
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    if not options.only_parts:
        scaled = scale_film(options.media / FILM, out)
        original = loop_film(scaled, out / "original.mp4")
    with open_prepared(options.media / "library", out / "cat", PROXY_FORMAT) as catalog:
        if options.only_parts:
            with one_core():
                items = catalog.snapshot(), catalog.proxies()
                Figures("media", options.json).add(measure_parts(catalog, *items))
            return
        hour, library = open_proxies(catalog, out)
        if options.only_make:
            return
        figures = Figures("media", options.json)
        num_bytes = sum(proxy.size_bytes for proxy in catalog.proxies().values())
        hours = catalog.snapshot().duration_seconds.sum() / 3600
        figures.add({"proxy_mb_per_hour": num_bytes / 1e6 / hours})
        many = repeat_items(catalog, 40)
        torch.set_num_threads(1)
        with one_core():
            figures.add(measure_reading(hour, "", original))
            figures.add(measure_reading(library, "library_"))
            figures.add(measure_batches(catalog, *many))
            figures.add(measure_parts(catalog, *many))
            figures.add(measure_prepare(scaled, out))
        figures.add(measure_workers(catalog, *many))


if __name__ == "__main__":
    main()
