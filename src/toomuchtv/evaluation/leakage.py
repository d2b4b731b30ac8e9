"""Is the benchmark in what the encoder was pretrained on? HMDB51 is partly cut from films.

Every clip is looked for in the catalog by each sense that its benchmark has. By sight: its frames'
signatures against those of every item; a clip counts as found where at least half of its telling
frames lie in one item at one offset, and all frames are compared with all. By sound: see
`sound_leakage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.errors import MediaError
from toomuchtv.evaluation.benchmark import Benchmark, LabeledClip
from toomuchtv.evaluation.signatures import Signatures, file_signatures
from toomuchtv.evaluation.sound_leakage import (
    MOST_ERROR,
    best_place,
    can_tell,
    index_catalog_sounds,
    print_clip,
)
from toomuchtv.media.containers import video_duration_seconds

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
    """A benchmark's clip that is in the catalog: where, and in words how alike the two are."""

    clip: str
    item: str
    item_seconds: float
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one sense came to.

    Attributes:
        found: Of each clip that was found, by its row, where.
        unread: Rows of clips that could not be read.
        untelling: Rows of clips that say too little to be known again: plain frames, silence.
        items: Of the catalog, that were looked through.
    """

    found: dict[int, Found]
    unread: set[int]
    untelling: set[int]
    items: int


def find_leakage(
    benchmark: Benchmark, catalog: Path, *, progress: ProgressCallback = no_progress
) -> dict[str, Any]:
    """Look for a benchmark's clips in a catalog, by each sense that the benchmark has.

    Returns:
        What a result says: how it was looked, clips looked for, found (by either sense), found
        among the test clips, those that say too little, and the first of those found.

    Raises:
        CatalogError: There is no catalog.
    """
    looks: dict[str, Look] = {}
    with open_catalog(catalog) as opened:
        if "video" in benchmark.modalities:
            looks["sight"] = look_by_sight(benchmark, opened, progress=progress)
        if "audio" in benchmark.modalities:
            looks["sound"] = look_by_sound(benchmark, opened, progress=progress)
    found = {row: each for look in looks.values() for row, each in look.found.items()}
    unread = set.intersection(*(look.unread for look in looks.values()))
    untold = set.intersection(*(look.unread | look.untelling for look in looks.values())) - unread
    tested = {row for fold in benchmark.folds for row in fold.test}
    first = [
        f"{each.clip} in {each.item} at {each.item_seconds:.1f} s, {each.how}"
        for _, each in sorted(found.items())[:_SHOWN]
    ]
    return {
        "looked": " and ".join(f"by {sense}" for sense in looks),
        "items": max(look.items for look in looks.values()),
        "clips": len(benchmark.clips) - len(unread),
        "say_too_little": len(untold),
        **{f"found_by_{sense}": len(look.found) for sense, look in looks.items()},
        "found": len(found),
        "found_among_test": len(found.keys() & tested),
        "test_clips": len(tested),
        "first": first,
    }


def look_by_sight(
    benchmark: Benchmark, catalog: Catalog, *, progress: ProgressCallback = no_progress
) -> Look:
    """Look for the clips' frames among those of every item."""
    items = catalog_signatures(catalog, progress=progress)
    look = Look(found={}, unread=set(), untelling=set(), items=len(items))
    for row, clip in enumerate(benchmark.clips):
        try:
            signatures = _sign_clip(clip)
        except MediaError:
            look.unread.add(row)
            continue
        if signatures.telling.sum() < _LEAST_FRAMES:
            look.untelling.add(row)
        place = find_clip(signatures, items)
        if place is not None:
            item, seconds, share = place
            look.found[row] = Found(
                clip=_name(benchmark, clip), item=item, item_seconds=seconds,
                how=f"{share:.0%} of its frames",
            )  # fmt: skip
        progress(row + 1, len(benchmark.clips), "looking for leakage by sight")
    return look


def look_by_sound(
    benchmark: Benchmark, catalog: Catalog, *, progress: ProgressCallback = no_progress
) -> Look:
    """Look for the clips' sound in that of every item."""
    index = index_catalog_sounds(catalog, progress=progress)
    look = Look(found={}, unread=set(), untelling=set(), items=len(index.names))
    for row, clip in enumerate(benchmark.clips):
        try:
            prints = print_clip(clip)
        except MediaError:
            look.unread.add(row)
            continue
        if not can_tell(prints):
            look.untelling.add(row)
            continue
        place = best_place(prints, index)
        if place is not None and place.error <= MOST_ERROR:
            look.found[row] = Found(
                clip=_name(benchmark, clip), item=place.item, item_seconds=place.seconds,
                how=f"{place.error:.0%} of the bits of its sound differ",
            )  # fmt: skip
        progress(row + 1, len(benchmark.clips), "looking for leakage by sound")
    return look


def _name(benchmark: Benchmark, clip: LabeledClip) -> str:
    return clip.key.removeprefix(f"{benchmark.root}/")


def catalog_signatures(
    catalog: Catalog, *, progress: ProgressCallback = no_progress
) -> list[SignedItem]:
    """Sign every prepared item of a catalog, from its proxy.

    Raises:
        MediaError: A proxy cannot be read.
    """
    proxies = catalog.proxies()
    names = {item.id: str(item.path) for item in catalog.items()}
    signed = []
    for done, (item_id, proxy) in enumerate(proxies.items(), start=1):
        if item_id not in names:
            continue
        signatures = file_signatures(
            catalog.folder / proxy.video_path,
            start_seconds=0.0,
            stop_seconds=proxy.num_frames / proxy.frame_rate,
            frame_rate=min(_ITEM_RATE, proxy.frame_rate),
        )
        signed.append(SignedItem(name=names[item_id], signatures=signatures))
        progress(done, len(proxies), "signing the catalog")
    return signed


def _sign_clip(clip: LabeledClip) -> Signatures:
    stop = clip.stop_seconds if clip.stop_seconds is not None else video_duration_seconds(clip.path)
    return file_signatures(
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
