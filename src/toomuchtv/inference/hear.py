"""The audio encoder behind the API of the HEAR benchmark (Turian et al., PMLR 176, 2022).

    hear-validator toomuchtv.inference.hear -m out/run

Embeddings are the features before the projection head. The embedding of a scene is the mean over
windows that are as long as in training and overlap by about half. The embedding of a timestamp is
that of the window centered on it, every 50 ms.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toomuchtv.data.log_mel import LogMel
from toomuchtv.errors import CheckpointError
from toomuchtv.inference.pretrained import PretrainedEncoder, load

HOP_SECONDS = 0.05
_WINDOWS_PER_BATCH = 256


class HearModel(nn.Module):
    """An audio encoder with the attributes that HEAR asks for.

    Attributes:
        sample_rate: Sample rate that audio must have, in hertz.
        scene_embedding_size: Number of dimensions of the embedding of a scene.
        timestamp_embedding_size: Number of dimensions of the embedding of a timestamp.
        window_samples: Length of a window, in samples.
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
        batches = torch.split(waveform, _WINDOWS_PER_BATCH)
        return torch.cat([self.encoder(self.log_mel(batch)).float() for batch in batches])


def load_model(model_file_path: str = "") -> HearModel:
    """Load a run's audio encoder.

    Args:
        model_file_path: Folder of a run, or its model folder.

    Raises:
        CheckpointError: The path is empty, or the folder contains no model.
    """
    if not model_file_path:
        raise CheckpointError(
            "got no model path and there are no default weights: pass the folder of a run"
        )
    return HearModel(load(model_file_path))


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """Embed whole recordings.

    Args:
        audio: float32 `[N, S]` in -1..1 at `model.sample_rate`.
        model: A model that `load_model` returned.

    Returns:
        float32 `[N, model.scene_embedding_size]`.
    """
    _check(audio, model)
    length = model.window_samples
    audio = F.pad(audio, (0, max(0, length - audio.shape[1])))
    # Windows are spread evenly from the first sample to the last; a single one is in the middle.
    last_start = audio.shape[1] - length
    num_windows = max(1, round(2 * last_start / length) + 1)
    starts = (
        [last_start // 2]
        if num_windows == 1
        else [last_start * k // (num_windows - 1) for k in range(num_windows)]
    )
    windows = torch.stack([audio[:, start : start + length] for start in starts], dim=1)
    features: Tensor = model(windows.flatten(0, 1))
    return features.reshape(len(audio), num_windows, -1).mean(dim=1)


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Embed recordings at timestamps, one every 50 ms from the beginning.

    Args:
        audio: float32 `[N, S]` in -1..1 at `model.sample_rate`.
        model: A model that `load_model` returned.

    Returns:
        Embeddings, float32 `[N, T, model.timestamp_embedding_size]`, and the timestamps in
        milliseconds, float32 `[N, T]`.
    """
    _check(audio, model)
    hop = round(HOP_SECONDS * model.sample_rate)
    half = model.window_samples // 2
    padded = F.pad(audio, (half, model.window_samples - half))
    windows = padded.unfold(1, model.window_samples, hop)  # [N, T, window_samples]
    num_timestamps = 1 + audio.shape[1] // hop
    windows = windows[:, :num_timestamps]
    # One recording at a time: windows overlap, and those of a whole batch would need much memory.
    features = torch.stack([model(of_recording) for of_recording in windows])
    index = torch.arange(num_timestamps, device=audio.device, dtype=torch.float32)
    milliseconds = index * hop / model.sample_rate * 1000.0
    return features, milliseconds.expand(len(audio), num_timestamps)


def _check(audio: Tensor, model: HearModel) -> None:
    if audio.dim() != 2 or audio.dtype != torch.float32:
        raise ValueError(
            f"expected float32 audio [N, S] at {model.sample_rate} Hz, "
            f"got {audio.dtype} {list(audio.shape)}"
        )
