"""Models of the `transformers` library from a local folder: VideoMAE, AST, CLAP. An extra.

VideoMAE (Tong et al., NeurIPS 2022), AST (Gong et al., Interspeech 2021), CLAP (Wu et al., ICASSP
2023). The folder holds `config.json` and `model.safetensors`, as `save_pretrained` writes them;
nothing is fetched, and no pickled weights are read. What their feature extractors do is done here
from their settings, in batch: AST's spectrogram by its own extractor, which is NumPy and slow.
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
)
from toomuchtv.evaluation.encoders.ours import state_digest
from toomuchtv.evaluation.errors import EncoderError

if TYPE_CHECKING:
    from torch import nn

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_KINDS = ("videomae", "audio-spectrogram-transformer", "clap")


class VideoMae(VideoEncoder):
    """Mean of VideoMAE's last tokens; exactly the frames and size that its config says."""

    def __init__(self, model: nn.Module, config: Any) -> None:
        self._model = model.eval()
        # 16 frames with a stride of 4 of 25 or 30 a second, as its authors sample Kinetics.
        self.input = VideoInput(
            frames=int(config.num_frames), frame_rate=7.5, size=int(config.image_size)
        )

    @torch.inference_mode()
    def features(self, video: Tensor) -> Tensor:
        """Resize, normalize, and average the tokens."""
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
        return tokens.mean(dim=1)


class ExtractedAudio(AudioEncoder):
    """AST or CLAP's audio tower behind the library's own feature extractor."""

    def __init__(self, model: nn.Module, extractor: Any, *, kind: str, seconds: float) -> None:
        self._model = model.eval()
        self._extractor = extractor
        self._kind = kind
        self.input = AudioInput(seconds=seconds, sample_rate_hz=int(extractor.sampling_rate))

    @torch.inference_mode()
    def features(self, waveform: Tensor) -> Tensor:
        """Make the library's spectrogram and take the pooled output."""
        inputs = self._extractor(
            [row.numpy() for row in waveform.cpu()],
            sampling_rate=self.input.sample_rate_hz,
            return_tensors="pt",
        )
        if self._kind == "clap":
            pooled: Any = self._model.get_audio_features(**inputs)  # type: ignore[operator]
            # A tensor in version 4 of the library, a structure in version 5.
            return pooled if isinstance(pooled, Tensor) else torch.as_tensor(pooled.pooler_output)
        return torch.as_tensor(self._model(**inputs).pooler_output)


def transformers_encoder(folder: Path) -> Encoder:
    """Load VideoMAE, AST or CLAP from a folder.

    Raises:
        EncoderError: The library is missing, or the folder is none of the three.
    """
    try:
        kind = json.loads((folder / "config.json").read_text("utf-8"))["model_type"]
    except (OSError, ValueError, KeyError) as error:
        raise EncoderError(
            f"{str(folder)!r} must be a folder as save_pretrained writes it: {error}"
        ) from error
    if kind not in _KINDS:
        raise EncoderError(f"{str(folder)!r} is a {kind!r}; known are {', '.join(_KINDS)}")
    model, video, audio = _load(folder, kind)
    return Encoder(
        name=f"{kind} ({folder.name})",
        fingerprint=hashlib.sha256(state_digest(model) + kind.encode()).hexdigest(),
        pretraining="whatever these weights were trained on",
        video=video,
        audio=audio,
    )


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
        clap = transformers.ClapFeatureExtractor()
        return model, None, ExtractedAudio(model, clap, kind=kind, seconds=10.0)
    model = transformers.ASTModel.from_pretrained(path, **options)
    extractor = transformers.ASTFeatureExtractor(
        max_length=model.config.max_length, num_mel_bins=model.config.num_mel_bins
    )
    seconds = model.config.max_length / 100
    return model, None, ExtractedAudio(model, extractor, kind=kind, seconds=seconds)
