"""The side of a catalog that is looked at: its moments, their names, their pictures."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from toomuchtv.catalog.proxies import read_proxy_clip
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.catalog.store import Catalog
from toomuchtv.data.clip_reader import ClipReader
from toomuchtv.data.clip_specs import ClipSpec
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.item_groups import ItemGroups, group_items
from toomuchtv.data.log_mel import LogMel, LogMelConfig
from toomuchtv.diagnosis.results import Moment, MomentPicture
from toomuchtv.errors import MediaError
from toomuchtv.media.clip import ClipFormat, VideoArray, WaveformArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_SHOWN_FRAMES = 3


class Source:
    """What a snapshot's rows are called and look like.

    Args:
        catalog: Open.
        snapshot: The side of it that is looked at.
        policy: Says what counts as one title.
        clip_format: The run's.
        log_mel: The run's, for pictures of sound.

    Raises:
        ValueError: The proxies do not fit the format, or no item can give a clip.
    """

    def __init__(
        self,
        catalog: Catalog,
        snapshot: CatalogSnapshot,
        policy: SamplingConfig,
        clip_format: ClipFormat,
        log_mel: LogMelConfig,
    ) -> None:
        self._catalog, self._level = catalog, policy.level
        self._proxies = catalog.proxies()
        self._log_mel = LogMel(log_mel)
        self.snapshot, self.clip_format = snapshot, clip_format
        self.reader = ClipReader(catalog.folder, snapshot, self._proxies, clip_format)
        self.groups: ItemGroups = group_items(snapshot, policy, clip_format)
        self.title_of_row = np.full(len(snapshot), -1, np.int64)
        self.title_of_row[self.groups.rows] = self.groups.group_of

    def read(
        self, row: int, start_seconds: float, audio_track: int
    ) -> tuple[VideoArray, WaveformArray]:
        """Read one moment, the square from the middle: planes and samples, see `ClipReader.read`.

        Raises:
            MediaError: Its proxy cannot be read there.
        """
        clip = ClipSpec(
            item=row, title=-1, start_seconds=start_seconds, audio_track=audio_track,
            recurrence=-1, seed=0,
        )  # fmt: skip
        side, samples = self.reader.side, self.clip_format.num_samples
        video = np.empty((self.clip_format.frames, side * 3 // 2, side), np.uint8)
        waveform = np.empty(samples, np.float32)
        self.reader.read(clip, video, waveform, crop_position=0.5)
        return video, waveform

    def name(self, title: int) -> str:
        """What a title is called, at the level that counts as one."""
        row = int(self.groups.rows[self.groups.offsets[title]])
        item = self._catalog.item(int(self.snapshot.item_id[row]))
        name = self._catalog.title(item.title_id).name
        if self._level == "episode":
            return f"{name} {_episode(item.season, item.episode)}".strip()
        if self._level == "season" and item.season is not None:
            return f"{name} S{item.season:02d}"
        return name

    def moment(self, row: int, start_seconds: float) -> Moment:
        """Say where a clip is, with a picture of it where its proxy can be read."""
        item = self._catalog.item(int(self.snapshot.item_id[row]))
        return Moment(
            title=self._catalog.title(item.title_id).name,
            episode=_episode(item.season, item.episode),
            start_seconds=start_seconds,
            timecode=timecode(start_seconds),
            picture=self._picture(item.id, start_seconds),
        )

    def _picture(self, item_id: int, start_seconds: float) -> MomentPicture | None:
        try:
            clip = read_proxy_clip(
                self._catalog.folder, self._proxies[item_id], start_seconds, self.clip_format
            )
        except MediaError:  # damaged since it was embedded: the words do without
            return None
        picked = np.linspace(0, len(clip.video) - 1, _SHOWN_FRAMES).round().astype(int)
        log_mel = self._log_mel(torch.from_numpy(clip.waveform)[None])[0, 0]
        return MomentPicture(frames=clip.video[picked], log_mel=log_mel.numpy())


def _episode(season: int | None, episode: int | None) -> str:
    return ("" if season is None else f"S{season:02d}") + (
        "" if episode is None else f"E{episode:02d}"
    )


def timecode(seconds: float) -> str:
    """Write a time as `hh:mm:ss.f`, rounded down."""
    tenths = int(seconds * 10 + 1e-6)
    return f"{tenths // 36000:02d}:{tenths // 600 % 60:02d}:{tenths // 10 % 60:02d}.{tenths % 10}"
