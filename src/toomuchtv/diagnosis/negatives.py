"""How hard the negatives are: in batches of both sampling policies, and in one pool of clips."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch

from toomuchtv.data.clip_specs import ClipSpecs
from toomuchtv.data.config import SamplingConfig, fit_batch_size, other_policy
from toomuchtv.data.pair_labels import PairLabelConfig, PairLabels
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.diagnosis.embedding import ClipSource, Embedder
from toomuchtv.diagnosis.pairs import (
    RELATIONS,
    Pool,
    hardest_negatives,
    likely_false_negatives,
    measure_relations,
    most_confusable,
    title_lift,
)
from toomuchtv.diagnosis.results import (
    NegativePair,
    PolicyNegatives,
    PoolStatistics,
    Summary,
    TitleConfusion,
    Unavailable,
)
from toomuchtv.losses import NegativeFigures, negative_figures

_ITEMS_PER_TITLE, _MAX_CLIPS_PER_ITEM = 2, 8
# A larger confusion matrix could not be read. A larger pool has more clips of each title.
_MAX_TITLES = 32
_MIN_POOL_CLIPS = 16
_NUM_SHOWN_PAIRS = 6
_NUM_CONFUSABLE_TITLES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBatches:
    """The clips of some batches that one sampling policy draws. Nothing is decoded yet."""

    policy: SamplingConfig
    trained_with: bool
    batches: tuple[ClipSpecs, ...]


def draw_policy_batches(
    source: ClipSource, policy: SamplingConfig, *, max_clips: int, num_batches: int, seed: int
) -> list[PolicyBatches | Unavailable]:
    """Draw batches of the policy of the run, and of the other policy.

    Args:
        source: Where the clips come from.
        policy: The policy of the run.
        max_clips: Largest number of clips in a batch.
        num_batches: Number of batches of each policy.
        seed: Seed of the clips.
    """
    drawn: list[PolicyBatches | Unavailable] = []
    own = fit_batch_size(policy, min(policy.batch_size, max_clips))
    for one, trained_with in ((own, True), (other_policy(own), False)):
        try:
            sampler = ClipSampler(source.snapshot, one, source.clip_format)
        except ValueError as error:
            drawn.append(Unavailable(reason=f"{one.name} sampling cannot fill a batch: {error}"))
            continue
        batches = tuple(sampler.draw(seed=seed, step=step) for step in range(num_batches))
        drawn.append(PolicyBatches(policy=one, trained_with=trained_with, batches=batches))
    return drawn


def measure_policy(
    drawn: PolicyBatches | Unavailable,
    embedder: Embedder,
    labels: PairLabelConfig,
    temperature: float,
) -> PolicyNegatives | Unavailable:
    """Embed the batches of a policy, if there are any, and measure how hard their negatives are."""
    if isinstance(drawn, Unavailable):
        return drawn
    name = drawn.policy.name
    figures: list[NegativeFigures] = []
    equal_embeddings: list[NegativeFigures] = []
    for clips in drawn.batches:
        embeddings = embedder.embed(clips, f"{name} sampling")
        if embeddings.readable.sum() < 2:
            continue
        pairs = PairLabels.from_specs(labels, clips[embeddings.readable])
        video, audio = (embeddings.embedding[key, "everything"] for key in ("video", "audio"))
        ones = torch.ones(len(video), 1)
        for results, x, y in ((figures, video, audio), (equal_embeddings, ones, ones)):
            results.append(
                negative_figures(
                    x, y, pairs, title=pairs.title, item=pairs.item, temperature=temperature
                )
            )
    if not figures:
        return Unavailable(reason=f"no clip of the batches of {name} sampling could be read")
    return PolicyNegatives(
        policy=name,
        trained_with=drawn.trained_with,
        batch=describe_batch(drawn.policy),
        num_clips=drawn.policy.batch_size,
        num_batches=len(figures),
        figures=_summarize(figures),
        equal_embeddings=_summarize(equal_embeddings),
    )


def _summarize(results: list[NegativeFigures]) -> dict[str, Summary]:
    values = [asdict(result) for result in results]
    return {name: Summary.from_values([one[name] for one in values]) for name in values[0]}


def describe_batch(policy: SamplingConfig) -> str:
    """Describe the composition of a policy's first batch in words."""
    if policy.name == "uniform":
        return f"{policy.batch_size} clips of any title"
    return (
        f"{policy.titles_at(0)} titles x {policy.items_per_title} items x "
        f"{policy.clips_per_item_at(0)} clips"
    )


