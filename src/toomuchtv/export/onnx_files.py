"""Both encoders as ONNX files that take decoded frames and waveforms."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from toomuchtv._internal.files import creating_folder, write_bytes, write_text
from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.errors import CheckpointError
from toomuchtv.export.hub import write_preprocessor_config
from toomuchtv.export.model_card import CARD_NAME, code_block, model_card, quoted, table
from toomuchtv.export.onnx_graph import AudioGraph, VideoGraph
from toomuchtv.export.preprocessing import preprocessor_config
from toomuchtv.export.run_facts import read_run_facts
from toomuchtv.export.speed import SPEED_HEADER, Speed, describe_machine, measure_speed
from toomuchtv.inference.pretrained import PretrainedConfig, PretrainedEncoder

Modality = Literal["video", "audio"]

#: Largest difference of a number of an embedding from PyTorch with which files are written.
MAX_DIFFERENCE = 1e-4
_OPSET = 20  # the first with GELU
_INPUT_NAMES: dict[Modality, str] = {"video": "frames", "audio": "waveform"}
_MAX_BYTES = 2**31 - 2**24  # what one file can hold, less the graph itself
_SPEED_BATCH_SIZES = (1, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxExport:
    """What was exported.

    Attributes:
        folder: The folder.
        differences: Largest difference of a number of an embedding from PyTorch, by modality.
        speeds: Speed of onnxruntime and of PyTorch on this machine.
    """

    folder: Path
    differences: dict[str, float]
    speeds: tuple[Speed, ...]


def export_onnx(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    list_titles: bool = False,
    speed_seconds: float = 5.0,
    progress: ProgressCallback = no_progress,
) -> OnnxExport:
    """Write both encoders of a finished run as ONNX files.

    `video.onnx` maps `frames`, uint8 RGB `[N, T, H, W, 3]` of any height and width, and
    `audio.onnx` maps `waveform`, float32 `[N, S]`, to `embedding`, unit vectors `[N, D]`. The crop,
    resizing, normalization and log-mel spectrogram are inside. N is free. The files are compared
    with PyTorch before anything is kept.

    Args:
        run: Folder of the run.
        out: Folder to write, which must not exist or be empty. It appears when it is complete.
        list_titles: Whether the card names the titles that the run trained on and held out.
        speed_seconds: Time to spend on each figure of speed in the card; 0 leaves them out.
        progress: Called with the number of finished stages.

    Raises:
        CheckpointError: There is no finished run, one of its files was damaged or edited, or a
            file gives other embeddings than PyTorch.
        BenchmarkError: A result of an evaluation cannot be read.
        ValueError: The extra `onnx` is not installed, `out` is not empty, the run's config cannot
            be used by this version, or the weights exceed the 2 GB of an ONNX file.
        OSError: The folder cannot be written.
    """
    require_onnx()
    out = Path(out)
    stages = ("reading the run", "video.onnx", "audio.onnx", "speed")
    with creating_folder(out) as folder:
        progress(0, len(stages), stages[0])
        facts = read_run_facts(run)
        differences: dict[str, float] = {}
        speeds: list[Speed] = []
        modalities: tuple[Modality, ...] = ("video", "audio")
        for done, modality in enumerate(modalities, start=1):
            progress(done, len(stages), stages[done])
            content = onnx_bytes(facts.encoder, modality)
            write_bytes(folder / f"{modality}.onnx", content)
            session = open_session(content)
            difference = largest_difference(facts.encoder, session, modality)
            if not difference <= MAX_DIFFERENCE:
                raise CheckpointError(
                    f"the ONNX file of the {modality} encoder differs from PyTorch by "
                    f"{difference:.2g}, and at most {MAX_DIFFERENCE:g} is allowed: nothing was "
                    "written. Please report this with the run's config.toml"
                )
            differences[modality] = difference
            if speed_seconds > 0:
                speeds += [
                    compare_speed(facts.encoder, session, modality, size, speed_seconds)
                    for size in _SPEED_BATCH_SIZES
                ]
        progress(len(stages) - 1, len(stages), stages[-1])
        write_preprocessor_config(folder, facts.encoder.config)
        name = out.resolve().name
        use = [*_use(name, facts.encoder.config, differences), *_speed(speeds)]
        card = model_card(name, facts, library="onnx", use=use, list_titles=list_titles)
        write_text(folder / CARD_NAME, card)
    return OnnxExport(folder=out, differences=differences, speeds=tuple(speeds))


def require_onnx() -> None:
    """Check that the extra `onnx` is installed.

    Raises:
        ValueError: It is not.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ValueError(
                f"the package {name} is missing: pip install 'toomuchtv[onnx]', or export with "
                "--to hub, which needs nothing more"
            ) from error


