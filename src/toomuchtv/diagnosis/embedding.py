"""Reads clips of a catalog, embeds them in chunks, and names them for people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toomuchtv._internal.progress import ProgressCallback
from toomuchtv._internal.timecode import format_timecode
from toomuchtv.catalog.proxies import read_proxy_clip
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.catalog.store import Catalog
from toomuchtv.data.clip_reader import ClipReader
from toomuchtv.data.clip_specs import ClipSpec, ClipSpecs
from toomuchtv.data.clip_transform import ClipTransform
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.item_groups import ItemGroups, group_items
from toomuchtv.data.log_mel import LogMel, LogMelConfig
from toomuchtv.diagnosis.content_ablation import CONTENTS
from toomuchtv.diagnosis.results import ClipDescription, ClipPreview
from toomuchtv.errors import MediaError
from toomuchtv.evaluation.benchmark import Modality
from toomuchtv.inference.pretrained import PretrainedEncoder
from toomuchtv.media.clip import ClipFormat, VideoArray, WaveformArray

_CHUNK = 32
_NUM_PREVIEW_FRAMES = 3


class ClipSource:
    """The titles that a diagnosis uses: it reads, names and previews their clips.

    Args:
        catalog: The open catalog.
        snapshot: The titles to use. `ClipSpec.item` is a row of it.
        sampling: The sampling settings of the run, for the level that counts as one title.
        clip_format: The clip format of the run.
        log_mel: The spectrogram settings of the run, for previews.

    Attributes:
        groups: The usable items, grouped by title.

    Raises:
        ValueError: The proxies do not fit the clip format, or no item is long enough for a clip.
    """

    def __init__(
        self,
        catalog: Catalog,
        snapshot: CatalogSnapshot,
        sampling: SamplingConfig,
        clip_format: ClipFormat,
        log_mel: LogMelConfig,
    ) -> None:
        self._catalog, self._level = catalog, sampling.level
        self._proxies = catalog.proxies()
        self._log_mel = LogMel(log_mel)
        self._reader = ClipReader(catalog.folder, snapshot, self._proxies, clip_format)
        self.snapshot, self.clip_format = snapshot, clip_format
        self.groups: ItemGroups = group_items(snapshot, sampling, clip_format)

    def read(self, clip: ClipSpec) -> tuple[VideoArray, WaveformArray]:
        """Read the center crop of a clip: its planes and its waveform, see `ClipReader.read`.

        Raises:
            MediaError: The proxy cannot be read there.
        """
        side, num_samples = self._reader.side, self.clip_format.num_samples
        video = np.empty((self.clip_format.frames, side * 3 // 2, side), np.uint8)
        waveform = np.empty(num_samples, np.float32)
        self._reader.read(clip, video, waveform, crop_position=0.5)
        return video, waveform

    def title_name(self, title: int) -> str:
        """Return the name of a title, at the level that counts as one."""
        row = int(self.groups.rows[self.groups.offsets[title]])
        item = self._catalog.item(int(self.snapshot.item_id[row]))
        name = self._catalog.title(item.title_id).name
        if self._level == "episode":
            return f"{name} {_episode_code(item.season, item.episode)}".strip()
        if self._level == "season" and item.season is not None:
            return f"{name} S{item.season:02d}"
        return name

    def describe(self, clip: ClipSpec) -> ClipDescription:
        """Name the source of a clip, with a preview if its proxy can be read."""
        item = self._catalog.item(int(self.snapshot.item_id[clip.item]))
        return ClipDescription(
            title=self._catalog.title(item.title_id).name,
            episode=_episode_code(item.season, item.episode),
            start_seconds=clip.start_seconds,
            timecode=format_timecode(clip.start_seconds),
            preview=self._preview(item.id, clip.start_seconds),
        )

    def _preview(self, item_id: int, start_seconds: float) -> ClipPreview | None:
        try:
            clip = read_proxy_clip(
                self._catalog.folder, self._proxies[item_id], start_seconds, self.clip_format
            )
        except MediaError:  # The proxy was damaged after its clips had been embedded.
            return None
        shown = np.linspace(0, len(clip.video) - 1, _NUM_PREVIEW_FRAMES).round().astype(int)
        log_mel = self._log_mel(torch.from_numpy(clip.waveform)[None])[0, 0]
        return ClipPreview(frames=clip.video[shown], log_mel=log_mel.numpy())


class ProgressCounter:
    """Adds up the progress of all parts of a diagnosis, for one progress bar."""

    def __init__(self, progress: ProgressCallback, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def advance(self, amount: int, description: str) -> None:
        """Report that `amount` more is done."""
        self._done += amount
        self._progress(min(self._done, self._total), self._total, description)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipEmbeddings:
    """The outputs of a run's encoders for some clips, on the CPU.

    Attributes:
        readable: bool `[M]`, false for clips that could not be read. K clips are readable.
        embedding: Unit vectors, float32 `[K, D]`, by modality and content.
        features: float32 `[K, F]`, the input of the projection heads, by modality and content.
    """

    readable: NDArray[np.bool_]
    embedding: dict[tuple[Modality, str], Tensor]
    features: dict[tuple[Modality, str], Tensor]


class Embedder:
    """Reads clips of a source and embeds them.

    Args:
        source: Where the clips are read from.
        pretrained: The encoders.
        counter: Receives the number of embedded clips.

    Attributes:
        failures: A message for each clip that could not be read.
    """

    def __init__(
        self, source: ClipSource, pretrained: PretrainedEncoder, counter: ProgressCounter
    ) -> None:
        self._source, self._pretrained, self._counter = source, pretrained, counter
        self._transform = ClipTransform(pretrained.config.transform).to(pretrained.device)
        self.failures: list[str] = []

    def embed(
        self, clips: ClipSpecs, description: str, *, ablations: bool = False
    ) -> ClipEmbeddings:
        """Embed clips. Clips that cannot be read are skipped and noted in `failures`.

        Args:
            clips: M clips.
            description: What the progress bar shows.
            ablations: Whether to embed every content of `CONTENTS`, or only `everything`.
        """
        readable = np.zeros(len(clips), bool)
        outputs: list[dict[tuple[Modality, str], tuple[Tensor, Tensor]]] = []
        for start in range(0, len(clips), _CHUNK):
            decoded = []
            chunk = clips[start : start + _CHUNK]
            for index, clip in enumerate(chunk, start):
                try:
                    decoded.append(self._source.read(clip))
                    readable[index] = True
                except MediaError as error:
                    self.failures.append(str(error))
            if decoded:
                video, waveform = (np.stack(arrays) for arrays in zip(*decoded, strict=True))
                outputs.append(self._embed_chunk(video, waveform, ablations=ablations))
            self._counter.advance(len(chunk), description)
        keys = outputs[0].keys() if outputs else ()
        return ClipEmbeddings(
            readable=readable,
            embedding={key: torch.cat([output[key][0] for output in outputs]) for key in keys},
            features={key: torch.cat([output[key][1] for output in outputs]) for key in keys},
        )

    @torch.inference_mode()
    def _embed_chunk(
        self, video: NDArray[np.uint8], waveform: NDArray[np.float32], *, ablations: bool
    ) -> dict[tuple[Modality, str], tuple[Tensor, Tensor]]:
        """Return embedding and features by modality and content."""
        model, device = self._pretrained.model.eval(), self._pretrained.device
        pixels, log_mel = self._transform(
            torch.from_numpy(video).to(device),
            torch.from_numpy(waveform).to(device),
            np.zeros(len(video), np.uint64),
        )
        towers: tuple[tuple[Modality, nn.Module, nn.Module, Tensor], ...] = (
            ("video", model.video_encoder, model.video_head, pixels),
            ("audio", model.audio_encoder, model.audio_head, log_mel),
        )
        outputs = {}
        for modality, encoder, head, values in towers:
            for content, ablate in CONTENTS[modality].items():
                if ablations or content == "everything":
                    features = encoder(ablate(values))
                    outputs[modality, content] = (
                        head(features).float().cpu(),
                        features.float().cpu(),
                    )
        return outputs


def _episode_code(season: int | None, episode: int | None) -> str:
    parts = (("S", season), ("E", episode))
    return "".join(f"{letter}{number:02d}" for letter, number in parts if number is not None)
