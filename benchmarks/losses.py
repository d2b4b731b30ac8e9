"""Time and peak memory of the losses and of the figures of the negatives, up to 65,536 candidates.

    python -m benchmarks.losses --out out/losses --json out/losses.json [--parts largest]

Each measurement runs in its own process, so that its peak memory is its own. `peak_mib` is the peak
of the whole process, `added_mib` what the measured call added. A dense matrix of 65,536 x 65,536
logits takes 17 GB in float32, and a loss keeps several. The parts are:

    largest     InfoNCE and its gradients with 65,536 candidates: ten minutes on one core
    logged      the figures of the negatives, which every logged step computes, for as many
    dense       InfoNCE in chunks beside a dense matrix, up to 16,384 candidates: three minutes
    objectives  every loss with 2,048 candidates
    steps       whole optimizer steps of the preset tiny, in chunks and at once
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor
from torch.nn import functional

from benchmarks.figures import Figures, argument_parser, median_and_range
from toomuchtv.data.clip_specs import ClipBatch, ClipSpec, ClipSpecs
from toomuchtv.data.clip_transform import ClipTransform
from toomuchtv.data.pair_labels import PairLabelConfig, PairLabels
from toomuchtv.losses import LOSSES, LossConfig, MemoryBank, build_loss, negative_figures
from toomuchtv.models import TwoTower
from toomuchtv.training.run_config import load_config
from toomuchtv.training.step import TrainingStep

DIM = 256
PARTS = ("largest", "logged", "dense", "objectives", "steps")


def measure_loss(name: str, num_clips: int) -> dict[str, float]:
    """Measure a loss of this package and its gradients."""
    config = TypeAdapter[LossConfig](LossConfig).validate_python({"name": name})
    loss = build_loss(config, embedding_dim=DIM)
    video, audio = _embeddings(num_clips)
    extra, index = {}, torch.arange(num_clips)
    if isinstance(loss, MemoryBank):
        extra["clip_keys"] = loss.clip_keys(index, index, index.double())
    return _measure(lambda: torch.autograd.backward(loss(video, audio, **extra)))


def measure_dense_loss(num_clips: int) -> dict[str, float]:
    """Measure symmetric InfoNCE as two cross-entropies of a dense matrix."""
    video, audio = _embeddings(num_clips)
    own = torch.arange(num_clips)

    def loss() -> Tensor:
        logits = video @ audio.T / 0.07
        return 0.5 * (
            functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)
        )

    return _measure(lambda: torch.autograd.backward(loss()))


def measure_negative_figures(num_clips: int) -> dict[str, float]:
    """Measure the figures of the negatives of a batch of titles with 16 clips each."""
    video, audio = _embeddings(num_clips)
    specs = _specs(num_clips, clips_per_title=16)
    labels = PairLabels.from_specs(PairLabelConfig(overlap_seconds=2.0), specs)
    return _measure(
        lambda: negative_figures(
            video.detach(), audio.detach(), labels,
            title=labels.title, item=labels.item, temperature=0.07,
        )
    )  # fmt: skip


def measure_step(num_clips: int, chunk_size: int) -> dict[str, float]:
    """Measure one optimizer step of the preset tiny on random clips."""
    config = load_config(preset="tiny")
    model = TwoTower.from_config(config.model, seed=0)
    step = TrainingStep(
        model=model,
        loss=build_loss(config.loss, embedding_dim=DIM),
        transform=ClipTransform(config.transform, config.augmentation),
        optimizer=torch.optim.AdamW(model.parameters(), fused=True),
        pair_labels=PairLabelConfig(),
        precision=torch.bfloat16,
        max_gradient_norm=1.0,
        chunk_size=chunk_size,
    )
    side = 64
    shape = (num_clips, config.clip.frames, side * 3 // 2, side)
    planes = np.random.default_rng(0).integers(16, 235, size=shape, dtype=np.uint8)
    batch = ClipBatch(
        video=torch.from_numpy(planes),
        waveform=torch.rand(num_clips, config.clip.num_samples) - 0.5,
        specs=_specs(num_clips, clips_per_title=1),
        valid=torch.ones(num_clips, dtype=torch.bool),
        step=0,
    )
    return _measure(lambda: step(batch, 1e-3))


def _specs(num_clips: int, *, clips_per_title: int) -> ClipSpecs:
    return ClipSpecs.from_clips(
        ClipSpec(
            item=clip // clips_per_title, title=clip // clips_per_title,
            start_seconds=float(clip), seed=clip,
        )
        for clip in range(num_clips)
    )  # fmt: skip


def _embeddings(num_clips: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        functional.normalize(
            torch.randn(num_clips, DIM, generator=generator), dim=1
        ).requires_grad_()
        for _ in range(2)
    ]


def _measure(call: Callable[[], object]) -> dict[str, float]:
    # Load libraries and start threads first: neither is a part of what is measured.
    side = torch.randn(64, DIM, requires_grad=True)
    torch.autograd.backward(torch.logsumexp(side @ side.T, dim=1).sum())
    before = _peak_mib()
    begun = time.perf_counter()
    call()
    seconds = time.perf_counter() - begun
    peak = _peak_mib()
    return {"seconds": seconds, "peak_mib": peak, "added_mib": peak - before}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _in_own_process(
    function: Callable[..., dict[str, float]], *arguments: object
) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def main() -> None:
    """Run the parts that were asked for."""
    parser = argument_parser(__doc__)
    parser.add_argument("--largest", type=int, default=65_536, help="candidates of the first parts")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    options = parser.parse_args()
    figures, largest = Figures("losses", options.json), options.largest

    def measure(name: str, function: Callable[..., dict[str, float]], *arguments: object) -> None:
        found = _in_own_process(function, *arguments)
        figures.add({f"{name}_{key}": value for key, value in found.items()})

    if "largest" in options.parts:
        measure(f"info_nce_{largest}", measure_loss, "info_nce", largest)
    if "logged" in options.parts:
        measure(f"negative_figures_{largest}", measure_negative_figures, largest)
    if "dense" in options.parts:
        for num_clips in (4096, 8192, 16_384):
            measure(f"dense_{num_clips}", measure_dense_loss, num_clips)
            measure(f"info_nce_{num_clips}", measure_loss, "info_nce", num_clips)
    if "objectives" in options.parts:
        for name in LOSSES:
            found = [_in_own_process(measure_loss, name, 2048) for _ in range(3)]
            values = median_and_range(f"{name}_2048_seconds", [one["seconds"] for one in found])
            for key in ("peak_mib", "added_mib"):
                values[f"{name}_2048_{key}"] = max(one[key] for one in found)
            figures.add(values)
    if "steps" in options.parts:
        for num_clips, chunk_size in ((256, 0), (256, 32), (1024, 32)):
            name = f"step_of_{num_clips}_in_chunks_of_{chunk_size}"
            measure(name, measure_step, num_clips, chunk_size)


if __name__ == "__main__":
    main()
