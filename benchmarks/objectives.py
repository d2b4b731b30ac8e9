"""What objectives cost: seconds and peak memory, up to 65,536 candidates; and gradient caching.

Each measurement is a process of its own, whose peak memory is then its own too. A dense matrix of
65,536 x 65,536 logits takes 17 GB in float32, and a loss keeps several. `--parts` chooses some.

    python -m benchmarks.objectives --out out/objectives --json out/objectives.json
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

from benchmarks.figures import Figures, Notebook, parser, spread
from toomuchtv.data.clip_specs import ClipBatch, ClipSpec, ClipSpecs
from toomuchtv.data.clip_transform import ClipTransform
from toomuchtv.data.pair_labels import PairLabelConfig
from toomuchtv.losses import LOSSES, LossConfig, MemoryBank, build_loss
from toomuchtv.models import TwoTower
from toomuchtv.training.run_config import load_config
from toomuchtv.training.step import TrainingStep

DIM = 256
LARGEST = 65_536
#: The large run; blocks beside a dense matrix; every objective at 2,048; whole steps in chunks.
PARTS = ("largest", "dense", "objectives", "steps")


def _embeddings(num_clips: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        functional.normalize(
            torch.randn(num_clips, DIM, generator=generator), dim=1
        ).requires_grad_()
        for _ in range(2)
    ]


def blockwise(name: str, num_clips: int) -> dict[str, float]:
    """Loss and gradients of one objective as this package computes them."""
    config = TypeAdapter[LossConfig](LossConfig).validate_python({"name": name})
    loss = build_loss(config, embedding_dim=DIM)
    video, audio = _embeddings(num_clips)
    extra, index = {}, torch.arange(num_clips)
    if isinstance(loss, MemoryBank):
        extra["clip_keys"] = loss.clip_keys(index, index, index.double())
    return _timed(lambda: loss(video, audio, **extra))


def dense(num_clips: int) -> dict[str, float]:
    """Symmetric InfoNCE the plain way: a matrix, two cross-entropies."""
    video, audio = _embeddings(num_clips)
    own = torch.arange(num_clips)

    def loss() -> Tensor:
        logits = video @ audio.T / 0.07
        return 0.5 * (
            functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)
        )

    return _timed(loss)


def one_step(num_clips: int, chunk_size: int) -> dict[str, float]:
    """One optimizer step of the preset tiny on clips at random."""
    config = load_config(preset="tiny")
    model = TwoTower.from_config(config.model, seed=0)
    loss = build_loss(config.loss, embedding_dim=DIM)
    step = TrainingStep(
        model=model,
        loss=loss,
        transform=ClipTransform(config.transform, config.augmentation),
        optimizer=torch.optim.AdamW(model.parameters(), fused=True),
        pair_labels=PairLabelConfig(),
        precision=torch.bfloat16,
        max_gradient_norm=1.0,
        chunk_size=chunk_size,
    )
    draws = np.random.default_rng(0)
    side = 64
    shape = (num_clips, config.clip.frames, side * 3 // 2, side)
    batch = ClipBatch(
        video=torch.from_numpy(draws.integers(16, 235, size=shape, dtype=np.uint8)),
        waveform=torch.rand(num_clips, config.clip.num_samples) - 0.5,
        specs=ClipSpecs.from_clips(
            ClipSpec(item=clip, title=clip, start_seconds=float(clip), seed=clip)
            for clip in range(num_clips)
        ),
        valid=torch.ones(num_clips, dtype=torch.bool),
        step=0,
    )

    def take() -> None:
        step(batch, 1e-3)

    return _timed_call(take)


def _warm_up() -> None:
    """Start the threads and the libraries, which is no part of what is measured."""
    side = torch.randn(64, DIM, requires_grad=True)
    torch.autograd.backward(torch.logsumexp(side @ side.T, dim=1).sum())


def _timed(loss: Callable[[], Tensor]) -> dict[str, float]:
    return _timed_call(lambda: torch.autograd.backward(loss()))


def _timed_call(call: Callable[[], None]) -> dict[str, float]:
    _warm_up()
    before = _peak_bytes()
    begun = time.perf_counter()
    call()
    seconds = time.perf_counter() - begun
    return {
        "seconds": seconds,
        "peak_mib": _peak_bytes() / 2**20,
        "added_mib": (_peak_bytes() - before) / 2**20,
    }


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _apart(function: Callable[..., dict[str, float]], *arguments: object) -> dict[str, float]:
    """Call it in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def _median(function: Callable[..., dict[str, float]], *arguments: object) -> dict[str, float]:
    found = [_apart(function, *arguments) for _ in range(3)]
    return {
        **spread("seconds", [figures["seconds"] for figures in found]),
        "peak_mib": max(figures["peak_mib"] for figures in found),
        "added_mib": max(figures["added_mib"] for figures in found),
    }


def main() -> None:
    """Measure, print and write down, each figure as it comes."""
    options = parser(__doc__)
    options.add_argument("--largest", type=int, default=LARGEST, help="candidates of the large run")
    options.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    arguments = options.parse_args()
    book = Notebook("objectives", arguments.json)

    def note(prefix: str, figures: dict[str, float]) -> None:
        book.note({f"{prefix}_{name}": value for name, value in figures.items()})

    if "largest" in arguments.parts:
        note(f"info_nce_{arguments.largest}", _apart(blockwise, "info_nce", arguments.largest))
    if "dense" in arguments.parts:
        for num_clips in (4096, 8192, 16_384):
            note(f"dense_{num_clips}", _apart(dense, num_clips))
            note(f"info_nce_{num_clips}", _apart(blockwise, "info_nce", num_clips))
    if "objectives" in arguments.parts:
        for name in LOSSES:
            note(f"{name}_2048", _median(blockwise, name, 2048))
    if "steps" in arguments.parts:
        for num_clips, chunk_size in ((256, 0), (256, 32), (1024, 32)):
            note(
                f"step_of_{num_clips}_in_chunks_of_{chunk_size}",
                _apart(one_step, num_clips, chunk_size),
            )
    Figures(benchmark="objectives", values=book.values).publish(arguments.json)


if __name__ == "__main__":
    main()
