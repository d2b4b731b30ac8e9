"""The Python code of the README, of a guide and of the design runs exactly as it is printed."""

from __future__ import annotations

import re
import wave
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

import toomuchtv as tv
from tests.inference.test_pretrained import CONFIG
from tests.media_files import write_film

ROOT = Path(__file__).parents[1]

#: Parts 3 and 4 of "The library's surface" in the design, which is not part of this repository.
MODELS_AND_LOSSES = """
model = tv.TwoTower.from_config("base")
loss = tv.losses.InfoNCE(temperature=0.07)
value = loss(video_embeddings, audio_embeddings, pair_labels)      # pair_labels may be omitted
"""
TRAINED_MODEL = """
encoder = tv.load("runs/first")                    # or a folder in the Hugging Face layout
v = encoder.embed_video("film.mkv", start_seconds=61.0)            # [D], unit length
windows = encoder.embed("film.mkv", window_seconds=2.0, stride_seconds=1.0)   # times, video [N, D], audio [N, D]
a = encoder.embed_audio("sound.wav")
"""  # noqa: E501


def python_blocks(page: str) -> list[str]:
    text = (ROOT / page).read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def execute(code: str, **names: object) -> dict[str, object]:
    """Execute code, and return all names that are defined afterwards."""
    exec(compile(code, "printed code", "exec"), names)
    return names


def embeddings(num_clips: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, num_clips, 256, generator=generator)
    video, audio = torch.nn.functional.normalize(values, dim=2).requires_grad_()
    return video, audio


@pytest.fixture(scope="module")
def user_folder(prepared_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the printed code reads."""
    folder = tmp_path_factory.mktemp("user")
    model = CONFIG.model.model_copy(update={"embedding_dim": 256})
    config = CONFIG.model_copy(update={"model": model})
    encoder = tv.PretrainedEncoder(tv.TwoTower.from_config(model, seed=0), config)
    encoder.save(folder / "out" / "run" / "model")
    encoder.save(folder / "runs" / "first" / "model")
    (folder / "out" / "cat").symlink_to(prepared_catalog)
    tv.embed_catalog(folder / "out" / "run", prepared_catalog, folder / "out" / "idx")
    write_film(folder / "film.mkv", seconds=64.0, frame_rate=8)
    with wave.open(str(folder / "sound.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"\1\2" * 16_000)
    return folder


def assert_embeddings_of_the_film(names: dict[str, object]) -> None:
    for vector in (names["v"], names["a"]):
        assert isinstance(vector, torch.Tensor)
        assert vector.shape == (256,)
        torch.testing.assert_close(vector.norm(), torch.tensor(1.0))
    windows = names["windows"]
    assert isinstance(windows, tv.WindowEmbeddings)
    assert windows.times.tolist() == [float(second) for second in range(63)]
    assert windows.video is not None
    assert windows.audio is not None
    assert windows.video.shape == windows.audio.shape == (63, 256)


@pytest.mark.parametrize("page", ["README.md", "docs/guide/use_a_trained_encoder.md"])
def test_a_trained_model_embeds_files(
    page: str, user_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(user_folder)
    assert_embeddings_of_the_film(execute(python_blocks(page)[0]))


def test_the_trained_model_of_the_design(
    user_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(user_folder)
    assert_embeddings_of_the_film(execute(TRAINED_MODEL, tv=tv))


def test_the_parts_work_in_a_training_loop_of_the_reader(
    user_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(user_folder)
    [parts] = python_blocks("docs/guide/use_the_parts.md")
    titles = [f"title {number % 8}" for number in range(400)]
    video, audio = embeddings(6)
    names = execute(
        parts,
        titles=titles,
        my_dataset=TensorDataset(torch.arange(400)),
        video_embeddings=video,
        audio_embeddings=audio,
    )

    loader, catalog, dataset = names["loader"], names["catalog"], names["dataset"]
    assert isinstance(loader, torch.utils.data.DataLoader)
    (indices,) = next(iter(loader))
    drawn = [titles[index] for index in indices.tolist()]
    assert len(set(indices.tolist())) == 64
    assert sorted(drawn.count(title) for title in set(drawn)) == [16] * 4

    assert isinstance(catalog, tv.Catalog)
    assert isinstance(dataset, tv.CatalogDataset)
    sampler = tv.ClipBatchSampler(
        dataset, tv.SamplingConfig(batch_size=2, clips_per_item=2, min_gap_seconds=0.25), seed=0
    )
    batch = tv.collate_clips([dataset[spec] for spec in next(iter(sampler))])
    catalog.close()
    transform, model = names["transform"], names["model"]
    assert isinstance(transform, tv.ClipTransform)
    frames, log_mel = transform(batch.video, batch.waveform)
    assert frames.shape == (2, 3, 16, 112, 112)
    assert log_mel.shape[:3] == (2, 1, 80)
    assert isinstance(model, tv.TwoTower)
    assert model.config == tv.load_config(preset="base").model

    logits, own = video @ audio.T / 0.07, torch.arange(6)
    expected = 0.5 * (cross_entropy(logits, own) + cross_entropy(logits.T, own))
    value = names["value"]
    assert isinstance(value, torch.Tensor)
    torch.testing.assert_close(value, expected)
    value.backward()  # type: ignore[no-untyped-call]


def test_models_and_losses_are_plain_modules_on_plain_tensors() -> None:
    video, audio = embeddings(3)
    labels = torch.eye(3, dtype=torch.int8)
    names = execute(
        MODELS_AND_LOSSES, tv=tv, video_embeddings=video, audio_embeddings=audio, pair_labels=labels
    )
    model, loss = names["model"], names["loss"]
    assert isinstance(model, torch.nn.Module)
    assert isinstance(loss, torch.nn.Module)
    assert torch.equal(loss(video, audio), loss(video, audio, labels))
    assert names["value"] == loss(video, audio)
    loss(*model(torch.randn(3, 3, 4, 32, 32), torch.randn(3, 1, 40, 50)), labels).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
