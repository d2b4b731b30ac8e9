"""The ONNX files give the embeddings of PyTorch, for every kind of encoder and any input."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.test_readme import ROOT, execute, python_blocks
from toomuchtv import OnnxExport, export_onnx, load
from toomuchtv.data.clip_transform import TransformConfig
from toomuchtv.data.log_mel import LogMel, LogMelConfig
from toomuchtv.errors import CheckpointError
from toomuchtv.export import onnx_files
from toomuchtv.export.onnx_files import Modality, onnx_bytes, open_session
from toomuchtv.export.onnx_graph import ConvolutionLogMel
from toomuchtv.inference.pretrained import PretrainedConfig, PretrainedEncoder
from toomuchtv.media.clip import ClipFormat
from toomuchtv.models import (
    VIT_SIZES,
    AudioVitConfig,
    ModelConfig,
    TwoTower,
    VideoEncoderConfig,
    VideoVitConfig,
)

#: What the issue asks for; the differences are about a hundredth of it.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> OnnxExport:
    return export_onnx(run, tmp_path_factory.mktemp("onnx") / "model-b", speed_seconds=0.01)


def frames_of(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=generator)


def onnx_embed(session: Any, values: Tensor) -> NDArray[np.float32]:
    (given,) = session.get_inputs()
    (found,) = session.run(None, {given.name: values.numpy()})
    return np.asarray(found)


def session_of(exported: OnnxExport, modality: str) -> Any:
    return open_session((exported.folder / f"{modality}.onnx").read_bytes())


@pytest.mark.parametrize(
    "shape", [(1, 2, 16, 16), (3, 2, 16, 16), (2, 2, 47, 33), (1, 2, 9, 40), (1, 2, 120, 214)]
)
def test_video_of_the_run_is_embedded_like_in_pytorch(
    run: Path, exported: OnnxExport, shape: tuple[int, ...]
) -> None:
    """Frames are smaller than, equal to and larger than the encoder's size, wide and tall."""
    frames = frames_of(*shape)
    found = onnx_embed(session_of(exported, "video"), frames)
    assert found.shape == (shape[0], 8)
    np.testing.assert_allclose(found, load(run).embed_video(frames), atol=TOLERANCE)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("num_clips", [1, 3])
def test_audio_of_the_run_is_embedded_like_in_pytorch(
    run: Path, exported: OnnxExport, num_clips: int
) -> None:
    times = torch.arange(4000) / 16_000
    tone = torch.sin(2 * math.pi * 440 * times)
    for waveform in (
        0.1 * torch.randn(4000), torch.zeros(4000), torch.ones(4000), tone, tone.sign(), 1e-5 * tone
    ):  # fmt: skip
        batch = waveform.repeat(num_clips, 1)
        found = onnx_embed(session_of(exported, "audio"), batch)
        assert found.shape == (num_clips, 8)
        np.testing.assert_allclose(found, load(run).embed_audio(batch), atol=TOLERANCE)


def assert_no_convolution_has_three_dimensions(content: bytes) -> None:
    graph = onnx.load_from_string(content).graph
    dims = {one.name: len(one.dims) for one in graph.initializer}
    shaped = {
        one.name: len(one.type.tensor_type.shape.dim) for one in [*graph.value_info, *graph.input]
    }
    convolutions = [node for node in graph.node if node.op_type in {"Conv", "ConvTranspose"}]
    for node in convolutions:
        (kernel,) = [one.ints for one in node.attribute if one.name == "kernel_shape"] or [()]
        assert len(kernel) <= 2
        assert shaped.get(node.input[0], 4) <= 4
        assert dims.get(node.input[1], shaped.get(node.input[1], 4)) <= 4


def test_the_graphs_have_no_3d_convolution_and_a_free_batch(exported: OnnxExport) -> None:
    for modality in ("video", "audio"):
        assert_no_convolution_has_three_dimensions(
            (exported.folder / f"{modality}.onnx").read_bytes()
        )
    (frames,) = session_of(exported, "video").get_inputs()
    assert (frames.name, frames.type) == ("frames", "tensor(uint8)")
    assert [isinstance(size, int) for size in frames.shape] == [False, True, False, False, True]
    (waveform,) = session_of(exported, "audio").get_inputs()
    assert (waveform.name, waveform.type) == ("waveform", "tensor(float)")
    assert [isinstance(size, int) for size in waveform.shape] == [False, True]


