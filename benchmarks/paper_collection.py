"""A collection of the size of the paper's, of which as much is real as one machine can hold.

The paper has about 3,600 films and 9,200 episodes; 12,000 hours is our estimate. Files are real:
small films that differ in a few bytes, or hard links to one of them. The recorded lengths are drawn
from what films and episodes usually last. Proxies are hard links to a few long files, so that a
clip can be read from any place of any item. Segments are drawn as densely as the detectors find
them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tests.media_files import write_film
from toomuchtv.catalog.records import Item, Proxy, Segment, TitleKind
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.detection.detect import ITEM_KINDS, _item_job, _title_job
from toomuchtv.detection.features_on_disk import ItemFeatures, features_path, write_features
from toomuchtv.detection.fingerprints import FINGERPRINT_RATE_HZ, AudioFingerprint
from toomuchtv.detection.frame_features import FRAME_FEATURES, FrameFeatures
from toomuchtv.detection.recurrence import RECURRING_KINDS, Episode
from toomuchtv.media.containers import open_media

MOVIES, EPISODES, HOURS = 3_600, 9_200, 12_000.0
# What the detectors find in the real library that the other benchmarks read.
_SECONDS_PER_SHOT = 4.7
_PER_HOUR = {"black": 30, "silence": 155}
#: Episodes of the longest show.
LONGEST_SHOW = 500
_FRAME_RATE = 8.0
# Minutes of the proxies that items are linked to: the shortest that is long enough.
_PROXY_MINUTES = (60, 120, 300)
_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "el", "or")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperItem:
    """A film or an episode.

    Attributes:
        path: Path relative to the library.
        seconds: Duration.
        show: Number of the show, or None for a film.
    """

    path: Path
    seconds: float
    show: int | None


def paper_items(num_items: int = MOVIES + EPISODES, seed: int = 0) -> list[PaperItem]:
    """Return films and episodes in the paper's proportion, 0.94 hours long on average.

    Films last 102 minutes in the median, and nine in ten between 70 and 150. Of the shows, a third
    have episodes of 22 minutes, the others of 42 or 55. Shows have 24 episodes in the median; one
    has 500, if there are so many.
    """
    rng = np.random.default_rng(seed)
    num_movies = round(num_items * MOVIES / (MOVIES + EPISODES))
    seconds = (60 * np.clip(rng.lognormal(np.log(102), 0.23, num_movies), 50, 220)).tolist()
    shows: list[int | None] = [None] * num_movies
    paths = [_movie_path(number) for number in range(num_movies)]
    left, show = num_items - num_movies, 0
    while left:
        count = LONGEST_SHOW if show == 0 else int(np.clip(rng.lognormal(np.log(24), 0.9), 4, 300))
        count = min(count, left)
        minutes = rng.choice([22, 42, 55], p=[0.35, 0.4, 0.25])
        seconds += (60 * minutes * rng.normal(1, 0.04, count)).tolist()
        paths += [_episode_path(show, number) for number in range(count)]
        shows += [show] * count
        left, show = left - count, show + 1
    factor = HOURS / (MOVIES + EPISODES) * 3600 * num_items / sum(seconds)
    return [
        PaperItem(path=path, seconds=factor * length, show=number)
        for path, length, number in zip(paths, seconds, shows, strict=True)
    ]


def _name(number: int) -> str:
    """Return a name of two words that no other number has."""
    words = []
    for _ in range(2):
        syllables = []
        for _ in range(2):
            number, digit = divmod(number, len(_SYLLABLES))
            syllables.append(_SYLLABLES[digit])
        words.append("".join(syllables).capitalize())
    return " ".join(words)


def _movie_path(number: int) -> Path:
    name = f"{_name(number)} ({1930 + number % 90})"
    return Path("Movies") / name / f"{name}.mp4"


def _episode_path(show: int, number: int) -> Path:
    name, season, episode = _name(1_000_000 + show), number // 22 + 1, number % 22 + 1
    file = f"{name} - S{season:02d}E{episode:02d}.mp4"
    return Path("TV") / name / f"Season {season:02d}" / file


# ---- Files

_LINKS_PER_FILE = 50_000


def write_library(library: Path, items: Sequence[PaperItem], *, distinct: bool) -> None:
    """Write the files of a library, unless they are there.

    Args:
        library: The folder.
        items: The items.
        distinct: Whether every file has its own content. Otherwise all are hard links to one file,
            or to its copies, because file systems limit the links of a file.
    """
    film = write_film(library.parent / "one_second.mp4", seconds=1.0)
    content = film.read_bytes()
    for number, item in enumerate(items):
        path = library / item.path
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if distinct:  # a box of type "free" at the end is ignored by all readers
            path.write_bytes(content + (16).to_bytes(4) + b"free" + number.to_bytes(8))
        else:
            _link(film, path)


def _link(source: Path, path: Path) -> None:
    """Make a link to a file, or to a copy of it that has not as many links as it may have."""
    number = 0
    while source.exists() and source.stat().st_nlink >= _LINKS_PER_FILE:
        number += 1
        source, whole = source.with_name(f"copy_{number}_of_{source.name}"), source
        if not source.exists():
            shutil.copy2(whole, source)
    os.link(source, path)


def catalog_of_links(library: Path, folder: Path, items: Sequence[PaperItem]) -> None:
    """Make the catalog of a library of hard links by recording every item as a scan would.

    A scan of the library itself would find one film and many copies of it.
    """
    first = items[0].path
    with open_catalog(folder, create=True) as catalog, catalog.writing():
        catalog.set_library(library.resolve())
    one = library.parent / "one"
    (one / first).parent.mkdir(parents=True, exist_ok=True)
    if not (one / first).exists():
        os.link(library / first, one / first)
    scan_library(one, library.parent / "one_catalog")
    with open_catalog(library.parent / "one_catalog") as scanned:
        [model] = scanned.items()
    state = (library / first).stat()
    with open_catalog(folder) as catalog, catalog.writing(), catalog.transaction():
        title = catalog.add_title("to be assigned", kind=TitleKind.MOVIE, name="?", year=None)
        for number, item in enumerate(items):
            catalog.put_item(
                replace(
                    model, id=0, title_id=title.id, path=item.path, fingerprint=f"{number:032x}",
                    full_digest=None, size_bytes=state.st_size, modified_ns=state.st_mtime_ns,
                )
            )  # fmt: skip


# ---- What prepare would have recorded


def loop_proxy(folder: Path, proxy: Proxy, out: Path) -> dict[int, tuple[Path, Path]]:
    """Write long proxies that repeat a real one, without encoding anything again.

    Args:
        folder: Folder of the catalog of the real proxy.
        proxy: The real proxy, which has sound.
        out: Folder for the files.

    Returns:
        The files of video and of sound, by minutes.
    """
    assert proxy.audio_path is not None
    out.mkdir(parents=True, exist_ok=True)
    files = {}
    for minutes in _PROXY_MINUTES:
        files[minutes] = (out / f"{minutes}.video.mp4", out / f"{minutes}.audio.mp4")
        for source, target in zip(
            (proxy.video_path, proxy.audio_path), files[minutes], strict=True
        ):
            if not target.exists():
                _loop(folder / source, target, 60.0 * minutes)
    return files


def _loop(source: Path, target: Path, seconds: float) -> None:
    partial = target.with_suffix(".partial.mp4")
    with open_media(source) as film, av.open(str(partial), "w", format="mp4") as copy:
        [stream] = film.streams
        out = copy.add_stream_from_template(stream)
        packets = [packet for packet in film.demux(stream) if packet.size]
        times = [(packet.pts or 0, packet.dts or 0) for packet in packets]
        time_base = stream.time_base or Fraction(1)
        length = sum(packet.duration or 0 for packet in packets)
        for turn in range(1 + int(seconds / float(length * time_base))):
            for packet, (pts, dts) in zip(packets, times, strict=True):
                packet.pts, packet.dts, packet.stream = (
                    pts + turn * length,
                    dts + turn * length,
                    out,
                )
                copy.mux(packet)
                packet.stream = stream
    partial.rename(target)


def record_as_prepared(
    catalog: Catalog,
    items: Sequence[PaperItem],
    files: dict[int, tuple[Path, Path]],
    model: Proxy,
    *,
    only_recurring: bool = False,
    seed: int = 0,
) -> None:
    """Record the true lengths, proxies that are links, and segments.

    Args:
        catalog: A scanned catalog, whose write lock is held.
        items: What its files are.
        files: The files of proxies, by minutes.
        model: The real proxy that they were made from.
        only_recurring: Leave out shots, black and silence.
        seed: Of the segments.
    """
    rng = np.random.default_rng(seed)
    by_path = {item.path: item for item in items}
    shows: dict[int, list[Segment]] = {}
    for item in catalog.items():
        paper = by_path[item.path]
        probe = replace(item.probe, duration_seconds=paper.seconds)
        with catalog.transaction():
            catalog.put_item(replace(item, probe=probe))
        catalog.record_proxy(_linked_proxy(catalog, item, paper.seconds, files, model))
        if not only_recurring:
            segments = _segments(rng, item.id, paper.seconds)
            catalog.record_segments(f"item {item.id}", "", [item.id], ITEM_KINDS, segments)
        if paper.show is not None:
            shows.setdefault(item.title_id, []).extend(_recurring(item.id, paper.seconds))
    for title_id, found in shows.items():
        item_ids = {segment.item_id for segment in found}
        catalog.record_segments(f"title {title_id}", "", item_ids, RECURRING_KINDS, found)


def _linked_proxy(
    catalog: Catalog,
    item: Item,
    seconds: float,
    files: dict[int, tuple[Path, Path]],
    model: Proxy,
) -> Proxy:
    minutes = next(minutes for minutes in sorted(files) if 60 * minutes >= seconds)
    folder = Path("proxies") / f"{item.id // 1000:04d}"
    (catalog.folder / folder).mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{item.id:07d}.{name}.mp4" for name in ("video", "audio0")]
    for path, source in zip(paths, files[minutes], strict=True):
        if not (catalog.folder / path).exists():
            _link(source, catalog.folder / path)
    return replace(
        model,
        item_id=item.id,
        fingerprint=item.fingerprint,
        video_path=paths[0],
        audio_files=(replace(model.audio_files[0], path=paths[1]),),
        num_frames=int(seconds * model.frame_rate),
        num_samples=int(seconds * model.sample_rate_hz),
        size_bytes=sum((catalog.folder / path).stat().st_size for path in paths),
    )


def _segments(rng: np.random.Generator, item_id: int, seconds: float) -> Iterator[Segment]:
    """Draw shots, black and silence."""
    cuts = _moments(rng, seconds, 1 / _SECONDS_PER_SHOT)
    for start, stop in zip([0.0, *cuts], [*cuts, seconds], strict=True):
        yield Segment(item_id=item_id, start_seconds=start, stop_seconds=stop, kind="shot")
    for kind, per_hour in _PER_HOUR.items():
        for start in _moments(rng, seconds - 2, per_hour / 3600):
            yield Segment(item_id=item_id, start_seconds=start, stop_seconds=start + 1, kind=kind)


def _recurring(item_id: int, seconds: float) -> Iterator[Segment]:
    """Return the opening and the credits of an episode."""
    places = (("opening", 60.0, 45.0), ("credits", seconds - 40, 40.0))
    for number, (kind, start, length) in enumerate(places):
        yield Segment(
            item_id=item_id,
            start_seconds=start,
            stop_seconds=start + length,
            kind=kind,
            recurrence=number,
        )


def _moments(rng: np.random.Generator, seconds: float, per_second: float) -> list[float]:
    """Draw different moments, as multiples of a frame."""
    count = rng.poisson(seconds * per_second)
    frames = np.unique(rng.integers(1, int(seconds * _FRAME_RATE) - 1, count))
    return [float(frame) / _FRAME_RATE for frame in frames]


# ---- Features, for the search of duplicates


# Of random words of 28 bits, as many are equal by chance as of real fingerprints: 101 of 171,651 x
# 172,773 pairs of words of two mixes of real films, 15 times as many as of random 32 bits. And the
# word after an equal word is equal with 6%, which is the square of the share below.
_CHANCE_BITS, _FOLLOWS = 28, 0.245
_DISTINCTIVE_SHARE = 0.87
#: Bits that differ from one encoding to another.
_BIT_ERRORS = 0.036
#: Films that share a scene of a minute with the film before them, and films with one logo.
SHARED_SCENES, LOGOS = 100, 400
_SCENE_SECONDS, _LOGO_SECONDS = 60, 10


def write_drawn_features(catalog: Catalog, *, seed: int = 0) -> None:
    """Write the features of all items, and record that items and titles were searched.

    What is left for `detect_segments` is the search of duplicates. The first films share scenes, in
    pairs, and the next ones share a logo.
    """
    proxies = catalog.proxies()
    films = [item for item in catalog.items() if item.episode is None]
    pairs = {item.id: number // 2 for number, item in enumerate(films[: 2 * SHARED_SCENES])}
    logos = {item.id for item in films[2 * SHARED_SCENES :][:LOGOS]}
    by_title: dict[int, list[tuple[Item, Proxy]]] = {}
    for item in catalog.items():
        proxy = proxies[item.id]
        by_title.setdefault(item.title_id, []).append((item, proxy))
        path = catalog.folder / features_path(proxy)
        if not path.exists():
            rng = np.random.default_rng([seed, item.id])
            words = _drawn_words(rng, int(proxy.duration_seconds * FINGERPRINT_RATE_HZ))
            luma = rng.uniform(20, 200, 2 * int(proxy.duration_seconds))
            if item.id in pairs:
                _insert(rng, words, luma, pairs[item.id], _SCENE_SECONDS)
            elif item.id in logos:
                _insert(rng, words, luma, SHARED_SCENES, _LOGO_SECONDS)
            write_features(path, _features(rng, words, luma))
        job = _item_job(item, proxy)
        catalog.record_segments(job.scope, job.source, [], [], [])
    for title_id, prepared in by_title.items():
        job = _title_job(catalog.title(title_id), prepared)
        catalog.record_segments(job.scope, job.source, [], [], [])


def _drawn_words(rng: np.random.Generator, count: int) -> NDArray[np.uint32]:
    words = rng.integers(0, 1 << _CHANCE_BITS, count, np.uint32)
    follows = rng.random(count) < _FOLLOWS
    follows[0] = False
    # Words that follow depend on the word before them alone, in chains.
    at = np.flatnonzero(follows)
    while len(at):
        is_first = ~follows[at - 1]
        now = at[is_first]
        words[now] = (words[now - 1] * np.uint32(2_654_435_761)) >> np.uint32(32 - _CHANCE_BITS)
        follows[now] = False
        at = at[~is_first]
    # The bits are spread over all 32, of which the search uses any.
    return words * np.uint32(2_246_822_519)


def _insert(
    rng: np.random.Generator,
    words: NDArray[np.uint32],
    luma: NDArray[np.float64],
    number: int,
    seconds: int,
) -> None:
    """Put a scene or logo into an item at a random second, in an encoding of its own."""
    scene = np.random.default_rng([9, number])
    shared = scene.integers(0, 1 << 32, seconds * FINGERPRINT_RATE_HZ, np.uint32)
    shared = _with_errors(rng, shared)
    start = int(rng.integers(0, len(luma) // 2 - seconds))
    words[start * FINGERPRINT_RATE_HZ :][: len(shared)] = shared
    luma[2 * start :][: 2 * seconds] = scene.uniform(20, 200, 2 * seconds)


def _features(
    rng: np.random.Generator, words: NDArray[np.uint32], luma: NDArray[np.float64]
) -> ItemFeatures:
    zeros = np.zeros(len(luma), np.float32)
    frames = dict.fromkeys(FRAME_FEATURES, zeros) | {"luma_mean": luma.astype(np.float32)}
    return ItemFeatures(
        fingerprint=AudioFingerprint(
            words=words,
            level_dbfs=np.full(len(words), -20, np.int8),
            is_distinctive=rng.random(len(words)) < _DISTINCTIVE_SHARE,
        ),
        frames=FrameFeatures(frame_rate=2.0, **frames),
    )


def draw_episodes(count: int, minutes: int = 22) -> list[Episode]:
    """Return episodes in seasons of 25 with an opening, credits, a sting and a recap each.

    The opening of 45 s follows up to three minutes, the credits of 40 s come last, and the sting of
    3 s is at three places. A recap of 30 s shows two scenes of the episode before.
    """
    rng = np.random.default_rng(3)
    opening, closing, sting = (
        _scene(number, seconds) for number, seconds in ((0, 45), (1, 40), (2, 3))
    )
    episodes, before = [], np.zeros(0, np.uint32)
    for number in range(count):
        words = _drawn_words(rng, minutes * 60 * FINGERPRINT_RATE_HZ)
        places = [(int(rng.integers(60, 180)), opening), (minutes * 60 - 40, closing)]
        places += [
            (int(second), sting) for second in 300 * np.arange(1, 4) + rng.integers(0, 99, 3)
        ]
        if len(before):
            places += [(2, before[400 * 32 :][: 15 * 32]), (17, before[700 * 32 :][: 15 * 32])]
        for second, content in places:
            target = words[second * FINGERPRINT_RATE_HZ :][: len(content)]
            target[:] = _with_errors(rng, content[: len(target)])
        before = words
        distinctive = rng.random(len(words)) < _DISTINCTIVE_SHARE
        fingerprint = AudioFingerprint(
            words=words, level_dbfs=np.full(len(words), -20, np.int8), is_distinctive=distinctive
        )
        season, episode = number // 25 + 1, number % 25 + 1
        episodes.append(
            Episode(item_id=number, season=season, episode=episode, fingerprint=fingerprint)
        )
    return episodes


def _scene(number: int, seconds: int) -> NDArray[np.uint32]:
    rng = np.random.default_rng([9, number])
    return rng.integers(0, 1 << 32, seconds * FINGERPRINT_RATE_HZ, np.uint32)


def _with_errors(rng: np.random.Generator, words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return words as another encoding has them."""
    flips = (rng.random((len(words), 32)) < _BIT_ERRORS) << np.arange(32, dtype=np.uint32)
    errors: NDArray[np.uint32] = flips.sum(1).astype(np.uint32)
    return words ^ errors
