"""One moment of a catalog, to look at and listen to."""

from __future__ import annotations

import math
from pathlib import Path

from toomuchtv.catalog.records import Proxy
from toomuchtv.media.clip import Clip, ClipFormat
from toomuchtv.media.proxy_reader import ProxyReader


def read_proxy_clip(
    folder: Path, proxy: Proxy, start_seconds: float, clip_format: ClipFormat
) -> Clip:
    """Read a clip from a proxy; see `Catalog.clip`.

    Raises:
        MediaError: The proxy is damaged, or ends before.
        ValueError: The proxy's rates do not fit the format.
    """
    stride = proxy.frame_rate / clip_format.frame_rate
    if abs(stride - round(stride)) > 1e-6 or clip_format.sample_rate_hz != proxy.sample_rate_hz:
        raise ValueError(
            f"the proxy has {proxy.frame_rate:g} frames a second and {proxy.sample_rate_hz} Hz; "
            f"the clip wants {clip_format.frame_rate:g} and {clip_format.sample_rate_hz}"
        )
    if start_seconds < 0:
        raise ValueError(f"start_seconds must be at least 0, got {start_seconds}")
    first_frame = math.floor(start_seconds * proxy.frame_rate + 1e-6)
    reader = ProxyReader(
        folder / proxy.video_path,
        None if proxy.audio_path is None else folder / proxy.audio_path,
        frame_rate=proxy.frame_rate,
        sample_rate_hz=proxy.sample_rate_hz,
    )
    try:
        start_seconds = first_frame / proxy.frame_rate
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
