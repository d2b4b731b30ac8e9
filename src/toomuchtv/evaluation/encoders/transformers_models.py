"""Models of the `transformers` library from a local folder: VideoMAE, AST and CLAP.

VideoMAE (Tong et al., NeurIPS 2022), AST (Gong et al., Interspeech 2021), CLAP (Wu et al., ICASSP
2023). The folder has `config.json` and `model.safetensors`, as `save_pretrained` writes them.
Nothing is downloaded, and no pickled weights are read. The preprocessing of VideoMAE and CLAP is
computed here in batches, from their settings. The spectrogram of AST is computed by the library's
own extractor, which is slow.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from toomuchtv.evaluation.encoders.interface import (
    AudioEncoder,
    AudioInput,
    Encoder,
    VideoEncoder,
    VideoInput,
    state_digest,
)
from toomuchtv.evaluation.errors import EncoderError

if TYPE_CHECKING:
    from torch import nn

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MIN_MEL_POWER = 1e-10  # of CLAP, before the logarithm
_KINDS = ("videomae", "audio-spectrogram-transformer", "clap")


class VideoMae(VideoEncoder):
    """VideoMAE; the features are the mean of the last tokens.

    It takes exactly the number of frames in its config.
    """

    def __init__(self, model: nn.Module, config: Any) -> None:
        self._model = model.eval()
        # Its authors sample 16 frames of Kinetics with a stride of 4 at 25 or 30 per second.
        self.input = VideoInput(
            frames=int(config.num_frames), frame_rate=7.5, size=int(config.image_size)
        )

    @torch.inference_mode()
    def features(self, video: Tensor) -> Tensor:
        """Return the mean of the tokens."""
        return self.tokens(video).mean(dim=1)

    @torch.inference_mode()
    def tokens(self, video: Tensor) -> Tensor:
        """Resize, normalize, and return the last tokens, `[N, tokens, C]`."""
        size = self.input.size
        frames = video.permute(0, 1, 4, 2, 3).float() / 255.0
        if frames.shape[1] != self.input.frames:
            raise EncoderError(
                f"this VideoMAE takes {self.input.frames} frames, the protocol gives "
                f"{frames.shape[1]}: choose one that follows the encoder, as linear or knn"
            )
        flat = F.interpolate(
            frames.flatten(0, 1), size=(size, size), mode="bilinear", antialias=True
        )
        mean = torch.tensor(_IMAGENET_MEAN)[:, None, None]
        std = torch.tensor(_IMAGENET_STD)[:, None, None]
        pixels = ((flat - mean) / std).reshape(len(video), -1, 3, size, size)
        tokens: Tensor = self._model(pixel_values=pixels).last_hidden_state
        return tokens


class Ast(AudioEncoder):
    """AST with the library's own feature extractor; the features are the pooled output."""

    def __init__(self, model: nn.Module, extractor: Any, *, seconds: float) -> None:
        self._model = model.eval()
        self._extractor = extractor
        self.input = AudioInput(seconds=seconds, sample_rate_hz=int(extractor.sampling_rate))

    def features(self, waveform: Tensor) -> Tensor:
        """Return the pooled output."""
        return torch.as_tensor(self._output(waveform).pooler_output)

    def tokens(self, waveform: Tensor) -> Tensor:
        """Return the last tokens of the patches, without the two special ones."""
        return torch.as_tensor(self._output(waveform).last_hidden_state)[:, 2:]

    @torch.inference_mode()
    def _output(self, waveform: Tensor) -> Any:
        inputs = self._extractor(
            [row.numpy() for row in waveform.cpu()],
            sampling_rate=self.input.sample_rate_hz,
            return_tensors="pt",
        )
        return self._model(**inputs)


