"""Plans: which clips make the batch of a step, as a pure function of that step's number.

Nothing here reads media or keeps state. A title is drawn by its place in a keyed shuffle of the
epoch, so step 10,000,000 costs what step 0 costs, and a run resumes by knowing its step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.media.clip import ClipFormat
from toomuchtv.randomness import FloatArray, UInt64Array, hashed, permuted, uniforms
from toomuchtv.sampling.policy import ItemGroups, PolicyConfig, group_items

IntArray = NDArray[np.int64]

# Streams of random numbers, kept apart by a tag.
_TITLE, _JITTER, _ITEM, _POSITION, _WINDOW, _REFILL, _CLIP = range(7)
_REFILL_TRIES_IN_TITLE = 8
_REFILL_TRIES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSpec:
    """Which moment: drawn, never decoded.

    Attributes:
        item: Row of the catalog snapshot.
        title: The level that counts as "the same title" for this policy.
        start_seconds: When frame 0 is shown; a whole number of the proxy's frames.
        audio_track: Which sound track of the item.
        seed: What augmentation of this clip draws from.
    """

    item: int
    title: int
    start_seconds: float
    audio_track: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The clips of one batch as arrays `[N]`; `clips` gives them one by one.

    `num_refilled` counts clips that had to come from another item or title than drawn, because
    what was drawn is too short for so many.
    """

    item: IntArray
    title: IntArray
    start_seconds: FloatArray
    audio_track: IntArray
    seed: UInt64Array
    num_refilled: int

    def __len__(self) -> int:
        return len(self.item)

    def clips(self) -> list[ClipSpec]:
        """The same, one value a clip."""
        return [
            ClipSpec(item=item, title=title, start_seconds=start, audio_track=track, seed=seed)
            for item, title, start, track, seed in zip(
                self.item.tolist(),
                self.title.tolist(),
                self.start_seconds.tolist(),
                self.audio_track.tolist(),
                self.seed.tolist(),
                strict=True,
            )
        ]

    def part(self, rank: int, world_size: int) -> Plan:
        """What one of `world_size` processes gets: a contiguous, equal share."""
        size = len(self) // world_size
        cut = slice(rank * size, (rank + 1) * size)
        return Plan(
            item=self.item[cut],
            title=self.title[cut],
            start_seconds=self.start_seconds[cut],
            audio_track=self.audio_track[cut],
            seed=self.seed[cut],
            num_refilled=self.num_refilled,
        )


