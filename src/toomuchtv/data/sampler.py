"""Samplers draw the clips of a step as a pure function of the step's number.

Nothing here reads media or keeps state. A title is drawn by its position in a keyed shuffle of
the epoch, so step 10,000,000 costs what step 0 costs, and a run resumes by knowing its step.

Streams of random numbers are kept apart by a tag: 0 titles and 1 their jitter (epoch_shuffle.py),
2 items, 3 positions, 4 windows and 5 overflow (positions.py), 6 clips, 7 languages,
8 replacements.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from toomuchtv._internal.random_numbers import FloatArray, IntArray, hashed, uniforms
from toomuchtv.catalog.snapshot import CatalogSnapshot, SnapshotSegments
from toomuchtv.data.clip_specs import ClipSpec, ClipSpecs
from toomuchtv.data.config import SamplingConfig, schedule_pairs
from toomuchtv.data.epoch_shuffle import DrawNumbers, EpochShuffle
from toomuchtv.data.item_groups import ItemGroups, audio_overhang_seconds, group_items
from toomuchtv.data.positions import GridPositions, Positions, move_overflow
from toomuchtv.media.clip import ClipFormat

_ITEM, _OVERFLOW, _CLIP, _LANGUAGE, _REPLACEMENT = 2, 5, 6, 7, 8
_TITLE_TRIES = 64
# A key is a row and a time on one line. 40 bits of milliseconds are 35 years of video.
_TIME_BITS = 40


class HierarchicalDraw:
    """Draws titles, items inside titles, and starts inside items, for each step of a run.

    `ClipSampler` and `HierarchicalBatchSampler` share this mechanism.

    Args:
        groups: The items, grouped by title.
        policy: How many titles, items and clips make a batch.
        positions_at: Returns the rule for starts inside items that holds at a step.
    """

    def __init__(
        self,
        groups: ItemGroups,
        policy: SamplingConfig,
        positions_at: Callable[[int], Positions],
    ) -> None:
        self._groups, self._policy, self._positions_at = groups, policy, positions_at
        self._draw_numbers = DrawNumbers(policy.draws_per_step(), groups.kind_shares.tolist())
        borders = groups.kind_offsets.tolist()
        self._shuffles = [
            EpochShuffle(number=kind, first=first, weights=groups.weights[first:stop])
            for kind, (first, stop) in enumerate(itertools.pairwise(borders))
        ]

    def draw(self, seed: int, step: int) -> tuple[IntArray, IntArray, IntArray]:
        """Draw a step.

        Returns:
            For each clip, `[N]` each: its item, its start inside the item, and its rank by start
            among the clips of its item.
        """
        positions = self._positions_at(step)
        items = move_overflow(
            self._groups,
            positions.capacity,
            self._draw_any_items(seed, step),
            in_title=self._policy.name == "hierarchical",
            seed=seed,
            step=step,
        )
        return items, *positions.draw(items, seed, step)

    def _draw_any_items(self, seed: int, step: int) -> IntArray:
        policy, groups = self._policy, self._groups
        if policy.name == "uniform":
            kind, _ = self._draw_numbers.of_step(step)
            first = groups.offsets[groups.kind_offsets[kind]]
            stop = groups.offsets[groups.kind_offsets[kind + 1]]
            share = uniforms(seed, _ITEM, step, np.arange(policy.batch_size))
            return groups.at_share(share, first, stop)
        titles = self._draw_titles(seed, step)
        nth_title = np.arange(len(titles))[:, None]
        nth_item = np.arange(policy.items_per_title)[None, :]
        # The title is divided into items_per_title parts of equal duration, and one item is drawn
        # in each part. The items differ, except that one at the border of two parts, or longer
        # than a part, may be drawn twice.
        jitter = uniforms(seed, _ITEM, step, nth_title, nth_item)
        share = (nth_item + jitter) / policy.items_per_title
        first, stop = groups.offsets[titles][:, None], groups.offsets[titles + 1][:, None]
        items = groups.at_share(share, first, stop).reshape(-1)
        return np.repeat(items, policy.clips_per_item_at(step))

    def _draw_titles(self, seed: int, step: int) -> IntArray:
        """Draw the titles of one step, all different if there are enough, `[titles]`."""
        kinds, numbers = self._draw_numbers.of_step(step)
        titles = np.empty(len(kinds), np.int64)
        for kind, shuffle in enumerate(self._shuffles):
            of_kind = np.flatnonzero(kinds == kind)
            bounds = functools.partial(self._draw_numbers.step_bounds, kind)
            drawn = shuffle.titles_of(numbers[of_kind], bounds, seed=seed)
            titles[of_kind] = self._replace_repeats(shuffle, drawn, seed, step)
        return titles

    def _replace_repeats(
        self, shuffle: EpochShuffle, titles: IntArray, seed: int, step: int
    ) -> IntArray:
        """Draw titles again that the step has more often than necessary.

        This happens with unequal weights, and at the edge of two epochs of a small set of titles.
        """
        if len(titles) == 0:
            return titles
        allowed = -(-len(titles) // shuffle.size)
        if np.unique(titles, return_counts=True)[1].max() <= allowed:
            return titles
        titles = titles.copy()
        seen: dict[int, int] = {}
        for index in range(len(titles)):
            title, attempt = int(titles[index]), 0
            while seen.get(title, 0) >= allowed:
                share = float(uniforms(seed, _OVERFLOW, step, shuffle.first + index, attempt)[0])
                # After many attempts only rare titles are left: take the next one in order.
                following = shuffle.first + (title + 1 - shuffle.first) % shuffle.size
                title = shuffle.title_at(share) if attempt < _TITLE_TRIES else following
                attempt += 1
            seen[title] = seen.get(title, 0) + 1
            titles[index] = title
        return titles


def part_of_rank(batch_size: int, rank: int, world_size: int) -> slice:
    """Return the clips of a batch that belong to one process: a contiguous, equal part.

    Raises:
        ValueError: `world_size` does not divide the batch, or `rank` is outside `world_size`.
    """
    if world_size < 1 or batch_size % world_size or not 0 <= rank < world_size:
        raise ValueError(
            f"rank {rank} of {world_size}: the batch of {batch_size} must divide by the number of "
            "processes, and rank must be below it"
        )
    size = batch_size // world_size
    return slice(rank * size, (rank + 1) * size)


class RecurringSegments:
    """The recurring segments of a snapshot's items, found by binary search."""

    def __init__(self, segments: SnapshotSegments) -> None:
        recurring = segments.where(segments.recurrence >= 0)
        start = _key(recurring.row, recurring.start_seconds)
        stop = _key(recurring.row, recurring.stop_seconds)
        order = np.argsort(start, kind="stable")
        start, stop = start[order], stop[order]
        # Where segments overlap, the one that starts earlier wins. Cutting the others makes the
        # stops ascend as well, so that one search finds the only candidate.
        reached = np.maximum.accumulate(stop)
        start[1:] = np.maximum(start[1:], reached[:-1])
        is_left = start < stop
        self._start_key, self._stop_key = start[is_left], stop[is_left]
        self._recurrence = recurring.recurrence[order][is_left].astype(np.int64)

    def touched_by(
        self, row: IntArray, start_seconds: FloatArray, stop_seconds: FloatArray
    ) -> IntArray:
        """Return the recurrence of the first segment that each `[start, stop)` touches, `[n]`.

        It is -1 for none.
        """
        if len(self._stop_key) == 0:
            return np.full(len(row), -1, np.int64)
        # A negative time would be a time of the row before.
        start_key = _key(row, np.maximum(start_seconds, 0.0))
        index = np.searchsorted(self._stop_key, start_key, side="right")
        index = np.minimum(index, len(self._stop_key) - 1)
        touches = (self._start_key[index] < _key(row, stop_seconds)) & (
            self._stop_key[index] > start_key
        )
        return np.where(touches, self._recurrence[index], -1)


