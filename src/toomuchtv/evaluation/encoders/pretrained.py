"""A run's own encoders, and the video encoder in the layout of torchvision's R(2+1)D."""

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
)
from toomuchtv.evaluation.errors import EncoderError
from toomuchtv.inference.pretrained import PretrainedEncoder, load
from toomuchtv.models import VideoEncoderConfig, load_torchvision_weights
from toomuchtv.models.video import VideoResNet, build_video_encoder
from toomuchtv.training.device import choose_device


class RunVideoEncoder(VideoEncoder):
    """The video tower of a run."""

    def __init__(self, pretrained: PretrainedEncoder) -> None:
        self._pretrained = pretrained
        clip = pretrained.config.clip
        self.input = VideoInput(
            frames=clip.frames, frame_rate=clip.frame_rate, size=pretrained.config.transform.size
        )

    def features(self, video: Tensor) -> Tensor:
        """Features before the head."""
        return self._pretrained.video_features(video)

    def embed(self, video: Tensor) -> Tensor:
        """Unit vectors after the head."""
        return self._pretrained.embed_video(video)

    def trunk(self) -> nn.Module:
        """The tower without its head."""
        return self._pretrained.model.video_encoder

    def prepare(self, video: Tensor) -> Tensor:
        """Resize to the size it was trained on, and normalize."""
        return normalize_rgb(video, self.input.size)


class RunAudioEncoder(AudioEncoder):
    """The audio tower of a run."""

    def __init__(self, pretrained: PretrainedEncoder) -> None:
        self._pretrained = pretrained
        clip = pretrained.config.clip
        self.input = AudioInput(seconds=clip.audio_seconds, sample_rate_hz=clip.sample_rate_hz)

    def features(self, waveform: Tensor) -> Tensor:
        """Features before the head."""
        return self._pretrained.audio_features(waveform)

    def embed(self, waveform: Tensor) -> Tensor:
        """Unit vectors after the head."""
        return self._pretrained.embed_audio(waveform)

    def feature_map(self, waveform: Tensor) -> Tensor:
        """The last map, flattened: channels x bands x frames."""
        return self._pretrained.audio_feature_map(waveform).flatten(1)

    def trunk(self) -> nn.Module:
        """The tower without its head."""
        return self._pretrained.model.audio_encoder

    def prepare(self, waveform: Tensor) -> Tensor:
        """The log-mel spectrogram that it was trained on."""
        return self._pretrained.log_mel(waveform)


def run_encoder(run: Path, *, untrained: bool, seed: int) -> Encoder:
    """Load a run's encoders.

    Raises:
        CheckpointError: The run has no model.
    """
    pretrained = load(run, untrained=untrained, seed=seed).to(choose_device("auto"))
    return Encoder(
        name=f"{run.name} (untrained)" if untrained else run.name,
        fingerprint=_fingerprint(pretrained),
        pretraining="nothing: fresh weights" if untrained else f"the run {run.name}",
        video=RunVideoEncoder(pretrained),
        audio=RunAudioEncoder(pretrained),
        shares_space=True,
        untrained=untrained,
    )


def _fingerprint(pretrained: PretrainedEncoder) -> str:
    digest = hashlib.sha256(pretrained.config.model_dump_json().encode())
    digest.update(state_digest(pretrained.model))
    return digest.hexdigest()


def state_digest(module: nn.Module) -> bytes:
    """Digest of all weights and buffers of a network."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor_bytes(value))
    return digest.digest()


def tensor_bytes(value: Tensor) -> bytes:
    """Give a tensor's values as bytes, wherever and however it lies in memory."""
    return value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


class TorchvisionVideo(VideoEncoder):
    """R(2+1)D-18 or R3D-18 with weights in torchvision's layout: 16 frames at 15 a second, 112."""

    input = VideoInput(frames=16, frame_rate=15.0, size=112)

    def __init__(self, network: VideoResNet) -> None:
        self._network = network.eval()

    @torch.inference_mode()
    def features(self, video: Tensor) -> Tensor:
        """Features before the classifier."""
        pixels = self.prepare(video.to(next(self._network.parameters()).device))
        features: Tensor = self._network(pixels)
        return features.float().cpu()

    def trunk(self) -> nn.Module:
        """The network without its classifier."""
        return self._network

    def prepare(self, video: Tensor) -> Tensor:
        """Resize and normalize as those weights want it."""
        return normalize_rgb(video, self.input.size)


def torchvision_encoder(path: Path, *, name: str = "r2plus1d_18") -> Encoder:
    """Load weights saved in the layout of torchvision's `r2plus1d_18` or `r3d_18`.

    Raises:
        EncoderError: The file is no safetensors file, or of another architecture.
    """
    if path.suffix != ".safetensors":
        raise EncoderError(
            f"{str(path)!r} is not a .safetensors file. A .pth file is a pickle, which can run "
            "anything when loaded and is not loaded here. Convert one that you trust where it came "
            'from: python -c "import torch, safetensors.torch as s; '
            "s.save_file({k: v.contiguous() for k, v in torch.load('IN.pth', weights_only=True)"
            ".items()}, 'OUT.safetensors')\""
        )
    with torch.random.fork_rng(devices=[]):
        kind = "r3d" if name.startswith("r3d") else "r2plus1d"
        network = build_video_encoder(VideoEncoderConfig.model_validate({"name": kind}))
    try:
        load_torchvision_weights(network, load_file(path))
    except (OSError, SafetensorError, ValueError) as error:
        raise EncoderError(f"cannot load {str(path)!r}: {error}") from error
    digest = hashlib.sha256(state_digest(network)).hexdigest()
    network.to(choose_device("auto"))
    return Encoder(
        name=f"{name} ({path.name})",
        fingerprint=digest,
        pretraining="whatever these weights were trained on",
        video=TorchvisionVideo(network),
    )
