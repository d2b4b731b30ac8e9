"""The figures of how hard negatives are, on embeddings whose figures are known."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from toomuchtv.data.clip_specs import ClipSpecs
from toomuchtv.data.pair_labels import PairLabelConfig, PairLabels
from toomuchtv.losses import NegativeFigures, negative_figures

Array = NDArray[Any]
FIELDS = [field.name for field in dataclasses.fields(NegativeFigures)]

# Two titles; title 0 has items 0 and 1, title 1 has item 2. Two, two and four clips.
TITLE = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
ITEM = torch.tensor([0, 0, 1, 1, 2, 2, 2, 2])
LABELS = torch.eye(8, dtype=torch.int8)


def unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def test_equal_embeddings_spread_the_mass_evenly() -> None:
    same = torch.nn.functional.normalize(torch.ones(8, 3), dim=1)
    figures = negative_figures(same, same, LABELS, title=TITLE, item=ITEM, temperature=0.07)
    # Each clip has 7 negatives: 3 of its title; 1 of its item in title 0, 3 in title 1.
    assert figures.mass_same_title == pytest.approx(3 / 7, abs=1e-5)
    assert figures.mass_same_item == pytest.approx((1 / 7 + 3 / 7) / 2, abs=1e-5)
    assert figures.mass_other_titles == pytest.approx(4 / 7, abs=1e-5)
    assert figures.effective_negatives == pytest.approx(7, rel=1e-4)
    assert figures.easy_negative_share == 0.0
    # A guess is right for one of eight clips, or one of the four of the title.
    assert figures.top1 == pytest.approx(1 / 8)
    assert figures.top1_in_title == pytest.approx(1 / 4)


def test_perfect_embeddings_have_a_top1_of_one() -> None:
    axes = torch.eye(8)
    figures = negative_figures(axes, axes, LABELS, title=TITLE, item=ITEM, temperature=0.07)
    assert figures.top1 == figures.top1_in_title == 1.0
    assert figures.effective_negatives == pytest.approx(7, rel=1e-4)  # all are equally far
    assert figures.mass_same_title == pytest.approx(3 / 7, abs=1e-5)


def test_embeddings_of_the_title_alone() -> None:
    by_title = torch.eye(2)[TITLE]
    figures = negative_figures(by_title, by_title, LABELS, title=TITLE, item=ITEM, temperature=0.01)
    assert figures.mass_same_title == pytest.approx(1.0, abs=1e-6)
    assert figures.mass_other_titles == pytest.approx(0.0, abs=1e-6)
    assert figures.effective_negatives == pytest.approx(3, rel=1e-4)
    assert figures.easy_negative_share == pytest.approx(4 / 7)
    # The title is found, and the clip within it is guessed.
    assert figures.top1 == figures.top1_in_title == pytest.approx(1 / 4)


def test_top1_in_title_ignores_other_titles() -> None:
    """Video 0 is nearest to its own audio within the title, but nearer to one outside it."""
    audio = torch.eye(8)
    video = torch.eye(8)
    video[0] = torch.nn.functional.normalize(0.6 * audio[0] + 0.8 * audio[4], dim=0)
    figures = negative_figures(video, audio, LABELS, title=TITLE, item=ITEM, temperature=0.07)
    assert figures.top1 == pytest.approx(15 / 16)  # of all 16 anchors only video 0 fails
    assert figures.top1_in_title == 1.0


def reference(
    video: Array, audio: Array, labels: Array, title: Array, item: Array, temperature: float
) -> dict[str, float]:
    """Compute the figures by their definitions in float64, one negative at a time."""
    found: dict[str, list[float]] = {name: [] for name in FIELDS}
    similarity = video.astype(np.float64) @ audio.astype(np.float64).T
    for near, label in ((similarity, labels), (similarity.T, labels.T)):
        for i in range(len(near)):
            negatives = [j for j in range(len(near)) if label[i, j] == 0]
            if label[i, i] != 1 or not negatives:
                continue
            weights = {j: math.exp((near[i, j] - near[i].max()) / temperature) for j in negatives}
            total = sum(weights.values())
            shares = {j: weight / total for j, weight in weights.items()}
            found["mass_same_item"].append(sum(shares[j] for j in negatives if item[i] == item[j]))
            in_title = [j for j in negatives if title[i] == title[j]]
            found["mass_same_title"].append(sum(shares[j] for j in in_title))
            found["mass_other_titles"].append(
                sum(shares[j] for j in negatives if title[i] != title[j])
            )
            entropy = -sum(share * math.log(share) for share in shares.values() if share)
            found["effective_negatives"].append(math.exp(entropy))
            easy = sum(share < 0.01 / len(negatives) for share in shares.values())
            found["easy_negative_share"].append(easy / len(negatives))
            found["top1"].append(float(all(near[i, j] < near[i, i] for j in negatives)))
            if in_title:
                nearest = float(all(near[i, j] < near[i, i] for j in in_title))
                found["top1_in_title"].append(nearest)
    return {name: float(np.mean(values)) if values else math.nan for name, values in found.items()}


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    num=st.integers(1, 24),
    temperature=st.sampled_from([0.02, 0.07, 0.5, 2.0]),
    chunk_rows=st.sampled_from([1, 5, 64]),
    invalid=st.floats(0.0, 0.5),
)
def test_figures_of_random_batches_equal_a_float64_reference(
    seed: int, num: int, temperature: float, chunk_rows: int, invalid: float
) -> None:
    """Labels are drawn for each pair, so they are not symmetric."""
    rng = np.random.default_rng(seed)
    video, audio = (unit(rng.standard_normal((num, 6))).astype(np.float32) for _ in range(2))
    labels = rng.choice([-1, 0, 0, 0, 1], (num, num)).astype(np.int8)
    np.fill_diagonal(labels, 1)
    bad = rng.random(num) < invalid
    labels[bad, :], labels[:, bad] = -1, -1
    item = rng.integers(0, 5, num)
    title = item // 2
    expected = reference(video, audio, labels, title, item, temperature)
    tensors = [torch.from_numpy(array) for array in (video, audio, labels)]
    where = {"title": torch.from_numpy(title), "item": torch.from_numpy(item)}
    for pair_labels in (tensors[2], LabelRows(tensors[2])):
        figures = negative_figures(
            tensors[0],
            tensors[1],
            pair_labels,
            **where,
            temperature=temperature,
            chunk_rows=chunk_rows,
        )
        got = dataclasses.asdict(figures)
        assert got.keys() == expected.keys()
        for name, value in expected.items():
            assert got[name] == pytest.approx(value, rel=2e-4, abs=2e-5, nan_ok=True), name


class LabelRows:
    """Pair labels that are given by rows."""

    def __init__(self, dense: torch.Tensor) -> None:
        self._dense = dense

    def rows(self, start: int, stop: int) -> torch.Tensor:
        assert 0 <= start < stop <= len(self._dense)
        return self._dense[start:stop]


def test_labels_need_not_be_symmetric() -> None:
    """(video 0, audio 1) is ignored, but (video 1, audio 0) is a negative."""
    video = torch.eye(3)
    audio = torch.tensor([[1.0, 0, 0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    labels = torch.eye(3, dtype=torch.int8)
    labels[0, 1] = -1
    title = torch.tensor([0, 0, 1])
    figures = negative_figures(video, audio, labels, title=title, item=title, temperature=1.0)
    # In the title, video 0 and audio 1 have no negatives, and audio 0 and video 1 are nearest to
    # their own clips.
    assert figures.top1_in_title == 1.0
    transposed = negative_figures(video, audio, labels.T, title=title, item=title, temperature=1.0)
    # Now video 0 is a negative of audio 1 and nearer (0.8) than its own video (0.6).
    assert transposed.top1_in_title == pytest.approx(1 / 2)
    assert transposed.top1 == pytest.approx(5 / 6)


def test_in_a_batch_of_one_item_all_mass_is_on_that_item() -> None:
    generator = torch.Generator().manual_seed(1)
    video, audio = (
        torch.nn.functional.normalize(torch.randn(5, 4, generator=generator), dim=1)
        for _ in range(2)
    )
    zeros = torch.zeros(5, dtype=torch.int64)
    labels = torch.eye(5, dtype=torch.int8)
    figures = negative_figures(video, audio, labels, title=zeros, item=zeros, temperature=0.1)
    assert figures.mass_same_item == figures.mass_same_title == pytest.approx(1.0, abs=1e-6)
    assert figures.mass_other_titles == pytest.approx(0.0, abs=1e-6)
    assert figures.top1 == figures.top1_in_title


def test_embeddings_of_the_event_alone() -> None:
    """The same event in another title is as similar as the other modality of the clip."""
    event = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    by_event = torch.eye(4)[event]
    figures = negative_figures(by_event, by_event, LABELS, title=TITLE, item=ITEM, temperature=0.01)
    assert figures.mass_other_titles == pytest.approx(1.0, abs=1e-6)
    assert figures.effective_negatives == pytest.approx(1.0, abs=1e-4)
    assert figures.easy_negative_share == pytest.approx(6 / 7)
    assert figures.top1 == pytest.approx(1 / 2)
    assert figures.top1_in_title == 1.0


def test_invalid_clips_are_not_counted() -> None:
    axes = torch.eye(8)
    wrong = axes.clone()
    wrong[7] = -axes[7]
    labels = LABELS.clone()
    labels[7, :] = labels[:, 7] = -1
    figures = negative_figures(wrong, axes, labels, title=TITLE, item=ITEM, temperature=0.07)
    assert figures.top1 == 1.0
    assert figures.effective_negatives == pytest.approx(6, rel=1e-4)


def test_without_negatives_all_figures_are_nan() -> None:
    labels = torch.full((8, 8), -1, dtype=torch.int8).fill_diagonal_(1)
    axes = torch.eye(8)
    figures = negative_figures(axes, axes, labels, title=TITLE, item=ITEM, temperature=0.07)
    assert all(math.isnan(value) for value in dataclasses.astuple(figures))


def test_memory_does_not_grow_with_the_square_of_the_batch() -> None:
    """At 2,048 clips no tensor has half the size of the int8 matrix of labels, 4 MiB."""
    count, dim = 2048, 8
    generator = torch.Generator().manual_seed(0)
    video, audio = torch.nn.functional.normalize(
        torch.randn(2, count, dim, generator=generator), dim=2
    )
    index = np.arange(count)
    specs = ClipSpecs(
        title=index // 16,
        item=index // 16,
        start_seconds=index.astype(np.float64),
        audio_track=np.zeros_like(index),
        recurrence=np.full_like(index, -1),
        seed=index.astype(np.uint64),
    )
    labels = PairLabels.from_specs(PairLabelConfig(), specs)
    with LargestTensor() as largest:  # type: ignore[no-untyped-call]
        figures = negative_figures(
            video, audio, labels, title=labels.title, item=labels.item, temperature=0.07,
            chunk_rows=64,
        )  # fmt: skip
    assert 1.0 < figures.effective_negatives < count
    assert largest.num_bytes < count**2 / 2


class LargestTensor(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode that records the size of the largest tensor that any operation returns."""

    num_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor):
                self.num_bytes = max(self.num_bytes, value.untyped_storage().nbytes())
        return result
