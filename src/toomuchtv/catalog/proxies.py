"""Which audio tracks a proxy has, and how clips are read from it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toomuchtv._internal.timecode import format_timecode
from toomuchtv.catalog.records import AudioTrack, Item, Proxy
from toomuchtv.media.clip import Clip, ClipFormat
from toomuchtv.media.damage import DamagedInterval
from toomuchtv.media.languages import language_mismatch, parse_language
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.proxy_writer import ProxyFormat
from toomuchtv.media.streams import audio_rank, is_unusual

# A proxy that ends this long before its item does is reported.
_SHORT_SECONDS = 1.0
_MAX_PLACES = 5


def choose_audio_track(tracks: Sequence[AudioTrack]) -> AudioTrack | None:
    """Choose the audio track that a viewer would listen to, or None if there are no tracks.

    The rule is that of `media.streams`, which `read_clip` follows too.
    """
    return min(tracks, key=audio_rank, default=None)


def choose_audio_tracks(
    tracks: Sequence[AudioTrack], languages: Sequence[str]
) -> tuple[AudioTrack, ...]:
    """Choose the audio tracks of a proxy: the best track of every requested language.

    Commentary and audio description never stand in for a language. If no language is requested, or
    the item has none of them, the result is the track of `choose_audio_track` alone.

    Args:
        tracks: The audio tracks of an item.
        languages: Requested languages in the order of the result, in any form that
            `parse_language` takes. Of several tracks in a language, those with the requested
            region or script come first.
    """
    usual = [track for track in tracks if not is_unusual(track)]
    chosen: dict[int, AudioTrack] = {}
    for language in map(parse_language, languages):
        distances = [
            (distance, audio_rank(track), track)
            for track in usual
            if (distance := language_mismatch(language, track.language)) is not None
        ]
        if distances:
            best = min(distances, key=lambda entry: entry[:2])[2]
            chosen.setdefault(best.index, best)
    default = choose_audio_track(tracks)
    return tuple(chosen.values()) or (() if default is None else (default,))


def has_language(tracks: Sequence[AudioTrack], languages: Sequence[str]) -> bool:
    """Return whether an item has a track in one of the requested languages.

    This is true if no language is requested, and of an item without audio.
    """
    if not tracks or not languages:
        return True
    return any(
        language_mismatch(language, track.language) is not None
        for track in tracks
        for language in map(parse_language, languages)
        if not is_unusual(track)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemDamage:
    """What is wrong with the original of an item, as its proxy showed.

    Attributes:
        path: Path of the original, relative to the library.
        video: Where its video could not be decoded. The proxy repeats the last whole frame there.
        audio: Where its audio could not be decoded. The proxy is silent there.
        seconds: Duration that the scan found.
        proxy_seconds: Duration of the proxy, which is that of what can be decoded.
    """

    path: Path
    video: tuple[DamagedInterval, ...]
    audio: tuple[DamagedInterval, ...]
    seconds: float
    proxy_seconds: float

    @property
    def is_short(self) -> bool:
        """Whether the proxy is shorter than the catalog says by more than rounding explains."""
        return self.seconds - self.proxy_seconds > _SHORT_SECONDS

    def __str__(self) -> str:
        parts = [
            f"its {name} is damaged at {_places(intervals)}"
            for name, intervals in (("video", self.video), ("audio", self.audio))
            if intervals
        ]
        if self.is_short:
            parts.append(
                f"only {self.proxy_seconds:.1f} s of its {self.seconds:.1f} s can be decoded"
            )
        return "; ".join(parts)


def item_damage(item: Item, proxy: Proxy) -> ItemDamage | None:
    """Return what is wrong with an item whose proxy was made, or None if it is whole."""
    damage = ItemDamage(
        path=item.path,
        video=proxy.video_damage,
        audio=proxy.audio_damage,
        seconds=item.probe.duration_seconds,
        proxy_seconds=proxy.duration_seconds,
    )
    return damage if damage.video or damage.audio or damage.is_short else None


def _places(intervals: Sequence[DamagedInterval]) -> str:
    named = [
        f"{format_timecode(one.start_seconds)} ({one.duration_seconds:.1f} s)"
        for one in intervals[:_MAX_PLACES]
    ]
    more = len(intervals) - len(named)
    return ", ".join(named) + (f" and {more} more places" if more else "")


def proxy_format_id(proxy_format: ProxyFormat) -> str:
    """Return a short digest of a format. Different formats have different digests."""
    return hashlib.blake2b(proxy_format.model_dump_json().encode(), digest_size=6).hexdigest()


def open_proxy(folder: Path, proxy: Proxy) -> ProxyReader:
    """Open a proxy with its preferred audio track. The caller closes the reader.

    Args:
        folder: The catalog's folder.
        proxy: The proxy.

    Raises:
        MediaError: A file is missing or is not a proxy.
    """
    return ProxyReader(
        folder / proxy.video_path,
        None if proxy.audio_path is None else folder / proxy.audio_path,
        frame_rate=proxy.frame_rate,
        sample_rate_hz=proxy.sample_rate_hz,
    )


def read_proxy_clip(
    folder: Path, proxy: Proxy, start_seconds: float, clip_format: ClipFormat
) -> Clip:
    """Read one clip from a proxy. `Catalog.clip` describes the arguments.

    Raises:
        MediaError: The proxy is damaged or ends before the clip does.
        ValueError: The start is negative or the proxy's rates do not fit the format.
    """
    stride = proxy.frame_rate / clip_format.frame_rate
    if abs(stride - round(stride)) > 1e-6 or clip_format.sample_rate_hz != proxy.sample_rate_hz:
        raise ValueError(
            f"the proxy has {proxy.frame_rate:g} frames per second and {proxy.sample_rate_hz} Hz; "
            f"it cannot give {clip_format.frame_rate:g} frames per second and "
            f"{clip_format.sample_rate_hz} Hz"
        )
    if start_seconds < 0:
        raise ValueError(f"start_seconds must be at least 0, got {start_seconds}")
    # The small addition keeps a start of k / frame_rate at frame k in spite of rounding.
    first_frame = math.floor(start_seconds * proxy.frame_rate + 1e-6)
    start_seconds = first_frame / proxy.frame_rate
    reader = open_proxy(folder, proxy)
    try:
        return Clip(
            video=reader.read_rgb(
                first_frame=first_frame, frames=clip_format.frames, stride=round(stride)
            ),
            waveform=reader.read_waveform(
                first_sample=clip_format.audio_start_sample(start_seconds),
                num_samples=clip_format.num_samples,
            ),
            start_seconds=start_seconds,
        )
    finally:
        reader.close()
