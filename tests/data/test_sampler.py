"""Laws of the clips that are drawn, on any catalog and under any policy."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chi2

from tests.data.snapshots import CLIP_FRAMES, FORMAT, FRAME_RATE, snapshot_of, snapshots
from toomuchtv.catalog.records import SEGMENT_KINDS, TitleKind
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.data.clip_specs import ClipSpecs
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.item_groups import group_items
from toomuchtv.data.sampler import ClipSampler, draw_clips
from toomuchtv.media.clip import ClipFormat

KINDS = st.fixed_dictionaries(
    {kind: st.sampled_from([0.0, 0.5, 2.0]) for kind in ("movie", "show", "clip")}
).filter(lambda shares: sum(shares.values()) > 0)


@st.composite
def policies(draw: st.DrawFn) -> SamplingConfig:
    items, clips = draw(st.sampled_from([(1, 2), (1, 4), (2, 1), (2, 3), (3, 2)]))
    windows = st.sampled_from([0.05, 3.0, 1000.0, math.inf])
    return SamplingConfig.model_validate(
        {
            "name": draw(st.sampled_from(["uniform", "hierarchical"])),
            "batch_size": items * clips * draw(st.integers(1, 4)),
            "items_per_title": items,
            "clips_per_item": draw(st.sampled_from([clips, ((0, 1), (3, clips))])),
            "level": draw(st.sampled_from(["show", "season", "episode"])),
            "title_weight": draw(st.sampled_from(["uniform", "sqrt", "duration"])),
            "kind_shares": draw(st.none() | KINDS),
            "min_gap_seconds": draw(st.sampled_from([0.0, 0.3, 2.0])),
            "window_seconds": draw(
                st.none()
                | windows
                | st.tuples(windows, windows).map(lambda w: ((0, w[0]), (5, w[1])))
            ),
            "skip": draw(st.sets(st.sampled_from(SEGMENT_KINDS), max_size=3)),
            "shots": draw(st.sampled_from(["cross", "inside"])),
            "languages": draw(st.sampled_from(["preferred", "any", "pairs"])),
        }
    )


STEPS = st.integers(0, 8) | st.integers(0, 10**7)
SEEDS = st.integers(0, 2**31 - 1)


def sampler_or_skip(snapshot: CatalogSnapshot, policy: SamplingConfig) -> ClipSampler:
    try:
        return ClipSampler(snapshot, policy, FORMAT)
    except ValueError:
        assume(False)
        raise


def same(one: ClipSpecs, two: ClipSpecs) -> bool:
    return list(one) == list(two)


@settings(max_examples=60, deadline=None)
@given(snapshots(), policies(), SEEDS, STEPS)
def test_drawn_clips_are_valid_and_keep_gap_and_window(
    snapshot: CatalogSnapshot, policy: SamplingConfig, seed: int, step: int
) -> None:
    specs = sampler_or_skip(snapshot, policy).draw(seed=seed, step=step)
    assert len(specs) == policy.batch_size
    frames = specs.start_seconds * FRAME_RATE
    np.testing.assert_allclose(frames, np.round(frames), atol=1e-9)  # on the frame grid
    assert (frames >= 0).all()
    assert (np.round(frames) + CLIP_FRAMES <= snapshot.num_frames[specs.item]).all()
    assert (specs.audio_track >= 0).all()
    assert (specs.audio_track < snapshot.num_tracks[specs.item]).all()
    assert len(set(specs.seed.tolist())) == len(specs)
    assert len({(c.item, c.start_seconds, c.audio_track) for c in specs}) == len(specs)
    window = policy.window_seconds_at(step)
    for item in set(specs.item.tolist()):
        starts = np.unique(specs.start_seconds[specs.item == item])
        assert (np.diff(starts) >= max(policy.min_gap_seconds, 1 / FRAME_RATE) - 1e-6).all()
        assert starts[-1] - starts[0] <= max(window, 1 / FRAME_RATE)


def frames_of(seconds: float) -> int:
    return int(np.round(seconds * FRAME_RATE))


@settings(max_examples=60, deadline=None)
@given(snapshots(), policies(), SEEDS, STEPS)
def test_no_clip_touches_a_skipped_segment_or_crosses_a_cut(
    snapshot: CatalogSnapshot, policy: SamplingConfig, seed: int, step: int
) -> None:
    specs = sampler_or_skip(snapshot, policy).draw(seed=seed, step=step)
    segments = snapshot.segments
    for clip in specs:
        shown = (frames_of(clip.start_seconds) + np.arange(CLIP_FRAMES)) / FRAME_RATE
        inside = set()
        for index in np.flatnonzero(segments.row == clip.item):
            kind = SEGMENT_KINDS[segments.kind[index]]
            start, stop = segments.start_seconds[index], segments.stop_seconds[index]
            if kind in policy.skip:
                assert not ((shown >= start) & (shown < stop)).any()
            if kind == "shot" and policy.shots == "inside":
                for cut in (start, stop):
                    assert not (shown[0] < cut - 1e-3 <= shown[-1])
            end = clip.start_seconds + FORMAT.span_seconds
            if segments.recurrence[index] >= 0 and start < end and stop > clip.start_seconds:
                inside.add(int(segments.recurrence[index]))
        assert clip.recurrence in (inside or {-1})


@settings(max_examples=40, deadline=None)
@given(snapshots(), policies(), SEEDS, STEPS)
def test_pairs_of_languages_share_item_and_start(
    snapshot: CatalogSnapshot, policy: SamplingConfig, seed: int, step: int
) -> None:
    policy = policy.model_copy(update={"languages": "pairs"})
    specs = sampler_or_skip(snapshot, policy).draw(seed=seed, step=step)
    for item in set(specs.item.tolist()):
        starts, tracks = (
            specs.start_seconds[specs.item == item],
            specs.audio_track[specs.item == item],
        )
        groups = [sorted(tracks[starts == start].tolist()) for start in np.unique(starts)]
        sizes = sorted(len(group) for group in groups)
        if snapshot.num_tracks[item] < 2:
            assert set(sizes) == {1}
        else:
            assert sizes == [1] * (len(starts) % 2) + [2] * (len(starts) // 2)
            assert all(len(set(group)) == len(group) for group in groups)


def kind_counts(shares: dict[str, float], num_steps: int, batch_size: int) -> NDArray[np.int64]:
    """Count the draws of each kind over some steps, from four titles of each kind."""
    policy = SamplingConfig.model_validate(
        {"batch_size": batch_size, "clips_per_item": 1, "kind_shares": shares}
    )
    snapshot = snapshot_of([4000] * 12, range(12), kind=[0, 1, 2] * 4)
    sampler = ClipSampler(snapshot, policy, FORMAT)
    items = [sampler.draw(seed=1, step=step).item for step in range(num_steps)]
    return np.bincount(snapshot.kind[np.concatenate(items)], minlength=3)


@settings(max_examples=30, deadline=None)
@given(KINDS, st.integers(2, 12), st.integers(1, 12))
def test_kinds_have_their_shares_over_any_number_of_steps(
    shares: dict[str, float], batch_size: int, num_steps: int
) -> None:
    wanted = np.array([shares[kind] for kind in TitleKind]) / sum(shares.values())
    counts = kind_counts(shares, num_steps, batch_size)
    assert (np.abs(counts - wanted * counts.sum()) < 3).all()
    assert (counts[wanted == 0] == 0).all()


def test_each_kind_has_epochs_of_its_own() -> None:
    policy = SamplingConfig.model_validate(
        {"batch_size": 8, "clips_per_item": 2, "kind_shares": {"movie": 3.0, "clip": 1.0}}
    )
    snapshot = snapshot_of([900] * 60, range(60), kind=[0] * 40 + [2] * 20)
    sampler = ClipSampler(snapshot, policy, FORMAT)
    items = np.concatenate([sampler.draw(seed=1, step=step).item[::2] for step in range(200)])
    for low, high in ((0, 40), (40, 60)):
        drawn = items[(items >= low) & (items < high)]
        for epoch in range(len(drawn) // (high - low)):
            part = drawn[epoch * (high - low) : (epoch + 1) * (high - low)]
            assert sorted(part.tolist()) == list(range(low, high))


def test_uniform_sampling_keeps_the_shares_of_kinds() -> None:
    policy = SamplingConfig.model_validate(
        {"name": "uniform", "batch_size": 10, "kind_shares": {"movie": 1.0, "show": 4.0}}
    )
    snapshot = snapshot_of([9000, 100, 100], [0, 1, 2], kind=[0, 1, 1])
    sampler = ClipSampler(snapshot, policy, FORMAT)
    items = np.concatenate([sampler.draw(seed=1, step=step).item for step in range(4)])
    assert np.bincount(snapshot.kind[items]).tolist() == [8, 32]


def test_a_missing_kind_cannot_have_a_share() -> None:
    policy = SamplingConfig.model_validate({"kind_shares": {"movie": 1.0, "clip": 1.0}})
    with pytest.raises(ValueError, match="gives a share to clip, of which the catalog has no"):
        ClipSampler(snapshot_of([4000] * 4, range(4)), policy, FORMAT)


def test_a_schedule_changes_the_batch_at_its_step() -> None:
    policy = SamplingConfig(
        batch_size=16,
        clips_per_item=((0, 2), (10, 8)),
        window_seconds=((0, math.inf), (5, 40.0)),
        min_gap_seconds=0.125,
    )
    sampler = ClipSampler(snapshot_of([9000] * 64, range(64)), policy, FORMAT)
    seen: list[int] = []
    for step in range(24):
        specs = sampler.draw(seed=5, step=step)
        counts = Counter(specs.title.tolist())
        assert set(counts.values()) == {2 if step < 10 else 8}
        seen += list(dict.fromkeys(specs.title.tolist()))
        spans = [
            np.ptp(specs.start_seconds[specs.item == item]) for item in set(specs.item.tolist())
        ]
        assert (max(spans) <= 40.0) == (step >= 5)
    # 8 titles a step, then 2: still every title once before any comes again.
    assert sorted(seen[:64]) == list(range(64))


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (((1, 4),), "begin at step 0 and ascend"),
        (((0, 4), (0, 8)), "begin at step 0 and ascend"),
        (((0, 4), (9, 0)), "must be 1 to 1048576, got 0 from step 9 on"),
        ((), "begin at step 0"),
        (((0, 4), (9, 7)), r"batch_size \(64\) must be a multiple of .* \(1 x 7\)"),
    ],
)
def test_an_invalid_schedule_is_refused(schedule: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SamplingConfig.model_validate({"clips_per_item": schedule})


def title_keys(snapshot: CatalogSnapshot, level: str) -> list[tuple[int, ...]]:
    """Return the title of each item at a level of the policy."""
    columns: list[NDArray[np.integer]] = [snapshot.title_id]
    if level != "show":
        columns.append(snapshot.season if level == "season" else snapshot.item_id)
    return [tuple(int(column[row]) for column in columns) for row in range(len(snapshot))]


@settings(max_examples=30, deadline=None)
@given(snapshots(), policies(), SEEDS, STEPS)
def test_titles_are_those_of_the_level(
    snapshot: CatalogSnapshot, policy: SamplingConfig, seed: int, step: int
) -> None:
    specs = sampler_or_skip(snapshot, policy).draw(seed=seed, step=step)
    keys = [title_keys(snapshot, policy.level)[item] for item in specs.item.tolist()]
    pairs = set(zip(specs.title.tolist(), keys, strict=True))
    assert len(pairs) == len({title for title, _ in pairs}) == len({key for _, key in pairs})


@settings(max_examples=30, deadline=None)
@given(snapshots(), policies(), SEEDS, STEPS)
def test_ranks_get_disjoint_parts_of_one_batch(
    snapshot: CatalogSnapshot, policy: SamplingConfig, seed: int, step: int
) -> None:
    sampler = sampler_or_skip(snapshot, policy)
    whole = list(sampler.draw(seed=seed, step=step))
    for world_size in range(1, policy.batch_size + 1):
        if policy.batch_size % world_size:
            continue
        parts = [
            list(sampler.draw(seed=seed, step=step, rank=rank, world_size=world_size))
            for rank in range(world_size)
        ]
        assert {len(part) for part in parts} == {policy.batch_size // world_size}
        assert [clip for part in parts for clip in part] == whole
        assert len(set(whole)) == len(whole)


@settings(max_examples=30, deadline=None)
@given(snapshots(), policies(), SEEDS, STEPS)
def test_draws_are_a_pure_function_of_the_arguments(
    snapshot: CatalogSnapshot, policy: SamplingConfig, seed: int, step: int
) -> None:
    sampler = sampler_or_skip(snapshot, policy)
    specs = sampler.draw(seed=seed, step=step)
    for other in (step + 1, 0, 3):
        sampler.draw(seed=seed, step=other)
    assert same(sampler.draw(seed=seed, step=step), specs)
    assert same(ClipSampler(snapshot, policy, FORMAT).draw(seed=seed, step=step), specs)
    assert draw_clips(snapshot, policy, seed=seed, step=step, clip_format=FORMAT) == list(specs)


def test_different_seeds_and_steps_give_different_clips() -> None:
    sampler = ClipSampler(snapshot_of([4000] * 8, range(8)), SamplingConfig(batch_size=64), FORMAT)
    starts = {
        tuple(sampler.draw(seed=seed, step=step).start_seconds.tolist())
        for seed in range(5)
        for step in [0, 1, 2, 10**7, 10**7 + 1]
    }
    assert len(starts) == 25


_IN_A_PROCESS = """
from tests.data.snapshots import FORMAT, snapshot_of
from toomuchtv.data.sampler import draw_clips
from toomuchtv.data.config import SamplingConfig
policy = SamplingConfig(batch_size=12, items_per_title=2, clips_per_item=3, title_weight="sqrt")
snapshot = snapshot_of([50, 300, 90, 700, 40, 1000], [0, 0, 1, 2, 2, 3])
for step in (0, 5, 10**7):
    print(draw_clips(snapshot, policy, seed=3, step=step, clip_format=FORMAT))
