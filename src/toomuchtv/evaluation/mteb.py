"""Our encoders as models of `mteb`, for its tasks on audio and video.

    import mteb
    model = mteb_model(choose_encoder("log-mel"))
    mteb.evaluate(model, mteb.get_tasks(tasks=["ESC50"]))

`mteb` (extra `mteb`) loads the data and fits its own classifiers. This module gives it vectors:
means over views of the encoder's own length. A task whose queries and documents are of different
modalities gets the vectors of the shared space; every other task gets features.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.signal import resample_poly
from torch import Tensor

from toomuchtv.errors import MediaError
from toomuchtv.evaluation.encoders.interface import AudioEncoder, Encoder, VideoEncoder
from toomuchtv.evaluation.errors import EncoderError
from toomuchtv.evaluation.views import covering_starts, even_starts

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta

_NUM_VIDEO_VIEWS = 4
_VIEWS_PER_CALL = 32


class MtebEncoder:
    """An encoder with the methods of mteb's `EncoderProtocol`.

    Attributes:
        encoder: The encoder.

    Args:
        encoder: Encoder of video, audio or both.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._meta = _model_meta(encoder)

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """What mteb writes about the model."""
        return self._meta

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str = "",
        hf_subset: str = "",
        prompt_type: Any = None,
        **options: Any,
    ) -> NDArray[np.float32]:
        """Return one vector for each clip, float32 `[N, D]`.

        If a clip has video and audio, its vector is both, one after the other.

        Args:
            inputs: Batches of clips with the columns `video`, `audio` or both.
            task_metadata: mteb's description of the task.
            hf_split: Not used.
            hf_subset: Not used.
            prompt_type: Whether these are queries or documents; None if the task has neither.
            options: Not used.

        Raises:
            EncoderError: The task needs a modality that the encoder lacks.
            MediaError: A clip cannot be decoded.
        """
        modalities = list(task_metadata.get_modalities(prompt_type))
        both = {"video": self.encoder.video, "audio": self.encoder.audio}
        own = {name: side for name, side in both.items() if side is not None}
        missing = [name for name in modalities if name not in own]
        if missing:
            raise EncoderError(
                f"the task {task_metadata.name} has {' and '.join(missing)}, for which "
                f"{self.encoder.name} has no encoder: choose tasks with {' or '.join(own)}"
            )
        is_across = prompt_type is not None and len(set(task_metadata.modalities)) > 1
        if is_across and not self.encoder.shares_space:
            raise EncoderError(
                f"the task {task_metadata.name} compares modalities, and the vectors of "
                f"{self.encoder.name} do not share a space"
            )
        rows = []
        for batch in inputs:
            columns = [batch[name] for name in modalities]
            for clip in zip(*columns, strict=True):
                parts = [
                    _embed(own[name], value, shared=is_across)
                    for name, value in zip(modalities, clip, strict=True)
                ]
                rows.append(torch.cat(parts).numpy())
        return np.stack(rows).astype(np.float32)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Return the cosines of all pairs, `[N, M]`."""
        return _unit(embeddings1) @ _unit(embeddings2).T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Return the cosine of each pair, `[N]`."""
        return (_unit(embeddings1) * _unit(embeddings2)).sum(dim=1)


def mteb_model(encoder: Encoder) -> MtebEncoder:
    """Return an encoder as a model that `mteb.evaluate` takes.

    Args:
        encoder: For example that of `run_encoder` or `choose_encoder`.

    Raises:
        EncoderError: mteb is not installed.
    """
    return MtebEncoder(encoder)


def _unit(vectors: Any) -> Tensor:
    given = torch.as_tensor(vectors).float()
    return F.normalize(given if given.dim() == 2 else given[None], dim=1)


def _model_meta(encoder: Encoder) -> ModelMeta:
    try:
        from mteb.models.model_meta import ModelMeta, ScoringFunction
    except ImportError as error:
        raise EncoderError("this needs the extra: pip install 'toomuchtv[mteb]'") from error
    name = re.sub(r"[^\w.-]+", "-", encoder.name).strip("-")
    both = (("audio", encoder.audio), ("video", encoder.video))
    return ModelMeta(
        loader=None,
        name=f"toomuchtv/{name}",
        revision=encoder.fingerprint[:16],
        release_date=None,
        languages=None,
        n_parameters=None,
        memory_usage_mb=None,
        max_tokens=None,
        embed_dim=None,
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name=ScoringFunction.COSINE,
        use_instructions=False,
        training_datasets=None,
        modalities=[name for name, side in both if side is not None],
    )


def _embed(side: VideoEncoder | AudioEncoder, value: Any, *, shared: bool) -> Tensor:
    """Return the mean over the views of one clip, `[D]`."""
    views = _video_views(value, side) if isinstance(side, VideoEncoder) else _audio(value, side)
    method = side.embed if shared else side.features
    parts = [method(part).float().cpu() for part in torch.split(views, _VIEWS_PER_CALL)]
    return torch.cat(parts).mean(dim=0)


def _audio(value: Any, side: AudioEncoder) -> Tensor:
    """Return views that cover the sound, float32 `[V, S]`."""
    rate = side.input.sample_rate_hz
    sound = np.asarray(value["array"], np.float64)
    if sound.ndim > 1:  # channels come first
        sound = sound.mean(axis=0)
    given = int(value["sampling_rate"])
    if given != rate:
        divisor = gcd(given, rate)
        sound = resample_poly(sound, rate // divisor, given // divisor)
    length = round(side.input.seconds * rate)
    sound = np.pad(sound, (0, max(0, length - len(sound))))
    starts = [
        min(round(start * rate), len(sound) - length)
        for start in covering_starts(len(sound) / rate, side.input.seconds)
    ]
    views = np.stack([sound[start : start + length] for start in starts])
    return torch.from_numpy(views.astype(np.float32))


def _video_views(video: Any, side: VideoEncoder) -> Tensor:
    """Return views that are spread over the video, uint8 `[V, T, size, size, 3]`.

    Args:
        video: A `VideoDecoder` of torchcodec, as `datasets` returns it.
        side: The encoder, whose input decides on frames and size.
    """
    begin = float(video.metadata.begin_stream_seconds or 0.0)
    end = video.metadata.end_stream_seconds
    if end is None:
        raise MediaError("a video of the task states no duration")
    wanted = side.input
    starts = even_starts(float(end) - begin, wanted.frames / wanted.frame_rate, _NUM_VIDEO_VIEWS)
    # The last frame is shown until `end`, which itself is outside of the video.
    last = max(begin, float(end) - 1e-3)
    times = [
        min(begin + start + number / wanted.frame_rate, last)
        for start in starts
        for number in range(wanted.frames)
    ]
    frames = video.get_frames_played_at(seconds=times).data  # [V * T, 3, H, W]
    side_length = min(frames.shape[2:])
    top, left = ((length - side_length) // 2 for length in frames.shape[2:])
    square = frames[:, :, top : top + side_length, left : left + side_length]
    resized = F.interpolate(
        square, size=(wanted.size, wanted.size), mode="bilinear", antialias=True
    )
    return resized.permute(0, 2, 3, 1).reshape(len(starts), wanted.frames, wanted.size, -1, 3)
