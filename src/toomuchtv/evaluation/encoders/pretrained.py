"""Encoders of a run, and video networks with torchvision weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from toomuchtv.data.clip_transform import normalize_rgb
from toomuchtv.evaluation.encoders.interface import (
    AudioEncoder,
    AudioInput,
    Encoder,
    VideoEncoder,
    VideoInput,
    state_digest,
)
from toomuchtv.evaluation.errors import EncoderError
from toomuchtv.inference.pretrained import PretrainedEncoder, load
from toomuchtv.models import VideoEncoderConfig, load_torchvision_weights
from toomuchtv.models.video import VideoResNet
from toomuchtv.training.device import choose_device


class RunVideoEncoder(VideoEncoder):
    """The video encoder of a run.

    Attributes:
        pretrained: Both encoders of the run.
    """

    def __init__(self, pretrained: PretrainedEncoder) -> None:
        self.pretrained = pretrained
        clip = pretrained.config.clip
        self.input = VideoInput(
            frames=clip.frames, frame_rate=clip.frame_rate, size=pretrained.config.transform.size
        )

    def features(self, video: Tensor) -> Tensor:
        """Return the features before the projection head."""
        return self.pretrained.video_features(video)

    def embed(self, video: Tensor) -> Tensor:
        """Return the unit vectors after the projection head."""
        return self.pretrained.embed_video(video)

    def tokens(self, video: Tensor) -> Tensor:
        """Return the positions of the last feature map, `[N, t * h * w, F]`."""
        return self.pretrained.video_feature_map(video).flatten(2).transpose(1, 2)

    def trunk(self) -> nn.Module:
        """Return the encoder without its projection head."""
        return self.pretrained.model.video_encoder

    def prepare(self, video: Tensor) -> Tensor:
        """Resize to the training size, and normalize."""
        return normalize_rgb(video, self.input.size)


class RunAudioEncoder(AudioEncoder):
    """The audio encoder of a run."""

    def __init__(self, pretrained: PretrainedEncoder) -> None:
        self._pretrained = pretrained
        clip = pretrained.config.clip
        self.input = AudioInput(seconds=clip.audio_seconds, sample_rate_hz=clip.sample_rate_hz)

    def features(self, waveform: Tensor) -> Tensor:
        """Return the features before the projection head."""
        return self._pretrained.audio_features(waveform)

    def embed(self, waveform: Tensor) -> Tensor:
        """Return the unit vectors after the projection head."""
        return self._pretrained.embed_audio(waveform)

    def tokens(self, waveform: Tensor) -> Tensor:
        """Return the positions of the last feature map, `[N, bands * frames, F]`."""
        return self._pretrained.audio_feature_map(waveform).flatten(2).transpose(1, 2)

    def feature_map(self, waveform: Tensor) -> Tensor:
        """Return the flattened last feature map: channels x bands x frames."""
        return self._pretrained.audio_feature_map(waveform).flatten(1)

    def trunk(self) -> nn.Module:
        """Return the encoder without its projection head."""
        return self._pretrained.model.audio_encoder

    def prepare(self, waveform: Tensor) -> Tensor:
        """Return the log-mel spectrogram of the training."""
        return self._pretrained.log_mel(waveform)


def run_encoder(run: Path, *, untrained: bool, seed: int) -> Encoder:
    """Load the encoders of a run.

    Args:
        run: Folder of the run.
        untrained: Use random weights.
        seed: Seed of random weights.

    Raises:
        CheckpointError: The run has no model.
    """
    pretrained = load(run, untrained=untrained, seed=seed).to(choose_device("auto"))
    return encoder_of(pretrained, run.name, untrained=untrained)


def encoder_of(pretrained: PretrainedEncoder, run_name: str, *, untrained: bool) -> Encoder:
    """Return the encoders of a run that is already loaded.

    Args:
        pretrained: The loaded encoders.
        run_name: Name of the run.
        untrained: True if the weights are random.
    """
    return Encoder(
        name=f"{run_name} (untrained)" if untrained else run_name,
        fingerprint=_fingerprint(pretrained),
        pretraining="nothing: random weights" if untrained else f"the run {run_name}",
        video=RunVideoEncoder(pretrained),
        audio=RunAudioEncoder(pretrained),
        shares_space=True,
        untrained=untrained,
        weights="untrained weights" if untrained else "trained weights",
    )


def _fingerprint(pretrained: PretrainedEncoder) -> str:
    # Without defaults: a setting that a newer version adds must not make an encoder another one.
    # Where training started from is in the weights, and its path may be left out of a copy.
    text = pretrained.config.model_dump_json(
        exclude_defaults=True, exclude={"model": {"video": {"init"}, "audio": {"init"}}}
    )
    digest = hashlib.sha256(text.encode())
    digest.update(state_digest(pretrained.model))
    return digest.hexdigest()


class TorchvisionVideo(VideoEncoder):
    """R(2+1)D-18 or R3D-18 with torchvision weights: 16 frames, 15 per second, 112 pixels."""

    input = VideoInput(frames=16, frame_rate=15.0, size=112)

    def __init__(self, network: VideoResNet) -> None:
        self._network = network.eval()

    @torch.inference_mode()
    def features(self, video: Tensor) -> Tensor:
        """Return the features before the classifier."""
        pixels = self.prepare(video.to(next(self._network.parameters()).device))
        features: Tensor = self._network(pixels)
        return features.float().cpu()

    @torch.inference_mode()
    def tokens(self, video: Tensor) -> Tensor:
        """Return the positions of the last feature map, `[N, t * h * w, 512]`."""
        pixels = self.prepare(video.to(next(self._network.parameters()).device))
        return self._network.feature_map(pixels).flatten(2).transpose(1, 2).float().cpu()

    def trunk(self) -> nn.Module:
        """Return the network without its classifier."""
        return self._network

    def prepare(self, video: Tensor) -> Tensor:
        """Resize and normalize."""
        return normalize_rgb(video, self.input.size)


def torchvision_encoder(path: Path, *, name: str = "r2plus1d_18") -> Encoder:
    """Load weights with the parameter names of torchvision's `r2plus1d_18` or `r3d_18`.

    Args:
        path: File of the weights.
        name: Name of the architecture.

    Raises:
        EncoderError: The file is not a safetensors file, or is of another architecture.
    """
    if path.suffix != ".safetensors":
        raise EncoderError(
            f"{str(path)!r} is not a .safetensors file. A .pth file is a pickle, which can run any "
            "code when it is loaded, and is not loaded here. Convert a file that you trust with "
            'this command: python -c "import torch, safetensors.torch as s; '
            "s.save_file({k: v.contiguous() for k, v in torch.load('IN.pth', weights_only=True)"
            ".items()}, 'OUT.safetensors')\""
        )
    with torch.random.fork_rng(devices=[]):
        kind = "r3d" if name.startswith("r3d") else "r2plus1d"
        network = VideoResNet(VideoEncoderConfig.model_validate({"name": kind}))
    try:
        load_torchvision_weights(network, load_file(path))
    except (OSError, SafetensorError, ValueError) as error:
        raise EncoderError(f"cannot load {str(path)!r}: {error}") from error
    digest = hashlib.sha256(state_digest(network)).hexdigest()
    network.to(choose_device("auto"))
    return Encoder(
        name=f"{name} ({path.name})",
        fingerprint=digest,
        pretraining="that of these weights",
        video=TorchvisionVideo(network),
    )