class Planner:
    """Draws plans from one snapshot by one policy.

    Raises:
        ValueError: The catalog has no usable item, or fewer distinct clips than one batch.
    """

    def __init__(
        self, snapshot: CatalogSnapshot, policy: PolicyConfig, clip_format: ClipFormat
    ) -> None:
        self.policy = policy
        self.groups: ItemGroups = group_items(snapshot, policy, clip_format)
        self._audio_track = snapshot.audio_track.astype(np.int64)
        gap = np.ceil(policy.min_gap_seconds * self.groups.frame_rate - 1e-6).astype(np.int64)
        self._gap = np.maximum(gap, 1)
        self._span = self.groups.starts
        if policy.window_seconds is not None:
            window = np.floor(policy.window_seconds * self.groups.frame_rate).astype(np.int64)
            self._span = np.minimum(self._span, np.maximum(window, 1))
        self._capacity = 1 + (self._span - 1) // self._gap
        total_capacity = int(self._capacity.sum())
        if total_capacity < policy.batch_size:
            raise ValueError(
                f"the catalog has room for only {total_capacity} clips at least "
                f"{policy.min_gap_seconds:g} s apart, fewer than the batch of "
                f"{policy.batch_size}: lower sampling.batch_size or sampling.min_gap_seconds"
            )
        self._title_cumulative = np.cumsum(self.groups.weights)

    def plan(self, *, seed: int, step: int, rank: int = 0, world_size: int = 1) -> Plan:
        """Draw the clips of one step for one process.

        The processes' plans are disjoint, and together are the plan of a single process.

        Raises:
            ValueError: `world_size` does not divide the batch, or `rank` is outside it.
        """
        size = self.policy.batch_size
        if size % world_size or not 0 <= rank < world_size:
            raise ValueError(
                f"rank {rank} of {world_size}: the batch of {size} must divide by the number of "
                "processes, and rank must be below it"
            )
        places = self._draw_items(seed, step)
        places, num_refilled = self._refill(places, seed, step)
        frame = self._draw_frames(places, seed, step)
        row = self.groups.rows[places].astype(np.int64)
        whole = Plan(
            item=row,
            title=self.groups.group_of[places].astype(np.int64),
            start_seconds=frame / self.groups.frame_rate[places],
            audio_track=self._audio_track[row],
            seed=hashed(seed, _CLIP, step, np.arange(size)),
            num_refilled=num_refilled,
        )
        return whole if world_size == 1 else whole.part(rank, world_size)

    def _draw_titles(self, seed: int, step: int) -> IntArray:
        """Draw groups for one step, all different as far as there are enough, `[titles]`.

        The epoch is cut into as many strata of equal weight as there are groups, visited in
        shuffled order, with one draw inside each: under equal weights, without replacement.
        """
        num_groups, num_titles = self.groups.num_groups, self.policy.titles
        ticket = step * num_titles + np.arange(num_titles, dtype=np.int64)
        epoch, position = ticket // num_groups, ticket % num_groups
        stratum = permuted(position, num_groups, hashed(seed, _TITLE, epoch))
        if num_groups >= 4 * num_titles and position.min() < 3 * num_titles and epoch[-1] > 0:
            in_head = (position < 3 * num_titles) & (epoch == epoch[-1])
            head = self._epoch_head(seed, int(epoch[-1]))
            stratum[in_head] = head[position[in_head]]
        if self.policy.title_weight == "uniform":
            titles = stratum
        else:
            share = (stratum + uniforms(seed, _JITTER, epoch, stratum)) / num_groups
            titles = np.searchsorted(self._title_cumulative, share, side="right")
            titles = np.minimum(titles, num_groups - 1)
        return self._made_distinct(titles.astype(np.int64), seed, step)

    def _epoch_head(self, seed: int, epoch: int) -> IntArray:
        """The first entries of an epoch's shuffle, `[3 * titles]`, mended at the epoch's edge.

        A batch that lies across the edge takes the last entries of the epoch before and the first
        of this one. Of these, what the batch has already changes places with entries after the
        batch, so that both hold: a batch has no title twice, an epoch has every title once.
        """
        num_groups, num_titles = self.groups.num_groups, self.policy.titles
        head = permuted(np.arange(3 * num_titles), num_groups, hashed(seed, _TITLE, epoch))
        before = epoch * num_groups % num_titles  # entries of the batch from the epoch before
        if before == 0:
            return head
        tail = permuted(
            np.arange(num_groups - before, num_groups), num_groups, hashed(seed, _TITLE, epoch - 1)
        )
        inside = num_titles - before
        is_taken = np.isin(head, tail)
        twice = np.flatnonzero(is_taken[:inside])
        spare = inside + np.flatnonzero(~is_taken[inside:])[: len(twice)]
        head[twice], head[spare] = head[spare], head[twice]
        return head

    def _made_distinct(self, titles: IntArray, seed: int, step: int) -> IntArray:
        """Redraw groups that came more often than they must: across an epoch's edge, say."""
        num_groups = self.groups.num_groups
        allowed = -(-len(titles) // num_groups)
        counts = np.bincount(titles, minlength=0)
        if counts.max() <= allowed:
            return titles
        titles = titles.copy()
        seen: dict[int, int] = {}
        for slot in range(len(titles)):
            title, attempt = int(titles[slot]), 0
            while seen.get(title, 0) >= allowed:
                share = float(uniforms(seed, _REFILL, step, slot, attempt)[0])
                drawn = int(np.searchsorted(self._title_cumulative, share, side="right"))
                # After many tries only the rarest groups are left: take the next one in order.
                title = min(drawn, num_groups - 1) if attempt < 64 else (title + 1) % num_groups
                attempt += 1
            seen[title] = seen.get(title, 0) + 1
            titles[slot] = title
        return titles

    def _draw_items(self, seed: int, step: int) -> IntArray:
        """Draw the item of every clip, as places in `groups.rows`, `[N]`."""
        policy, groups = self.policy, self.groups
        if policy.name == "uniform":
            draws = uniforms(seed, _ITEM, step, np.arange(policy.batch_size))
            seconds = draws * groups.cumulative[-1]
            return self._at(seconds, 0, len(groups.rows))
        titles = self._draw_titles(seed, step)
        slots, items = np.arange(policy.titles)[:, None], np.arange(policy.items_per_title)[None, :]
        # One draw in each of items_per_title equal parts of the title: different items, unless
        # one item is longer than such a part.
        share = (items + uniforms(seed, _ITEM, step, slots, items)) / policy.items_per_title
        first, stop = groups.offsets[titles][:, None], groups.offsets[titles + 1][:, None]
        low, high = groups.cumulative[first], groups.cumulative[stop]
        places = self._at(low + share * (high - low), first, stop)
        return np.repeat(places.reshape(-1), policy.clips_per_item)

    def _at(self, seconds: FloatArray, first: IntArray | int, stop: IntArray | int) -> IntArray:
        places = np.searchsorted(self.groups.cumulative, seconds, side="right") - 1
        return np.clip(places, first, np.asarray(stop) - 1)

    def _refill(self, places: IntArray, seed: int, step: int) -> tuple[IntArray, int]:
        """Move clips out of items that have no room for so many, first inside the title."""
        unique, inverse, counts = np.unique(places, return_inverse=True, return_counts=True)
        excess = counts - self._capacity[unique]
        if (excess <= 0).all():
            return places, 0
        taken = dict(zip(unique.tolist(), counts.tolist(), strict=True))
        order = np.argsort(inverse, kind="stable")
        nth = np.empty(len(places), dtype=np.int64)
        nth[order] = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        homeless = np.flatnonzero(nth >= self._capacity[places])
        places = places.copy()
        for slot in homeless.tolist():
            old = int(places[slot])
            taken[old] -= 1
            new = self._find_room(old, taken, seed, step, slot)
            taken[new] = taken.get(new, 0) + 1
            places[slot] = new
        return places, len(homeless)

    def _find_room(self, old: int, taken: dict[int, int], seed: int, step: int, slot: int) -> int:
        groups = self.groups
        group = int(groups.group_of[old])
        for attempt in range(_REFILL_TRIES):
            first, stop = 0, len(groups.rows)
            if attempt < _REFILL_TRIES_IN_TITLE and self.policy.name == "hierarchical":
                first, stop = int(groups.offsets[group]), int(groups.offsets[group + 1])
            low, high = groups.cumulative[first], groups.cumulative[stop]
            draw = uniforms(seed, _REFILL, step, slot, 1000 + attempt)
            place = int(self._at(low + draw * (high - low), first, stop)[0])
            if taken.get(place, 0) < self._capacity[place]:
                return place
        # Nearly everything is taken: look at what is left, in order. There is room, since
        # __init__ has seen that the whole catalog holds a batch.
        room = self._capacity.copy()
        for place, count in taken.items():
            room[place] -= count
        return int(np.flatnonzero(room > 0)[0])

    def _draw_frames(self, places: IntArray, seed: int, step: int) -> IntArray:
        """Draw the first frame of every clip, `[N]`, the gap kept inside every item.

        k places at least `gap` apart among `span` are k places anywhere among
        `span - (k - 1) * gap`, spread by `gap` each: uniform over all such choices.
        """
        draws = uniforms(seed, _POSITION, step, np.arange(len(places)))
        order = np.lexsort((draws, places))
        sorted_places = places[order]
        is_first = np.ones(len(order), dtype=bool)
        is_first[1:] = sorted_places[1:] != sorted_places[:-1]
        run = np.cumsum(is_first) - 1
        run_start = np.flatnonzero(is_first)
        nth = np.arange(len(order)) - run_start[run]
        count = np.diff(np.append(run_start, len(order)))[run]
        gap, span = self._gap[sorted_places], self._span[sorted_places]
        free = span - (count - 1) * gap
        frame = np.floor(draws[order] * free).astype(np.int64) + nth * gap
        room = self.groups.starts[sorted_places] - span
        window = uniforms(seed, _WINDOW, step, sorted_places)
        frame += np.floor(window * (room + 1)).astype(np.int64)
        out: IntArray = np.empty_like(frame)
        out[order] = frame
        return out


def draw_plan(
    snapshot: CatalogSnapshot,
    policy: PolicyConfig,
    *,
    seed: int,
    step: int,
    rank: int = 0,
    world_size: int = 1,
    clip_format: ClipFormat | None = None,
) -> list[ClipSpec]:
    """Draw the clips of one step: a pure function of its arguments.

    For many steps make one `Planner` and ask it.

    Raises:
        ValueError: The catalog cannot fill the batch, or the ranks do not divide it.
    """
    planner = Planner(snapshot, policy, clip_format or ClipFormat())
    return planner.plan(seed=seed, step=step, rank=rank, world_size=world_size).clips()