@pytest.mark.parametrize(
    ("modality", "model"),
    [
        pytest.param(
            "video",
            ModelConfig(video=VideoEncoderConfig(name="r3d", depth=10, width=0.125)),
            marks=pytest.mark.slow,
        ),
        (
            "video",
            ModelConfig(
                video=VideoVitConfig(
                    size="micro", positions="table", position_grid=(2, 3, 3), prefix_tokens=2
                )
            ),
        ),
        pytest.param(
            "audio", ModelConfig(audio=AudioVitConfig(size="micro")), marks=pytest.mark.slow
        ),
    ],
    ids=["r3d", "video transformer", "audio transformer"],
)
def test_other_encoders_are_embedded_like_in_pytorch(
    modality: Modality, model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As few layers as have every operation: exporting takes time for each node.
    monkeypatch.setitem(VIT_SIZES, "micro", (32, 1, 2))
    monkeypatch.setattr("toomuchtv.models.video._BLOCKS_BY_DEPTH", {10: (1, 1, 0, 0), 18: (1,) * 4})
    monkeypatch.setattr("toomuchtv.models.audio._BLOCKS_BY_DEPTH", {18: (1,) * 4})
    config = PretrainedConfig(
        clip=ClipFormat(frames=4, audio_seconds=0.5),
        transform=TransformConfig(size=32),
        model=model,
    )
    encoder = PretrainedEncoder(TwoTower.from_config(config.model, seed=1), config)
    content = onnx_bytes(encoder, modality)
    assert_no_convolution_has_three_dimensions(content)
    session = open_session(content)
    for num_clips in (1, 3):
        if modality == "video":
            frames = frames_of(num_clips, 4, 40, 50)
            pair = onnx_embed(session, frames), encoder.embed_video(frames)
        else:
            waveform = 0.1 * torch.randn(num_clips, 8000)
            pair = onnx_embed(session, waveform), encoder.embed_audio(waveform)
        np.testing.assert_allclose(*pair, atol=TOLERANCE)


@pytest.mark.parametrize(
    "config",
    [
        LogMelConfig(),
        LogMelConfig(num_fft=400, window_samples=400, hop_samples=100, num_bands=32),
        LogMelConfig(num_fft=514, window_samples=401, hop_samples=171, low_hz=50, high_hz=7000),
        LogMelConfig(sample_rate_hz=22_050, num_fft=1024, window_samples=16, hop_samples=2000),
    ],
    ids=lambda config: f"{config.num_fft}-{config.window_samples}-{config.hop_samples}",
)
def test_the_spectrogram_by_convolution_is_that_of_the_fourier_transform(
    config: LogMelConfig,
) -> None:
    generator = torch.Generator().manual_seed(3)
    noise = torch.rand(2, 5000, generator=generator) * 2 - 1
    tone = torch.sin(torch.arange(5000) * 0.3)[None]
    by_fft, by_convolution = LogMel(config), ConvolutionLogMel(config)
    for waveform in (noise, 1e-4 * noise, torch.zeros(1, 5000), tone, tone.sign()):
        # Where a tone has next to no power, float32 leaves an error of up to 1e-3 of the offset.
        torch.testing.assert_close(by_convolution(waveform), by_fft(waveform), atol=1e-3, rtol=0)


def test_no_file_names_a_place_of_this_machine(run: Path, exported: OnnxExport) -> None:
    private = [str(run.parent), str(ROOT), str(Path(onnx.__file__).parent), "site-packages", ".py:"]
    for path in exported.folder.iterdir():
        for text in private:
            assert text.encode() not in path.read_bytes()


def test_the_files_and_the_card_state_the_contract_and_the_speed(
    run: Path, exported: OnnxExport
) -> None:
    expected = json.loads((exported.folder / "preprocessor_config.json").read_text())
    assert expected["audio"]["num_samples"] == load(run).config.clip.num_samples
    for modality in ("video", "audio"):
        stored = session_of(exported, modality).get_modelmeta().custom_metadata_map["toomuchtv"]
        assert json.loads(stored) == expected[modality]
        assert 0 <= exported.differences[modality] < TOLERANCE
    card = (exported.folder / "README.md").read_text()
    rows = re.findall(
        r"^\| (video|audio) \| (\d) \| (.*?) \((.*)\) \| (.*?) \(", card, re.MULTILINE
    )
    assert [row[:2] for row in rows] == [
        (one.modality, str(one.batch_size)) for one in exported.speeds
    ]
    for row, speed in zip(rows, exported.speeds, strict=True):
        rate = speed.batch_size / float(np.median(speed.torch_seconds))
        assert float(row[2]) == pytest.approx(rate, rel=0.01)


def test_the_code_of_the_card_runs_as_it_is_printed(
    exported: OnnxExport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(exported.folder.parent)
    (code,) = re.findall(
        r"```python\n(.*?)```", (exported.folder / "README.md").read_text(), re.DOTALL
    )
    similarity = execute(code)["similarity"]
    assert isinstance(similarity, np.ndarray)
    assert similarity.shape == (1, 1)


def test_the_code_of_the_guide_runs_as_it_is_printed(
    run: Path, exported: OnnxExport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "first-onnx").symlink_to(exported.folder)
    names = execute(python_blocks("docs/guide/export.md")[1])
    frames, waveform, similarity = (names[one] for one in ("frames", "waveform", "similarity"))
    assert isinstance(frames, np.ndarray)
    assert isinstance(waveform, np.ndarray)
    assert isinstance(similarity, np.ndarray)
    encoder = load(run)
    video = encoder.embed_video(torch.from_numpy(frames))
    audio = encoder.embed_audio(torch.from_numpy(waveform))
    np.testing.assert_allclose(similarity, video @ audio.T, atol=TOLERANCE)


def test_a_file_that_differs_from_pytorch_is_not_kept(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_files, "onnx_bytes", lambda encoder, modality: b"content")
    monkeypatch.setattr(onnx_files, "open_session", lambda content: None)
    for difference in (2e-4, math.nan):
        monkeypatch.setattr(onnx_files, "largest_difference", lambda *_, d=difference: d)
        with pytest.raises(CheckpointError, match="differs from PyTorch"):
            export_onnx(run, tmp_path / "out")
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_extra_is_named(
    run: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=re.escape("pip install 'toomuchtv[onnx]'")):
        export_onnx(run, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_weights_that_no_file_can_hold_are_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_files, "_MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="--to hub"):
        onnx_bytes(load(run), "audio")