def onnx_bytes(encoder: PretrainedEncoder, modality: Modality) -> bytes:
    """Return the content of the ONNX file of one encoder, in the float32 of the weights.

    Raises:
        ValueError: The weights exceed what one file can hold.
    """
    import onnx

    graph = VideoGraph(encoder) if modality == "video" else AudioGraph(encoder)
    num_bytes = sum(value.numel() * value.element_size() for value in graph.parameters())
    if num_bytes > _MAX_BYTES:
        raise ValueError(
            f"the {modality} encoder has {num_bytes / 1e9:.1f} GB of weights, and an ONNX file "
            "holds at most 2 GB: export it with --to hub"
        )
    # Sizes that are 1, or equal to each other, would be taken for fixed ones.
    example = _random_input(encoder.config, modality, 2, height=40, width=48)
    dim = torch.export.Dim
    sizes = {0: dim("batch")}
    if modality == "video":
        sizes |= {2: dim("height", min=2), 3: dim("width", min=2)}
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            graph.eval(),
            (example,),
            input_names=[_INPUT_NAMES[modality]],
            output_names=["embedding"],
            dynamic_shapes=(sizes,),
            opset_version=_OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _remove_traces(model)
    onnx.helper.set_model_props(
        model, {"toomuchtv": json.dumps(preprocessor_config(encoder.config)[modality])}
    )
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _remove_traces(model: Any) -> None:
    """Remove the exporter's notes, which hold stack traces with paths of this machine."""
    graph = model.graph
    messages = [
        model, graph, *graph.node, *graph.initializer,
        *graph.value_info, *graph.input, *graph.output,
    ]  # fmt: skip
    for message in messages:
        message.ClearField("metadata_props")
        message.ClearField("doc_string")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which warns of packages and functions that are not used here."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def open_session(content: bytes) -> Any:
    """Open an ONNX file in onnxruntime on the CPU, in one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def largest_difference(encoder: PretrainedEncoder, session: Any, modality: Modality) -> float:
    """Return the largest difference from PyTorch on noise and on extreme input; NaN if one is."""
    size, num_samples = encoder.config.transform.size, encoder.config.clip.num_samples
    if modality == "video":
        clips = [
            _random_input(encoder.config, "video", 3, height=size + 7, width=2 * size + 1),
            torch.full((1, encoder.config.clip.frames, 3 * size, size, 3), 255, dtype=torch.uint8),
        ]
    else:
        full_scale = torch.ones(1, num_samples)
        full_scale[:, 100::200] = -1.0
        clips = [_random_input(encoder.config, "audio", 3), 0 * full_scale, full_scale]
    differences = []
    for clip in clips:
        expected = _embed(encoder, modality, clip).numpy()
        (found,) = session.run(None, {_INPUT_NAMES[modality]: clip.numpy()})
        differences.append(np.abs(found - expected).max())
    return float(np.max(differences))


def compare_speed(
    encoder: PretrainedEncoder,
    session: Any,
    modality: Modality,
    batch_size: int,
    budget_seconds: float,
) -> Speed:
    """Measure both runtimes on clips whose frames have the encoder's size already."""
    size = encoder.config.transform.size
    clips = _random_input(encoder.config, modality, batch_size, height=size, width=size)
    inputs = {_INPUT_NAMES[modality]: clips.numpy()}
    return measure_speed(
        lambda: _embed(encoder, modality, clips),
        lambda: session.run(None, inputs),
        modality=modality,
        batch_size=batch_size,
        budget_seconds=budget_seconds,
    )


def _embed(encoder: PretrainedEncoder, modality: Modality, clips: Tensor) -> Tensor:
    return encoder.embed_video(clips) if modality == "video" else encoder.embed_audio(clips)


def _random_input(
    config: PretrainedConfig, modality: Modality, num_clips: int, *, height: int = 0, width: int = 0
) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if modality == "video":
        shape = (num_clips, config.clip.frames, height, width, 3)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return torch.randn(num_clips, config.clip.num_samples, generator=generator) * 0.1


def _use(name: str, config: PretrainedConfig, differences: dict[str, float]) -> list[str]:
    clip, dim = config.clip, config.model.embedding_dim
    rows = [
        ["`video.onnx`", f"`frames`, uint8 `[N, {clip.frames}, H, W, 3]`, RGB, any height and "
         f"width", f"`embedding`, float32 `[N, {dim}]`", f"{differences['video']:.1e}"],
        ["`audio.onnx`", f"`waveform`, float32 `[N, {clip.num_samples}]`",
         f"`embedding`, float32 `[N, {dim}]`", f"{differences['audio']:.1e}"],
    ]  # fmt: skip
    version = importlib.metadata.version("onnxruntime")
    return [
        "## Use",
        table(["file", "input", "output, of unit length", "difference"], rows),
        "The files take decoded frames and samples: crop, resizing, normalization and log-mel "
        "spectrogram are inside. N is any number of clips. The last column is the largest "
        f"difference of a number from PyTorch's, in onnxruntime {version} on the CPU, on noise "
        "and on extreme input.",
        code_block(f"""
import numpy as np
import onnxruntime

folder = {quoted(name)}  # this folder
video, audio = (
    onnxruntime.InferenceSession(f"{{folder}}/{{one}}.onnx", providers=["CPUExecutionProvider"])
    for one in ("video", "audio")
)
frames = np.zeros((1, {clip.frames}, 360, 640, 3), np.uint8)  # RGB
waveform = np.zeros((1, {clip.num_samples}), np.float32)  # mono, {clip.sample_rate_hz} Hz, -1..1
(v,) = video.run(None, {{"frames": frames}})
(a,) = audio.run(None, {{"waveform": waveform}})
similarity = v @ a.T
"""),
    ]


def _speed(speeds: list[Speed]) -> list[str]:
    if not speeds:
        return []
    return [
        "## Speed",
        table(SPEED_HEADER, [speed.row() for speed in speeds]),
        "Clips per CPU second, median (lowest to highest) of repeated calls, from decoded frames "
        "of the encoder's size or from samples to vectors, in float32. If the ratio of the medians "
        f"is above 1, onnxruntime is faster. Measured on {describe_machine()}, when these files "
        "were exported.",
    ]
