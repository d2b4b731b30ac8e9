"""Attentive probes, nearest neighbors with ties, and few-shot training sets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.evaluation.test_classifiers import accuracy, clusters, probe
from toomuchtv.evaluation.attentive import AttentivePooler
from toomuchtv.evaluation.benchmark import Benchmark, Fold, LabeledClip
from toomuchtv.evaluation.classifiers import FeatureSet, fit
from toomuchtv.evaluation.linear_probe import draw_shots, fit_and_score
from toomuchtv.evaluation.protocols.config import AttentiveConfig, KnnConfig


def test_one_query_equals_multi_head_attention() -> None:
    """The reference projects every token; ours projects the query and the mean of the tokens."""
    torch.manual_seed(0)
    pooler, tokens = AttentivePooler(32, 4), torch.randn(3, 7, 32)
    with torch.no_grad():
        for parameter in pooler.parameters():
            parameter.normal_(0, 0.3)
        theirs = nn.MultiheadAttention(32, 4, batch_first=True)
        maps = [pooler.to_query, pooler.to_key, pooler.to_value]
        theirs.in_proj_weight.copy_(torch.cat([one.weight for one in maps]))
        theirs.in_proj_bias.copy_(torch.cat([one.bias for one in maps]))
        theirs.out_proj.weight.copy_(torch.eye(32))
        theirs.out_proj.bias.zero_()
        normed = pooler.norm_tokens(tokens)
        attended, _ = theirs(pooler.query.expand(3, 1, 32), normed, normed)
        pooled = pooler.query + attended[:, 0]
        expected = pooled + pooler.mlp(pooler.norm_pooled(pooled))
        torch.testing.assert_close(pooler(tokens), expected, rtol=1e-4, atol=1e-4)


def marked_tokens(num: int, seed: int, classes: int = 4) -> FeatureSet:
    """Every clip has one token of each class; the class of the clip is that of the marked one.

    The mean over the tokens is the same for all clips, so no classifier on it can be better than
    chance.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % classes
    tokens = np.zeros((num, classes, 16), np.float32)
    for row, label in enumerate(labels):
        order = rng.permutation(classes)
        tokens[row, np.arange(classes), order] = 1.0
        tokens[row, np.flatnonzero(order == label), 8] = 1.0
    return FeatureSet(
        features=tokens, targets=np.eye(classes, dtype=np.bool_)[labels],
        groups=[str(row // classes % 5) for row in range(num)],
    )  # fmt: skip


def test_attention_solves_what_the_mean_over_tokens_cannot() -> None:
    train, test = marked_tokens(80, 0), marked_tokens(40, 1)
    config = AttentiveConfig(learning_rates=(3e-3,), weight_decays=(0.01,), min_steps=150)
    protocol = probe("attentive").model_copy(update={"classifier": config})
    scores, chosen = fit_and_score(protocol, train, test)
    assert accuracy(scores, test) == 1.0
    assert chosen == {"learning_rate": 3e-3, "weight_decay": 0.01}

    def averaged(side: FeatureSet) -> FeatureSet:
        mean = side.features.mean(axis=1, keepdims=True)
        return FeatureSet(features=mean, targets=side.targets, groups=side.groups)

    linear, _ = fit_and_score(probe("linear"), averaged(train), averaged(test))
    assert accuracy(linear, test) < 0.5


def test_the_attentive_probe_selects_inside_the_training_set_and_repeats_itself() -> None:
    train, test = marked_tokens(40, 2), marked_tokens(20, 3)
    config = AttentiveConfig(
        learning_rates=(1e-9, 1e-2), weight_decays=(0.01,), min_steps=30, epochs=30
    )
    protocol = probe("attentive").model_copy(update={"classifier": config, "inner_folds": 2})
    scores, chosen = fit_and_score(protocol, train, test, seed=1)
    assert chosen["learning_rate"] == 1e-2  # the other one learns nothing
    again, _ = fit_and_score(protocol, train, test, seed=1)
    np.testing.assert_array_equal(scores, again)
    assert not np.array_equal(scores, fit_and_score(protocol, train, test, seed=2)[0])


def test_nearest_neighbors_do_not_depend_on_the_order_of_equal_samples() -> None:
    rng = np.random.default_rng(0)
    samples = np.repeat(rng.standard_normal((5, 8)), 6, axis=0).astype(np.float32)
    targets = np.eye(3, dtype=np.bool_)[rng.integers(0, 3, 30)]
    config, asked = KnnConfig(), rng.standard_normal((7, 8)).astype(np.float32)
    expected = fit(config, samples, targets, 8, "single_label")(asked)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(30)
        found = fit(config, samples[order], targets[order], 8, "single_label")(asked)
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_nearest_neighbors_of_constant_features_are_at_chance() -> None:
    train, test = clusters(40, 0.1, 0), clusters(20, 0.1, 1)
    constant = FeatureSet(
        features=np.ones_like(train.features), targets=train.targets, groups=train.groups
    )
    flat = FeatureSet(
        features=np.ones_like(test.features), targets=test.targets, groups=test.groups
    )
    scores, _ = fit_and_score(probe("knn-200"), constant, flat)
    assert accuracy(scores, flat) == 0.25


def test_nearest_neighbors_equal_their_definition() -> None:
    rng = np.random.default_rng(1)
    samples, asked = rng.standard_normal((50, 6)), rng.standard_normal((9, 6))
    targets = np.eye(4, dtype=np.bool_)[rng.integers(0, 4, 50)]
    found = fit(
        KnnConfig(), samples.astype(np.float32), targets, 10, "single_label"
    )(asked.astype(np.float32))  # fmt: skip
    unit = samples / np.linalg.norm(samples, axis=1, keepdims=True)
    for row, one in enumerate(asked):
        cosine = unit @ one / np.linalg.norm(one)
        nearest = np.argsort(-cosine)[:10]
        votes = (np.exp((cosine[nearest, None] - 1) / 0.07) * targets[nearest]).sum(axis=0)
        np.testing.assert_allclose(found[row], votes, rtol=1e-3, atol=1e-12)


def test_k_is_capped_to_the_training_set() -> None:
    train, test = clusters(40, 0.1, 0), clusters(20, 0.1, 1)
    assert fit_and_score(probe("knn-200"), train, test)[1] == {"chosen": 40}
    assert fit_and_score(probe("knn-200"), clusters(240, 0.1, 0), test)[1] == {"chosen": 200}


def shots_benchmark(sources: list[str], labels: list[str]) -> Benchmark:
    clips = tuple(
        LabeledClip(path=Path(f"/b/{row}.wav"), labels=(label,), source=source, group=source)
        for row, (source, label) in enumerate(zip(sources, labels, strict=True))
    )
    rows = tuple(range(len(clips)))
    return Benchmark(
        name="b", root=Path("/b"), task="single_label", modalities=("audio",), clips=clips,
        classes=tuple(sorted(set(labels))), folds=(Fold(name="f", train=rows, test=rows),),
    )  # fmt: skip


def test_shots_are_drawn_per_class_and_from_different_sources() -> None:
    # Class a: 6 clips of 3 sources; class b: 4 clips of 1 source; class c: one clip.
    sources = ["s1", "s1", "s1", "s2", "s2", "s3", "t", "t", "t", "t", "u"]
    benchmark = shots_benchmark(sources, [*"aaaaaa", *"bbbb", "c"])
    seen = set()
    for seed in range(40):
        drawn = draw_shots(benchmark, range(11), 3, seed=seed)
        assert Counter(benchmark.clips[row].labels[0] for row in drawn) == {"a": 3, "b": 3, "c": 1}
        assert {sources[row] for row in drawn if row < 6} == {"s1", "s2", "s3"}
        assert drawn == draw_shots(benchmark, range(11), 3, seed=seed)
        seen.add(drawn)
    assert len(seen) > 5
    assert set(draw_shots(benchmark, [0, 3, 6, 7], 1, seed=0)) <= {0, 3, 6, 7}


def test_few_shot_protocols_draw_the_same_clips_for_all_encoders() -> None:
    """The draw depends on names and seed, and not on the order of the rows."""
    benchmark = shots_benchmark([f"s{row}" for row in range(12)], list("abcabcabcabc"))
    forward = draw_shots(benchmark, range(12), 2, seed=5)
    assert set(draw_shots(benchmark, range(11, -1, -1), 2, seed=5)) == set(forward)


@pytest.mark.parametrize("shots", [1, 5, 10])
def test_few_shot_protocols_exist(shots: int) -> None:
    protocol = probe(f"linear-{shots}-shot")
    assert (protocol.shots, protocol.draws, protocol.selection) == (shots, 10, "fixed")
