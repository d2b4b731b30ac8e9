"""Encoders: baselines against references, weights of other libraries, and custom encoders."""

from __future__ import annotations

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
from toomuchtv.evaluation.encoders.pretrained import torchvision_encoder
from toomuchtv.evaluation.encoders.transformers_models import Clap
from toomuchtv.evaluation.errors import EncoderError
from toomuchtv.models import VideoEncoderConfig
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


class NoState:
    """An encoder with neither version nor state_dict."""

    audio_seconds, sample_rate_hz = 1.0, 8_000

    def embed_audio(self, waveform: Tensor) -> list[float]:
        return [0.0]


def test_unsupported_encoders_are_refused_with_a_reason() -> None:
    with pytest.raises(EncoderError, match="needs embed_video"):
        wrap_encoder(object(), name="x")
    with pytest.raises(EncoderError, match="identify the cached"):
        wrap_encoder(NoState(), name="x")
    with pytest.raises(EncoderError, match="nothere"):
        choose_encoder("nothere:make")
    with pytest.raises(ValueError, match=r"log-mel.*module:function"):
        choose_encoder("nothing")
    versioned = NoState()
    versioned.version = "1"  # type: ignore[attr-defined]
    encoder = wrap_encoder(versioned, name="x")
    assert encoder.audio is not None
    with pytest.raises(EncoderError, match="must return a tensor"):
        encoder.audio.features(NOISE)


def test_transformers_models_load_from_a_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16,
    }  # fmt: skip
    video = transformers.VideoMAEConfig(image_size=32, patch_size=16, num_frames=4, **sizes)
    transformers.VideoMAEModel(video).save_pretrained(tmp_path / "videomae")
    encoder = choose_encoder(f"transformers:{tmp_path / 'videomae'}")
    assert encoder.video is not None
    assert encoder.video.input.frames == 4
    assert encoder.video.features(FILM[:, :4]).shape == (2, 16)
    with pytest.raises(EncoderError, match="takes 4 frames"):
        encoder.video.features(FILM)
    audio = transformers.ASTConfig(max_length=100, num_mel_bins=32, patch_size=16, **sizes)
    transformers.ASTModel(audio).save_pretrained(tmp_path / "ast")
    audio_encoder = choose_encoder(f"transformers:{tmp_path / 'ast'}")
    assert audio_encoder.audio is not None
    assert audio_encoder.audio.features(NOISE).shape == (3, 16)
    with pytest.raises(EncoderError, match="save_pretrained"):
        choose_encoder(f"transformers:{tmp_path}")


@pytest.mark.parametrize("fused", [False, True])
def test_the_input_of_clap_equals_that_of_the_librarys_extractor(
    fused: bool, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    tower = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.ClapConfig(
        text_config={**tower, "intermediate_size": 16, "vocab_size": 50},
        audio_config={
            "hidden_size": 32, "patch_embeds_hidden_size": 16, "depths": [1, 1],
            "num_attention_heads": [2, 2], "num_hidden_layers": 2, "enable_fusion": fused,
        },
        projection_dim=8,
    )  # fmt: skip
    model = transformers.ClapModel(config).eval()
    model.save_pretrained(tmp_path)
    encoder = choose_encoder(f"transformers:{tmp_path}").audio
    assert isinstance(encoder, Clap)
    assert (encoder.input.seconds, encoder.input.sample_rate_hz) == (10.0, 48_000)
    rng = np.random.default_rng(2)
    # Full length; a length that fits three times with zeros after it; a length that fits exactly.
    for samples in (480_000, 151_000, 96_000):
        waveform = rng.normal(0, 0.2, (2, samples)).astype(np.float32)
        waveform[1] *= np.sin(np.arange(samples) / 9_000).astype(np.float32)
        theirs = transformers.ClapFeatureExtractor(
            frequency_min=50, truncation="fusion" if fused else "rand_trunc"
        )(list(waveform), sampling_rate=48_000, return_tensors="pt")
        mel = encoder.log_mel(torch.from_numpy(waveform))
        torch.testing.assert_close(mel, theirs.input_features.float(), rtol=1e-4, atol=1e-2)
        with torch.inference_mode():
            given = model.get_audio_features(
                input_features=theirs.input_features.float(),
                is_longer=torch.zeros_like(theirs.is_longer),
            )
        expected = given if isinstance(given, Tensor) else given.pooler_output
        found = encoder.features(torch.from_numpy(waveform))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(found, encoder.features(torch.from_numpy(waveform)))
    with pytest.raises(EncoderError, match="at most 480000 samples"):
        encoder.features(torch.zeros(1, 480_001))


def test_clap_uses_the_settings_saved_beside_its_weights(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    saved = transformers.ClapFeatureExtractor(
        frequency_min=300, truncation="rand_trunc", max_length_s=5
    )
    clap = Clap(nn.Identity(), saved)
    waveform = np.random.default_rng(3).normal(0, 0.1, (1, 240_000)).astype(np.float32)
    theirs = saved(list(waveform), sampling_rate=48_000, return_tensors="pt").input_features
    mel = clap.log_mel(torch.from_numpy(waveform))
    torch.testing.assert_close(mel, theirs.float(), rtol=1e-4, atol=1e-2)
