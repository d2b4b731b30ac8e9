"""Our encoders on tasks of mteb, with its own loader of data and its own classifiers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly
from torch import Tensor

from toomuchtv.evaluation.encoders import choose_encoder
from toomuchtv.evaluation.encoders.custom import wrap_encoder
from toomuchtv.evaluation.errors import EncoderError

RATE = 8_000
# mteb and its libraries warn about their own use of each other.
pytestmark = pytest.mark.filterwarnings("default")


class Loudness:
    """An encoder of both modalities, whose vectors share a space."""

    frames, frame_rate, size, shares_space = 2, 4.0, 16, True
    audio_seconds, sample_rate_hz = 0.5, RATE

    def embed_audio(self, waveform: Tensor) -> Tensor:
        level = waveform.square().mean(dim=1, keepdim=True).sqrt()
        return torch.cat([level, 1 - level], dim=1)

    def embed_video(self, video: Tensor) -> Tensor:
        level = video.float().mean(dim=(1, 2, 3, 4))[:, None] / 255
        return torch.cat([level, 1 - level], dim=1)


def task(*modalities: str) -> Any:
    return SimpleNamespace(
        name="task", modalities=list(modalities), get_modalities=lambda _: list(modalities)
    )


@pytest.fixture(scope="module")
def mteb() -> Any:
    return pytest.importorskip("mteb", reason="the extra `mteb` is not installed")


def test_without_mteb_the_extra_is_named() -> None:
    from toomuchtv.evaluation.mteb import mteb_model

    try:
        import mteb  # noqa: F401
    except ImportError:
        with pytest.raises(EncoderError, match=r"toomuchtv\[mteb\]"):
            mteb_model(choose_encoder("log-mel"))
    else:
        mteb_model(choose_encoder("log-mel"))


def test_a_vector_is_the_mean_over_views_of_the_resampled_sound(mteb: Any) -> None:
    from toomuchtv.evaluation.mteb import mteb_model

    model = mteb_model(wrap_encoder(Loudness(), name="loudness"))
    rng = np.random.default_rng(0)
    stereo = rng.uniform(-0.5, 0.5, (2, 16_000))
    given = [{"audio": [{"array": stereo, "sampling_rate": 16_000}]}]
    found = model.encode(given, task_metadata=task("audio"))
    mono = resample_poly(stereo.mean(axis=0), 1, 2)
    starts = range(0, RATE - RATE // 2 + 1, RATE // 4)
    levels = [np.sqrt(np.square(mono[s : s + RATE // 2]).mean()) for s in starts]
    np.testing.assert_allclose(found[0], [np.mean(levels), 1 - np.mean(levels)], rtol=1e-5)
    with pytest.raises(EncoderError, match="text"):
        model.encode(given, task_metadata=task("text"))


def test_a_task_on_audio_is_run_by_mteb(mteb: Any) -> None:
    pytest.importorskip("torchcodec", reason="mteb's tasks decode with torchcodec")
    from mteb.mocks.mock_tasks import MockAudioClassification

    from toomuchtv.evaluation.mteb import mteb_model

    model = mteb_model(choose_encoder("log-mel"))
    assert isinstance(model, mteb.models.EncoderProtocol)
    result = mteb.evaluate(model, MockAudioClassification(), cache=None)
    score = result.task_results[0].get_score()
    assert 0.0 <= score <= 1.0
    assert result.model_name == "toomuchtv/log-mel"


def test_tasks_on_video_are_run_by_mteb(mteb: Any) -> None:
    pytest.importorskip("torchcodec", reason="mteb's tasks decode with torchcodec")
    from mteb.mocks.mock_tasks import MockVideoAudioClassification, MockVideoClassification

    from toomuchtv.evaluation.mteb import mteb_model

    model = mteb_model(wrap_encoder(Loudness(), name="loudness"))
    for made in (MockVideoClassification(), MockVideoAudioClassification()):
        result = mteb.evaluate(model, made, cache=None)
        assert 0.0 <= result.task_results[0].get_score() <= 1.0
