"""Search: does it find what it should, how fast is it, and how much memory does it take?

    python -m benchmarks.search speed --json FILE          exact search over 1,000,000 windows
    python -m benchmarks.search lance --windows 5000000 --json FILE     the copy in LanceDB
    python -m benchmarks.search events --json FILE         the same event in other titles
    python -m benchmarks.search real LIBRARY --json FILE   embedding speed; copies of moments

`events` renders a library of films and shows with known events for each seed, trains the preset
`tiny` on it, and searches from random moments of events for other titles. A hit is right if its
middle lies in an event of the same kind. It is done with the trained encoder and with an untrained
one, with the mean of each title subtracted and without.

`real` trains `tiny` on a library of real films for a few steps, embeds them, and searches with
copies of random moments that were cropped, made quieter, reduced and encoded anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import torch

from benchmarks.figures import Figures, argument_parser, median_and_range
from experiments.demo.run import FULL
from experiments.demo.search import EventsOfIndex
from experiments.rendered_tv import RenderedTVConfig, render_library
from toomuchtv import (
    Moment,
    PretrainedEncoder,
    QueryFile,
    QueryVector,
    TwoTower,
    embed_catalog,
    load,
    load_config,
    open_catalog,
    open_index,
    prepare_catalog,
    pretrain,
    scan_library,
)
from toomuchtv.catalog.records import TitleKind
from toomuchtv.catalog.store import Catalog
from toomuchtv.inference.pretrained import PretrainedConfig
from toomuchtv.media.containers import open_media
from toomuchtv.media.proxy_writer import ProxyFormat
from toomuchtv.search.index import By, SearchIndex
from toomuchtv.search.index_check import measure_recall
from toomuchtv.search.index_folder import IndexFolder, content_of, file_description
from toomuchtv.search.lance_publishing import publish_index
from toomuchtv.search.vector_files import ItemVectors, write_vector_file

_DIRECTIONS: tuple[By, ...] = ("look", "sound", "look-to-sound", "sound-to-look")

_TIMED: tuple[By, ...] = ("look", "both")


def main() -> None:
    """Run one of the benchmarks."""
    parser = argument_parser(__doc__)
    parser.add_argument("benchmark", choices=["speed", "lance", "events", "real"])
    parser.add_argument("library", type=Path, nargs="?", help="folder of real films, for `real`")
    parser.add_argument("--windows", type=int, default=1_000_000, help="of `speed` and `lance`")
    parser.add_argument("--seeds", type=int, default=3, help="of `events`")
    parser.add_argument("--steps", type=int, default=400, help="of training")
    parser.add_argument("--movies", type=int, default=40, help="of `events`")
    parser.add_argument("--queries", type=int, default=200, help="number of searches")
    options = parser.parse_args()
    figures = Figures(f"search {options.benchmark}", options.json)
    out = options.out / options.benchmark
    out.mkdir(parents=True, exist_ok=True)
    if options.benchmark == "speed":
        _speed(figures, out, options.windows, options.queries)
    elif options.benchmark == "lance":
        _lance(figures, out, options.windows, options.queries)
    elif options.benchmark == "events":
        _events(
            figures, out, options.seeds, options.steps, options.movies, num_queries=options.queries
        )
    else:
        _real(figures, out, options.library, options.steps, options.queries)


# ---- Speed


def _speed(figures: Figures, out: Path, num_windows: int, num_queries: int) -> None:
    """Measure an index of random vectors, and the update of one item in it."""
    rng = np.random.default_rng(0)

    def random_vectors(count: int) -> ItemVectors:
        video, audio = (
            torch.from_numpy(rng.standard_normal((count, 256), dtype=np.float32)) for _ in range(2)
        )
        return ItemVectors.from_float(torch.arange(count), video, audio)

    folder = build_large_index(out, num_windows, random_vectors)
    [record] = folder.read().encoders
    embed_catalog(out / "model", out / "catalog", out / "index")  # measures the calibration
    # In a process of its own, which has made nothing.
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY, str(out / "index")], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    figures.add({"search_memory_mb": float(done.stdout)})
    start = time.perf_counter()
    with open_index(out / "index") as index:
        figures.add({"windows": len(index.encoders["model"])})
        figures.add({"open_seconds": time.perf_counter() - start})
        for by in _TIMED:
            _time_queries(figures, index, by, num_queries, rng)
    seconds = []
    for _ in range(5):
        path = folder.vectors_of(record)
        with open_catalog(out / "catalog") as catalog:
            item = catalog.items()[0]
            path = folder.vector_file(record, content_of(item, catalog.proxy(item.id)))
        path.unlink()
        start = time.perf_counter()
        assert embed_catalog(out / "model", out / "catalog", out / "index").embedded == 1
        seconds.append(time.perf_counter() - start)
    figures.add(median_and_range("update_seconds", seconds))


def build_large_index(
    out: Path, num_windows: int, make_vectors: Callable[[int], ItemVectors]
) -> IndexFolder:
    """Build an index of films that exist on record only, unless it is there.

    Args:
        out: Folder for a catalog, a model and the index.
        num_windows: Number of windows, about.
        make_vectors: From the number of windows of an item to its embeddings.
    """
    film = RenderedTVConfig(movies=1, shows=0, clips=0, minutes=1.0, transfer_clips_per_kind=0)
    render_library(out / "rendered", film)
    if not (out / "catalog").exists():  # another scan would miss the files of the added films
        scan_library(out / "rendered" / "library", out / "catalog")
        with open_catalog(out / "catalog") as catalog:
            prepare_catalog(catalog, ProxyFormat(short_side=64))
    model = TwoTower.from_config("tiny", seed=0)
    PretrainedEncoder(model, _tiny_config()).save(out / "model")
    folder = IndexFolder(out / "index")
    if not folder.exists():
        embed_catalog(out / "model", out / "catalog", out / "index")
    [record] = folder.read().encoders
    per_item = 2500
    with open_catalog(out / "catalog") as catalog:
        if len(catalog.items()) == 1:
            _add_items(catalog, num_windows // per_item, per_item)
        proxies = catalog.proxies()
        for number, item in enumerate(catalog.items()):
            path = folder.vector_file(record, content := content_of(item, proxies[item.id]))
            if not path.exists():
                description = file_description(record, content)
                write_vector_file(path, make_vectors(per_item), description)
            if number % 100 == 0:
                print(f"  {number * per_item:,} windows written", flush=True)
    return folder


# ---- LanceDB


def _lance(figures: Figures, out: Path, num_windows: int, num_queries: int) -> None:
    """Measure a copy in LanceDB of an index whose windows resemble their neighbors in time.

    The vectors of an item are a random walk in 32 dimensions, which a random matrix turns into 256,
    with noise. Windows of real films are at least as similar to each other, while independent
    random vectors have no neighbors that could be found.
    """
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((32, 256), dtype=np.float32)

    def walk(count: int) -> ItemVectors:
        latent = np.empty((count, 32), np.float32)
        latent[0] = rng.standard_normal(32)
        for number, step in enumerate(rng.standard_normal((count - 1, 32)), start=1):
            latent[number] = 0.9 * latent[number - 1] + 0.44 * step
        noise = rng.standard_normal((count, 256), dtype=np.float32)
        video = torch.from_numpy(latent @ mixing + noise)
        return ItemVectors.from_float(torch.arange(count), video, None)

    build_large_index(out, num_windows, walk)
    embed_catalog(out / "model", out / "catalog", out / "index")
    begun = time.perf_counter()
    publish_index(out / "index", out / "copy", progress=_print_progress)
    figures.add({"lance_publish_seconds": time.perf_counter() - begun})
    begun = time.perf_counter()
    publish_index(out / "index", out / "copy")
    figures.add({"lance_republish_seconds": time.perf_counter() - begun})
    with open_index(out / "copy") as index:
        [encoder] = index.encoders.values()
        figures.add({"windows": len(encoder)})
        _time_queries(figures, index, "look", num_queries, rng, name="lance_search")
    for recall in measure_recall(out / "copy", queries=num_queries):
        figures.add(
            {
                "lance_recall_at_10": recall.recall,
                "lance_p50_ms": recall.p50_ms,
                "lance_p95_ms": recall.p95_ms,
            }
        )


def _print_progress(done: float, total: float, text: str) -> None:
    print(f"  {done:,.0f} of {total:,.0f} windows copied", flush=True)


def _tiny_config() -> PretrainedConfig:
    config = load_config(preset="tiny")
    return PretrainedConfig.model_validate(
        {name: getattr(config, name).model_dump() for name in ("clip", "transform", "model")}
    )


def _add_items(catalog: Catalog, count: int, seconds: int) -> None:
    """Add films to a catalog that have proxies on record but no files."""
    real = catalog.items()[0]
    proxy = catalog.proxy(real.id)
    with catalog.writing():
        for number in range(count):
            name = f"Film {number}"
            with catalog.transaction():
                title = catalog.add_title(name, kind=TitleKind.MOVIE, name=name, year=None)
                item = replace(
                    real,
                    id=0,
                    title_id=title.id,
                    path=Path(f"zz {name}.mp4"),
                    fingerprint=f"{number:032x}",
                    full_digest=None,
                )
                item_id = catalog.put_item(item)
            catalog.record_proxy(
                replace(
                    proxy,
                    item_id=item_id,
                    fingerprint=item.fingerprint,
                    num_frames=round(seconds * proxy.frame_rate),
                )
            )


def _time_queries(
    figures: Figures,
    index: SearchIndex,
    by: By,
    num_queries: int,
    rng: np.random.Generator,
    *,
    name: str = "",
) -> None:
    """Time searches from random moments, after a few to warm up."""
    [encoder] = index.encoders.values()
    seconds = []
    for number in range(num_queries + 5):
        row, window = encoder.locate(int(rng.integers(len(encoder))))
        center = float(encoder.centers(row)[window])
        start = time.perf_counter()
        index.search(Moment(item_id=encoder.items[row].item.id, seconds=center), by=by, k=10)
        if number >= 5:
            seconds.append(1000 * (time.perf_counter() - start))
    name = name or ("exact" if by == "look" else f"exact_{by}")
    p50, p95 = np.percentile(seconds, [50, 95])
    figures.add({f"{name}_p50_ms": float(p50), f"{name}_p95_ms": float(p95)})


# Prints by how many MB the memory of a process grows when it opens an index and searches, without
# the mapped files. The libraries are loaded before.
_MEMORY = """
import re, sys
from toomuchtv import Moment, open_index
def megabytes():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024 / 1e6
before = megabytes()
with open_index(sys.argv[1]) as index:
    [encoder] = index.encoders.values()
    for entry in encoder.items[:20]:
        index.search(Moment(item_id=entry.item.id, seconds=1.0), by="both", k=10)
    print(megabytes() - before)
