"""What each sampling policy would offer a finished model: batches drawn by the exact rule."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from toomuchtv.data.clip_specs import ClipSpecs
from toomuchtv.data.config import SamplingConfig, fit_batch_size, other_policy
from toomuchtv.data.pair_labels import PairLabelConfig, PairLabels
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.diagnosis.embed import Embedder
from toomuchtv.diagnosis.results import Missing, PolicyFigures, Spread
from toomuchtv.diagnosis.source import Source
from toomuchtv.losses import NegativeFigures, negative_figures


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBatches:
    """Planned batches of one policy, before anything is decoded."""

    policy: SamplingConfig
    trained_with: bool
    plans: tuple[ClipSpecs, ...]

    @property
    def clips(self) -> int:
        """Clips of all batches."""
        return sum(len(plan) for plan in self.plans)


def plan_batches(
    source: Source, policy: SamplingConfig, *, largest: int, num_batches: int, seed: int
) -> list[PolicyBatches | Missing]:
    """Plan batches of the policy trained with, and of the other; no larger than `largest`."""
    planned: list[PolicyBatches | Missing] = []
    trained = fit_batch_size(policy, min(policy.batch_size, largest))
    for one, trained_with in ((trained, True), (other_policy(trained), False)):
        try:
            planner = ClipSampler(source.snapshot, one, source.clip_format)
        except ValueError as error:
            planned.append(Missing(reason=f"no batch of {one.name} sampling: {error}"))
            continue
        plans = tuple(planner.draw(seed=seed, step=step) for step in range(num_batches))
        planned.append(PolicyBatches(policy=one, trained_with=trained_with, plans=plans))
    return planned


def measure_batches(
    batches: PolicyBatches, embedder: Embedder, roles: PairLabelConfig, temperature: float
) -> PolicyFigures | Missing:
    """Embed the planned batches and count how hard their negatives are."""
    figures: list[NegativeFigures] = []
    even: list[NegativeFigures] = []
    for plan in batches.plans:
        vectors = embedder.embed(
            plan.item,
            plan.start_seconds,
            audio_track=plan.audio_track,
            what=f"{batches.policy.name} sampling",
        )
        if vectors.kept.sum() < 2:
            continue
        pairs = PairLabels.from_specs(roles, plan[vectors.kept])
        video, audio = (vectors.embedding[sense, "everything"] for sense in ("video", "audio"))
        equal = torch.ones(len(video), 1)
        for found, pair in ((figures, (video, audio)), (even, (equal, equal))):
            found.append(
                negative_figures(
                    *pair, pairs, title=pairs.title, item=pairs.item, temperature=temperature
                )
            )
    if not figures:
        return Missing(reason=f"no clip of {batches.policy.name} sampling could be read")
    return PolicyFigures(
        policy=batches.policy.name,
        trained_with=batches.trained_with,
        batch=describe_batch(batches.policy),
        clips=batches.policy.batch_size,
        batches=len(figures),
        figures=_spreads(figures),
        even=_spreads(even),
    )


def _spreads(found: list[NegativeFigures]) -> dict[str, Spread]:
    values = [asdict(one) for one in found]
    return {name: Spread.of([one[name] for one in values]) for name in values[0]}


def describe_batch(policy: SamplingConfig) -> str:
    """Say what a batch is made of."""
    if policy.name == "uniform":
        return f"{policy.batch_size} moments from anywhere"
    return (
        f"{policy.titles_at(0)} titles x {policy.items_per_title} items x "
        f"{policy.clips_per_item_at(0)} moments"
    )
