"""Laws of splits: no title is in both parts, and a library has the same split everywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toomuchtv.catalog.records import Title, TitleKind
from toomuchtv.catalog.splits import split_titles


def titles_of(count: int) -> list[Title]:
    kinds = list(TitleKind)
    return [
        Title(id=100 + n, kind=kinds[n % 3], name=f"Title {n}", year=None if n % 2 else 1950 + n)
        for n in range(count)
    ]


@given(st.integers(0, 40), st.floats(0.0, 0.99), st.integers(0, 2**31 - 1))
def test_each_title_is_in_one_part(count: int, share: float, seed: int) -> None:
    titles = titles_of(count)
    split = split_titles(titles, held_out_share=share, seed=seed)
    assert sorted(split.train + split.held_out) == [title.id for title in titles]
    assert list(split.train) == sorted(split.train)
    assert list(split.held_out) == sorted(split.held_out)
    if count >= 1:
        assert split.train
    if count >= 2 and share > 0:
        assert split.held_out
        assert abs(len(split.held_out) - share * count) <= 1
    if share == 0:
        assert not split.held_out


@given(st.permutations(range(12)), st.permutations(range(12)), st.integers(0, 1000))
def test_order_and_ids_do_not_matter(order: list[int], ids: list[int], seed: int) -> None:
    titles = titles_of(12)
    other = [
        Title(id=ids[n], kind=titles[n].kind, name=titles[n].name, year=titles[n].year)
        for n in order
    ]

    def held_out(found: list[Title]) -> set[str]:
        split = split_titles(found, held_out_share=0.3, seed=seed)
        return {title.name for title in found if title.id in split.held_out}

    assert held_out(titles) == held_out(other)


def test_a_larger_share_extends_the_held_out_titles() -> None:
    titles = titles_of(30)
    held_out = [
        set(split_titles(titles, held_out_share=share).held_out) for share in (0.1, 0.3, 0.8)
    ]
    assert held_out[0] < held_out[1] < held_out[2]


def test_seeds_split_differently() -> None:
    titles = titles_of(30)
    splits = {split_titles(titles, held_out_share=0.2, seed=seed).held_out for seed in range(20)}
    assert len(splits) == 20


def test_every_title_has_the_same_probability() -> None:
    titles = titles_of(10)
    counts = dict.fromkeys([title.id for title in titles], 0)
    for seed in range(500):
        for title_id in split_titles(titles, held_out_share=0.2, seed=seed).held_out:
            counts[title_id] += 1
    assert all(60 < count < 140 for count in counts.values())  # the mean is 100


def test_names_that_are_not_utf8_are_split() -> None:
    titles = [*titles_of(3), Title(id=1, kind=TitleKind.MOVIE, name="caf\udce9", year=None)]
    assert len(split_titles(titles, held_out_share=0.5).held_out) == 2


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_shares_out_of_range_are_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"held_out_share must be in \[0, 1\)"):
        split_titles(titles_of(3), held_out_share=share)


@given(
    st.integers(2, 30),
    st.lists(st.tuples(st.integers(0, 35), st.integers(0, 35)), max_size=25),
    st.floats(0.01, 0.9),
    st.integers(0, 1000),
)
def test_titles_that_share_content_are_in_one_part(
    count: int, pairs: list[tuple[int, int]], share: float, seed: int
) -> None:
    titles = titles_of(count)
    duplicates = [(100 + a, 100 + b) for a, b in pairs]  # some of titles that are not there
    split = split_titles(titles, held_out_share=share, seed=seed, duplicates=duplicates)
    assert sorted(split.train + split.held_out) == [title.id for title in titles]
    sides = {title_id: title_id in split.held_out for title_id in split.train + split.held_out}
    for one, other in duplicates:
        if one in sides and other in sides:
            assert sides[one] == sides[other]
    assert split.train
    reached = {100}
    for _ in range(count):
        reached |= {b for a, b in duplicates if a in reached and b in sides}
        reached |= {a for a, b in duplicates if b in reached and a in sides}
    assert bool(split.held_out) == (reached != set(sides))  # unless all are one group


def test_irrelevant_duplicates_do_not_change_the_split() -> None:
    titles = titles_of(20)
    plain = split_titles(titles, held_out_share=0.25, seed=3)
    assert split_titles(titles, held_out_share=0.25, seed=3, duplicates=[]) == plain
    assert (
        plain.held_out
        == split_titles(
            titles, held_out_share=0.25, seed=3, duplicates=[(100, 100), (1, 2)]
        ).held_out
    )