def _key(row: NDArray[np.integer], seconds: NDArray[np.floating]) -> IntArray:
    milliseconds = np.rint(seconds * 1000.0).astype(np.int64)
    key: IntArray = (row.astype(np.int64) << _TIME_BITS) + milliseconds
    return key


class ClipSampler:
    """Draws the clips of each step from a catalog snapshot.

    Args:
        snapshot: The items to draw from.
        policy: Which clips make a batch.
        clip_format: Frames and audio of a clip.

    Attributes:
        policy: See above.
        groups: The usable items, grouped by title.

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
        self._overhang_seconds = audio_overhang_seconds(clip_format)
        self._recurring = RecurringSegments(snapshot.segments)
        self._positions: dict[float, Positions] = {}
        self._draw = HierarchicalDraw(self.groups, policy, self._positions_at)
        for step, _ in schedule_pairs(policy.window_seconds or math.inf):
            self._check_capacity(step)

    def draw(self, *, seed: int, step: int, rank: int = 0, world_size: int = 1) -> ClipSpecs:
        """Draw the clips of one step for one process.

        The clips of different processes are disjoint. Concatenated, they are what a single process
        would draw.

        Raises:
            ValueError: `world_size` does not divide the batch, or `rank` is outside it.
        """
        part = part_of_rank(self.policy.batch_size, rank, world_size)
        items, frame, rank_in_item = self._draw.draw(seed, step)
        row = self.groups.rows[items].astype(np.int64)
        frame, track = self._draw_tracks(row, frame, rank_in_item, seed, step)
        start_seconds = frame / self.groups.frame_rate[items]
        specs = ClipSpecs(
            item=row,
            title=self.groups.group_of[items].astype(np.int64),
            start_seconds=start_seconds,
            audio_track=track,
            recurrence=self._recurrence(row, start_seconds),
            seed=hashed(seed, _CLIP, step, np.arange(self.policy.batch_size)),
        )
        return specs[part]

    def replacement(self, clip: ClipSpec, attempt: int) -> ClipSpec:
        """Draw another clip of the same title, from any of its items.

        Args:
            clip: The clip that could not be read.
            attempt: Number of the attempt; each gives a different clip.
        """
        groups = self.groups
        first, stop = int(groups.offsets[clip.title]), int(groups.offsets[clip.title + 1])
        draws = uniforms(np.array([clip.seed], np.uint64), _REPLACEMENT, attempt, np.arange(2))
        item = groups.at_share(draws[:1], first, stop)
        index = np.floor(draws[1:] * groups.starts.count[item]).astype(np.int64)
        start_seconds = groups.starts.frame_at(item, index) / groups.frame_rate[item]
        row = groups.rows[item].astype(np.int64)
        return ClipSpec(
            item=int(row[0]),
            title=clip.title,
            start_seconds=float(start_seconds[0]),
            recurrence=int(self._recurrence(row, start_seconds)[0]),
            seed=clip.seed,
        )

    def _positions_at(self, step: int) -> Positions:
        window_seconds = self.policy.window_seconds_at(step)
        positions = self._positions.get(window_seconds)
        if positions is None:
            positions = self._positions[window_seconds] = GridPositions.from_seconds(
                self.groups, self.policy.min_gap_seconds, window_seconds
            )
        return positions

    def _check_capacity(self, step: int) -> None:
        policy = self.policy
        total = int(self._positions_at(step).capacity.sum())
        if total < policy.batch_size:
            raise ValueError(
                f"the catalog holds only {total} clips at least "
                f"{policy.min_gap_seconds:g} s apart, fewer than the batch of "
                f"{policy.batch_size}: lower sampling.batch_size or sampling.min_gap_seconds"
            )

    def _recurrence(self, row: IntArray, start_seconds: FloatArray) -> IntArray:
        """Return the recurring segment that frames or audio of each clip touch, `[n]`."""
        stop_seconds = start_seconds + self._span_seconds + self._overhang_seconds
        return self._recurring.touched_by(row, start_seconds - self._overhang_seconds, stop_seconds)

    def _draw_tracks(
        self, row: IntArray, frame: IntArray, rank_in_item: IntArray, seed: int, step: int
    ) -> tuple[IntArray, IntArray]:
        """Return the first frame and the audio track of each clip, `[N]` each.

        Two clips that make a pair of languages get the same frame.
        """
        num_tracks = self._num_tracks[row].astype(np.int64)
        track = np.zeros(len(row), np.int64)
        if self.policy.languages == "preferred" or num_tracks.max() < 2:
            return frame, track
        if self.policy.languages == "any":
            draws = uniforms(seed, _LANGUAGE, step, np.arange(len(row)))
            return frame, np.floor(draws * num_tracks).astype(np.int64)
        # Among the clips of an item by start, every second one takes the start of the one before
        # it, in another language.
        order = np.lexsort((rank_in_item, row))
        second = np.flatnonzero((rank_in_item[order] % 2 == 1) & (num_tracks[order] > 1))
        one, two = order[second - 1], order[second]
        draws = uniforms(seed, _LANGUAGE, step, two[:, None], np.arange(2)[None, :])
        track[one] = np.floor(draws[:, 0] * num_tracks[one]).astype(np.int64)
        offset = 1 + np.floor(draws[:, 1] * (num_tracks[two] - 1)).astype(np.int64)
        track[two] = (track[one] + offset) % num_tracks[two]
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

    For many steps, make one `ClipSampler` and call its `draw`.

    Raises:
        ValueError: The catalog cannot fill the batch, or the processes do not divide it.
    """
    sampler = ClipSampler(snapshot, policy, clip_format or ClipFormat())
    return list(sampler.draw(seed=seed, step=step, rank=rank, world_size=world_size))