"""


# ---- The same event in other titles


def _events(
    figures: Figures, out: Path, seeds: int, steps: int, movies: int, *, num_queries: int
) -> None:
    """Measure the precision of hits in other titles on rendered libraries."""
    # By name of a figure, one list for each seed: the precision of each query, and its title.
    found: dict[str, list[tuple[list[float], list[int]]]] = {}
    for seed in range(seeds):
        folder = out / f"seed{seed}"
        rendered = folder / "rendered"
        library = RenderedTVConfig(
            movies=movies, shows=max(1, movies // 6), episodes=4, minutes=0.5, seed=seed,
            signature_picture=1.0, signature_sound=1.0, music_overlap=0.6,
            transfer_clips_per_kind=0,
        )  # fmt: skip
        render_library(rendered, library, num_workers=2)
        scan_library(rendered / "library", folder / "cat", num_workers=2)
        with open_catalog(folder / "cat") as catalog:
            prepare_catalog(catalog, ProxyFormat(short_side=48), num_workers=2)
        own = [f"training.steps={steps}", f"training.seed={seed}", "training.held_out_share=0",
               "sampling.name=hierarchical", "sampling.clips_per_item=16",
               "training.validate_every=0"]  # fmt: skip
        run = folder / "run"
        if not (run / "model" / "config.json").exists():
            settings = [s for s in FULL.settings if "num_threads" not in s]
            config = load_config(preset="tiny", settings=[*settings, *own])
            pretrain(folder / "cat", run, config, resume=True)
        load(run, untrained=True, seed=seed).save(folder / "untrained")
        for name in ("run", "untrained"):
            embed_catalog(
                folder / name, folder / "cat", folder / "idx", stride_seconds=0.5, num_workers=2
            )
        with open_index(folder / "idx") as index:
            for name, values in _precisions(index, rendered, seed, num_queries).items():
                found.setdefault(name, []).append(values)
            if seed == 0:
                figures.add(_right_above_quantiles(index, rendered, seed))
        print(f"  seed {seed} done", flush=True)
        figures.add(_summary(found))


def _precisions(
    index: SearchIndex, rendered: Path, seed: int, num_queries: int
) -> dict[str, tuple[list[float], list[int]]]:
    """Return the precision at 10 of every query, and the title of every query, by figure."""
    events = EventsOfIndex(index, "run", rendered)
    kinds = events.kinds
    rng = np.random.default_rng(seed)
    encoder = index.encoders["run"]
    windows = np.flatnonzero(np.concatenate([kinds[e.item.id] >= 0 for e in encoder.items]))
    chosen = rng.choice(windows, min(num_queries, len(windows)), replace=False)
    everything = np.concatenate([kinds[entry.item.id] for entry in encoder.items])
    titles = np.concatenate([np.full(len(e.vectors), e.title.id) for e in encoder.items])
    found: dict[str, tuple[list[float], list[int]]] = {}
    for window in chosen.tolist():
        row, number = encoder.locate(window)
        entry = encoder.items[row]
        kind = int(kinds[entry.item.id][number])
        query = Moment(item_id=entry.item.id, seconds=float(encoder.centers(row)[number]))
        elsewhere = everything[titles != entry.title.id]
        figures = {f"{by}_chance": float((elsewhere == kind).mean()) for by in _DIRECTIONS}
        for by in _DIRECTIONS:
            for name, label in (("run", "trained"), ("untrained", "untrained")):
                for centered in (True, False):
                    hits = index.search(
                        query, by=by, k=10, other_titles=True, centered=centered,
                        weights={name: 1.0},
                    )  # fmt: skip
                    suffix = "" if centered else "_uncentered"
                    figures[f"{by}_{label}{suffix}"] = float(np.mean(events.are_right(hits, kind)))
        for name, value in figures.items():
            values, of_title = found.setdefault(name, ([], []))
            values.append(value)
            of_title.append(entry.title.id)
    return found


def _right_above_quantiles(index: SearchIndex, rendered: Path, seed: int) -> dict[str, float]:
    """Return how often hits above a similarity are right, and how many queries have such a hit.

    The similarities are quantiles of what random moments find in other titles. Of each query, the
    ten best windows of other titles count.
    """
    encoder = index.encoders["run"]
    events = EventsOfIndex(index, "run", rendered)
    kinds = np.concatenate([events.kinds[entry.item.id] for entry in encoder.items])
    titles = np.concatenate([np.full(len(e.vectors), e.title.id) for e in encoder.items])
    rng = np.random.default_rng(seed + 1)
    queries = rng.choice(np.flatnonzero(kinds >= 0), 400, replace=False)
    random = rng.choice(len(kinds), 400, replace=False)
    figures: dict[str, float] = {}
    for name, modality in (("look", "video"), ("sound", "audio")):
        raw = torch.cat(
            [v for e in encoder.items
             if (v := e.vectors.of("video" if modality == "video" else "audio")) is not None]
        ).float()  # fmt: skip
        means = encoder.title_means("video" if modality == "video" else "audio")
        rest = raw - torch.stack([means[title] for title in titles.tolist()])
        centered = torch.nn.functional.normalize(rest, dim=1)
        for suffix, vectors in (("", raw), ("_centered", centered)):

            def elsewhere(numbers: np.ndarray, vectors: torch.Tensor = vectors) -> np.ndarray:
                found = (vectors[torch.from_numpy(numbers)] @ vectors.T).numpy()
                return np.where(titles[None] == titles[numbers][:, None], -np.inf, found)

            limits = elsewhere(random).max(axis=1)
            similar = elsewhere(queries)
            best = np.argsort(-similar, axis=1)[:, :10]
            values = np.take_along_axis(similar, best, axis=1)
            right = kinds[best] == kinds[queries][:, None]
            for quantile in (0.0, 0.05, 0.5, 0.75, 0.9, 0.95):
                above = values >= np.quantile(limits, quantile) if quantile else values > -np.inf
                key = f"{name}{suffix}_above_{quantile:.0%}".replace("%", "")
                figures[f"{key}_right"] = float(right[above].mean())
                figures[f"{key}_queries"] = float(above.any(axis=1).mean())
    return figures


def _summary(found: dict[str, list[tuple[list[float], list[int]]]]) -> dict[str, float]:
    """Return means over seeds, and differences with their intervals."""
    figures: dict[str, float] = {}
    for name, seeds in found.items():
        by, _, rest = name.partition("_")
        figures[f"{by}_precision_at_10_{rest}"] = float(np.mean([np.mean(v) for v, _ in seeds]))
    for by in _DIRECTIONS:
        for name, one, other in (
            ("trained_minus_untrained", f"{by}_trained", f"{by}_untrained"),
            ("centering_gain", f"{by}_trained", f"{by}_trained_uncentered"),
        ):
            differences = [
                (np.array(a) - np.array(b), np.array(titles))
                for (a, titles), (b, _) in zip(found[one], found[other], strict=True)
            ]
            mean, low, high = _interval(differences)
            figures |= {
                f"{by}_{name}": mean,
                f"{by}_{name}_low": low,
                f"{by}_{name}_high": high,
            }
    return figures


def _interval(seeds: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float, float]:
    """Return the mean over seeds with a 95% bootstrap interval over the titles of the queries."""
    rng = np.random.default_rng(0)
    means = []
    for _ in range(2000):
        drawn = []
        for values, titles in seeds:
            unique = np.unique(titles)
            chosen = rng.choice(unique, len(unique))
            drawn.append(np.concatenate([values[titles == title] for title in chosen]).mean())
        means.append(np.mean(drawn))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(np.mean([values.mean() for values, _ in seeds])), float(low), float(high)


# ---- Real films


def _real(figures: Figures, out: Path, library: Path, steps: int, num_queries: int) -> None:
    """Measure embedding speed, altered copies, and noise as a query, on real films."""
    scan_library(library, out / "cat", num_workers=2)
    with open_catalog(out / "cat") as catalog:
        prepare_catalog(catalog, num_workers=2)
    run = out / "run"
    if not (run / "model" / "config.json").exists():
        settings = [f"training.steps={steps}", "training.held_out_share=0"]
        pretrain(out / "cat", run, load_config(preset="tiny", settings=settings), resume=True)
    index_folder = out / "idx"
    for num_workers in (1, 2):
        rates = []
        for number in range(3):
            start = time.perf_counter()
            target = out / f"speed{num_workers}-{number}-{os.getpid()}"
            result = embed_catalog(run, out / "cat", target, num_workers=num_workers)
            rates.append(result.film_seconds / (time.perf_counter() - start))
        name = "embed_times_real_time" + ("" if num_workers == 2 else "_one_process")
        figures.add(median_and_range(name, rates))
    embed_catalog(run, out / "cat", index_folder, num_workers=2)
    with open_index(index_folder) as index:
        _copies(figures, index, out, num_queries)
        _noise(figures, index, run)


def _copies(figures: Figures, index: SearchIndex, out: Path, num_queries: int) -> None:
    """Search with altered copies of random moments."""
    [encoder] = index.encoders.values()
    rng = np.random.default_rng(0)
    copies = {}
    for entry in encoder.items:
        source = index.catalog.source_path(entry.item)
        copies[entry.item.id] = out / f"copy{entry.item.id}.mp4"
        if not copies[entry.item.id].exists():
            _write_copy(source, copies[entry.item.id])
    right: dict[By, list[bool]] = {"look": [], "sound": [], "both": []}
    for _ in range(num_queries):
        row, window = encoder.locate(int(rng.integers(len(encoder))))
        entry, seconds = encoder.items[row], float(encoder.centers(row)[window])
        for by, found in right.items():
            query = QueryFile(path=copies[entry.item.id], at_seconds=seconds)
            hits = index.search(query, by=by, k=1, collapse=False)
            hit = hits[0]
            found.append(hit.item_id == entry.item.id and abs(hit.center_seconds - seconds) <= 1.0)
    for by, found in right.items():
        name = "copy_recall_at_1" if by == "both" else f"copy_recall_at_1_{by}"
        figures.add({name: float(np.mean(found))})
    figures.add({"copy_queries": num_queries})


def _write_copy(source: Path, target: Path) -> None:
    """Write a copy: 5% cropped on each side, 240 pixels high, half as loud, low bit rate."""
    partial = target.with_suffix(".partial.mp4")
    with open_media(source) as container, av.open(str(partial), "w") as writer:
        video = container.streams.video[0]
        graph = av.filter.Graph()
        video_in = graph.add_buffer(template=video)
        crop = graph.add("crop", "iw*0.9:ih*0.9")
        width, height = 2 * round(120 * video.width / video.height), 240
        scale = graph.add("scale", f"{width}:{height}")
        end = graph.add("buffersink")
        for one, other in ((video_in, crop), (crop, scale), (scale, end)):
            one.link_to(other)
        graph.configure()
        rate = Fraction(video.average_rate or 24)
        options = {"crf": "32", "preset": "veryfast"}
        out = writer.add_stream("libx264", rate=rate, options=options)
        # Sound may come first, and its packets open all streams.
        out.width, out.height, out.pix_fmt = width, height, "yuv420p"
        out.codec_context.time_base = video.time_base or 1 / rate
        sound = None
        if container.streams.audio:
            sound = writer.add_stream("aac", rate=44_100, layout="mono")
            resampler = av.AudioResampler("fltp", "mono", 44_100)
        for frame in container.decode(*container.streams.get(video=0), *(
            container.streams.get(audio=0) if sound else ()
        )):  # fmt: skip
            if isinstance(frame, av.VideoFrame):
                video_in.push(frame)
                image = cast(av.VideoFrame, graph.pull())
                writer.mux(out.encode(image))
            elif sound is not None:
                for part in resampler.resample(cast(av.AudioFrame, frame)):
                    quiet = av.AudioFrame.from_ndarray(0.5 * part.to_ndarray(), "fltp", "mono")
                    quiet.pts, quiet.sample_rate = part.pts, part.sample_rate
                    quiet.time_base = part.time_base
                    writer.mux(sound.encode(quiet))
        writer.mux(out.encode())
        if sound is not None:
            writer.mux(sound.encode())
    partial.rename(target)


def _noise(figures: Figures, index: SearchIndex, run: Path) -> None:
    """Return how often noise has no confident match, and how often moments of the index have."""
    encoder, rng = load(run), np.random.default_rng(0)
    clip, size = encoder.config.clip, encoder.config.transform.size
    [name] = index.encoders
    refused = {"look": 0, "sound": 0}
    num = 20
    for _ in range(num):
        frames = rng.integers(0, 256, (clip.frames, size, size, 3), dtype=np.uint8)
        wave = rng.uniform(-1, 1, clip.num_samples).astype(np.float32)
        vectors = {
            "look": QueryVector(
                vector=encoder.embed_video(torch.from_numpy(frames)), modality="video", encoder=name
            ),
            "sound": QueryVector(
                vector=encoder.embed_audio(torch.from_numpy(wave)), modality="audio", encoder=name
            ),
        }
        for by, vector in vectors.items():
            hits = index.search(vector, by=cast(By, by), k=1)
            refused[by] += not hits[0].is_confident
    figures.add({f"noise_without_confident_match_{by}": n / num for by, n in refused.items()})


if __name__ == "__main__":
    main()
