"""The audio encoder behind the API of the HEAR benchmark (Turian et al., PMLR 176, 2022).

    hear-validator toomuchtv.inference.hear -m out/run

Embeddings are the features before the projection head. A scene's is the mean over windows as long
as in training, one every half window; a moment's is of the window centered on it, one every 50 ms.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toomuchtv.data.log_mel import LogMel
from toomuchtv.errors import CheckpointError
from toomuchtv.inference.pretrained import PretrainedEncoder, load

HOP_SECONDS = 0.05
_WINDOWS_AT_ONCE = 256


class HearModel(nn.Module):
    """An audio encoder with the attributes that HEAR asks for.

    Attributes:
        sample_rate: That audio must have, in hertz.
        scene_embedding_size: Length of a scene's embedding.
        timestamp_embedding_size: Length of a moment's.
        window_samples: Length of a window.
    """

    def __init__(self, pretrained: PretrainedEncoder) -> None:
        super().__init__()
        self.encoder = pretrained.model.audio_encoder
        self.log_mel = LogMel(pretrained.config.transform.log_mel)
        self.sample_rate = pretrained.config.clip.sample_rate_hz
        self.window_samples = pretrained.config.clip.num_samples
        self.scene_embedding_size = int(self.encoder.num_features)
        self.timestamp_embedding_size = int(self.encoder.num_features)
        self.eval()

    @torch.inference_mode()
    def forward(self, waveform: Tensor) -> Tensor:
        """Map float32 `[N, S]` in -1..1 to features `[N, F]`."""
        parts = torch.split(waveform, _WINDOWS_AT_ONCE)
        return torch.cat([self.encoder(self.log_mel(part)).float() for part in parts])


def load_model(model_file_path: str = "") -> HearModel:
    """Load a run's audio encoder.

    Args:
        model_file_path: A run's folder, or its model folder.

    Raises:
        CheckpointError: None is given, or there is no model.
    """
    if not model_file_path:
        raise CheckpointError(
            "give the folder of a run as the model's path: there are no default weights"
        )
    return HearModel(load(model_file_path))


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """Embed whole sounds.

    Args:
        audio: float32 `[sounds, samples]` in -1..1 at `model.sample_rate`.
        model: What `load_model` gave.

    Returns:
        float32 `[sounds, model.scene_embedding_size]`.
    """
    _check(audio, model)
    length = model.window_samples
    audio = F.pad(audio, (0, max(0, length - audio.shape[1])))
    room = audio.shape[1] - length
    times = max(1, round(2 * room / length) + 1)
    starts = [room // 2] if times == 1 else [room * k // (times - 1) for k in range(times)]
    windows = torch.stack([audio[:, start : start + length] for start in starts], dim=1)
    features: Tensor = model(windows.flatten(0, 1))
    return features.reshape(len(audio), times, -1).mean(dim=1)


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Embed moments of sounds, one every 50 ms from the beginning.

    Args:
        audio: float32 `[sounds, samples]` in -1..1 at `model.sample_rate`.
        model: What `load_model` gave.

    Returns:
        Embeddings, float32 `[sounds, moments, model.timestamp_embedding_size]`, and the middle of
        each window in milliseconds, float32 `[sounds, moments]`.
    """
    _check(audio, model)
    hop = round(HOP_SECONDS * model.sample_rate)
    half = model.window_samples // 2
    padded = F.pad(audio, (half, model.window_samples - half))
    windows = padded.unfold(1, model.window_samples, hop)  # [sounds, moments, samples]
    moments = 1 + audio.shape[1] // hop
    windows = windows[:, :moments]
    # One sound at a time: windows overlap, and all of a batch at once would not fit.
    features = torch.stack([model(of_sound) for of_sound in windows])
    at = torch.arange(moments, device=audio.device, dtype=torch.float32)
    milliseconds = at * hop / model.sample_rate * 1000.0
    return features, milliseconds.expand(len(audio), moments)


def _check(audio: Tensor, model: HearModel) -> None:
    if audio.dim() != 2 or audio.dtype != torch.float32:
        raise ValueError(
            f"expected float32 [sounds, samples] at {model.sample_rate} Hz, "
            f"got {audio.dtype} {list(audio.shape)}"
        )
