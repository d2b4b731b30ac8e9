"""The towers of PE-AV (Vyas et al., arXiv 2512.19687), which embed video, audio and texts.

The library's model has methods for single modalities, of which two fail in version 5.24. The towers
here call the parts of the model as its `forward` does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from toomuchtv.evaluation.benchmark import Modality
from toomuchtv.evaluation.encoders.interface import (
    AudioEncoder,
    AudioInput,
    VideoEncoder,
    VideoInput,
)
from toomuchtv.evaluation.encoders.transformers_inputs import FrameTransform
from toomuchtv.evaluation.encoders.transformers_towers import device_of, to_cpu
from toomuchtv.evaluation.errors import EncoderError

_SECONDS = 2.0


class PeAvVideo(VideoEncoder):
    """The video tower of PE-AV.

    The input is `num_frames` frames in two seconds. Any other number and rate works.
    """

    def __init__(self, model: Any, transform: FrameTransform, num_frames: int) -> None:
        self._model = model
        self._transform = transform
        self.input = VideoInput(
            frames=num_frames, frame_rate=num_frames / _SECONDS, size=transform.size
        )

    @torch.inference_mode()
    def features(self, video: Tensor) -> Tensor:
        """Return the embedding in the space of audio."""
        return to_cpu(self._model.video_model.video_head(self._output(video).pooler_output))

    @torch.inference_mode()
    def tokens(self, video: Tensor) -> Tensor:
        """Return the last token of each frame, `[N, T, C]`."""
        return to_cpu(self._output(video).last_hidden_state)

    def _output(self, video: Tensor) -> Any:
        pixels = self._transform(video.to(device_of(self._model)).flatten(0, 1))
        pixels = pixels.reshape(*video.shape[:2], *pixels.shape[1:])
        return self._model.video_model.video_encoder(pixel_values_videos=pixels)


class PeAvAudio(AudioEncoder):
    """The audio tower of PE-AV, for two seconds or any other length.

    Args:
        model: The model.
        sample_rate_hz: Sample rate in hertz.
        hop_length: Samples for each token of the model. Audio is extended by its reflection to a
            multiple of this number.
    """

    def __init__(self, model: Any, *, sample_rate_hz: int, hop_length: int) -> None:
        self._model = model
        self._hop_length = hop_length
        self.input = AudioInput(seconds=_SECONDS, sample_rate_hz=sample_rate_hz)

    @torch.inference_mode()
    def features(self, waveform: Tensor) -> Tensor:
        """Return the embedding in the space of video."""
        return to_cpu(self._model.audio_model.audio_head(self._output(waveform).pooler_output))

    @torch.inference_mode()
    def tokens(self, waveform: Tensor) -> Tensor:
        """Return the last tokens, `[N, S / hop_length, C]`."""
        return to_cpu(self._output(waveform).last_hidden_state)

    def _output(self, waveform: Tensor) -> Any:
        missing = -waveform.shape[1] % self._hop_length
        padded = np.pad(waveform.cpu().numpy(), ((0, 0), (0, missing)), "reflect")
        values = torch.from_numpy(padded)[:, None].to(device_of(self._model))
        return self._model.audio_model.audio_encoder(input_values=values)


def embed_pe_av_texts(model: Any, modality: Modality, **tokens: Tensor) -> Tensor:
    """Return the vectors of tokenized texts, for which each modality has a projection, `[N, D]`."""
    output = model.text_model(**tokens, output_hidden_states=True, return_dict=True)
    first = output.hidden_states[-1][:, 0]
    if modality == "video":
        return torch.as_tensor(model.video_model.text_video_head(first))
    return torch.as_tensor(model.audio_model.text_audio_head(first))


def pe_av_transform(settings: dict[str, Any]) -> FrameTransform:
    """Return the preparation of frames that a folder states.

    Raises:
        EncoderError: The folder states none.
    """
    if not settings:
        raise EncoderError(
            "the folder of PE-AV lacks the settings of its video processor, which are in "
            "processor_config.json or video_preprocessor_config.json: copy them beside the weights"
        )
    return FrameTransform.from_settings(settings, {"resample": 2})
