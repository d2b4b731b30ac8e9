"""Time and peak memory of the losses and of the figures of the negatives, up to 65,536 candidates.

    python -m benchmarks.losses --out out/losses --json out/losses.json [--parts largest]

Each measurement runs in its own process, so that its peak memory is its own. `peak_mib` is the peak
of the whole process, `added_mib` what the measured call added. A dense matrix of 65,536 x 65,536
logits takes 17 GB in float32, and a loss keeps several. The parts are:

    largest     InfoNCE and its gradients with 65,536 candidates: ten minutes on one core
    logged      the figures of the negatives, which every logged step computes, for as many clips
    objectives  every loss with 2,048 candidates: one minute
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import torch
from pydantic import TypeAdapter
from torch import Tensor
from torch.nn import functional

from benchmarks.figures import Figures, argument_parser, median_and_range
from toomuchtv.data.clip_specs import ClipSpec, ClipSpecs
from toomuchtv.data.pair_labels import PairLabelConfig, PairLabels
from toomuchtv.losses import LOSSES, LossConfig, MemoryBank, build_loss, negative_figures

DIM = 256
PARTS = ("largest", "logged", "objectives")


def measure_loss(name: str, num_clips: int) -> dict[str, float]:
    """Measure a loss of this package and its gradients."""
    config = TypeAdapter[LossConfig](LossConfig).validate_python({"name": name})
    loss = build_loss(config, embedding_dim=DIM)
    video, audio = _embeddings(num_clips)
    extra, index = {}, torch.arange(num_clips)
    if isinstance(loss, MemoryBank):
        extra["clip_keys"] = loss.clip_keys(index, index, index.double())
    return _measure(lambda: torch.autograd.backward(loss(video, audio, **extra)))


def measure_negative_figures(num_clips: int) -> dict[str, float]:
    """Measure the figures of the negatives of a batch of titles with 16 clips each."""
    video, audio = _embeddings(num_clips)
    specs = ClipSpecs.from_clips(
        ClipSpec(item=clip // 16, title=clip // 16, start_seconds=float(clip), seed=clip)
        for clip in range(num_clips)
    )
    labels = PairLabels.from_specs(PairLabelConfig(overlap_seconds=2.0), specs)
    return _measure(
        lambda: negative_figures(
            video.detach(), audio.detach(), labels,
            title=labels.title, item=labels.item, temperature=0.07,
        )
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
    if "objectives" in options.parts:
        for name in LOSSES:
            found = [_in_own_process(measure_loss, name, 2048) for _ in range(3)]
            values = median_and_range(f"{name}_2048_seconds", [one["seconds"] for one in found])
            for key in ("peak_mib", "added_mib"):
                values[f"{name}_2048_{key}"] = max(one[key] for one in found)
            figures.add(values)


if __name__ == "__main__":
    main()
