"""Encoders: baselines against references, weights of other libraries, and custom encoders."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from toomuchtv.evaluation.encoders import choose_encoder
from toomuchtv.evaluation.encoders.baselines import (
    ColorHistogram,
    FrameDifference,
    MeanLogMel,
    Mfcc,
)
from toomuchtv.evaluation.encoders.custom import wrap_encoder
from toomuchtv.evaluation.encoders.pretrained import encoder_of, torchvision_encoder
from toomuchtv.evaluation.errors import EncoderError
from toomuchtv.inference.pretrained import PretrainedConfig, PretrainedEncoder
from toomuchtv.models import MODEL_PRESETS, TwoTower, VideoEncoderConfig
from toomuchtv.models.video import VideoResNet

NOISE = torch.from_numpy(
    np.random.default_rng(0).uniform(-0.5, 0.5, (3, 16_000)).astype(np.float32)
)
FILM = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (2, 5, 16, 24, 3), np.uint8))


def test_mfcc_equals_librosas() -> None:
    ours = Mfcc().cepstra(NOISE).numpy()
    for row in range(3):
        theirs = librosa.feature.mfcc(
            y=NOISE[row].numpy(), sr=16_000, n_mfcc=20, n_fft=512, hop_length=160, n_mels=40,
            pad_mode="constant",
        )  # fmt: skip
        np.testing.assert_allclose(ours[row], theirs, rtol=1e-3, atol=2e-2)


def test_mean_log_mel_equals_librosas() -> None:
    ours = MeanLogMel().features(NOISE).numpy()
    mel = librosa.feature.melspectrogram(
        y=NOISE[0].numpy(), sr=16_000, n_fft=512, win_length=400, hop_length=160, n_mels=80,
        pad_mode="constant",
    )  # fmt: skip
    bands = (np.log(mel + 1e-6) + 6.0) / 4.0
    expected = np.concatenate([bands.mean(axis=1), bands.std(axis=1)])
    np.testing.assert_allclose(ours[0], expected, rtol=1e-3, atol=1e-3)


def test_a_color_histogram_counts_every_pixel() -> None:
    found = ColorHistogram().features(FILM).numpy()
    for row in range(2):
        cells = FILM[row].numpy().reshape(-1, 3) // 64
        flat = cells[:, 0] * 16 + cells[:, 1] * 4 + cells[:, 2]
        np.testing.assert_allclose(found[row], np.bincount(flat, minlength=64) / len(flat))


def test_frame_difference_is_zero_for_a_still_and_localizes_motion() -> None:
    still = FILM[:1, :1].expand(1, 5, 16, 24, 3)
    assert FrameDifference().features(still).abs().max() == 0
    moving = torch.zeros(1, 4, 16, 16, 3, dtype=torch.uint8)
    moving[:, 1::2, :2, :2] = 255
    cells = FrameDifference().features(moving)[0, :64].reshape(8, 8)
    assert cells[0, 0] == pytest.approx(1.0)
    assert cells.sum() == pytest.approx(1.0)


def test_torchvision_weights_load_from_safetensors_only(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = VideoResNet(VideoEncoderConfig()).eval()
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(
        {**state, "fc.weight": torch.zeros(400, 512), "fc.bias": torch.zeros(400)},
        tmp_path / "w.safetensors",
    )
    encoder = choose_encoder(f"r2plus1d_18:{tmp_path / 'w.safetensors'}")
    assert encoder.video is not None
    assert encoder.audio is None
    film = torch.randint(0, 256, (1, 2, 32, 32, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = network(encoder.video.prepare(film))
    torch.testing.assert_close(encoder.video.features(film), expected, rtol=1e-4, atol=1e-4)
    (tmp_path / "w.pth").write_bytes(b"a pickle")
    with pytest.raises(EncoderError, match=r"pickle.*Convert"):
        torchvision_encoder(tmp_path / "w.pth")
    save_file({"stem.0.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(EncoderError, match="not of this architecture"):
        torchvision_encoder(tmp_path / "other.safetensors")


class Someones(nn.Module):
    """A custom encoder that is a torch module."""

    audio_seconds, sample_rate_hz = 1.0, 8_000

    def __init__(self, dim: int = 2) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))

    def embed_audio(self, waveform: Tensor) -> Tensor:
        return waveform.square().mean(dim=1, keepdim=True) * self.scale


def make() -> Someones:
    return Someones()


def test_any_object_with_embed_audio_is_an_encoder() -> None:
    encoder = choose_encoder("tests.evaluation.test_encoders:make")
    assert encoder.audio is not None
    assert encoder.video is None
    assert (encoder.audio.input.seconds, encoder.audio.input.sample_rate_hz) == (1.0, 8_000)
    assert encoder.audio.features(NOISE).shape == (3, 2)


def test_the_fingerprint_changes_with_the_weights() -> None:
    one, other = make(), make()
    assert wrap_encoder(one, name="x").fingerprint == wrap_encoder(other, name="x").fingerprint
    with torch.no_grad():
        other.scale.add_(1)
    assert wrap_encoder(one, name="x").fingerprint != wrap_encoder(other, name="x").fingerprint


class ReturnsAList:
    """An encoder that breaks the contract."""

    audio_seconds, sample_rate_hz = 1.0, 8_000

    def embed_audio(self, waveform: Tensor) -> list[float]:
        return [0.0]


def test_unsupported_encoders_are_refused_with_a_reason() -> None:
    with pytest.raises(EncoderError, match="needs embed_video"):
        wrap_encoder(object(), name="x")
    with pytest.raises(EncoderError, match=r"must return a tensor \[2, D\]"):
        wrap_encoder(ReturnsAList(), name="x")
    with pytest.raises(EncoderError, match="nothere"):
        choose_encoder("nothere:make")
    with pytest.raises(ValueError, match=r"log-mel.*module:function"):
        choose_encoder("nothing")


class LeftInTraining(nn.Module):
    """A network with dropout and batch norm that its author left in training mode."""

    audio_seconds, sample_rate_hz = 0.5, 8_000

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(4_000, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))

    def embed_audio(self, waveform: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        found: Tensor = self.layers(waveform)
        return found


class Holder:
    """An object that is no module and holds one, in a list."""

    audio_seconds, sample_rate_hz = 0.5, 8_000

    def __init__(self) -> None:
        self.parts = [LeftInTraining()]

    def embed_audio(self, waveform: Tensor) -> Tensor:
        return self.parts[0].embed_audio(waveform)


@pytest.mark.parametrize("model", [LeftInTraining(), Holder()])
def test_encoders_run_in_evaluation_mode(model: LeftInTraining | Holder) -> None:
    encoder = wrap_encoder(model, name="x")
    assert encoder.is_deterministic
    assert encoder.audio is not None
    network = model if isinstance(model, LeftInTraining) else model.parts[0]
    network.train()  # whatever a call leaves behind
    together = encoder.audio.features(NOISE[:, :4_000])
    alone = torch.cat([encoder.audio.features(row[None]) for row in NOISE[:, :4_000]])
    torch.testing.assert_close(together, alone)
    assert network.layers.state_dict()["1.num_batches_tracked"] == 0


SOURCE = """
import torch
import helper_of_{name}

