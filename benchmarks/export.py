"""Speed of the ONNX files against PyTorch, and how far their embeddings differ.

    python -m benchmarks.export [RUN ...] [--presets tiny base] [--seconds 30] [--json FILE]

Without a run, the presets are measured with random weights: speed does not depend on the weights.
Rates are clips per CPU second of one thread, from decoded frames of the encoder's size or from
samples to vectors: median, lowest and highest of repeated calls. A ratio above 1 means that
onnxruntime is faster. It needs the extra `onnx`.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figures, argument_parser, median_and_range
from toomuchtv.export.onnx_files import (
    Modality,
    compare_speed,
    largest_difference,
    onnx_bytes,
    open_session,
    require_onnx,
)
from toomuchtv.inference.pretrained import PretrainedConfig, PretrainedEncoder, load
from toomuchtv.models import TwoTower
from toomuchtv.training.run_config import load_config

PRESETS = ("tiny", "small", "base", "vit-small")
MODALITIES: tuple[Modality, ...] = ("video", "audio")


def encoders(runs: list[Path], presets: list[str]) -> Iterator[tuple[str, PretrainedEncoder]]:
    """Yield the name and the encoders of each run; without runs, of each preset."""
    for run in runs:
        yield run.name, load(run)
    for preset in () if runs else presets:
        config = load_config(preset=preset)
        model = TwoTower.from_config(config.model, seed=0)
        parts = PretrainedConfig(clip=config.clip, transform=config.transform, model=config.model)
        yield preset, PretrainedEncoder(model, parts)


def measure(
    encoder: PretrainedEncoder, modality: Modality, batch_sizes: list[int], seconds: float
) -> Iterator[dict[str, float]]:
    """Export one encoder, and yield its figures as they are measured."""
    begun = time.process_time()
    content = onnx_bytes(encoder, modality)
    session = open_session(content)
    yield {
        "export_seconds": time.process_time() - begun,
        "megabytes": len(content) / 1e6,
        "largest_difference": largest_difference(encoder, session, modality),
    }
    for size in batch_sizes:
        speed = compare_speed(encoder, session, modality, size, seconds)
        for runtime, times in (("torch", speed.torch_seconds), ("onnx", speed.onnx_seconds)):
            rates = [size / one for one in times]
            yield median_and_range(f"batch_{size}_{runtime}_clips_per_second", rates)
        yield {f"batch_{size}_ratio": speed.ratio}


def main() -> None:
    """Measure every encoder and print the figures."""
    parser = argument_parser(__doc__)
    parser.add_argument("runs", nargs="*", type=Path, help="folders of runs or models")
    parser.add_argument("--presets", nargs="+", default=list(PRESETS), choices=PRESETS)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--seconds", type=float, default=20.0, help="CPU time for each figure")
    arguments = parser.parse_args()
    require_onnx()
    figures = Figures("export", arguments.json)
    print(f"  onnxruntime {importlib.metadata.version('onnxruntime')}")
    for name, encoder in encoders(arguments.runs, arguments.presets):
        for modality in MODALITIES:
            for values in measure(encoder, modality, arguments.batch_sizes, arguments.seconds):
                figures.add({f"{name}_{modality}_{key}": value for key, value in values.items()})


if __name__ == "__main__":
    main()
