"""Moments to vectors, a block of clips at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toomuchtv._internal.progress import ProgressCallback
from toomuchtv.data.clip_transform import ClipTransform
from toomuchtv.diagnosis.content_removal import CONTENTS
from toomuchtv.diagnosis.source import FloatArray, IntArray, Source
from toomuchtv.errors import MediaError
from toomuchtv.inference.pretrained import PretrainedEncoder

_BLOCK = 32


class Tally:
    """Counts what is done over all parts of a diagnosis, for one progress bar."""

    def __init__(self, progress: ProgressCallback, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def add(self, amount: int, what: str) -> None:
        """Say that so much more is done."""
        self._done += amount
        self._progress(min(self._done, self._total), self._total, what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """What the encoders of one run make of moments, on the CPU.

    Attributes:
        kept: bool `[M]`: which of the moments asked for could be read.
        embedding: Unit vectors float32 `[kept, D]`, by sense and content.
        features: float32 `[kept, F]`, before the projection head, by sense and content.
    """

    kept: NDArray[np.bool_]
    embedding: dict[tuple[str, str], Tensor]
    features: dict[tuple[str, str], Tensor]


class Embedder:
    """Reads moments of a source and embeds them.

    Args:
        source: Whose rows are meant.
        pretrained: The encoders.
        tally: Told the clips done.
    """

    def __init__(self, source: Source, pretrained: PretrainedEncoder, tally: Tally) -> None:
        self._source, self._pretrained, self._tally = source, pretrained, tally
        self._to_input = ClipTransform(pretrained.config.transform).to(pretrained.device)
        self.failures: list[str] = []

    def embed(
        self,
        row: IntArray,
        start: FloatArray,
        *,
        what: str,
        audio_track: IntArray | None = None,
        altered: bool = False,
    ) -> Vectors:
        """Embed moments; those that cannot be read are left out and noted in `failures`.

        Args:
            row: Of the snapshot, `[M]`.
            start: Seconds, `[M]`.
            what: Said while it goes on.
            audio_track: Which sound of its item each has, `[M]`; None: the preferred one.
            altered: Whether also with content taken away, every way of `CONTENTS`.
        """
        track = np.zeros_like(row) if audio_track is None else audio_track
        kept = np.zeros(len(row), bool)
        blocks: list[dict[tuple[str, str], tuple[Tensor, Tensor]]] = []
        for first in range(0, len(row), _BLOCK):
            clips = []
            for index in range(first, min(first + _BLOCK, len(row))):
                try:
                    clips.append(
                        self._source.read(int(row[index]), float(start[index]), int(track[index]))
                    )
                    kept[index] = True
                except MediaError as error:
                    self.failures.append(str(error))
            if clips:
                planes, waveforms = (np.stack(arrays) for arrays in zip(*clips, strict=True))
                blocks.append(self._block(planes, waveforms, altered=altered))
            self._tally.add(min(_BLOCK, len(row) - first), what)
        keys = blocks[0].keys() if blocks else ()
        return Vectors(
            kept=kept,
            embedding={key: torch.cat([block[key][0] for block in blocks]) for key in keys},
            features={key: torch.cat([block[key][1] for block in blocks]) for key in keys},
        )

    @torch.inference_mode()
    def _block(
        self, planes: NDArray[np.uint8], waveforms: NDArray[np.float32], *, altered: bool
    ) -> dict[tuple[str, str], tuple[Tensor, Tensor]]:
        """Embedding and features by sense and content."""
        model, device = self._pretrained.model.eval(), self._pretrained.device
        inputs = self._to_input(
            torch.from_numpy(planes).to(device),
            torch.from_numpy(waveforms).to(device),
            np.zeros(len(planes), np.uint64),
        )
        towers: tuple[tuple[str, nn.Module, nn.Module], ...] = (
            ("video", model.video_encoder, model.video_head),
            ("audio", model.audio_encoder, model.audio_head),
        )
        found = {}
        for (sense, encoder, head), values in zip(towers, inputs, strict=True):
            for content, change in CONTENTS[sense].items():
                if altered or content == "everything":
                    features = encoder(change(values))
                    found[sense, content] = (head(features).float().cpu(), features.float().cpu())
        return found
