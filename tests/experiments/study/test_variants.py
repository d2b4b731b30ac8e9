"""Every variant of the larger study takes training steps, on a small library of real files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from experiments.study.conditions import Library, sampled
from experiments.study.settings import condition_config
from experiments.study.size import Detail, PlannedVariant, read_size
from toomuchtv.catalog.store import open_catalog
from toomuchtv.training.run import open_run
from toomuchtv.training.run_config import load_config

LARGE = read_size(Path(__file__).parents[3] / "benchmarks" / "study_large.toml")
SMALL = LARGE.model_copy(
    update={
        "width": 0.0625,
        "detail": Detail(sample_rate_hz=16_000, clip_audio_seconds=0.5, crop=16, num_bands=32),
    }
)
#: What the catalog of the tests is too small for. All values of a curriculum divide the batch.
REDUCED = ("training.steps=2", "sampling.batch_size=32", "sampling.min_gap_seconds=0.125")


@pytest.mark.parametrize("planned", LARGE.variants, ids=lambda one: one.name)
def test_a_variant_of_the_larger_study_can_be_trained(
    planned: PlannedVariant, prepared_catalog: Path, tmp_path: Path
) -> None:
    library = Library(content="shows", seed=1)
    condition = sampled(library, planned.clips_per_title[-1], variant=planned.variant)
    (tmp_path / "config.toml").write_text(condition_config(SMALL, condition).to_toml())
    config = load_config(file=tmp_path / "config.toml", settings=REDUCED)
    with (
        open_catalog(prepared_catalog) as catalog,
        open_run(
            catalog, tmp_path / "run", config, resume=False, device=torch.device("cpu")
        ) as run,
    ):
        before = [value.clone() for value in run.step.model.parameters()]
        results = [run.step(run.batches[number], learning_rate=1e-3) for number in range(2)]
        assert all(math.isfinite(one.loss) and one.gradient_norm > 0 for one in results)
        moved = [
            not torch.equal(*pair) for pair in zip(before, run.step.model.parameters(), strict=True)
        ]
        assert sum(moved) > 0.9 * len(moved)
        assert math.isfinite(run.step.metrics(results[-1])["temperature"])
