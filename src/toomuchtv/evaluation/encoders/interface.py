"""The interface of encoders: frames, waveforms or texts in, vectors out."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toomuchtv.evaluation.benchmark import Modality

_TEXTS_PER_BATCH = 32


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


class TextEncoder(ABC):
    """An encoder of texts, in the space of one or both modalities.

    Attributes:
        modalities: The modalities whose `embed` shares a space with texts.
    """

    modalities: tuple[Modality, ...]

    @abstractmethod
    def features(self, texts: list[str], modality: Modality, /) -> Tensor:
        """Return features of a batch of texts that can be encoded as UTF-8, float32 `[N, D]`."""

    def embed(self, texts: Sequence[str], modality: Modality) -> Tensor:
        """Return the unit vectors of texts in the space of a modality, float32 `[N, D]`.

        A text may be empty, and may hold any character. One that is longer than the model reads
        is truncated.

        Args:
            texts: The texts, at least one.
            modality: One of `modalities`. Some models have a projection for each of them, so that
                a text has another vector among videos than among sounds.

        Raises:
            EncoderError: The model cannot embed the texts.
            ValueError: There are no texts, or the modality is not one of `modalities`.
        """
        if isinstance(texts, str) or not texts:
            raise ValueError(f"expected a sequence of one or more texts, got {texts!r}")
        if modality not in self.modalities:
            raise ValueError(
                f"this encoder has no texts for {modality!r}, only for {', '.join(self.modalities)}"
            )
        # Half of a surrogate pair, as in arguments that are not UTF-8, is no character.
        valid = [text.encode("utf-8", "replace").decode() for text in texts]
        batches = [
            self.features(valid[start : start + _TEXTS_PER_BATCH], modality)
            for start in range(0, len(valid), _TEXTS_PER_BATCH)
        ]
        return F.normalize(torch.cat(batches), dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """An encoder of one or both modalities, and perhaps of texts.

    Attributes:
        name: Name for tables.
        fingerprint: Digest of weights, settings and code. Encoders with equal fingerprints give
            equal features, on which the cache relies.
        pretraining: Description of the pretraining data.
        video: The video encoder, or None.
        audio: The audio encoder, or None.
        text: The text encoder, which names the modalities whose space it shares, or None.
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
    text: TextEncoder | None = None
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
