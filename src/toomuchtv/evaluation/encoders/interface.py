"""The interface that evaluation requires of encoders: frames or waveforms in, vectors out."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInput:
    """Input of a video encoder, which protocols without values of their own follow.

    Attributes:
        frames: Number of frames.
        frame_rate: Frames per second.
        size: Side of the square input of the network, in pixels. Encoders resize other sizes.
    """

    frames: int
    frame_rate: float
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioInput:
    """Input of an audio encoder. Protocols may change the length but not the sample rate.

    Attributes:
        seconds: Length in seconds.
        sample_rate_hz: Sample rate in hertz.
    """

    seconds: float
    sample_rate_hz: int


class ModalityEncoder(ABC):
    """What video and audio encoders share."""

    @abstractmethod
    def features(self, raw: Tensor, /) -> Tensor:
        """Return features for transfer, float32 `[N, F]`."""

    def embed(self, raw: Tensor, /) -> Tensor:
        """Return embeddings in the space shared with the other modality, float32 `[N, D]`."""
        return self.features(raw)

    def tokens(self, raw: Tensor, /) -> Tensor:
        """Return local features, float32 `[N, tokens, C]`: the positions of the last feature map.

        An encoder without a feature map has one token, its features.
        """
        return self.features(raw)[:, None]

    def trunk(self) -> nn.Module | None:
        """Return the network to fine-tune, from prepared inputs to `[N, F]`; None if none."""
        return None

    def prepare(self, raw: Tensor, /) -> Tensor:
        """Return the input of `trunk`."""
        raise NotImplementedError


class VideoEncoder(ModalityEncoder):
    """An encoder of RGB frames, uint8 `[N, T, H, W, 3]`."""

    input: VideoInput


class AudioEncoder(ModalityEncoder):
    """An encoder of mono waveforms in -1..1, float32 `[N, S]`."""

    input: AudioInput

    def feature_map(self, waveform: Tensor) -> Tensor:
        """Return the flattened last feature map `[N, M]`, or the features if there is none."""
        return self.features(waveform)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """An encoder of one or both modalities.

    Attributes:
        name: Name for tables.
        fingerprint: Digest of weights, settings and code. Encoders with equal fingerprints give
            equal features, on which the cache relies.
        pretraining: Description of the pretraining data.
        video: The video encoder, or None.
        audio: The audio encoder, or None.
        shares_space: True if `video.embed` and `audio.embed` share a space.
        untrained: True if the weights are random.
        weights: What is known about the weights, in a few words for tables.
        is_deterministic: False if equal inputs may give different features, which are then not
            cached.
    """

    name: str
    fingerprint: str
    pretraining: str
    video: VideoEncoder | None = None
    audio: AudioEncoder | None = None
    shares_space: bool = False
    untrained: bool = False
    weights: str = "trained weights"
    is_deterministic: bool = True


def state_digest(module: nn.Module) -> bytes:
    """Return a digest of all weights and buffers of a network."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor_bytes(value))
    return digest.digest()


def tensor_bytes(value: Tensor) -> bytes:
    """Return the values of a tensor as bytes, independent of its device and strides."""
    return value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
