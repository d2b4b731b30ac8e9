"""One pool of moments, looked at pair by pair."""

from __future__ import annotations

import numpy as np
import torch

from toomuchtv.data.clip_specs import ClipSpecs
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.pair_labels import PairLabelConfig, PairLabels
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.diagnosis.embed import Embedder
from toomuchtv.diagnosis.pairs import (
    RELATIONS,
    Pool,
    agreement,
    confusable_pairs,
    hardest_pairs,
    histograms,
    likely_false_pairs,
    title_lift,
)
from toomuchtv.diagnosis.results import (
    Confusion,
    Missing,
    Pair,
    RelationFigures,
    Survey,
)
from toomuchtv.diagnosis.source import Source

_ITEMS_A_TITLE, _CLIPS_AN_ITEM = 2, 8
# More would not be read off a matrix; a larger pool has more of each.
_MOST_TITLES = 32
_FEWEST_CLIPS = 16
_NUM_PAIRS = 6
_NUM_CONFUSABLE = 8


def plan_pool(source: Source, level: str, *, num_clips: int, seed: int) -> ClipSpecs | Missing:
    """Plan a pool in which every relation has its pairs; no two of its moments overlap.

    Titles alike, up to 2 items of each and 8 moments of an item (16 of a film): by duration, as
    `uniform` draws, a large catalog would give hardly a pair of one title.
    """
    span = max(source.clip_format.span_seconds, source.clip_format.audio_seconds)
    wanted = min(num_clips, source.groups.num_groups * _ITEMS_A_TITLE * _CLIPS_AN_ITEM)
    while wanted >= _FEWEST_CLIPS:
        a_title = wanted // min(source.groups.num_groups, _MOST_TITLES)
        clips = min(_CLIPS_AN_ITEM, max(1, a_title // _ITEMS_A_TITLE))
        policy = SamplingConfig.model_validate(
            {
                "name": "hierarchical",
                "batch_size": wanted // (clips * _ITEMS_A_TITLE) * clips * _ITEMS_A_TITLE,
                "items_per_title": _ITEMS_A_TITLE,
                "clips_per_item": clips,
                "level": level,
                "min_gap_seconds": span,
            }
        )
        try:
            planner = ClipSampler(source.snapshot, policy, source.clip_format)
        except ValueError:
            wanted = wanted * 3 // 4
            continue
        return planner.draw(seed=seed, step=0)
    return Missing(
        reason=f"the titles looked at have no room for {_FEWEST_CLIPS} moments that do not overlap"
    )


def survey_pool(
    plan: ClipSpecs, source: Source, embedder: Embedder, roles: PairLabelConfig, temperature: float
) -> Survey | Missing:
    """Embed a pool and say what its pairs show."""
    vectors = embedder.embed(plan.item, plan.start_seconds, what="all pairs of a pool")
    plan = plan[vectors.kept]
    row, start, group = plan.item, plan.start_seconds, plan.title
    if len(row) < _FEWEST_CLIPS:
        return Missing(reason=f"only {len(row)} of the pool's moments could be read")
    groups, title = np.unique(group, return_inverse=True)
    pool = Pool(
        video=vectors.embedding["video", "everything"],
        audio=vectors.embedding["audio", "everything"],
        title=torch.from_numpy(title.astype(np.int64)),
        item=torch.from_numpy(row),
        role=PairLabels.from_specs(roles, plan).dense(),
    )

    def described(pairs: list[tuple[int, int]]) -> tuple[Pair, ...]:
        return tuple(
            Pair(
                video=source.moment(int(row[i]), float(start[i])),
                audio=source.moment(int(row[j]), float(start[j])),
                relation=RELATIONS[int(pool.relation(slice(i, i + 1))[0, j])],
                similarity=float(pool.video[i] @ pool.audio[j]),
                own_similarity=float(pool.video[i] @ pool.audio[i]),
                alike=float(agreement(pool, slice(i, i + 1))[0, j]),
            )
            for i, j in pairs
        )

    return Survey(
        clips=len(row),
        relations=_relations(pool),
        hardest=described(hardest_pairs(pool, _NUM_PAIRS)),
        likely_false=described(likely_false_pairs(pool, _NUM_PAIRS)),
        confusion=_confusion(pool, [source.name(int(one)) for one in groups], temperature),
    )


def _relations(pool: Pool) -> tuple[RelationFigures, ...]:
    found = histograms(pool)
    return tuple(
        RelationFigures(
            relation=relation,
            pairs=int(found.counts[index].sum()),
            mean=float(found.mean[index]),
            std=float(found.std[index]),
            nearer_than_own=float(found.nearer_than_own[index]),
            histogram=tuple(found.counts[index].tolist()),
        )
        for index, relation in enumerate(RELATIONS)
    )


def _confusion(pool: Pool, names: list[str], temperature: float) -> Confusion | Missing:
    if len(names) < 2:
        return Missing(reason="there is one title only: it has no other to be confused with")
    lift = title_lift(pool, temperature)
    return Confusion(
        titles=tuple(names),
        lift=lift,
        pairs=tuple(
            (names[first], names[second], value)
            for first, second, value in confusable_pairs(lift, _NUM_CONFUSABLE)
        ),
    )
