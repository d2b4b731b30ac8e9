"""How fast random clips are read, beside what others do on the same files and the same moments.

On one core, in seconds of that core's work. A clip is 16 frames at 8 a second and 2 s of sound. Two
sets of proxies: `library`, those of the real library, and an hour of film, its longest film's
looped. The original is that film at 1080p, its key frames where they were, looped to an hour.

    python -m benchmarks.media --out DIR --json FILE

makes the files first and keeps them in DIR, so that a second run measures only.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import torch

from benchmarks.figures import Figures, core_seconds, one_core, parser, spread
from benchmarks.rivals import Read, pyav_to_rgb, rivals_here
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.records import Proxy
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.snapshot import CatalogSnapshot, no_segments
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.data.augmentation import AugmentationConfig, draw_augmentation
from toomuchtv.data.batches import PlannedBatches
from toomuchtv.data.clip_reader import ClipReader
from toomuchtv.data.clip_transform import ClipTransform, TransformConfig
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.loader import iterate_batches
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.media.clip import ClipFormat, VideoArray
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.proxy_writer import ProxyFormat, write_proxy

FILM = Path("library/Movies/Big Buck Bunny (2008)/Big Buck Bunny (2008).mp4")
FORMAT = ClipFormat()
RECIPE = ProxyFormat()
REPEATS = 3
BATCH_ROUNDS = 9
TIMES_TO_AN_HOUR = 6
NUM_MOMENTS = 200
Moments = list[tuple[int, float]]


class Proxies:
    """Some proxies, their readers open."""

    def __init__(self, videos: Sequence[Path], audios: Sequence[Path]) -> None:
        self.videos = videos
        self.readers = [
            ProxyReader(video, audio, frame_rate=8.0, sample_rate_hz=FORMAT.sample_rate_hz)
            for video, audio in zip(videos, audios, strict=True)
        ]
        self.seconds = [num_frames(path) / 8 for path in videos]

    def frames(self, file: int, seconds: float) -> VideoArray:
        """Read the planes of a clip, the reader knowing nothing of the clip before."""
        reader = self.readers[file]
        reader.clear_cache()
        return reader.read_planes(first_frame=round(seconds * 8), frames=FORMAT.frames)

    def both(self, file: int, seconds: float) -> object:
        """Read a clip with its sound."""
        sound = self.readers[file].read_waveform(
            first_sample=FORMAT.audio_start_sample(seconds), num_samples=FORMAT.num_samples
        )
        return self.frames(file, seconds), sound

    def moments(self, count: int) -> Moments:
        """Random moments on the frames' grid, uniform over all time."""
        rng = np.random.default_rng(0)
        weights = np.array(self.seconds) / sum(self.seconds)
        return [
            (int(file), int(rng.integers(0, int((self.seconds[file] - 3) * 8))) / 8)
            for file in rng.choice(len(weights), count, p=weights)
        ]


def num_frames(path: Path) -> int:
    """Frames of a file, by its header."""
    with av.open(str(path)) as container:
        return container.streams.video[0].frames


