"""Pair roles: cases written by hand, and what holds for any batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toomuchtv.sampling.roles import PairRoleConfig, pair_roles

# Clips a and b of one episode 3 s apart, c of another episode, d of another title.
TITLE = torch.tensor([0, 0, 0, 1])
ITEM = torch.tensor([0, 0, 1, 2])
START = torch.tensor([10.0, 13.0, 10.0, 10.0], dtype=torch.float64)
VALID = torch.tensor([True, True, True, True])


@pytest.mark.parametrize(
    ("settings", "ab", "ac", "ad"),
    [
        ({}, 0, 0, 0),
        ({"same_title": "ignore"}, -1, -1, 0),
        ({"same_title": "positive"}, 1, 1, 0),
        ({"same_item": "ignore"}, -1, 0, 0),
        ({"same_title": "ignore", "same_item": "negative"}, 0, -1, 0),
        ({"same_title": "ignore", "same_item": "positive"}, 1, -1, 0),
        ({"overlap_seconds": 3.0}, 0, 0, 0),
        ({"overlap_seconds": 3.1}, -1, 0, 0),
        ({"same_item": "positive", "overlap_seconds": 3.1}, -1, 0, 0),
    ],
)
def test_cases(settings: dict[str, object], ab: int, ac: int, ad: int) -> None:
    config = PairRoleConfig.model_validate(settings)
    role = pair_roles(config, title=TITLE, item=ITEM, start_seconds=START, valid=VALID)
    assert role.dtype == torch.int8
    assert role[0].tolist() == [1, ab, ac, ad]
    assert role[3].tolist() == [0, 0, 0, 1]


def test_an_invalid_clip_has_no_part() -> None:
    valid = torch.tensor([True, False, True, True])
    role = pair_roles(PairRoleConfig(), title=TITLE, item=ITEM, start_seconds=START, valid=valid)
    assert (role[1] == -1).all()
    assert (role[:, 1] == -1).all()
    assert role[0].tolist() == [1, -1, 0, 0]


ROLE = st.sampled_from(["negative", "ignore", "positive"])


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 20), st.booleans()),
        min_size=1,
        max_size=9,
    ),
    ROLE,
    st.none() | ROLE,
    st.sampled_from([0.0, 1.0, 5.0]),
)
def test_roles_of_any_batch(
    clips: list[tuple[int, int, int, bool]], same_title: str, same_item: str | None, overlap: float
) -> None:
    config = PairRoleConfig.model_validate(
        {"same_title": same_title, "same_item": same_item, "overlap_seconds": overlap}
    )
    title = torch.tensor([clip[0] for clip in clips])
    item = torch.tensor([2 * clip[0] + clip[1] for clip in clips])
    start = torch.tensor([clip[2] / 2 for clip in clips], dtype=torch.float64)
    valid = torch.tensor([clip[3] for clip in clips])
    role = pair_roles(config, title=title, item=item, start_seconds=start, valid=valid)
    assert torch.equal(role, role.T)
    assert torch.equal(role.diagonal() == 1, valid)
    number = {"ignore": -1, "negative": 0, "positive": 1}
    for i in range(len(clips)):
        for j in range(len(clips)):
            if i == j:
                continue
            expected = number[same_title] if title[i] == title[j] else 0
            if item[i] == item[j]:
                expected = number[same_item] if same_item else expected
                expected = -1 if abs(start[i] - start[j]) < overlap else expected
            if not (valid[i] and valid[j]):
                expected = -1
            assert role[i, j] == expected
