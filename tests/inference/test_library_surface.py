"""The code in the design under "The library's surface" runs as shown (parts 3 and 4)."""

from __future__ import annotations

import wave
from pathlib import Path

import pytest
import torch

import toomuchtv as tv
from tests.inference.test_pretrained import CONFIG
from tests.media_files import write_film


def test_models_and_losses_are_plain_modules_on_plain_tensors() -> None:
    model = tv.TwoTower.from_config("tiny")
    loss = tv.losses.InfoNCE(temperature=0.07)
    assert isinstance(model, torch.nn.Module)
    assert isinstance(loss, torch.nn.Module)
    video_embeddings, audio_embeddings = model(
        torch.randn(3, 3, 4, 32, 32), torch.randn(3, 1, 40, 50)
    )
    pair_labels = torch.eye(3, dtype=torch.int8)
    value = loss(video_embeddings, audio_embeddings, pair_labels)
    assert torch.equal(value, loss(video_embeddings, audio_embeddings))
    value.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_trained_model_embeds_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tv.PretrainedEncoder(tv.TwoTower.from_config(CONFIG.model, seed=0), CONFIG).save("runs/first")
    write_film(tmp_path / "film.mp4", seconds=4.0)
    with wave.open("sound.wav", "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"\1\2" * 16_000)

    encoder = tv.load("runs/first")
    v = encoder.embed_video("film.mp4", start_seconds=1.0)
    windows = encoder.embed("film.mp4", window_seconds=2.0, stride_seconds=1.0)
    a = encoder.embed_audio("sound.wav")
    assert v.shape == a.shape == (16,)
    torch.testing.assert_close(v.norm(), torch.tensor(1.0))
    assert isinstance(windows, tv.WindowEmbeddings)
    assert windows.times.tolist() == [0.0, 1.0, 2.0]
    assert windows.video is not None
    assert windows.audio is not None
    assert windows.video.shape == windows.audio.shape == (3, 16)
