"""The encoder follows the HEAR API as its validator checks it, and embeds the right windows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from toomuchtv.errors import CheckpointError
from toomuchtv.evaluation.benchmark import LabeledClip
from toomuchtv.evaluation.reading import read_audio_views
from toomuchtv.evaluation.views import AudioViews
from toomuchtv.inference.hear import (
    HearModel,
    get_scene_embeddings,
    get_timestamp_embeddings,
    load_model,
)
from toomuchtv.inference.pretrained import PretrainedConfig, PretrainedEncoder
from toomuchtv.media.clip import ClipFormat
from toomuchtv.media.clip_reader import read_audio
from toomuchtv.media.timestamps import read_timeline
from toomuchtv.models import AudioEncoderConfig, ModelConfig, TwoTower, VideoEncoderConfig


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = PretrainedConfig(
        clip=ClipFormat(audio_seconds=0.5),
        model=ModelConfig(
            video=VideoEncoderConfig(depth=10, width=0.125),
            audio=AudioEncoderConfig(depth=9, width=0.125),
        ),
    )
    folder = tmp_path_factory.mktemp("run") / "model"
    PretrainedEncoder(TwoTower.from_config(config.model, seed=0), config).save(folder)
    return folder.parent


@pytest.fixture(scope="module")
def model(run: Path) -> HearModel:
    return load_model(str(run))


def noise(num_recordings: int, seconds: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(num_recordings, int(seconds * 16_000), generator=generator) * 2 - 1


def test_model_has_the_attributes_of_the_api(model: HearModel) -> None:
    assert isinstance(model, torch.nn.Module)
    assert model.sample_rate in (16_000, 22_050, 44_100, 48_000)
    assert type(model.scene_embedding_size) is int
    assert type(model.timestamp_embedding_size) is int
    with pytest.raises(CheckpointError, match="no default weights"):
        load_model()


def test_scene_embeddings_have_the_shape_of_the_api(model: HearModel) -> None:
    embeddings = get_scene_embeddings(noise(3, 3.74), model)
    assert embeddings.dtype == torch.float32
    assert embeddings.shape == (3, model.scene_embedding_size)
    assert get_scene_embeddings(noise(2, 0.1), model).shape == (2, model.scene_embedding_size)


def test_timestamps_are_50_milliseconds_apart(model: HearModel) -> None:
    embeddings, milliseconds = get_timestamp_embeddings(noise(2, 1.0), model)
    assert embeddings.dtype == torch.float32
    assert embeddings.shape == (2, 21, model.timestamp_embedding_size)
    assert milliseconds.shape == (2, 21)
    torch.testing.assert_close(milliseconds[1], torch.arange(21) * 50.0)


def test_embedding_of_a_timestamp_is_that_of_the_window_centered_on_it(model: HearModel) -> None:
    audio = noise(1, 2.0)
    embeddings, milliseconds = get_timestamp_embeddings(audio, model)
    index = 20
    middle = round(milliseconds[0, index].item() * 16)
    half = model.window_samples // 2
    window = audio[:, middle - half : middle - half + model.window_samples]
    torch.testing.assert_close(embeddings[0, index], model(window)[0], rtol=1e-4, atol=1e-4)


def test_embedding_does_not_depend_on_the_batch(model: HearModel) -> None:
    audio = noise(3, 1.0)
    together = get_scene_embeddings(audio, model)
    alone = torch.cat([get_scene_embeddings(row[None], model) for row in audio])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_scene_embedding_equals_the_mean_view_of_the_protocol(
    model: HearModel, media_root: Path
) -> None:
    path = sorted((media_root / "esc10" / "audio").iterdir())[0]
    clip = LabeledClip(path=path, labels=("x",), source="x", group="x", stop_seconds=3.0)
    views = read_audio_views(clip, AudioViews(seconds=0.5, times=0, mean=True), 16_000, seed=0)
    whole = read_audio(
        path,
        timeline=read_timeline(path),
        first_sample=0,
        num_samples=48_000,
        sample_rate_hz=16_000,
    )
    scene = get_scene_embeddings(torch.from_numpy(whole)[None], model)[0]
    torch.testing.assert_close(model(views).mean(dim=0), scene, rtol=1e-3, atol=1e-4)


def test_audio_of_another_shape_is_rejected(model: HearModel) -> None:
    with pytest.raises(ValueError, match=r"expected float32 audio \[N, S\] .* got"):
        get_scene_embeddings(torch.zeros(16_000), model)
