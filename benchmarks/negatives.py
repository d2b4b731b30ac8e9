"""What seeing the negatives costs a training: the logged figures against the steps between them.

A step of the preset `tiny` on random clips, and what the figures of the batch, the buffer of recent
embeddings and the figures of the other policy's batch cost at several batch sizes. The cost of a
larger step is taken as that of its clips: the smallest preset's, so the shares are upper bounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch

from benchmarks.figures import Figures, parser, spread
from toomuchtv.catalog.snapshot import CatalogSnapshot, no_segments
from toomuchtv.data.batches import ClipBatch
from toomuchtv.data.clip_transform import ClipTransform
from toomuchtv.data.pair_labels import PairLabelConfig, PairLabels
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.inference.pretrained import fresh_model
from toomuchtv.losses import InfoNCE, InfoNCEConfig, Moments, negative_figures
from toomuchtv.training.alternative import AlternativeNegatives
from toomuchtv.training.optimizer import build_optimizer
from toomuchtv.training.run_config import Config, load_config
from toomuchtv.training.step import GatheredBatch, TrainingStep

_SIZES = (64, 256, 1024)
_TITLES, _ITEM_SECONDS = 1000, 1200
_STEPS, _REPEATS, _WARM_UP = 12, 15, 2
_SIDE = 96


def main() -> None:
    """Time a step and the figures, and print their ratio over a logging interval."""
    options = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    config = load_config(preset="tiny")
    step_seconds = time_steps(config)
    values = spread("step_ms_64", [1000 * seconds for seconds in step_seconds])
    clip_seconds = statistics.median(step_seconds) / config.sampling.batch_size
    every = config.training.log_every
    names: tuple[Literal["hierarchical", "uniform"], ...] = ("hierarchical", "uniform")
    for name in names:
        for size in _SIZES:
            batch_ms, add_ms, other_ms = time_figures(config, name, size)
            key = f"{name}_{size}"
            values |= {f"batch_figures_ms_{key}": batch_ms, f"buffer_ms_{key}": add_ms,
                       f"other_policy_ms_{key}": other_ms}  # fmt: skip
            interval_ms = 1000 * every * clip_seconds * size
            cost_ms = batch_ms + other_ms + every * add_ms
            values[f"diagnostics_percent_{key}"] = 100 * cost_ms / interval_ms
    Figures(benchmark="negatives", values=values).publish(options.json)


def time_steps(config: Config) -> list[float]:
    """Seconds of training steps on random clips that are in memory already."""
    model = fresh_model(config.model, 0)
    objective = InfoNCE(InfoNCEConfig())
    step = TrainingStep(
        model=model,
        objective=objective,
        to_input=ClipTransform(config.input, config.augment),
        optimizer=build_optimizer([model, objective], config.optimizer),
        roles=config.roles,
        precision=torch.float32,
        clip_gradient_norm=1.0,
    )
    size, clip = config.sampling.batch_size, config.clip
    rng = np.random.default_rng(0)
    planes = rng.integers(0, 255, (size, clip.frames, _SIDE * 3 // 2, _SIDE), dtype=np.uint8)
    sound = rng.standard_normal((size, clip.num_samples)).astype(np.float32)
    batch = ClipBatch(
        video=torch.from_numpy(planes),
        waveform=torch.from_numpy(0.1 * sound),
        title=torch.arange(size) // 16,
        item=torch.arange(size) // 16,
        start_seconds=torch.arange(size, dtype=torch.float64),
        audio_track=torch.zeros(size, dtype=torch.int64),
        recurrence=torch.full((size,), -1),
        valid=torch.ones(size, dtype=torch.bool),
        seed=np.arange(size, dtype=np.uint64),
        step=0,
        failures=(),
    )
    return [seconds(lambda: step(batch, 1e-3)) for _ in range(_WARM_UP + _STEPS)][_WARM_UP:]


def time_figures(
    config: Config, name: Literal["hierarchical", "uniform"], size: int
) -> tuple[float, float, float]:
    """Milliseconds of a batch's figures, of keeping it, and of the other policy's figures."""
    policy = config.sampling.model_copy(update={"name": name, "batch_size": size})
    planner = ClipSampler(snapshot(), policy, config.clip)
    dim = config.model.embedding_dim
    kept = AlternativeNegatives(planner, config.roles, embedding_dim=dim, seed=0)
    batches = [gathered(planner, config.roles, step, dim) for step in range(20)]
    for batch in batches:
        kept.add(batch)
    first = batches[0]

    def figures() -> object:
        return negative_figures(
            first.video, first.audio, first.roles, title=first.moments.title,
            item=first.moments.item, temperature=0.07,
        )  # fmt: skip

    works: tuple[Callable[[], object], ...] = (
        figures,
        lambda: kept.add(first),
        lambda: kept.figures(1, 0.07),
    )
    medians = [
        statistics.median([seconds(work) for _ in range(_WARM_UP + _REPEATS)][_WARM_UP:])
        for work in works
    ]
    return 1000 * medians[0], 1000 * medians[1], 1000 * medians[2]


def snapshot() -> CatalogSnapshot:
    """A thousand films of twenty minutes."""
    number = np.arange(_TITLES, dtype=np.int32)
    return CatalogSnapshot(
        item_id=number,
        title_id=number,
        kind=np.zeros(_TITLES, np.uint8),
        season=np.full(_TITLES, -1, np.int16),
        num_frames=np.full(_TITLES, 8 * _ITEM_SECONDS, np.int32),
        frame_rate=np.full(_TITLES, 8.0, np.float32),
        num_tracks=np.ones(_TITLES, np.uint8),
        segments=no_segments(),
    )


def gathered(planner: ClipSampler, roles: PairLabelConfig, step: int, dim: int) -> GatheredBatch:
    """A step's plan with random embeddings."""
    plan = planner.plan(seed=0, step=step)
    generator = torch.Generator().manual_seed(step)
    video, audio = (
        torch.nn.functional.normalize(torch.randn(len(plan), dim, generator=generator), dim=1)
        for _ in range(2)
    )
    pairs = PairLabels.of_plan(roles, plan)
    moments = Moments(
        title=pairs.title, item=pairs.item, start_seconds=pairs.start_seconds,
        audio_track=pairs.audio_track, valid=pairs.valid,
    )  # fmt: skip
    return GatheredBatch(video=video, audio=audio, roles=pairs, moments=moments)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