class Encoder:
    audio_seconds, sample_rate_hz = 0.1, 8_000

    def __init__(self):
        self.weights = torch.ones(2)

    def embed_audio(self, waveform):
        level = waveform.abs().mean(dim=1, keepdim=True)
        return helper_of_{name}.scale() * self.weights * level

def make():
    return Encoder()
"""


def fingerprint(name: str) -> str:
    """Import the module of a user as a new process would."""
    for module in (name, f"helper_of_{name}"):
        sys.modules.pop(module, None)
    importlib.invalidate_caches()
    return choose_encoder(f"{name}:make").fingerprint


def test_the_fingerprint_covers_code_helpers_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    name, factor = "someones_encoder", tmp_path / "factor.txt"
    helper = f"import pathlib\ndef scale():\n    return float(pathlib.Path({str(factor)!r})"
    factor.write_text("1.0")
    texts = {name: SOURCE.format(name=name), f"helper_of_{name}": helper + ".read_text())\n"}

    def write() -> None:
        for module, text in texts.items():
            (tmp_path / f"{module}.py").write_text(text)

    write()
    found = [fingerprint(name), fingerprint(name)]
    assert found[0] == found[1]
    factor.write_text("2.0")  # a file that is read at each call
    found.append(fingerprint(name))
    texts[f"helper_of_{name}"] += "# loud sounds only\n"
    write()
    found.append(fingerprint(name))
    texts[name] = texts[name].replace("torch.ones(2)", "torch.ones(2) + 1")
    write()
    found.append(fingerprint(name))
    assert len(set(found)) == 4


class Noisy(Someones):
    """An encoder with random features."""

    def embed_audio(self, waveform: Tensor) -> Tensor:
        return torch.rand(len(waveform), 3)


def test_features_that_change_from_call_to_call_are_not_cached() -> None:
    encoder = wrap_encoder(Noisy(), name="x")
    assert not encoder.is_deterministic
    assert encoder.fingerprint == wrap_encoder(Noisy(), name="x").fingerprint


class WithMap(Someones):
    """An encoder with a feature map of two places."""

    def map_audio(self, waveform: Tensor) -> Tensor:
        return waveform.reshape(len(waveform), 2, -1).square().mean(dim=2)[:, None, :, None]


def test_an_encoder_may_have_a_feature_map() -> None:
    encoder = wrap_encoder(WithMap(), name="x")
    assert encoder.audio is not None
    assert encoder.audio.tokens(NOISE).shape == (3, 2, 1)
    assert encoder.audio.feature_map(NOISE).shape == (3, 2)
    plain = wrap_encoder(make(), name="x")
    assert plain.audio is not None
    assert plain.audio.tokens(NOISE).shape == (3, 1, 2)


class WithText(Someones):
    """A custom encoder of sounds with texts: the shares of two letters."""

    def embed_text(self, texts: list[str]) -> Tensor:
        counts = [[text.count("a") + 1.0, text.count("b") + 1.0] for text in texts]
        return torch.tensor(counts) * self.scale


class OfBoth(WithText):
    """A custom encoder of both modalities whose texts share a space with one."""

    frames, frame_rate, size = 1, 1.0, 4
    text_modalities: object = ("video",)

    def embed_video(self, video: Tensor) -> Tensor:
        return video.float().mean(dim=(1, 2, 3))[:, :2]


def changed(kind: type[WithText], **attributes: object) -> WithText:
    model = kind()
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


def test_an_encoder_may_embed_texts() -> None:
    text = wrap_encoder(WithText(), name="x").text
    assert text is not None
    assert text.modalities == ("audio",)
    texts = ["aab", "", "\ud800\x00 \u202eשלום 🎬", "b" * 100_000, *["a"] * 64]
    found = text.embed(texts, "audio")
    expected = np.array([[one.count("a") + 1.0, one.count("b") + 1.0] for one in texts])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    assert wrap_encoder(make(), name="x").text is None
    with pytest.raises(ValueError, match="sequence of one or more texts"):
        text.embed("ab", "audio")
    with pytest.raises(ValueError, match="sequence of one or more texts"):
        text.embed([], "audio")
    with pytest.raises(ValueError, match="only for audio"):
        text.embed(["ab"], "video")
    of_video = wrap_encoder(OfBoth(), name="x")
    assert of_video.text is not None
    assert of_video.text.modalities == ("video",)
    assert not of_video.shares_space
    both = wrap_encoder(
        changed(OfBoth, text_modalities=("audio", "video"), shares_space=True), name="x"
    )
    assert both.text is not None
    assert both.text.modalities == ("video", "audio")


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (changed(OfBoth, text_modalities=("video", "audio")), "shares_space"),
        (changed(OfBoth, text_modalities=("image",)), "text_modalities"),
        (changed(WithText, text_modalities="video"), "text_modalities"),
        (changed(WithText, embed_text=lambda texts: torch.ones(len(texts), 3)), "share no space"),
        (changed(WithText, embed_text=lambda texts: torch.ones(1, 2)), "must return a tensor"),
    ],
)
def test_texts_that_share_no_space_are_refused(model: WithText, reason: str) -> None:
    with pytest.raises(EncoderError, match=reason):
        wrap_encoder(model, name="x")


GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "external_encoders.md"


def test_the_examples_of_the_guide_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code is that of the page, and so are the command's arguments."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    blocks = re.findall(
        r"^```python\n(# (\w+)\.py\n.*?)^```$", GUIDE.read_text("utf-8"), re.M | re.S
    )
    assert [name for _, name in blocks] == ["band_energies", "small_video"]
    for text, name in blocks:
        (tmp_path / f"{name}.py").write_text(text)
    importlib.invalidate_caches()
    audio = choose_encoder("band_energies:make")
    assert audio.audio is not None
    assert audio.is_deterministic
    num_samples = round(audio.audio.input.seconds * audio.audio.input.sample_rate_hz)
    assert audio.audio.features(NOISE[:, :num_samples]).shape == (3, 16)
    assert audio.audio.tokens(NOISE[:, :num_samples]).dim() == 3
    video = choose_encoder("small_video:make")
    assert video.video is not None
    shape = (2, video.video.input.frames, video.video.input.size, video.video.input.size, 3)
    film = torch.randint(0, 256, shape, dtype=torch.uint8)
    assert video.video.features(film).shape == (2, 32)
    assert video.video.tokens(film).shape[2] == 32
    torch.testing.assert_close(video.video.tokens(film).mean(dim=1), video.video.features(film))


def test_a_setting_that_a_newer_version_adds_does_not_change_a_fingerprint() -> None:
    class NewerConfig(PretrainedConfig):
        new_setting: int = 3

    model = TwoTower.from_config("tiny", seed=0)
    fingerprints = [
        encoder_of(PretrainedEncoder(model, config), "run", untrained=False).fingerprint
        for config in (
            PretrainedConfig(model=MODEL_PRESETS["tiny"]),
            NewerConfig(model=MODEL_PRESETS["tiny"]),
            NewerConfig(model=MODEL_PRESETS["tiny"], new_setting=4),
        )
    ]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