"""


def test_another_process_draws_the_same() -> None:
    outputs = [
        subprocess.run(
            [sys.executable, "-c", _IN_A_PROCESS],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=Path(__file__).resolve().parents[2],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].count("ClipSpec") == 36


@pytest.mark.parametrize(("num_titles", "a_batch"), [(12, 3), (12, 12), (5, 1), (3, 6)])
def test_an_epoch_visits_every_title_equally_often(num_titles: int, a_batch: int) -> None:
    policy = SamplingConfig(batch_size=2 * a_batch, clips_per_item=2)
    sampler = ClipSampler(snapshot_of([900] * num_titles, range(num_titles)), policy, FORMAT)
    steps = max(1, num_titles // a_batch)
    orders = set()
    for epoch in range(6):
        drawn = [
            title
            for step in range(epoch * steps, (epoch + 1) * steps)
            for title in sampler.draw(seed=1, step=step).title[::2].tolist()
        ]
        assert set(Counter(drawn).values()) == {steps * a_batch // num_titles}
        assert len(Counter(drawn)) == num_titles
        orders.add(tuple(drawn))
    assert len(orders) > 1


def test_no_batch_at_the_edge_of_an_epoch_repeats_a_title() -> None:
    policy = SamplingConfig(batch_size=8, clips_per_item=2)
    sampler = ClipSampler(snapshot_of([900] * 7, range(7)), policy, FORMAT)
    counts: Counter[int] = Counter()
    for step in range(350):
        titles = sampler.draw(seed=1, step=step).title[::2].tolist()
        assert len(set(titles)) == 4
        counts.update(titles)
    assert max(counts.values()) - min(counts.values()) < 45  # of 200 each


@pytest.mark.parametrize(("num_titles", "a_batch"), [(29, 7), (28, 7), (103, 4), (17, 4), (50, 9)])
def test_epochs_are_exact_if_batches_span_two_of_them(num_titles: int, a_batch: int) -> None:
    policy = SamplingConfig(batch_size=2 * a_batch, clips_per_item=2)
    sampler = ClipSampler(snapshot_of([900] * num_titles, range(num_titles)), policy, FORMAT)
    drawn: list[int] = []
    for step in range(5 * num_titles // a_batch):
        titles = sampler.draw(seed=3, step=step).title[::2].tolist()
        assert len(set(titles)) == a_batch
        drawn += titles
    for epoch in range(len(drawn) // num_titles):
        whole = drawn[epoch * num_titles : (epoch + 1) * num_titles]
        assert sorted(whole) == list(range(num_titles))


def assert_shares(counts: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    """Chi squared, with one chance in ten thousand of a false alarm."""
    expected = counts.sum() * shares / shares.sum()
    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert statistic < float(chi2.ppf(0.9999, len(counts) - 1)), (counts, expected)


LENGTHS = np.array([100, 200, 400, 800, 1600])
USABLE = LENGTHS - (CLIP_FRAMES - 1)


@pytest.mark.parametrize(
    ("weight", "shares"),
    [
        ("uniform", np.ones(5)),
        ("sqrt", np.sqrt(USABLE)),
        ("duration", USABLE.astype(np.float64)),
    ],
)
@pytest.mark.parametrize("level", ["show", "episode"])
def test_titles_are_drawn_by_their_weights(
    weight: str, shares: NDArray[np.float64], level: str
) -> None:
    policy = SamplingConfig.model_validate(
        {"batch_size": 2, "clips_per_item": 2, "title_weight": weight, "level": level}
    )
    sampler = ClipSampler(snapshot_of(LENGTHS.tolist(), range(5)), policy, FORMAT)
    titles = [int(sampler.draw(seed=4, step=step).title[0]) for step in range(500)]
    assert_shares(np.bincount(titles, minlength=5), shares)


def test_uniform_sampling_weights_items_by_usable_seconds() -> None:
    lengths = LENGTHS * 10
    policy = SamplingConfig(name="uniform", batch_size=4, min_gap_seconds=0.0)
    sampler = ClipSampler(snapshot_of(lengths.tolist(), [0, 0, 1, 2, 2]), policy, FORMAT)
    items = np.concatenate([sampler.draw(seed=4, step=step).item for step in range(500)])
    assert_shares(np.bincount(items, minlength=5), (lengths - 12).astype(np.float64))


def test_items_of_a_title_are_weighted_by_usable_seconds() -> None:
    policy = SamplingConfig(batch_size=4, items_per_title=2, clips_per_item=1)
    snapshot = snapshot_of([*(LENGTHS * 10).tolist(), 5000], [0] * 5 + [1])
    sampler = ClipSampler(snapshot, policy, FORMAT)
    items = np.concatenate([sampler.draw(seed=4, step=step).item for step in range(500)])
    counts = np.bincount(items, minlength=6)
    assert counts[5] == 1000
    assert_shares(counts[:5], (LENGTHS * 10 - 12).astype(np.float64))


@pytest.mark.parametrize("clips", [1, 4])
@pytest.mark.parametrize("window_seconds", [None, 20.0])
def test_every_start_of_an_item_is_reached(clips: int, window_seconds: float | None) -> None:
    policy = SamplingConfig(
        batch_size=2 * clips, clips_per_item=clips, min_gap_seconds=1.0,
        window_seconds=window_seconds,
    )  # fmt: skip
    sampler = ClipSampler(snapshot_of([412, 412], [0, 1]), policy, FORMAT)
    frames = np.concatenate(
        [sampler.draw(seed=2, step=step).start_seconds * FRAME_RATE for step in range(900)]
    )
    assert frames.min() <= 10
    assert frames.max() >= 389
    if clips == 1 and window_seconds is None:
        bins = np.histogram(frames, 20, (0, 400))[0]
        assert_shares(bins, np.ones(20))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(13, 60), min_size=2, max_size=6), SEEDS, STEPS)
def test_short_titles_give_fewer_clips_and_others_fill_the_batch(
    short: list[int], seed: int, step: int
) -> None:
    # Nine clips 2 s apart need 141 frames at least: no short title holds them.
    lengths = [*short, 5000]
    policy = SamplingConfig(batch_size=9 * len(lengths), clips_per_item=9)
    sampler = ClipSampler(snapshot_of(lengths, range(len(lengths))), policy, FORMAT)
    specs = sampler.draw(seed=seed, step=step)
    capacity = [1 + (length - CLIP_FRAMES) // 16 for length in lengths]
    counts = np.bincount(specs.item, minlength=len(lengths))
    assert (counts <= capacity).all()
    assert counts.sum() == policy.batch_size
    assert len({(clip.item, clip.start_seconds) for clip in specs}) == len(specs)


def test_nothing_is_moved_if_all_titles_are_long_enough() -> None:
    sampler = ClipSampler(snapshot_of([2000] * 4, range(4)), SamplingConfig(batch_size=64), FORMAT)
    assert set(Counter(sampler.draw(seed=0, step=0).item.tolist()).values()) == {16}


def test_levels_group_items() -> None:
    snapshot = snapshot_of([99] * 6, [0, 0, 0, 0, 1, 2], season=[1, 1, 2, 2, -1, -1])
    sizes = {
        level: np.diff(
            group_items(snapshot, SamplingConfig.model_validate({"level": level}), FORMAT).offsets
        ).tolist()
        for level in ("show", "season", "episode")
    }
    assert sizes == {"show": [4, 1, 1], "season": [2, 2, 1, 1], "episode": [1] * 6}


def test_silent_and_short_items_are_left_out() -> None:
    snapshot = snapshot_of([500, 12, 13, 500], [0, 0, 1, 2], silent=[3])
    groups = group_items(snapshot, SamplingConfig(), FORMAT)
    assert groups.rows.tolist() == [0, 2]
    assert groups.starts.count.tolist() == [488, 1]


def test_a_catalog_without_clips_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"none of the 2 prepared items has audio and at least 2 s"
    ):
        ClipSampler(snapshot_of([12, 900], [0, 1], silent=[1]), SamplingConfig(), FORMAT)


def test_a_catalog_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"holds only 4 clips .* fewer than the batch of 64"):
        ClipSampler(snapshot_of([13 + 32, 20], [0, 1]), SamplingConfig(), FORMAT)


@pytest.mark.parametrize(("rank", "world_size"), [(0, 3), (4, 4), (-1, 2)])
def test_ranks_that_do_not_fit_are_refused(rank: int, world_size: int) -> None:
    sampler = ClipSampler(snapshot_of([4000], [0]), SamplingConfig(batch_size=16), FORMAT)
    with pytest.raises(ValueError, match="must divide by the number of processes"):
        sampler.draw(seed=0, step=0, rank=rank, world_size=world_size)


def test_a_batch_is_whole_titles() -> None:
    with pytest.raises(ValueError, match=r"batch_size \(10\) must be a multiple of .* \(2 x 3\)"):
        SamplingConfig(batch_size=10, items_per_title=2, clips_per_item=3)
    assert SamplingConfig(name="uniform", batch_size=10, clips_per_item=3).batch_size == 10


def blocked_and_recurring(
    audio_seconds: float, kind: str, *, skip: tuple[str, ...], batch_size: int
) -> tuple[ClipSampler, ClipFormat]:
    """A sampler of one item with a segment from 20 s to 30 s, and its clip format."""
    clip_format = ClipFormat(frames=4, frame_rate=2.0, audio_seconds=audio_seconds)
    snapshot = snapshot_of([400], [0], segments=[(0, 20.0, 30.0, kind, 3)])
    policy = SamplingConfig.model_validate(
        {
            "batch_size": batch_size, "clips_per_item": batch_size, "skip": skip,
            "min_gap_seconds": 0.0,
        }
    )  # fmt: skip
    return ClipSampler(snapshot, policy, clip_format), clip_format


def covered(start_seconds: float, clip_format: ClipFormat) -> tuple[float, float]:
    """The union of the frames' span and of the audio."""
    stop = start_seconds + clip_format.span_seconds
    middle = (start_seconds + stop) / 2
    reach = clip_format.audio_seconds / 2
    return min(start_seconds, middle - reach), max(stop, middle + reach)


