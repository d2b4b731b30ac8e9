"""The video and audio towers of models of the `transformers` library, with our input for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from toomuchtv.evaluation.encoders.interface import (
    AudioEncoder,
    AudioInput,
    VideoEncoder,
    VideoInput,
)
from toomuchtv.evaluation.encoders.transformers_inputs import FrameTransform
from toomuchtv.evaluation.errors import EncoderError

if TYPE_CHECKING:
    from torch import nn

_MIN_MEL_POWER = 1e-10  # of CLAP, before the logarithm


class VideoMae(VideoEncoder):
    """VideoMAE; the features are the mean of the last tokens.

    It takes exactly the number of frames in its config.
    """

    def __init__(self, model: nn.Module, transform: FrameTransform, num_frames: int) -> None:
        self._model = model
        self._transform = transform
        # Its authors sample 16 frames of Kinetics with a stride of 4 at 25 or 30 per second.
        self.input = VideoInput(frames=num_frames, frame_rate=7.5, size=transform.size)

    @torch.inference_mode()
    def features(self, video: Tensor) -> Tensor:
        """Return the mean of the tokens."""
        return self.tokens(video).mean(dim=1)

    @torch.inference_mode()
    def tokens(self, video: Tensor) -> Tensor:
        """Resize, normalize, and return the last tokens, `[N, tokens, C]`."""
        if video.shape[1] != self.input.frames:
            raise EncoderError(
                f"this VideoMAE takes {self.input.frames} frames, the protocol gives "
                f"{video.shape[1]}: choose one that follows the encoder, as linear or knn"
            )
        pixels = self._transform(video.to(device_of(self._model)).flatten(0, 1))
        pixels = pixels.reshape(*video.shape[:2], *pixels.shape[1:])
        return to_cpu(self._model(pixel_values=pixels).last_hidden_state)


class FrameMean(VideoEncoder):
    """CLIP or SigLIP on single frames; the features are the mean of their unit embeddings.

    The input is 4 frames at 2 per second, which span two seconds. Any other number works.
    """

    def __init__(self, model: Any, transform: FrameTransform) -> None:
        self._model = model
        self._transform = transform
        self.input = VideoInput(frames=4, frame_rate=2.0, size=transform.size)

    def features(self, video: Tensor) -> Tensor:
        """Return the mean of the frames' unit embeddings."""
        return self.tokens(video).mean(dim=1)

    def embed(self, video: Tensor) -> Tensor:
        """Return the features, scaled to unit length."""
        return F.normalize(self.features(video), dim=1)

    @torch.inference_mode()
    def tokens(self, video: Tensor) -> Tensor:
        """Return the unit embedding of each frame, `[N, T, D]`."""
        pixels = self._transform(video.to(device_of(self._model)).flatten(0, 1))
        embeddings = pooled(self._model.get_image_features(pixel_values=pixels))
        return F.normalize(to_cpu(embeddings), dim=1).reshape(*video.shape[:2], -1)


class Ast(AudioEncoder):
    """AST with the library's own feature extractor; the features are the pooled output."""

    def __init__(self, model: nn.Module, extractor: Any, *, seconds: float) -> None:
        self._model = model
        self._extractor = extractor
        self.input = AudioInput(seconds=seconds, sample_rate_hz=int(extractor.sampling_rate))

    def features(self, waveform: Tensor) -> Tensor:
        """Return the pooled output."""
        return to_cpu(self._output(waveform).pooler_output)

    def tokens(self, waveform: Tensor) -> Tensor:
        """Return the last tokens of the patches, without the two special ones."""
        return to_cpu(self._output(waveform).last_hidden_state)[:, 2:]

    @torch.inference_mode()
    def _output(self, waveform: Tensor) -> Any:
        inputs = self._extractor(
            [row.numpy() for row in waveform.cpu()],
            sampling_rate=self.input.sample_rate_hz,
            return_tensors="pt",
        )
        return self._model(**inputs.to(device_of(self._model)))


class Clap(AudioEncoder):
    """The audio encoder of CLAP; the features are its projected embedding.

    The input equals that of the library's `ClapFeatureExtractor` within float error, with one
    difference for weights with fusion: the extractor marks a random clip of each batch as longer
    than the input, so that equal audio has different features. Here no clip is marked.
    """

    def __init__(self, model: Any, extractor: Any) -> None:
        self._model = model
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
        device = device_of(self._model)
        given = self._model.get_audio_features(
            input_features=self.log_mel(waveform.cpu()).to(device),
            is_longer=torch.zeros(len(waveform), 1, dtype=torch.bool, device=device),
        )
        return to_cpu(pooled(given))


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's weights."""
    return next(model.parameters()).device


def to_cpu(output: Any) -> Tensor:
    """Return an output of a model as float32 on the CPU."""
    return torch.as_tensor(output).float().cpu()


def pooled(given: Any) -> Tensor:
    """Return what `get_*_features` gives: a tensor in version 4, in a structure in version 5."""
    return given if isinstance(given, Tensor) else torch.as_tensor(given.pooler_output)
