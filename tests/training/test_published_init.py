"""A new run starts from published weights; a resumed run and the trained model need no folder."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.prepared import tiny_config
from tests.processes import run_processes
from toomuchtv._internal import distributed
from toomuchtv.catalog.store import open_catalog
from toomuchtv.errors import CheckpointError
from toomuchtv.inference.pretrained import load
from toomuchtv.inference.published_weights import audio_vit_of, load_published_weights, video_vit_of
from toomuchtv.models import AudioResNet, VideoEncoderConfig, VideoResNet
from toomuchtv.models.audio import AudioEncoderConfig
from toomuchtv.training.pretrain import pretrain
from toomuchtv.training.run import build_step
from toomuchtv.training.run_config import Config

transformers: Any = pytest.importorskip("transformers")

CPU = torch.device("cpu")
SHAPE = {
    "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 256,
}  # fmt: skip
VIDEO = {
    "name": "vit", "size": "micro", "positions": "table", "position_grid": (1, 2, 2),
    "patch_pixels": 8,
}  # fmt: skip
AUDIO = {
    "name": "vit", "size": "micro", "positions": "table", "position_grid": (4, 2),
    "prefix_tokens": 2, "stride_bands": 10, "stride_frames": 10,
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders as `save_pretrained` writes them: `video` and `audio`."""
    path = tmp_path_factory.mktemp("published")
    video = transformers.VideoMAEConfig(image_size=16, patch_size=8, num_frames=2, **SHAPE)
    audio = transformers.ASTConfig(num_mel_bins=48, max_length=32, **SHAPE)
    torch.manual_seed(5)
    transformers.VideoMAEModel(video).save_pretrained(path / "video")
    transformers.ASTModel(audio).save_pretrained(path / "audio")
    return path


def config_of(folders: Path, **video: object) -> Config:
    return tiny_config(
        model={
            "video": {**VIDEO, "init": str(folders / "video"), **video},
            "audio": {**AUDIO, "init": str(folders / "audio")},
        },
        training={"steps": 4, "checkpoint_every": 2, "ema_decay": 0.5},
    )


def train(catalog_path: Path, run_path: Path, config: Config, **options: Any) -> None:
    with open_catalog(catalog_path) as catalog:
        pretrain(catalog, run_path, config, **options)


def test_a_new_run_has_the_values_of_the_folders(folders: Path) -> None:
    step = build_step(config_of(folders), CPU, published_weights=True)
    for model in (step.model, step.evaluated_model):  # the EMA starts from them as well
        for encoder, published in (
            (model.video_encoder, video_vit_of(folders / "video")),
            (model.audio_encoder, audio_vit_of(folders / "audio")),
        ):
            found = encoder.state_dict()
            for name, value in published.state_dict().items():
                assert torch.equal(found[name], value), name
    random = build_step(config_of(folders), CPU).model.video_encoder.state_dict()
    name = "blocks.0.mlp.0.weight"
    assert not torch.equal(random[name], step.model.video_encoder.state_dict()[name])


def test_a_resumed_run_needs_no_folder_and_is_exact(
    prepared_catalog: Path, folders: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "published"
    shutil.copytree(folders, copy)
    config = config_of(copy)
    train(prepared_catalog, tmp_path / "whole", config)

    def stop_at_2(done: float, total: float, what: str) -> None:
        if done == 2:
            signal.raise_signal(signal.SIGTERM)

    train(prepared_catalog, tmp_path / "stopped", config, progress=stop_at_2)
    shutil.rmtree(copy)
    train(prepared_catalog, tmp_path / "stopped", config, resume=True)
    one, two = (
        load_file(tmp_path / name / "checkpoints" / "step_00000004.safetensors")
        for name in ("whole", "stopped")
    )
    for name, value in one.items():
        assert torch.equal(value, two[name]), name
    model = load(tmp_path / "stopped")
    assert model.embed_audio(torch.zeros(4000)).shape == (8,)
    assert str(copy) not in (tmp_path / "stopped" / "model" / "config.json").read_text()
    # A run that begins needs the folder, and leaves nothing behind that another could not use.
    with pytest.raises(CheckpointError, match=r"cannot read .*config\.json"):
        train(prepared_catalog, tmp_path / "new", config)
    assert not list((tmp_path / "new").iterdir())


def test_a_folder_that_does_not_fit_is_refused_with_the_settings_that_would(
    folders: Path,
) -> None:
    wrong = config_of(folders, size="tiny", position_grid=(1, 1, 1), patch_dropout=0.5)
    with pytest.raises(CheckpointError) as caught:
        build_step(wrong, CPU, published_weights=True)
    message = str(caught.value)
    assert 'model.video.size="micro"' in message
    assert "model.video.position_grid=[1,2,2]" in message
    assert "patch_dropout" not in message


def test_weights_of_torchvision_load_into_residual_networks(tmp_path: Path) -> None:
    source = VideoResNet(VideoEncoderConfig(name="r3d"))
    state = {name: value.contiguous() for name, value in source.state_dict().items()}
    save_file({**state, "fc.weight": torch.zeros(400, 512)}, tmp_path / "model.safetensors")
    encoder = VideoResNet(VideoEncoderConfig(name="r3d"))
    load_published_weights(encoder, tmp_path)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, state[name]), name
    with pytest.raises(CheckpointError, match="channel_multiple=1"):
        load_published_weights(VideoResNet(VideoEncoderConfig(name="r3d", width=0.5)), tmp_path)
    with pytest.raises(ValueError, match="AudioResNet"):
        load_published_weights(AudioResNet(AudioEncoderConfig(depth=9, width=0.125)), tmp_path)
    state["stem.0.weight"][0] = torch.nan
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="not finite"):
        load_published_weights(encoder, tmp_path)


def start_here(folders: Path, out: Path) -> None:
    """Start as one of two processes, of which only the first sees the folders."""
    with distributed.process_group(CPU):
        rank = distributed.rank()
        path = folders if rank == 0 else out / "nowhere"
        model = build_step(config_of(path), CPU, published_weights=True).model
        state = {name: value.contiguous() for name, value in model.state_dict().items()}
        save_file(state, out / f"{rank}.safetensors")


def test_all_processes_start_from_the_weights_of_the_first(folders: Path, tmp_path: Path) -> None:
    run_processes(2, start_here, folders, tmp_path)
    zero, one = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))
    assert zero.keys() == one.keys()
    for name, value in zero.items():
        assert torch.equal(value, one[name]), name
    published = video_vit_of(folders / "video").state_dict()["blocks.3.mlp.2.weight"]
    assert torch.equal(one["video_encoder.blocks.3.mlp.2.weight"], published)
