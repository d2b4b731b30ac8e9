"""The spectrogram is the reference library's, and is as long as it says."""

from __future__ import annotations

import warnings

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from tests.media.coded_media import reference_audio
from toomuchtv.data.log_mel import LogMel, LogMelConfig, mel_filters

CONFIGS = [
    LogMelConfig(),
    LogMelConfig(num_fft=400, num_bands=64),
    LogMelConfig(num_fft=1024, window_samples=1024, hop_samples=256, num_bands=128),
    LogMelConfig(sample_rate_hz=48_000, num_fft=2048, window_samples=1200, hop_samples=480),
    LogMelConfig(sample_rate_hz=22_050, num_fft=512, window_samples=401, hop_samples=97),
    LogMelConfig(low_hz=60.0, high_hz=7_800.0, num_bands=40),
    LogMelConfig(low_hz=1_000.0, high_hz=4_000.0, num_bands=20, num_fft=2048),
    LogMelConfig(sample_rate_hz=2_000, num_fft=64, window_samples=50, hop_samples=7, num_bands=8),
]


def reference(config: LogMelConfig, wave: NDArray[np.float32]) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of short signals and of empty filters
        mel = librosa.feature.melspectrogram(
            y=wave, sr=config.sample_rate_hz, n_fft=config.num_fft,
            hop_length=config.hop_samples, win_length=config.window_samples, window="hann",
            center=True, pad_mode="constant", power=2.0, n_mels=config.num_bands,
            fmin=config.low_hz, fmax=config.high_hz, htk=False, norm="slaney",
        )  # fmt: skip
    return torch.from_numpy(mel)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("kind", ["noise", "tones", "quiet"])
def test_log_mel_is_librosas(config: LogMelConfig, kind: str) -> None:
    num_samples = config.sample_rate_hz
    rng = np.random.default_rng(7)
    values64 = rng.uniform(-1, 1, num_samples)
    if kind != "noise":
        values64 = reference_audio(np.arange(num_samples) / config.sample_rate_hz)
    wave = (values64 * (1e-3 if kind == "quiet" else 1.0)).astype(np.float32)
    expected = torch.log(reference(config, wave) + config.offset)
    values = LogMel(config)(torch.from_numpy(wave)[None])[0, 0] * config.std + config.mean
    assert values.shape == expected.shape
    torch.testing.assert_close(values, expected.to(values.dtype), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_filters_are_librosas(config: LogMelConfig) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = librosa.filters.mel(
            sr=config.sample_rate_hz, n_fft=config.num_fft, n_mels=config.num_bands,
            fmin=config.low_hz, fmax=config.high_hz, dtype=np.float64,
        )  # fmt: skip
    torch.testing.assert_close(
        mel_filters(config), torch.from_numpy(expected), rtol=1e-9, atol=1e-12
    )


@settings(max_examples=25, deadline=None)
@given(
    half_fft=st.integers(16, 300),
    share=st.floats(0.2, 1.0),
    hop=st.integers(1, 400),
    bands=st.integers(1, 64),
    num_samples=st.integers(1, 3000),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_settings_are_librosas(
    half_fft: int, share: float, hop: int, bands: int, num_samples: int, seed: int
) -> None:
    num_fft = 2 * half_fft
    config = LogMelConfig(
        num_fft=num_fft, window_samples=max(16, int(share * num_fft)), hop_samples=hop,
        num_bands=bands,
    )  # fmt: skip
    wave = np.random.default_rng(seed).uniform(-1, 1, num_samples).astype(np.float32)
    expected = torch.log(reference(config, wave) + config.offset)
    values = torch.log(LogMel(config).mel(torch.from_numpy(wave)[None])[0] + config.offset)
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[7]], ids=str)
def test_num_frames_is_true_at_every_length(config: LogMelConfig) -> None:
    """Also of an empty waveform: the samples of a window beyond the audio are zeros."""
    log_mel = LogMel(config)
    for num_samples in range(1001):
        frames = log_mel.mel(torch.zeros(1, num_samples)).shape[-1]
        assert frames == config.num_frames(num_samples), f"at {num_samples} samples"


def test_frame_f_is_centered_on_its_sample() -> None:
    config = LogMelConfig()
    for frame in (0, 1, 17, 99):
        wave = torch.zeros(1, 16_000)
        wave[0, frame * config.hop_samples] = 1.0
        assert int(LogMel(config).mel(wave)[0].sum(dim=0).argmax()) == frame


def test_silence_is_the_offset_and_a_batch_is_its_rows() -> None:
    config = LogMelConfig(offset=1e-6, mean=-6.0, std=4.0)
    log_mel = LogMel(config)
    silence = log_mel(torch.zeros(1, 1600))
    torch.testing.assert_close(silence, torch.full_like(silence, (np.log(1e-6) + 6) / 4))
    waves = torch.rand(3, 4000, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rows = torch.cat([log_mel(wave[None]) for wave in waves])
    torch.testing.assert_close(log_mel(waves), rows, rtol=1e-5, atol=1e-5)
    assert log_mel(waves).shape == (3, 1, 80, 26)


def test_autocast_does_not_reach_it() -> None:
    wave = torch.rand(1, 4000, generator=torch.Generator().manual_seed(0)) * 1e-3
    log_mel = LogMel(LogMelConfig())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = log_mel(wave)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, log_mel(wave), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"window_samples": 600}, r"window_samples \(600\) must not exceed num_fft \(512\)"),
        ({"high_hz": 9000.0}, r"low_hz < high_hz <= 8000.0 Hz, got 0.0 to 9000.0"),
        ({"low_hz": 500.0, "high_hz": 500.0}, "got 500.0 to 500.0"),
        ({"num_fft": 513}, "multiple of 2"),
        ({"bands": 3}, "Extra inputs are not permitted"),
    ],
)
def test_impossible_settings_are_refused(settings_: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LogMelConfig(**settings_)  # type: ignore[arg-type]
