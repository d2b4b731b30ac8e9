"""A training whose batches an experiment chooses, built from the parts of the library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import torch

from toomuchtv.catalog.store import open_catalog
from toomuchtv.data.batches import PlannedBatches
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.data.loader import iterate_batches
from toomuchtv.errors import ToomuchtvError
from toomuchtv.training.device import choose_device, cuda_arithmetic
from toomuchtv.training.device_batch import Prefetcher
from toomuchtv.training.optimizer import learning_rate
from toomuchtv.training.run import Run, open_run
from toomuchtv.training.run_config import Config


@contextmanager
def opened_run(catalog: Path, path: Path, config: Config) -> Iterator[Run]:
    """Open a run or resume it, and save its encoders at the end."""
    device = choose_device(config.training.device)
    if config.training.num_threads:
        torch.set_num_threads(config.training.num_threads)
    with (
        open_catalog(catalog) as opened,
        cuda_arithmetic(device),
        open_run(opened, path, config, resume=True, device=device) as run,
    ):
        yield run
        run.encoder().save(path / "model")


def take_steps(
    run: Run,
    batches: PlannedBatches,
    steps: range,
    select: Callable[[ClipBatch], ClipBatch] = lambda batch: batch,
) -> None:
    """Train on the batches of some steps, and save a checkpoint after the last one.

    Args:
        run: The run, at the first of the steps.
        batches: Batches by step.
        steps: The steps; none if the range is empty.
        select: Returns the clips of a batch that are trained on.

    Raises:
        ToomuchtvError: A loss or a gradient was not finite.
    """
    training = run.config.training
    if not steps:
        return
    stream = iterate_batches(
        batches,
        start=steps.start,
        stop=steps.stop,
        num_workers=training.num_workers,
        pin_memory=run.device.type == "cuda",
    )
    with closing(stream):
        prepared = Prefetcher(map(select, stream), run.step.prepare, run.device)
        for step, batch in zip(steps, prepared, strict=True):
            result = run.step(batch, learning_rate(run.config.optimizer, step, training.steps))
            if step + 1 == steps.stop or (step + 1) % training.checkpoint_every == 0:
                if not result.is_finite:
                    raise ToomuchtvError(f"the loss of step {step} or its gradient is not finite")
                run.save(step + 1)
