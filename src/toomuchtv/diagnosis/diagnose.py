"""Diagnoses a finished run on a catalog."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.catalog.store import Catalog
from toomuchtv.data.clip_specs import ClipSpecs
from toomuchtv.diagnosis.embedding import ClipSource, Embedder, ProgressCounter
from toomuchtv.diagnosis.negatives import (
    PolicyBatches,
    draw_policy_batches,
    draw_pool,
    measure_policy,
    measure_pool,
)
from toomuchtv.diagnosis.probes import (
    FIT_COST,
    ProbeClips,
    draw_event_clips,
    draw_title_clips,
    fit_probes,
    probe_settings,
)
from toomuchtv.diagnosis.results import Diagnosis, Unavailable
from toomuchtv.errors import CatalogError, CheckpointError
from toomuchtv.inference.pretrained import load
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.run_config import Config, load_config
from toomuchtv.training.split import split_of_run

Split = Literal["auto", "held_out", "train", "all"]

MIN_CLIPS, MAX_CLIPS = 32, 4096
_NUM_BATCHES = 5
# With fewer held-out titles than this, a batch of several titles cannot be drawn from them.
_MIN_HELD_OUT_TITLES = 4


def diagnose(
    run: str | os.PathLike[str],
    catalog: Catalog,
    *,
    split: Split = "auto",
    clips: int = 512,
    seed: int = 0,
    truth: str | os.PathLike[str] | None = None,
    progress: ProgressCallback = no_progress,
) -> Diagnosis:
    """Measure how hard a run's negatives are, and what its embeddings encode.

    The cost does not grow with the catalog: at most `clips` clips are drawn per figure, and they
    are decoded in small chunks. The same arguments give the same figures.

    Args:
        run: Folder of a run whose training has finished.
        catalog: A catalog with proxies that fit the run, usually the one it was trained on.
        split: Titles to use. `auto` uses the held-out titles if there are at least four, and
            otherwise all titles; then a note says so.
        clips: Number of clips in the pool and in each probe, and the largest batch of a policy.
        seed: Seed of everything that is drawn.
        truth: Folder of labeled events; see `toomuchtv.diagnosis.probes`. The default is the folder
            `ground_truth` beside the library, if it exists.
        progress: Receives the progress, in clips.

    Returns:
        All figures. A part that cannot be measured is `Unavailable`, with the reason.

    Raises:
        CheckpointError: The folder is not that of a run, or the run has no model yet.
        CatalogError: No title of this split has a proxy in this catalog.
        ValueError: The proxies do not fit the run's clips, or an argument is out of range.
    """
    run = Path(run)
    if not MIN_CLIPS <= clips <= MAX_CLIPS:
        raise ValueError(f"clips must be {MIN_CLIPS} to {MAX_CLIPS}, got {clips}")
    event_folder = catalog.library.parent / "ground_truth" if truth is None else Path(truth)
    if truth is not None and not event_folder.is_dir():
        raise ValueError(
            f"there is no folder of events at {str(event_folder)!r}: see "
            "docs/guide/read_a_diagnosis.md"
        )
    pretrained, config = load(run), _load_run_config(run)
    labels, temperature = config.pair_labels, _last_temperature(run, config)
    snapshot, side, notes = _select_titles(run, catalog, split)
    source = ClipSource(
        catalog,
        snapshot,
        config.sampling,
        pretrained.config.clip,
        pretrained.config.transform.log_mel,
    )

    # Everything is drawn before the first clip is decoded, so that the total cost is known.
    policies = draw_policy_batches(
        source, config.sampling, max_clips=clips, num_batches=_NUM_BATCHES, seed=seed
    )
    pool = draw_pool(source, config.sampling.level, num_clips=clips, seed=seed)
    title_clips = draw_title_clips(source, num_clips=clips, seed=seed)
    event_clips = draw_event_clips(source, catalog, event_folder, num_clips=clips, seed=seed)

    counter = ProgressCounter(progress, _total_cost(policies, pool, (title_clips, event_clips)))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trained, fresh = (
        Embedder(source, encoder.to(device), counter)
        for encoder in (pretrained, load(run, untrained=True, seed=seed))
    )
    return Diagnosis(
        run=run,
        catalog=catalog.folder,
        split=side,
        num_titles=source.groups.num_groups,
        num_items=len(source.groups.rows),
        temperature=temperature,
        seed=seed,
        policies=tuple(measure_policy(policy, trained, labels, temperature) for policy in policies),
        pool=measure_pool(pool, source, trained, labels, temperature),
        title_probes=fit_probes(
            title_clips, "title", trained=trained, fresh=fresh, counter=counter
        ),
        event_probes=fit_probes(
            event_clips, "event", trained=trained, fresh=fresh, counter=counter
        ),
        notes=(
            *notes,
            *_list_limitations(catalog, trained.failures + fresh.failures, config, clips),
        ),
    )


def _total_cost(
    policies: Sequence[PolicyBatches | Unavailable],
    pool: ClipSpecs | Unavailable,
    probes: Sequence[ProbeClips | Unavailable],
) -> int:
    """Return the number of clips to embed, plus the cost of fitting the probes in clips."""
    batches = [
        clips
        for policy in policies
        if isinstance(policy, PolicyBatches)
        for clips in policy.batches
    ]
    embedded_once = [*batches, *([pool] if isinstance(pool, ClipSpecs) else [])]
    num_fits = len(probe_settings(trained=True)) + len(probe_settings(trained=False))
    return sum(map(len, embedded_once)) + sum(
        # The trained and the fresh encoders embed the clips of a probe.
        2 * len(probe) + num_fits * FIT_COST
        for probe in probes
        if isinstance(probe, ProbeClips)
    )


def _list_limitations(
    catalog: Catalog, failures: list[str], config: Config, max_clips: int
) -> list[str]:
    notes = []
    if failures:
        # People share the page, so it names files of the catalog without the folder.
        first = failures[0].replace(f"{catalog.folder}{os.sep}", "")
        notes.append(f"{len(failures)} clips could not be read; the first message: {first}")
    if config.sampling.batch_size > max_clips:
        notes.append(
            f"the batches have at most {max_clips} clips instead of {config.sampling.batch_size}, "
            "so they have fewer negatives, and fewer effective negatives, than in training"
        )
    return notes


def _load_run_config(run: Path) -> Config:
    path = run / "config.toml"
    if not path.exists():
        raise CheckpointError(
            f"{str(run)!r} has no config.toml, so its sampling is not known: pass the folder of a "
            "run, not that of a model"
        )
    return load_config(file=path)


def _select_titles(
    run: Path, catalog: Catalog, split: Split
) -> tuple[CatalogSnapshot, str, list[str]]:
    """Return the snapshot of the titles to use, the split that they are, and notes about it."""
    snapshot = catalog.snapshot()
    if len(snapshot) == 0:
        raise CatalogError(
            f"no item of the catalog {str(catalog.folder)!r} has a proxy: run `toomuchtv prepare`"
        )
    known = split_of_run(run, catalog)
    notes = []
    if not any(known.values()):
        notes.append("no title of this catalog is in the run's split, so all are new to the run")
    if split == "auto":
        split = "held_out" if len(known["held_out"]) >= _MIN_HELD_OUT_TITLES else "all"
        if split == "all" and any(known.values()):
            notes.append(
                "most figures compare titles, so the training titles "
                f"({len(known['train'])}) are used in addition to the held-out titles "
                f"({len(known['held_out'])})"
            )
    if split == "all":
        return snapshot, "all", notes
    if not known[split]:
        raise CatalogError(
            f"no title of the run's split {split!r} is prepared in {str(catalog.folder)!r}: pass "
            "the catalog that the run was trained on, or --split all"
        )
    return snapshot.of_titles(known[split]), split, notes


def _last_temperature(run: Path, config: Config) -> float:
    """Return the temperature that was logged last, because it may be learned."""
    logged = (line.get("temperature") for line in reversed(read_metrics(run)))
    return next((value for value in logged if value), config.loss.temperature)