class Clap(AudioEncoder):
    """The audio encoder of CLAP; the features are its projected embedding.

    The input equals that of the library's `ClapFeatureExtractor` within float error, with one
    difference for weights with fusion: the extractor marks a random clip of each batch as longer
    than the input, so that equal audio has different features. Here no clip is marked.
    """

    def __init__(self, model: nn.Module, extractor: Any) -> None:
        self._model = model.eval()
        self._extractor = extractor
        self._fused = bool(extractor.truncation == "fusion")
        filters = extractor.mel_filters if self._fused else extractor.mel_filters_slaney
        self._filters = torch.from_numpy(filters).float().T  # [bands, bins]
        self._most_samples = int(extractor.nb_max_samples)
        self.input = AudioInput(
            seconds=self._most_samples / extractor.sampling_rate,
            sample_rate_hz=int(extractor.sampling_rate),
        )

    def log_mel(self, waveform: Tensor) -> Tensor:
        """Return the log-mel spectrogram in decibels, `[N, 1, frames, bands]`.

        Audio that is shorter than the input of the model is repeated as often as it fits, followed
        by zeros. For weights with fusion the spectrogram is stacked four times.

        Args:
            waveform: Mono waveforms, float32 `[N, S]`.

        Raises:
            EncoderError: The audio is longer than the input of the model.
        """
        num, length = waveform.shape
        if length > self._most_samples:
            raise EncoderError(
                f"this CLAP takes at most {self._most_samples} samples "
                f"({self.input.seconds:g} s), the protocol gives {length}: choose one that follows "
                "the encoder, as linear or knn"
            )
        if self._extractor.padding == "repeatpad":
            waveform = waveform.repeat(1, self._most_samples // length)
        waveform = F.pad(waveform, (0, self._most_samples - waveform.shape[1]))
        size = int(self._extractor.fft_window_size)
        spectrum = torch.stft(
            waveform, n_fft=size, hop_length=int(self._extractor.hop_length),
            window=torch.hann_window(size), center=True, pad_mode="reflect", return_complex=True,
        )  # fmt: skip
        power = self._filters @ (spectrum.real.square() + spectrum.imag.square())
        decibels = 10.0 * torch.log10(power.clamp(min=_MIN_MEL_POWER)).transpose(1, 2)
        return decibels[:, None].expand(num, 4 if self._fused else 1, -1, -1)

    @torch.inference_mode()
    def features(self, waveform: Tensor) -> Tensor:
        """Compute the spectrogram and embed it."""
        given = self._model.get_audio_features(  # type: ignore[operator]
            input_features=self.log_mel(waveform.cpu()),
            is_longer=torch.zeros(len(waveform), 1, dtype=torch.bool),
        )
        # Version 4 of the library returns a tensor, and version 5 a structure.
        return given if isinstance(given, Tensor) else torch.as_tensor(given.pooler_output)


def transformers_encoder(folder: Path) -> Encoder:
    """Load VideoMAE, AST or CLAP from a folder.

    Raises:
        EncoderError: The library is missing, or the folder has none of the three models.
    """
    try:
        kind = json.loads((folder / "config.json").read_text("utf-8"))["model_type"]
    except (OSError, ValueError, KeyError) as error:
        raise EncoderError(
            f"{str(folder)!r} must be a folder that save_pretrained wrote: {error}"
        ) from error
    if kind not in _KINDS:
        raise EncoderError(f"{str(folder)!r} is a {kind!r}; supported are {', '.join(_KINDS)}")
    model, video, audio = _load(folder, kind)
    return Encoder(
        name=f"{kind} ({folder.name})",
        fingerprint=_fingerprint(folder, model, kind),
        pretraining="that of these weights",
        video=video,
        audio=audio,
    )


def _fingerprint(folder: Path, model: nn.Module, kind: str) -> str:
    digest = hashlib.sha256(state_digest(model) + kind.encode())
    settings = folder / "preprocessor_config.json"
    digest.update(settings.read_bytes() if settings.is_file() else b"")
    return digest.hexdigest()


def _load(folder: Path, kind: str) -> tuple[nn.Module, VideoEncoder | None, AudioEncoder | None]:
    try:
        import transformers
    except ImportError as error:
        raise EncoderError("this needs the extra: pip install 'toomuchtv[transformers]'") from error
    options = {"local_files_only": True, "use_safetensors": True}
    path = str(folder)
    if kind == "videomae":
        model = transformers.VideoMAEModel.from_pretrained(path, **options)
        return model, VideoMae(model, model.config), None
    if kind == "clap":
        model = transformers.ClapModel.from_pretrained(path, **options)
        return model, None, Clap(model, _clap_extractor(folder, model.config))
    model = transformers.ASTModel.from_pretrained(path, **options)
    extractor = transformers.ASTFeatureExtractor(
        max_length=model.config.max_length, num_mel_bins=model.config.num_mel_bins
    )
    seconds = model.config.max_length / 100
    return model, None, Ast(model, extractor, seconds=seconds)


def _clap_extractor(folder: Path, config: Any) -> Any:
    """Return the extractor beside the weights, or one with the settings of published weights."""
    import transformers

    if (folder / "preprocessor_config.json").is_file():
        return transformers.ClapFeatureExtractor.from_pretrained(str(folder), local_files_only=True)
    fused = bool(config.audio_config.enable_fusion)
    return transformers.ClapFeatureExtractor(
        frequency_min=50, truncation="fusion" if fused else "rand_trunc"
    )
