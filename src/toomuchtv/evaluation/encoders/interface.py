"""What evaluation asks of an encoder: whoever made it, frames or sound in, vectors out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInput:
    """What a video encoder was made for; protocols without figures of their own follow it.

    `size` is the side of the square that it sees in the end, whatever it is given.
    """

    frames: int
    frame_rate: float
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioInput:
    """What an audio encoder was made for. The sample rate is always its own, the length may not."""

    seconds: float
    sample_rate_hz: int


class VideoEncoder(ABC):
    """Frames to vectors."""

    input: VideoInput

    @abstractmethod
    def features(self, video: Tensor) -> Tensor:
        """Map RGB uint8 `[N, T, H, W, 3]` to features for transfer, float32 `[N, F]`."""

    def embed(self, video: Tensor) -> Tensor:
        """Map RGB uint8 `[N, T, H, W, 3]` to the space shared with audio, float32 `[N, D]`."""
        return self.features(video)

    def trunk(self) -> nn.Module | None:
        """The network that fine-tuning trains, from `prepare`d frames to `[N, F]`; None if none."""
        return None

    def prepare(self, video: Tensor) -> Tensor:
        """Map RGB uint8 `[N, T, H, W, 3]` to what `trunk` takes."""
        raise NotImplementedError


class AudioEncoder(ABC):
    """Waveforms to vectors."""

    input: AudioInput

    @abstractmethod
    def features(self, waveform: Tensor) -> Tensor:
        """Map mono float32 `[N, S]` in -1..1 to features for transfer, float32 `[N, F]`."""

    def embed(self, waveform: Tensor) -> Tensor:
        """Map mono float32 `[N, S]` to the space shared with video, float32 `[N, D]`."""
        return self.features(waveform)

    def feature_map(self, waveform: Tensor) -> Tensor:
        """Map mono float32 `[N, S]` to the flattened last map where there is one, `[N, M]`."""
        return self.features(waveform)

    def trunk(self) -> nn.Module | None:
        """The network that fine-tuning trains, from `prepare`d sound to `[N, F]`; None if none."""
        return None

    def prepare(self, waveform: Tensor) -> Tensor:
        """Map mono float32 `[N, S]` to what `trunk` takes."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """An encoder of one sense or of both.

    Attributes:
        name: For people.
        fingerprint: Of its weights and settings: equal fingerprints give equal features, which is
            what the cache relies on.
        pretraining: What it was taught on, for people; a score means little without it.
        video: None if it has no eyes.
        audio: None if it has no ears.
        shares_space: Whether `video.embed` and `audio.embed` meet in one space.
        untrained: Whether its weights are fresh.
    """

    name: str
    fingerprint: str
    pretraining: str
    video: VideoEncoder | None = None
    audio: AudioEncoder | None = None
    shares_space: bool = False
    untrained: bool = False
