"""Plans: which clips make the batch of a step, as a pure function of that step's number.

Nothing here reads media or keeps state. A title is drawn by its place in a keyed shuffle of the
epoch, so step 10,000,000 costs what step 0 costs, and a run resumes by knowing its step.

Streams of random numbers, kept apart by a tag: 0 titles and 1 their jitter (deck.py), 2 items,
3 positions, 4 windows and 5 refills (room.py), 6 clips, 7 languages, 8 replacements.
"""

from __future__ import annotations

import functools

import numpy as np

from toomuchtv._internal.random_numbers import hashed, uniforms
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.data.clip_specs import ClipSpec, ClipSpecs
from toomuchtv.data.config import ItemGroups, SamplingConfig, group_items
from toomuchtv.data.epoch_shuffle import EpochShuffle
from toomuchtv.data.positions import Room
from toomuchtv.data.recurrence import RecurringParts
from toomuchtv.data.schedule import Draws, stages
from toomuchtv.data.valid_starts import IntArray
from toomuchtv.media.clip import ClipFormat

_ITEM, _REFILL, _CLIP, _LANGUAGE, _REPLACE = 2, 5, 6, 7, 8
_TITLE_TRIES = 64


class ClipSampler:
    """Draws plans from one snapshot by one policy.

    Raises:
        ValueError: The catalog has no usable item, or fewer distinct clips than one batch.
    """

    def __init__(
        self, snapshot: CatalogSnapshot, policy: SamplingConfig, clip_format: ClipFormat
    ) -> None:
        self.policy = policy
        self.groups: ItemGroups = group_items(snapshot, policy, clip_format)
        self._num_tracks = snapshot.num_tracks
        self._span_seconds = clip_format.span_seconds
        self._recurring = RecurringParts(snapshot.segments)
        self._draws = Draws(policy.draws(), self.groups.shares.tolist())
        self._decks = [self._deck(number) for number in range(len(self.groups.shares))]
        self._rooms: dict[float, Room] = {}
        for step, _ in stages(policy.window_seconds) if policy.window_seconds else [(0, 0)]:
            self._check_capacity(step)

    def _deck(self, number: int) -> EpochShuffle:
        first, stop = self.groups.decks[number : number + 2].tolist()
        is_even = self.policy.title_weight == "uniform"
        weights = None if is_even else self.groups.weights[first:stop]
        return EpochShuffle(number=number, first=first, size=stop - first, weights=weights)

    def _check_capacity(self, step: int) -> None:
        policy = self.policy
        total = int(self._room(step).capacity.sum())
        if total < policy.batch_size:
            raise ValueError(
                f"the catalog has room for only {total} clips at least "
                f"{policy.min_gap_seconds:g} s apart, fewer than the batch of "
                f"{policy.batch_size}: lower sampling.batch_size or sampling.min_gap_seconds"
            )

    def _room(self, step: int) -> Room:
        window_seconds = self.policy.window_seconds_at(step)
        room = self._rooms.get(window_seconds)
        if room is None:
            room = self._rooms[window_seconds] = Room(self.groups, self.policy, window_seconds)
        return room

    def draw(self, *, seed: int, step: int, rank: int = 0, world_size: int = 1) -> ClipSpecs:
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
        room = self._room(step)
        places, _ = room.refill(self._draw_items(seed, step), seed, step)
        frame, number = room.frames(places, seed, step)
        row = self.groups.rows[places].astype(np.int64)
        frame, track = self._draw_tracks(row, frame, number, seed, step)
        start_seconds = frame / self.groups.frame_rate[places]
        whole = ClipSpecs(
            item=row,
            title=self.groups.group_of[places].astype(np.int64),
            start_seconds=start_seconds,
            audio_track=track,
            recurrence=self._recurring.of(row, start_seconds, start_seconds + self._span_seconds),
            seed=hashed(seed, _CLIP, step, np.arange(size)),
        )
        share = size // world_size
        return whole[rank * share : (rank + 1) * share]

    def num_refilled(self, *, seed: int, step: int) -> int:
        """Return how many clips of a step had to come from another item or title than drawn.

        An item that is too short for `clips_per_item` clips gives fewer.
        """
        return self._room(step).refill(self._draw_items(seed, step), seed, step)[1]

    def replacement(self, clip: ClipSpec, attempt: int) -> ClipSpec:
        """Another clip of the same title: any of its items, anywhere in it."""
        groups = self.groups
        first, stop = int(groups.offsets[clip.title]), int(groups.offsets[clip.title + 1])
        draws = uniforms(np.array([clip.seed], np.uint64), _REPLACE, attempt, np.arange(2))
        place = groups.at_share(draws[:1], first, stop)
        index = np.floor(draws[1:] * groups.starts.count[place]).astype(np.int64)
        start_seconds = groups.starts.frame_at(place, index) / groups.frame_rate[place]
        row = groups.rows[place].astype(np.int64)
        recurrence = self._recurring.of(row, start_seconds, start_seconds + self._span_seconds)
        return ClipSpec(
            item=int(row[0]),
            title=clip.title,
            start_seconds=float(start_seconds[0]),
            audio_track=0,
            recurrence=int(recurrence[0]),
            seed=clip.seed,
        )

    def _draw_items(self, seed: int, step: int) -> IntArray:
        """Draw the item of every clip, as places in `groups.rows`, `[N]`."""
        policy, groups = self.policy, self.groups
        if policy.name == "uniform":
            deck, _ = self._draws.of_step(step)
            first = groups.offsets[groups.decks[deck]]
            stop = groups.offsets[groups.decks[deck + 1]]
            draws = uniforms(seed, _ITEM, step, np.arange(policy.batch_size))
            return groups.at_share(draws, first, stop)
        titles = self._draw_titles(seed, step)
        slots = np.arange(len(titles))[:, None]
        items = np.arange(policy.items_per_title)[None, :]
        # One draw in each of items_per_title equal parts of the title: different items, unless
        # one item is longer than such a part.
        share = (items + uniforms(seed, _ITEM, step, slots, items)) / policy.items_per_title
        first, stop = groups.offsets[titles][:, None], groups.offsets[titles + 1][:, None]
        places = groups.at_share(share, first, stop).reshape(-1)
        return np.repeat(places, policy.clips_per_item_at(step))

    def _draw_titles(self, seed: int, step: int) -> IntArray:
        """Draw groups for one step, all different as far as there are enough, `[titles]`."""
        decks, numbers = self._draws.of_step(step)
        titles = np.empty(len(decks), np.int64)
        for number, deck in enumerate(self._decks):
            slots = np.flatnonzero(decks == number)
            bounds = functools.partial(self._draws.step_bounds, number)
            dealt = deck.deal(numbers[slots], bounds, seed=seed)
            titles[slots] = self._made_distinct(deck, dealt, seed, step)
        return titles

    def _made_distinct(
        self, deck: EpochShuffle, titles: IntArray, seed: int, step: int
    ) -> IntArray:
        """Redraw groups that came more often than they must: across an epoch's edge, say."""
        if len(titles) == 0:
            return titles
        allowed = -(-len(titles) // deck.size)
        if np.unique(titles, return_counts=True)[1].max() <= allowed:
            return titles
        titles = titles.copy()
        seen: dict[int, int] = {}
        for slot in range(len(titles)):
            title, attempt = int(titles[slot]), 0
            while seen.get(title, 0) >= allowed:
                share = float(uniforms(seed, _REFILL, step, deck.first + slot, attempt)[0])
                # After many tries only the rarest groups are left: take the next one in order.
                after = deck.first + (title + 1 - deck.first) % deck.size
                title = deck.draw(share) if attempt < _TITLE_TRIES else after
                attempt += 1
            seen[title] = seen.get(title, 0) + 1
            titles[slot] = title
        return titles

    def _draw_tracks(
        self, row: IntArray, frame: IntArray, number: IntArray, seed: int, step: int
    ) -> tuple[IntArray, IntArray]:
        """Which sound of its item each clip has, and its frame, which pairs share, `[N]` each."""
        num_tracks = self._num_tracks[row].astype(np.int64)
        track = np.zeros(len(row), np.int64)
        if self.policy.languages == "preferred" or num_tracks.max() < 2:
            return frame, track
        if self.policy.languages == "any":
            draws = uniforms(seed, _LANGUAGE, step, np.arange(len(row)))
            return frame, np.floor(draws * num_tracks).astype(np.int64)
        # Of the clips of an item, by time, every second one takes the moment of the one before
        # it, in another language.
        order = np.lexsort((number, row))
        second = np.flatnonzero((number[order] % 2 == 1) & (num_tracks[order] > 1))
        one, two = order[second - 1], order[second]
        draws = uniforms(seed, _LANGUAGE, step, two[:, None], np.arange(2)[None, :])
        track[one] = np.floor(draws[:, 0] * num_tracks[one]).astype(np.int64)
        other = 1 + np.floor(draws[:, 1] * (num_tracks[two] - 1)).astype(np.int64)
        track[two] = (track[one] + other) % num_tracks[two]
        frame = frame.copy()
        frame[two] = frame[one]
        return frame, track


def draw_clips(
    snapshot: CatalogSnapshot,
    policy: SamplingConfig,
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
    planner = ClipSampler(snapshot, policy, clip_format or ClipFormat())
    return list(planner.draw(seed=seed, step=step, rank=rank, world_size=world_size))
