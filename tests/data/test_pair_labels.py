"""Pair labels: cases written by hand, and laws of any batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toomuchtv.data.pair_labels import PairLabelConfig, PairLabels, find_positives

#: Title, item, start, audio track, recurrence, valid.
ClipFacts = tuple[int, int, float, int, int, bool]


def labels_of(config: PairLabelConfig, clips: list[ClipFacts]) -> PairLabels:
    return PairLabels(config, torch.tensor(clips, dtype=torch.float64))


# Clips a and b of one episode 3 s apart, c of another episode, d of another title; e is a in
# another language; f and g are of the opening, number 4, of the first and the second episode.
CLIPS = [
    (0, 0, 10.0, 0, -1, True),
    (0, 0, 13.0, 0, -1, True),
    (0, 1, 10.0, 0, -1, True),
    (1, 2, 10.0, 0, -1, True),
    (0, 0, 10.0, 1, -1, True),
    (0, 0, 1.0, 0, 4, True),
    (0, 1, 1.5, 0, 4, True),
]


@pytest.mark.parametrize(
    ("settings", "ab", "ac", "ad", "ae", "fg"),
    [
        ({}, 0, 0, 0, 1, -1),
        ({"same_title": "ignore"}, -1, -1, 0, 1, -1),
        ({"same_title": "positive"}, 1, 1, 0, 1, -1),
        ({"same_item": "ignore"}, -1, 0, 0, 1, -1),
        ({"same_title": "ignore", "same_item": "negative"}, 0, -1, 0, 1, -1),
        ({"same_title": "ignore", "same_item": "positive"}, 1, -1, 0, 1, -1),
        ({"overlap_seconds": 3.0}, 0, 0, 0, 1, -1),
        ({"overlap_seconds": 3.1}, -1, 0, 0, 1, -1),
        ({"same_item": "positive", "overlap_seconds": 3.1}, -1, 0, 0, 1, -1),
        ({"near_seconds": 3.1}, 1, 0, 0, 1, -1),
        ({"near_seconds": 3.0}, 0, 0, 0, 1, -1),
        ({"near_seconds": 3.1, "near": "ignore"}, -1, 0, 0, 1, -1),
        ({"near_seconds": 3.1, "overlap_seconds": 1.0}, 1, 0, 0, 1, -1),
        ({"other_language": "negative"}, 0, 0, 0, 0, -1),
        ({"other_language": "ignore"}, 0, 0, 0, -1, -1),
        ({"same_recurrence": "negative"}, 0, 0, 0, 1, 0),
        ({"same_recurrence": "positive"}, 0, 0, 0, 1, 1),
        ({"same_title": "ignore", "same_recurrence": "negative"}, -1, -1, 0, 1, 0),
    ],
)
def test_labels_of_written_cases(
    settings: dict[str, object], ab: int, ac: int, ad: int, ae: int, fg: int
) -> None:
    label = labels_of(PairLabelConfig.model_validate(settings), CLIPS).dense()
    assert label.dtype == torch.int8
    assert label[0, :5].tolist() == [1, ab, ac, ad, ae]
    assert label[3].tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert label[5, 6] == label[6, 5] == fg


def test_an_opening_is_a_negative_of_all_other_clips() -> None:
    label = labels_of(PairLabelConfig(), CLIPS).dense()
    assert label[5].tolist() == [0, 0, 0, 0, 0, 1, -1]


def test_pairs_with_an_invalid_clip_are_ignored() -> None:
    clips = [clip if number != 1 else (*clip[:5], False) for number, clip in enumerate(CLIPS[:4])]
    label = labels_of(PairLabelConfig(), clips).dense()
    assert (label[1] == -1).all()
    assert (label[:, 1] == -1).all()
    assert label[0].tolist() == [1, -1, 0, 0]


LABEL = st.sampled_from(["negative", "ignore", "positive"])
NUMBER = {"ignore": -1, "negative": 0, "positive": 1}


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.integers(0, 1), st.integers(0, 12), st.integers(0, 1),
            st.integers(-1, 1), st.booleans(),
        ),
        min_size=1, max_size=9, unique_by=lambda clip: clip[:4],
    ),
    st.builds(
        PairLabelConfig,
        same_title=LABEL, same_item=st.none() | LABEL, near=LABEL, same_recurrence=LABEL,
        other_language=LABEL, near_seconds=st.sampled_from([0.0, 2.0]),
        overlap_seconds=st.sampled_from([0.0, 1.0, 5.0]),
    ),
    st.data(),
)  # fmt: skip
def test_labels_of_any_batch_follow_the_rules(
    drawn: list[tuple[int, int, int, int, int, bool]], config: PairLabelConfig, data: st.DataObject
) -> None:
    clips = [(t, 2 * t + i, s / 2, a, r, v) for t, i, s, a, r, v in drawn]
    labels = labels_of(config, clips)
    label = labels.dense()
    assert torch.equal(label, label.T)
    start = data.draw(st.integers(0, len(clips) - 1))
    stop = data.draw(st.integers(start + 1, len(clips)))
    assert torch.equal(labels.rows(start, stop), label[start:stop])
    for i, one in enumerate(clips):
        for j, two in enumerate(clips):
            assert label[i, j] == expected(config, one, two, is_own=i == j)


def expected(
    config: PairLabelConfig,
    one: ClipFacts,
    two: ClipFacts,
    *,
    is_own: bool,
) -> int:
    """Return the label by the documented rules: the last one that applies counts."""
    if not (one[5] and two[5]):
        return -1
    if is_own:
        return 1
    gap = abs(one[2] - two[2])
    name = "negative"
    if one[0] == two[0]:
        name = config.same_title
    if one[1] == two[1] and config.same_item is not None:
        name = config.same_item
    if one[1] == two[1] and gap < config.near_seconds:
        name = config.near
    if one[1] != two[1] and one[4] == two[4] >= 0:
        name = config.same_recurrence
    if one[1] == two[1] and gap < config.overlap_seconds:
        name = "ignore"
    if one[1] == two[1] and gap == 0 and one[3] != two[3]:
        name = config.other_language
    return NUMBER[name]


NAMES = st.sampled_from(["negative", "ignore", "positive"])


@settings(max_examples=60)
@given(
    clips=st.lists(
        st.tuples(
            st.integers(0, 2), st.integers(0, 3), st.sampled_from([0.0, 1.0, 2.5]),
            st.integers(0, 1), st.integers(-1, 1), st.booleans(),
        ),
        max_size=12,
    ),
    rules=st.fixed_dictionaries(
        {"same_title": NAMES, "near": NAMES, "same_recurrence": NAMES, "other_language": NAMES},
        optional={
            "same_item": NAMES,
            "near_seconds": st.sampled_from([0.0, 2.0]),
            "overlap_seconds": st.sampled_from([0.0, 2.0]),
        },
    ),
)  # fmt: skip
def test_positives_found_in_groups_are_those_of_all_pairs(
    clips: list[ClipFacts], rules: dict[str, object]
) -> None:
    config = PairLabelConfig.model_validate(rules)
    facts = torch.tensor(clips, dtype=torch.float64).reshape(-1, 6)
    expected = (PairLabels(config, facts).dense() == 1).nonzero()
    row, column = find_positives(config, facts)
    assert torch.equal(torch.stack([row, column], dim=1), expected)
