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
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import torch

from benchmarks.figures import Figures, core_seconds, one_core, parser, spread
from benchmarks.rivals import pyav_to_rgb, rivals_here
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.records import Proxy
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.snapshot import CatalogSnapshot, build_snapshot
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.media.augment import AugmentConfig, draw_changes
from toomuchtv.media.clip import ClipFormat
from toomuchtv.media.proxy import ProxyRecipe, write_proxy
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.to_input import InputConfig, ToInput
from toomuchtv.sampling.batches import ClipReader, PlannedBatches
from toomuchtv.sampling.loader import iterate_batches
from toomuchtv.sampling.plan import Planner
from toomuchtv.sampling.policy import PolicyConfig

FILM = Path("library/Movies/Big Buck Bunny (2008)/Big Buck Bunny (2008).mp4")
FORMAT = ClipFormat()
RECIPE = ProxyRecipe()
REPEATS = 3
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

    def frames(self, file: int, seconds: float) -> object:
        """Read the planes of a clip, the reader knowing nothing of the clip before."""
        reader = self.readers[file]
        reader.rest()
        return reader.planes(first_frame=round(seconds * 8), frames=FORMAT.frames)

    def both(self, file: int, seconds: float) -> object:
        """Read a clip with its sound."""
        sound = self.readers[file].waveform(
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


def rate(
    read: Callable[[int, float], object], moments: Moments, repeats: int = REPEATS
) -> list[float]:
    """Clips a second of `read` over the moments, several times."""
    rates = []
    for _ in range(repeats):
        begun = core_seconds()
        for file, seconds in moments:
            read(file, seconds)
        rates.append(len(moments) / (core_seconds() - begun))
    return rates


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


def decoding_limit(paths: Sequence[Path]) -> list[float]:
    """Clips a second if frames came one after the other, as FFmpeg's own program decodes them."""
    clips = sum(map(num_frames, paths)) / FORMAT.frames
    rates = []
    for _ in range(REPEATS):
        begun = core_seconds()
        for path in paths:
            ffmpeg("-threads", "1", "-i", path, "-f", "null", "-")
        rates.append(clips / (core_seconds() - begun))
    return rates


def reading(proxies: Proxies, prefix: str) -> dict[str, float]:
    """Ours, FFmpeg's limit and the rivals', on the same files and moments."""
    moments = proxies.moments(NUM_MOMENTS)
    values = spread(f"{prefix}frames_clips_per_second", rate(proxies.frames, moments))
    ours = values[f"{prefix}frames_clips_per_second"]
    values |= spread(
        f"{prefix}frames_and_sound_clips_per_second", rate(proxies.both, moments)
    )  # fmt: skip
    values |= spread(f"{prefix}frames_to_input_clips_per_second", to_input(proxies, moments))
    limit = spread(f"{prefix}decode_limit_clips_per_second", decoding_limit(proxies.videos))
    values |= limit
    values[f"{prefix}decode_limit_share"] = ours / limit[f"{prefix}decode_limit_clips_per_second"]
    best = 0.0
    for name, rival in rivals_here().items():
        read = rival(proxies.videos, 8.0)
        values[f"{prefix}{name}_differs_by_levels"] = difference(proxies, read, moments)
        rates = rate(read, moments[:100])
        values |= spread(f"{prefix}{name}_clips_per_second", rates)
        best = max(best, statistics.median(rates))
    values[f"{prefix}over_best_rival"] = ours / best
    values[f"{prefix}to_input_over_best_rival"] = (
        values[f"{prefix}frames_to_input_clips_per_second"] / best
    )
    return values


def difference(
    proxies: Proxies, read: Callable[[int, float], object], moments: Moments
) -> float:  # fmt: skip
    """Levels of 255 between a rival's clips and ours, on average: the same frames, or it stops."""
    found = []
    for file, seconds in moments[:8]:
        reader, first = proxies.readers[file], round(seconds * 8)
        ours = reader.rgb(first_frame=first, frames=FORMAT.frames).astype(np.float64)
        theirs = read(file, seconds)
        found.append(float(np.abs(ours - theirs).mean()))
        before = reader.rgb(first_frame=max(first - 1, 0), frames=FORMAT.frames)
        moved = float(np.abs(before.astype(np.float64) - theirs).mean())
        if found[-1] > 4.0 or found[-1] > moved:
            raise SystemExit(f"other frames at {seconds} s: {found[-1]:.1f} levels off")
    return statistics.mean(found)


def to_input(proxies: Proxies, moments: Moments) -> list[float]:
    """Clips a second to normalized RGB for the encoder, converted in batches on this core."""
    model, plain = ToInput(InputConfig(size=112)), AugmentConfig.none()
    batches = [moments[at : at + 16] for at in range(0, 96, 16)]
    rates = []
    for _ in range(REPEATS):
        begun = core_seconds()
        for batch in batches:
            planes = np.stack([proxies.frames(*moment) for moment in batch])  # type: ignore[arg-type]
            model.video(torch.from_numpy(planes), draw_changes(plain, np.zeros(16, np.uint64)))
        rates.append(len(batches) * 16 / (core_seconds() - begun))
    return rates


def many_items(catalog: Catalog, times: int) -> tuple[CatalogSnapshot, dict[int, Proxy]]:
    """The catalog's items many times over, each with proxies of its own name."""
    titles, items, proxies = [], [], {}
    for time_over in range(times):
        titles += [replace(t, id=t.id + 1000 * time_over) for t in catalog.titles()]
        for item in catalog.items():
            own = item.id + 1000 * time_over
            proxy = catalog.proxies()[item.id]
            items.append(replace(item, id=own, title_id=item.title_id + 1000 * time_over))
            proxies[own] = replace(
                proxy,
                item_id=own,
                video_path=_linked(catalog, proxy.video_path, time_over),
                sounds=tuple(
                    replace(sound, path=_linked(catalog, sound.path, time_over))
                    for sound in proxy.sounds
                ),
            )
    return build_snapshot(titles, items, proxies), proxies


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
    values: dict[str, float] = {}
    for name in ("uniform", "hierarchical"):
        policy = PolicyConfig(
            name="uniform" if name == "uniform" else "hierarchical",
            batch_size=64, clips_per_item=16, level="episode", title_weight="duration",
        )  # fmt: skip
        batches = PlannedBatches(
            ClipReader(catalog.folder, snapshot, proxies, FORMAT),
            Planner(snapshot, policy, FORMAT),
            seed=0,
        )
        for step in range(3):  # until as many are open as may be
            batches[step]
        rates = []
        for repeat in range(REPEATS):
            begun = core_seconds()
            for step in range(3 + 3 * repeat, 6 + 3 * repeat):
                batches[step]
            rates.append(3 * 64 / (core_seconds() - begun))
        values |= spread(f"batch_{name}_clips_per_second", rates)
    values["hierarchical_over_uniform"] = (
        values["batch_hierarchical_clips_per_second"] / values["batch_uniform_clips_per_second"]
    )
    values["batch_clips_per_second"] = values["batch_hierarchical_clips_per_second"]
    return values


def worker_rates(
    catalog: Catalog, snapshot: CatalogSnapshot, proxies: dict[int, Proxy]
) -> dict[str, float]:
    """Clips a second of the loader with 1, 2, ... workers, on all the cores there are."""
    planner = Planner(snapshot, PolicyConfig(batch_size=64, level="episode"), FORMAT)
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
        ffmpeg(
            "-threads", "1", "-filter_threads", "1", "-i", part,
            "-map", "0:v:0", "-vf", "fps=8,scale=-2:128:flags=area+accurate_rnd+full_chroma_int",
            "-c:v", "libx264", "-threads", "1", "-preset", "veryfast", "-tune", "fastdecode",
            "-x264-params", f"keyint={every}:min-keyint={every}:scenecut=0:bframes=0:mbtree=0",
            "-crf", str(RECIPE.crf), out / "theirs.mp4",
            "-map", "0:a:0", "-ac", "1", "-ar", "16000", "-c:a", "flac", "-sample_fmt", "s16",
            "-strict", "-2", out / "theirs_sound.mp4",
        )  # fmt: skip
        shares.append((core_seconds() - begun) / ours)
    return spread("prepare_over_ffmpeg", shares)


def original_rate(original: Path, proxies: Proxies) -> list[float]:
    """PyAV's clips a second from the 1080p original, at moments that the proxies were read at."""
    return rate(pyav_to_rgb([original], 24.0), proxies.moments(8), repeats=3)


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
            values |= reading(hour, "")
            values |= spread("original_clips_per_second", original_rate(original, hour))
            values["over_original"] = (
                values["frames_clips_per_second"] / values["original_clips_per_second"]
            )
            values |= reading(library_proxies(catalog), "library_")
            values |= batch_rates(catalog, *many)
            values |= prepare_rate(scaled, out)
        values |= worker_rates(catalog, *many)
    Figures(benchmark="media", values=values).publish(options.json)


if __name__ == "__main__":
    main()
