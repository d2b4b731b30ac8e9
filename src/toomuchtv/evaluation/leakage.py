"""Is the benchmark in what the encoder was pretrained on? HMDB51 is partly cut from films.

Every clip is looked for in the catalog by sight: its frames' signatures against those of every
item. A clip counts as found where at least half of its telling frames lie in one item at one
offset. All frames are compared with all. By sound nothing is looked for yet, and benchmarks
without pictures say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toomuchtv.catalog.store import open_catalog
from toomuchtv.errors import MediaError
from toomuchtv.evaluation.benchmark import Benchmark, LabeledClip
from toomuchtv.evaluation.signatures import Signatures, sign_file
from toomuchtv.media.original import picture_seconds
from toomuchtv.progress import ProgressHook, no_progress

_CLIP_RATE, _ITEM_RATE = 2.0, 4.0
_MOST_BITS_APART = 10
_LEAST_SHARE = 0.5
_LEAST_FRAMES = 3
_OFFSET_SECONDS = 0.5
_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedItem:
    """A catalog's item: its name and its signatures."""

    name: str
    signatures: Signatures


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A benchmark's clip that is in the catalog, and where."""

    clip: str
    item: str
    item_seconds: float
    share: float


def find_leakage(
    benchmark: Benchmark, catalog: Path, *, progress: ProgressHook = no_progress
) -> dict[str, Any]:
    """Look for a benchmark's clips in a catalog.

    Returns:
        What a result says: how it was looked, clips looked for, found, and found among the test
        clips, and the first of them.

    Raises:
        CatalogError: There is no catalog.
    """
    if "video" not in benchmark.modalities:
        return {"looked": "not at all: the benchmark has no pictures, and sound is not compared"}
    items = sign_catalog(catalog, progress=progress)
    tested = {row for fold in benchmark.folds for row in fold.test}
    found: dict[int, Found] = {}
    unread = 0
    for row, clip in enumerate(benchmark.clips):
        try:
            signatures = _sign_clip(clip)
        except MediaError:
            unread += 1
            continue
        place = find_clip(signatures, items)
        if place is not None:
            name = clip.key.removeprefix(f"{benchmark.root}/")
            found[row] = Found(clip=name, item=place[0], item_seconds=place[1], share=place[2])
        progress(row + 1, len(benchmark.clips), "looking for leakage")
    first = [
        f"{each.clip} in {each.item} at {each.item_seconds:.1f} s, {each.share:.0%} of its frames"
        for each in list(found.values())[:_SHOWN]
    ]
    return {
        "looked": "by sight",
        "items": len(items),
        "clips": len(benchmark.clips) - unread,
        "found": len(found),
        "found_among_test": len(found.keys() & tested),
        "test_clips": len(tested),
        "first": first,
    }


def sign_catalog(catalog: Path, *, progress: ProgressHook = no_progress) -> list[SignedItem]:
    """Sign every prepared item of a catalog, from its proxy.

    Raises:
        CatalogError: There is no catalog.
        MediaError: A proxy cannot be read.
    """
    with open_catalog(catalog) as opened:
        proxies = opened.proxies()
        names = {item.id: str(item.path) for item in opened.items()}
        signed = []
        for done, (item_id, proxy) in enumerate(proxies.items(), start=1):
            if item_id not in names:
                continue
            signatures = sign_file(
                opened.folder / proxy.video_path,
                start_seconds=0.0,
                stop_seconds=proxy.num_frames / proxy.frame_rate,
                frame_rate=min(_ITEM_RATE, proxy.frame_rate),
            )
            signed.append(SignedItem(name=names[item_id], signatures=signatures))
            progress(done, len(proxies), "signing the catalog")
    return signed


def _sign_clip(clip: LabeledClip) -> Signatures:
    stop = clip.stop_seconds if clip.stop_seconds is not None else picture_seconds(clip.path)
    return sign_file(
        clip.path, start_seconds=clip.start_seconds, stop_seconds=stop, frame_rate=_CLIP_RATE
    )


def find_clip(clip: Signatures, items: Sequence[SignedItem]) -> tuple[str, float, float] | None:
    """Find where a clip lies: the item, its seconds there, the share of frames that agree.

    None if it is nowhere, or too few of its frames tell anything.
    """
    bits, seconds = clip.bits[clip.telling], clip.seconds[clip.telling]
    if len(bits) < _LEAST_FRAMES:
        return None
    best: tuple[str, float, float] | None = None
    for item in items:
        telling = item.signatures.telling
        apart = np.bitwise_count(bits[:, None] ^ item.signatures.bits[None, telling])
        frame, place = np.nonzero(apart <= _MOST_BITS_APART)
        if len(frame) == 0:
            continue
        offsets = item.signatures.seconds[telling][place] - seconds[frame]
        share, offset = _agreement(frame, offsets, len(bits))
        if share >= _LEAST_SHARE and (best is None or share > best[2]):
            best = (item.name, float(offset + clip.seconds[0]), share)
    return best


def _agreement(frame: np.ndarray, offsets: np.ndarray, num_frames: int) -> tuple[float, float]:
    """The largest share of frames that match at one offset, give or take half a second."""
    best, at = 0.0, 0.0
    for offset in np.unique(np.round(offsets / _OFFSET_SECONDS) * _OFFSET_SECONDS):
        near = np.abs(offsets - offset) <= _OFFSET_SECONDS
        share = len(np.unique(frame[near])) / num_frames
        if share > best:
            best, at = share, float(offset)
    return best, at
