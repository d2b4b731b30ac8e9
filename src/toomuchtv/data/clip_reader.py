"""One reader of clips from the proxies of a catalog."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from toomuchtv._internal.random_numbers import uniforms
from toomuchtv.catalog.records import Proxy
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.data.clip_specs import ClipSpec, ClipSpecs
from toomuchtv.errors import CatalogError
from toomuchtv.media.clip import ClipFormat, VideoArray, WaveformArray
from toomuchtv.media.proxy_reader import ProxyPool, ProxyReader

_CROP, _AUDIO_SHIFT = 100, 101  # streams of random numbers, apart from those of the samplers


class ClipReader:
    """Reads clips of a catalog from its proxies.

    Args:
        catalog_path: The catalog's folder, which paths of proxies are relative to.
        snapshot: The snapshot whose rows are the items of clip specs.
        proxies: Proxy of each item, by item id.
        clip_format: Frames and audio of a clip.
        max_open: Number of proxies that are kept open.
        audio_shift_seconds: See `AugmentationConfig`. The shift of a clip follows from its seed.

    Attributes:
        snapshot: See above.
        clip_format: See above.
        side: Side length of the square frames, in pixels: the short side of all proxies.
        video_shape: `(T, S * 3 / 2, S)`, shape of the YUV planes of a clip.

    Raises:
        CatalogError: An item of the snapshot has no proxy, because the catalog has changed between
            the reading of the snapshot and of the proxies.
        ValueError: A proxy's frame rate is no multiple of the clip's, or its sample rate or
            size differs from the others'.
    """

    def __init__(
        self,
        catalog_path: Path,
        snapshot: CatalogSnapshot,
        proxies: Mapping[int, Proxy],
        clip_format: ClipFormat,
        *,
        max_open: int = 64,
        audio_shift_seconds: float = 0.0,
    ) -> None:
        self.snapshot = snapshot
        self.clip_format = clip_format
        self._catalog_path = catalog_path
        item_ids = snapshot.item_id.tolist()
        if missing := [item_id for item_id in item_ids if item_id not in proxies]:
            raise CatalogError(
                f"{len(missing)} of the {len(item_ids)} items of the snapshot have no proxy of "
                f"their present content (item ids {missing[:5]}), because the catalog has changed "
                "since the snapshot was read: read both again, after `toomuchtv prepare`"
            )
        self._proxies = [proxies[item_id] for item_id in item_ids]
        self.side = _common_side(self._proxies, clip_format)
        self.video_shape = (clip_format.frames, self.side * 3 // 2, self.side)
        self._max_open = max_open
        self._audio_shift_seconds = audio_shift_seconds
        self._pools = {os.getpid(): ProxyPool(max_open)}

    def __getstate__(self) -> dict[str, object]:
        # Open files stay with the process that opened them; a worker opens its own.
        return {**self.__dict__, "_pools": {}}

    @property
    def _pool(self) -> ProxyPool:
        # A forked process must neither read from inherited files, whose positions it shares with
        # its parent, nor close them, because the threads of their decoders do not exist there.
        if os.getpid() not in self._pools:
            self._pools[os.getpid()] = ProxyPool(self._max_open)
        return self._pools[os.getpid()]

    def read(
        self,
        clip: ClipSpec,
        video: VideoArray,
        waveform: WaveformArray,
        *,
        crop_position: float | None = None,
    ) -> None:
        """Read one clip into arrays of the caller. For many clips, see `reading_order`.

        Args:
            clip: The clip.
            video: uint8 `[T, S * 3 / 2, S]`, receives the YUV planes.
            waveform: float32 `[num_samples]`, receives the audio.
            crop_position: Position of the square along the longer side of the frame, in [0, 1].
                By default it follows from the clip's seed.

        Raises:
            MediaError: The proxy is missing, damaged or too short.
        """
        if crop_position is None:
            crop_position = float(uniforms(np.array([clip.seed], np.uint64), _CROP)[0])
        proxy = self._proxies[clip.item]
        reader = self._proxy_reader(proxy, clip.audio_track)
        clip_format = self.clip_format
        reader.read_planes(
            first_frame=round(clip.start_seconds * proxy.frame_rate),
            frames=clip_format.frames,
            stride=round(proxy.frame_rate / clip_format.frame_rate),
            crop_position=crop_position,
            out=video,
        )
        reader.read_waveform(
            first_sample=self._first_sample(clip, proxy),
            num_samples=clip_format.num_samples,
            out=waveform,
        )

    def _first_sample(self, clip: ClipSpec, proxy: Proxy) -> int:
        """Return the first sample of a clip's audio, moved by a random shift if there is one."""
        first = self.clip_format.audio_start_sample(clip.start_seconds)
        if self._audio_shift_seconds == 0:
            return first
        draw = float(uniforms(np.array([clip.seed], np.uint64), _AUDIO_SHIFT)[0])
        shift = (2 * draw - 1) * self._audio_shift_seconds * proxy.sample_rate_hz
        # Audio that reaches beyond an end of the item without a shift may stay where it is.
        last = max(proxy.num_samples - self.clip_format.num_samples, first)
        return min(max(first + round(shift), min(first, 0)), last)

    def reading_order(self, specs: ClipSpecs) -> list[int]:
        """Forget all earlier reads, and return the indices of a batch's clips in reading order.

        Clips that are close in time share an open file and often a decoded group of frames, so
        this order is the cheapest. A decoder conceals damage with what it decoded before. If it
        did not forget, a clip of a damaged proxy could depend on the worker that reads it.
        """
        self._pool.clear_cache()
        order: list[int] = np.lexsort((specs.start_seconds, specs.audio_track, specs.item)).tolist()
        return order

    def name(self, item: int) -> str:
        """Return the file name of an item's proxy, for messages."""
        return self._proxies[item].video_path.name

    def close_item(self, item: int) -> None:
        """Close the proxy of an item, because its file may have changed on disk."""
        self._pool.evict(self._catalog_path / self._proxies[item].video_path)

    def _proxy_reader(self, proxy: Proxy, audio_track: int) -> ProxyReader:
        audio_path = (
            self._catalog_path / proxy.audio_files[audio_track].path if proxy.audio_files else None
        )
        return self._pool.get(
            self._catalog_path / proxy.video_path,
            audio_path,
            frame_rate=proxy.frame_rate,
            sample_rate_hz=proxy.sample_rate_hz,
        )


def _common_side(proxies: list[Proxy], clip_format: ClipFormat) -> int:
    kinds = {
        (min(proxy.width, proxy.height), proxy.frame_rate, proxy.sample_rate_hz)
        for proxy in proxies
    }
    if len(kinds) != 1:
        raise ValueError(
            "the proxies have different formats (short side, frame rate, sample rate: "
            f"{sorted(kinds)}): run `toomuchtv prepare` again to make them alike"
        )
    side, frame_rate, sample_rate_hz = kinds.pop()
    stride = frame_rate / clip_format.frame_rate
    if abs(stride - round(stride)) > 1e-6 or round(stride) < 1:
        raise ValueError(
            f"the proxies have {frame_rate:g} frames a second, which is no multiple of the "
            f"clip's {clip_format.frame_rate:g}: set clip.frame_rate, or prepare with "
            f"--frame-rate {clip_format.frame_rate:g}"
        )
    if sample_rate_hz != clip_format.sample_rate_hz:
        raise ValueError(
            f"the proxies' audio has {sample_rate_hz} Hz, the clip wants "
            f"{clip_format.sample_rate_hz}: set clip.sample_rate_hz, or prepare with "
            f"--sample-rate {clip_format.sample_rate_hz}"
        )
    return side