def draw_pool(
    source: ClipSource, level: str, *, num_clips: int, seed: int
) -> ClipSpecs | Unavailable:
    """Draw a pool of clips that has pairs of every relation and no two clips that overlap.

    All titles get the same number of clips, from up to 2 items of up to 8 clips each (16 of a
    film). Uniform sampling would give a large catalog hardly two clips of one title.
    """
    span = max(source.clip_format.span_seconds, source.clip_format.audio_seconds)
    num_titles = source.groups.num_groups
    wanted = min(num_clips, num_titles * _ITEMS_PER_TITLE * _MAX_CLIPS_PER_ITEM)
    while wanted >= _MIN_POOL_CLIPS:
        per_title = wanted // min(num_titles, _MAX_TITLES)
        per_item = min(_MAX_CLIPS_PER_ITEM, max(1, per_title // _ITEMS_PER_TITLE))
        per_title = per_item * _ITEMS_PER_TITLE
        policy = SamplingConfig.model_validate(
            {
                "name": "hierarchical",
                "batch_size": wanted // per_title * per_title,
                "items_per_title": _ITEMS_PER_TITLE,
                "clips_per_item": per_item,
                "level": level,
                "min_gap_seconds": span,
            }
        )
        try:
            sampler = ClipSampler(source.snapshot, policy, source.clip_format)
        except ValueError:  # The titles are too short for so many clips that do not overlap.
            wanted = wanted * 3 // 4
            continue
        return sampler.draw(seed=seed, step=0)
    return Unavailable(
        reason=f"the titles are too short for {_MIN_POOL_CLIPS} clips that do not overlap"
    )


def measure_pool(
    clips: ClipSpecs | Unavailable,
    source: ClipSource,
    embedder: Embedder,
    labels: PairLabelConfig,
    temperature: float,
) -> PoolStatistics | Unavailable:
    """Embed a pool of clips, if there is one, and compute the statistics of all its pairs."""
    if isinstance(clips, Unavailable):
        return clips
    embeddings = embedder.embed(clips, "pool of clips")
    clips = clips[embeddings.readable]
    if len(clips) < _MIN_POOL_CLIPS:
        return Unavailable(reason=f"only {len(clips)} clips of the pool could be read")
    titles, title = np.unique(clips.title, return_inverse=True)
    pool = Pool(
        video=embeddings.embedding["video", "everything"],
        audio=embeddings.embedding["audio", "everything"],
        title=torch.from_numpy(title.astype(np.int64)),
        item=torch.from_numpy(clips.item),
        labels=PairLabels.from_specs(labels, clips).dense(),
    )

    def describe(pairs: list[tuple[int, int]]) -> tuple[NegativePair, ...]:
        return tuple(
            NegativePair(
                video=source.describe(clips[i]),
                audio=source.describe(clips[j]),
                relation=RELATIONS[int(pool.relation(slice(i, i + 1))[0, j])],
                similarity=float(pool.video[i] @ pool.audio[j]),
                own_similarity=float(pool.video[i] @ pool.audio[i]),
                agreement=float(pool.agreement(slice(i, i + 1))[0, j]),
            )
            for i, j in pairs
        )

    return PoolStatistics(
        num_clips=len(clips),
        relations=measure_relations(pool),
        hardest_negatives=describe(hardest_negatives(pool, _NUM_SHOWN_PAIRS)),
        likely_false_negatives=describe(likely_false_negatives(pool, _NUM_SHOWN_PAIRS)),
        confusion=_measure_confusion(
            pool, [source.title_name(int(number)) for number in titles], temperature
        ),
    )


def _measure_confusion(
    pool: Pool, names: list[str], temperature: float
) -> TitleConfusion | Unavailable:
    if len(names) < 2:
        return Unavailable(reason="a confusion of titles needs at least two titles, and there is 1")
    lift = title_lift(pool, temperature)
    ranked = most_confusable(lift, _NUM_CONFUSABLE_TITLES)
    return TitleConfusion(
        titles=tuple(names),
        lift=lift,
        pairs=tuple((names[first], names[second], value) for first, second, value in ranked),
    )
