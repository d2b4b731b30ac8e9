"""A finished run, looked at on a catalog."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.catalog.store import Catalog
from toomuchtv.data.clip_specs import ClipSpecs
from toomuchtv.diagnosis.embed import Embedder, Tally
from toomuchtv.diagnosis.policies import PolicyBatches, measure_batches, plan_batches
from toomuchtv.diagnosis.probe_clips import (
    ProbeMoments,
    event_moments,
    title_moments,
)
from toomuchtv.diagnosis.probes import FIT_COST, probe, probed
from toomuchtv.diagnosis.results import (
    Diagnosis,
    Missing,
    PolicyFigures,
    ProbeFigures,
    Survey,
)
from toomuchtv.diagnosis.source import Source
from toomuchtv.diagnosis.survey import plan_pool, survey_pool
from toomuchtv.errors import CatalogError, CheckpointError
from toomuchtv.evaluation.retrieval_benchmarks import run_split
from toomuchtv.inference.pretrained import load
from toomuchtv.training.run_config import Config, load_config

Split = Literal["auto", "held_out", "train", "all"]

FEWEST_CLIPS, MOST_CLIPS = 32, 4096
_BATCHES = 5
# With fewer titles than this held out, a batch of several titles cannot be drawn from them.
_FEWEST_HELD_OUT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """All that will be embedded, drawn before the first clip is decoded."""

    policies: list[PolicyBatches | Missing]
    pool: ClipSpecs | Missing
    titles: ProbeMoments | Missing
    events: ProbeMoments | Missing

    @property
    def cost(self) -> int:
        """In clips, for the progress bar."""
        total = sum(one.clips for one in self.policies if isinstance(one, PolicyBatches))
        total += 0 if isinstance(self.pool, Missing) else len(self.pool)
        fits = len(probed(True)) + len(probed(False))
        for moments in (self.titles, self.events):
            if not isinstance(moments, Missing):
                total += 2 * len(moments) + fits * FIT_COST
        return total


def diagnose(
    run: Path,
    catalog: Catalog,
    *,
    split: Split = "auto",
    clips: int = 512,
    seed: int = 0,
    truth: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> Diagnosis:
    """Say how hard a run's negatives are and what its embeddings know.

    Only blocks of clips are held at a time, and no more than `clips` moments a figure are drawn,
    whatever the size of the catalog. The same arguments give the same figures.

    Args:
        run: The run's folder; its training must have finished.
        catalog: With proxies that fit the run; usually the one it was trained on.
        split: Which titles to look at. `auto`: those held out where they are at least four, else
            all, which is then among the notes.
        clips: Moments in the pool, and in each probe; also the largest batch of a policy.
        seed: What is drawn follows from it.
        truth: Folder of events (see `labels`); by default `truth` beside the library, where the
            studio puts it.
        progress: Told how far it is, in clips.

    Raises:
        CheckpointError: The run has no model yet, or is no run's folder.
        CatalogError: No title of that side of the split is prepared in this catalog.
        ValueError: The proxies do not fit the run's clips, or an argument is out of range.
    """
    if not FEWEST_CLIPS <= clips <= MOST_CLIPS:
        raise ValueError(f"clips must be {FEWEST_CLIPS} to {MOST_CLIPS}, got {clips}")
    if truth is not None and not truth.is_dir():
        raise ValueError(f"there is no folder of events at {str(truth)!r}: see docs/diagnose.md")
    pretrained, fresh = load(run), load(run, untrained=True, seed=seed)
    config = _run_config(run)
    snapshot, side, notes = _chosen_side(run, catalog, split)
    source = Source(
        catalog,
        snapshot,
        config.sampling,
        pretrained.config.clip,
        pretrained.config.transform.log_mel,
    )
    plan = _drawn(source, config, catalog, truth, clips=clips, seed=seed)
    tally = Tally(progress, plan.cost)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trained, untrained = (Embedder(source, one.to(device), tally) for one in (pretrained, fresh))
    temperature = _temperature(run, config)
    found = _measured(plan, source, trained, untrained, tally, config, temperature)
    return Diagnosis(
        run=run,
        catalog=catalog.folder,
        split=side,
        titles=source.groups.num_groups,
        items=len(source.groups.rows),
        temperature=temperature,
        seed=seed,
        policies=found.policies,
        survey=found.survey,
        title_probes=found.title_probes,
        event_probes=found.event_probes,
        notes=(*notes, *_reservations(trained.failures + untrained.failures, config, clips)),
    )


def _drawn(
    source: Source, config: Config, catalog: Catalog, truth: Path | None, *, clips: int, seed: int
) -> _Plan:
    """Draw all moments that will be looked at."""
    events_of = truth if truth is not None else catalog.library.parent / "ground_truth"
    return _Plan(
        policies=list(
            plan_batches(source, config.sampling, largest=clips, num_batches=_BATCHES, seed=seed)
        ),
        pool=plan_pool(source, config.sampling.level, num_clips=clips, seed=seed),
        titles=title_moments(source, num_clips=clips, seed=seed),
        events=event_moments(source, catalog, events_of, num_clips=clips, seed=seed),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """What came of each part of a plan, or why it is missing."""

    policies: tuple[PolicyFigures | Missing, ...]
    survey: Survey | Missing
    title_probes: tuple[ProbeFigures, ...] | Missing
    event_probes: tuple[ProbeFigures, ...] | Missing


def _measured(
    plan: _Plan,
    source: Source,
    trained: Embedder,
    fresh: Embedder,
    tally: Tally,
    config: Config,
    temperature: float,
) -> _Measured:
    """Embed what was drawn, part by part, and measure it."""
    policies = tuple(
        one
        if isinstance(one, Missing)
        else measure_batches(one, trained, config.pair_labels, temperature)
        for one in plan.policies
    )
    survey = (
        plan.pool
        if isinstance(plan.pool, Missing)
        else survey_pool(plan.pool, source, trained, config.pair_labels, temperature)
    )
    title_probes, event_probes = (
        moments
        if isinstance(moments, Missing)
        else probe(moments, target, trained=trained, fresh=fresh, tally=tally)
        for target, moments in (("title", plan.titles), ("event", plan.events))
    )
    return _Measured(
        policies=policies, survey=survey, title_probes=title_probes, event_probes=event_probes
    )


def _reservations(failures: list[str], config: Config, clips: int) -> list[str]:
    """What a reader must know: clips that could not be read, batches that were cut."""
    notes = []
    if failures:
        notes.append(f"{len(failures)} clips could not be read; the first: {failures[0]}")
    if config.sampling.batch_size > clips:
        notes.append(
            f"batches were cut from {config.sampling.batch_size} to at most {clips} clips: the "
            "number of negatives, and with it the effective number, is smaller than in training"
        )
    return notes


def _run_config(run: Path) -> Config:
    path = run / "config.toml"
    if not path.exists():
        raise CheckpointError(
            f"{str(run)!r} has no config.toml, so nobody knows how it sampled: give the folder of "
            "a run, not that of a model"
        )
    return load_config(file=path)


def _chosen_side(
    run: Path, catalog: Catalog, split: Split
) -> tuple[CatalogSnapshot, str, list[str]]:
    """The snapshot of the titles to look at, their side's name, and what to note about it."""
    snapshot = catalog.snapshot()
    if len(snapshot) == 0:
        raise CatalogError(
            f"no item of the catalog {str(catalog.folder)!r} has a proxy: run `toomuchtv prepare`"
        )
    sides = run_split(run, catalog.titles())
    prepared = set(snapshot.title_id.tolist())
    known = {side: [one for one in ids if one in prepared] for side, ids in sides.items()}
    notes = []
    if not any(known.values()):
        notes.append("the run's split names no title of this catalog: all of it is new to the run")
    if split == "auto":
        split = "held_out" if len(known["held_out"]) >= _FEWEST_HELD_OUT else "all"
        if split == "all" and any(known.values()):
            notes.append(
                f"most figures compare titles, and of those held out there are only "
                f"{len(known['held_out'])}: the {len(known['train'])} that were trained on are "
                "looked at too"
            )
    if split == "all":
        return snapshot, "all", notes
    if not known[split]:
        raise CatalogError(
            f"no title that the run has on its side {split!r} is prepared in "
            f"{str(catalog.folder)!r}: give the catalog it was trained on, or --split all"
        )
    return snapshot.of_titles(known[split]), split, notes


def _temperature(run: Path, config: Config) -> float:
    """What the loss divided similarities by: as logged last, for it may be learned."""
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    for line in reversed(lines):
        try:
            value = json.loads(line).get("temperature")
        except ValueError:  # a line cut off by a kill
            continue
        if isinstance(value, float) and value > 0:
            return value
    return float(config.loss.temperature)