def in_turn(works: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Clips a second of each, their median, lowest and highest."""
    values: dict[str, float] = {}
    for name, rates in rounds(works, REPEATS).items():
        values |= spread(f"{name}_clips_per_second", rates)
    return values


def rounds(works: dict[str, Callable[[], int]], times: int) -> dict[str, list[float]]:
    """Clips a second of each, by turns: what else the machine does falls on all alike.

    Each of the works says how many clips it has read.
    """
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(times):
        for name, work in works.items():
            begun = core_seconds()
            clips = work()
            found[name].append(clips / (core_seconds() - begun))
    return found


def reads(read: Callable[[int, float], object], moments: Moments) -> Callable[[], int]:
    """The work of reading these moments."""

    def work() -> int:
        for file, seconds in moments:
            read(file, seconds)
        return len(moments)

    return work


def ffmpeg(*arguments: str | Path) -> None:
    """Run the `ffmpeg` command."""
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True)


def looped(path: Path, out: Path) -> Path:
    """A film repeated to an hour, as it is coded."""
    if not out.exists():
        listing, partial = out.with_suffix(".txt"), out.with_suffix(".partial.mp4")
        listing.write_text(f"file '{path.resolve()}'\n" * TIMES_TO_AN_HOUR)
        ffmpeg(
            "-f",
            "concat",
            "-safe",
            "0",
            "-i",
            listing,
            "-t",
            "3600",
            "-c",
            "copy",
            "-strict",
            "-2",
            partial,
        )
        partial.rename(out)
    return out


def scaled_film(film: Path, out: Path) -> Path:
    """The film at 1080p, its key frames where it has them."""
    scaled, partial = out / "scaled.mp4", out / "partial.mp4"
    if not scaled.exists():
        ffmpeg(
            "-i", film, "-vf", "scale=1920:1080", "-c:v", "libx264", "-preset", "veryfast",
            "-crf", "23", "-force_key_frames", "source",
            "-x264-params", "scenecut=0:keyint=infinite", "-c:a", "copy", partial,
        )  # fmt: skip
        partial.rename(scaled)
    return scaled


def hour_of_proxies(catalog: Catalog, out: Path) -> Proxies:
    """The film's proxy, looped."""
    proxy = max(catalog.proxies().values(), key=lambda proxy: proxy.num_frames)
    assert proxy.audio_path is not None
    return Proxies(
        [looped(catalog.folder / proxy.video_path, out / "hour_video.mp4")],
        [looped(catalog.folder / proxy.audio_path, out / "hour_audio.mp4")],
    )


def library_proxies(catalog: Catalog) -> Proxies:
    """The proxies of the real library."""
    proxies = [proxy for proxy in catalog.proxies().values() if proxy.audio_path is not None]
    return Proxies(
        [catalog.folder / proxy.video_path for proxy in proxies],
        [catalog.folder / proxy.audio_path for proxy in proxies if proxy.audio_path is not None],
    )


def decoding_limit(paths: Sequence[Path]) -> Callable[[], int]:
    """Frames one after the other, as FFmpeg's own program decodes them; sixteen count as a clip."""

    def work() -> int:
        for path in paths:
            ffmpeg("-threads", "1", "-t", "600", "-i", path, "-f", "null", "-")
        return sum(min(num_frames(path), 4800) for path in paths) // FORMAT.frames

    return work


def reading(proxies: Proxies, prefix: str, original: Path | None = None) -> dict[str, float]:
    """Ours, FFmpeg's limit and the rivals', on the same files and moments, by turns."""
    moments = proxies.moments(NUM_MOMENTS)
    rivals = {name: rival(proxies.videos, 8.0) for name, rival in rivals_here().items()}
    values = {
        f"{prefix}{name}_differs_by_levels": difference(proxies, read, moments)
        for name, read in rivals.items()
    }
    works = {
        "frames": reads(proxies.frames, moments),
        "frames_and_sound": reads(proxies.both, moments),
        "frames_to_input": to_input(proxies, moments),
        "decode_limit": decoding_limit(proxies.videos),
        **{name: reads(read, moments[:100]) for name, read in rivals.items()},
    }
    if original is not None:
        works["original"] = reads(pyav_to_rgb([original], 24.0), moments[:8])
    values |= in_turn({f"{prefix}{name}": work for name, work in works.items()})

    def of(name: str) -> float:
        return values[f"{prefix}{name}_clips_per_second"]

    best = max(of(name) for name in rivals)
    values[f"{prefix}decode_limit_share"] = of("frames") / of("decode_limit")
    values[f"{prefix}over_best_rival"] = of("frames") / best
    values[f"{prefix}to_input_over_best_rival"] = of("frames_to_input") / best
    if original is not None:
        values[f"{prefix}over_original"] = of("frames") / of("original")
    return values


def difference(proxies: Proxies, read: Read, moments: Moments) -> float:
    """Levels of 255 between a rival's clips and ours, on average: the same frames, or it stops."""
    found = []
    for file, seconds in moments[:8]:
        reader, first = proxies.readers[file], round(seconds * 8)
        ours = reader.read_rgb(first_frame=first, frames=FORMAT.frames).astype(np.float64)
        theirs = read(file, seconds)
        found.append(float(np.abs(ours - theirs).mean()))
        before = reader.read_rgb(first_frame=max(first - 1, 0), frames=FORMAT.frames)
        moved = float(np.abs(before.astype(np.float64) - theirs).mean())
        if found[-1] > 4.0 or found[-1] > moved:
            raise SystemExit(f"other frames at {seconds} s: {found[-1]:.1f} levels off")
    return statistics.mean(found)


def to_input(proxies: Proxies, moments: Moments) -> Callable[[], int]:
    """To normalized RGB for the encoder, converted in a batch on this core."""
    model, plain = ClipTransform(TransformConfig(size=112)), AugmentationConfig.none()

    def work() -> int:
        planes = np.stack([proxies.frames(file, seconds) for file, seconds in moments[:16]])
        model.video(torch.from_numpy(planes), draw_augmentation(plain, np.zeros(16, np.uint64)))
        return 16

    return work


def many_items(catalog: Catalog, times: int) -> tuple[CatalogSnapshot, dict[int, Proxy]]:
    """The catalog's items many times over, each with proxies of its own name."""
    once, own_proxies, proxies = catalog.snapshot(), catalog.proxies(), {}
    for time_over in range(times):
        for item_id in once.item_id.tolist():
            proxy = own_proxies[item_id]
            proxies[item_id + 1000 * time_over] = replace(
                proxy,
                item_id=item_id + 1000 * time_over,
                video_path=_linked(catalog, proxy.video_path, time_over),
                audio_files=tuple(
                    replace(sound, path=_linked(catalog, sound.path, time_over))
                    for sound in proxy.audio_files
                ),
            )
    offset = np.repeat(np.arange(times, dtype=np.int32) * 1000, len(once))
    snapshot = CatalogSnapshot(
        item_id=np.tile(once.item_id, times) + offset,
        title_id=np.tile(once.title_id, times) + offset,
        kind=np.tile(once.kind, times),
        season=np.tile(once.season, times),
        num_frames=np.tile(once.num_frames, times),
        frame_rate=np.tile(once.frame_rate, times),
        num_tracks=np.tile(once.num_tracks, times),
        segments=no_segments(),
    )
    return snapshot, proxies


def _linked(catalog: Catalog, path: Path, time_over: int) -> Path:
    other = Path("many") / str(time_over) / path.name
    (catalog.folder / other).parent.mkdir(parents=True, exist_ok=True)
    if not (catalog.folder / other).exists():
        os.link(catalog.folder / path, catalog.folder / other)
    return other


def batch_rates(
    catalog: Catalog, snapshot: CatalogSnapshot, proxies: dict[int, Proxy]
) -> dict[str, float]:
    """Clips a second to ready batches, with more items than may be open at once."""
    works: dict[str, Callable[[], int]] = {}
    for name in ("uniform", "hierarchical", "hierarchical_in_30_s"):
        policy = SamplingConfig(
            name="uniform" if name == "uniform" else "hierarchical",
            batch_size=64, clips_per_item=16, level="episode", title_weight="duration",
            window_seconds=30.0 if name.endswith("_30_s") else None, min_gap_seconds=0.5,
        )  # fmt: skip
        batches = PlannedBatches(
            ClipReader(catalog.folder, snapshot, proxies, FORMAT),
            ClipSampler(snapshot, policy, FORMAT),
            seed=0,
        )
        steps = iter(range(1000))
        batches[next(steps)]  # as many are open as may be, or nearly

        def work(batches: PlannedBatches = batches, steps: Iterator[int] = steps) -> int:
            return sum(len(batches[next(steps)]) for _ in range(3))

        works[f"batch_{name}"] = work
    found = rounds(works, BATCH_ROUNDS)
    values: dict[str, float] = {}
    for name, rates in found.items():
        values |= spread(f"{name}_clips_per_second", rates)
    for name in ("hierarchical", "hierarchical_in_30_s"):
        # Of the same round each: the machine's speed changes between rounds more than within.
        pairs = zip(found[f"batch_{name}"], found["batch_uniform"], strict=True)
        values |= spread(f"{name}_over_uniform", [ours / uniform for ours, uniform in pairs])
    values["batch_clips_per_second"] = values["batch_hierarchical_clips_per_second"]
    return values


def worker_rates(
    catalog: Catalog, snapshot: CatalogSnapshot, proxies: dict[int, Proxy]
) -> dict[str, float]:
    """Clips a second of the loader with 1, 2, ... workers, on all the cores there are."""
    planner = ClipSampler(snapshot, SamplingConfig(batch_size=64, level="episode"), FORMAT)
    values = {}
    for workers in range(1, len(os.sched_getaffinity(0)) + 1):
        batches = PlannedBatches(
            ClipReader(catalog.folder, snapshot, proxies, FORMAT), planner, seed=0
        )
        stream = iterate_batches(batches, start=0, stop=40, num_workers=workers)
        for _ in range(8):
            next(stream)
        begun = time.perf_counter()
        counted = sum(len(batch) for batch in stream)
        values[f"loader_{workers}_workers_clips_per_second"] = counted / (
            time.perf_counter() - begun
        )
    return values


def prepare_rate(scaled: Path, out: Path) -> dict[str, float]:
    """Proxy making over one ffmpeg process that does the same transcode, on one core."""
    part = out / "part.mp4"
    ffmpeg("-i", scaled, "-t", "60", "-c", "copy", part)
    shares = []
    for _ in range(3):
        begun = core_seconds()
        write_proxy(part, out / "ours.mp4", out / "ours_sound.mp4", RECIPE)
        ours = core_seconds() - begun
        begun = core_seconds()
        every = RECIPE.keyframe_every
        step, weight = str(RECIPE.quantizer), str(118 * RECIPE.quantizer)
        ffmpeg(
            "-threads", "1", "-filter_threads", "1", "-i", part,
            "-map", "0:v:0", "-vf", "fps=8,scale=-2:128:flags=area+accurate_rnd+full_chroma_int",
            "-c:v", "mpeg4", "-threads", "1", "-g", str(every), "-mbd", "rd", "-trellis", "1",
            "-flags", "+mv4", "-qmin", step, "-qmax", step, "-lmin", weight,
            "-lmax", weight, out / "theirs.mp4",
            "-map", "0:a:0", "-ac", "1", "-ar", "16000", "-c:a", "flac", "-sample_fmt", "s16",
            "-strict", "-2", out / "theirs_sound.mp4",
        )  # fmt: skip
        shares.append((core_seconds() - begun) / ours)
    return spread("prepare_over_ffmpeg", shares)


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__)
    arguments.add_argument("--media", type=Path, default=Path("../shared/media"))
    arguments.add_argument("--only-make", action="store_true", help="make the files and stop")
    options = arguments.parse_args()
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    scaled = scaled_film(options.media / FILM, out)
    original = looped(scaled, out / "original.mp4")
    scan_library(options.media / "library", out / "cat")
    values: dict[str, float] = {}
    with open_catalog(out / "cat") as catalog:
        prepare_catalog(catalog, RECIPE, num_workers=2)
        hour = hour_of_proxies(catalog, out)
        if options.only_make:
            return
        values["proxy_mb_per_hour"] = (
            sum(proxy.size_bytes for proxy in catalog.proxies().values()) / 1e6
            / (catalog.snapshot().duration_seconds.sum() / 3600)
        )  # fmt: skip
        many = many_items(catalog, 40)
        torch.set_num_threads(1)
        with one_core():
            values |= reading(hour, "", original)
            values |= reading(library_proxies(catalog), "library_")
            values |= batch_rates(catalog, *many)
            values |= prepare_rate(scaled, out)
        values |= worker_rates(catalog, *many)
    Figures(benchmark="media", values=values).publish(options.json)


if __name__ == "__main__":
    main()