@pytest.mark.parametrize("audio_seconds", [0.5, 2.0, 2.5, 6.0])
def test_a_clip_recurs_if_its_frames_or_its_audio_touch_the_segment(audio_seconds: float) -> None:
    sampler, clip_format = blocked_and_recurring(audio_seconds, "opening", skip=(), batch_size=12)
    found = set()
    for step in range(100):
        for clip in sampler.draw(seed=0, step=step):
            start, stop = covered(clip.start_seconds, clip_format)
            assert (clip.recurrence == 3) == (start < 30.0 and stop > 20.0)
            again = sampler.replacement(clip, 1)
            start, stop = covered(again.start_seconds, clip_format)
            assert (again.recurrence == 3) == (start < 30.0 and stop > 20.0)
            found.add(clip.recurrence)
    assert found == {-1, 3}


@pytest.mark.parametrize("audio_seconds", [0.5, 2.0, 2.5, 6.0])
def test_neither_frames_nor_audio_touch_a_skipped_segment(audio_seconds: float) -> None:
    sampler, clip_format = blocked_and_recurring(
        audio_seconds, "credits", skip=("credits",), batch_size=24
    )
    grid = np.arange(400 - CLIP_FRAMES + 1) / FRAME_RATE
    allowed = [
        start
        for start in grid.tolist()
        if not (covered(start, clip_format)[0] < 30.0 and covered(start, clip_format)[1] > 20.0)
    ]
    drawn = {clip.start_seconds for step in range(330) for clip in sampler.draw(seed=0, step=step)}
    # Neither more nor less than what is allowed.
    assert drawn == set(allowed)
