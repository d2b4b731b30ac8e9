"""Other readers of video, each kept open, that read the same moments as ours, to RGB."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np

from toomuchtv.media.clip import ClipFormat, VideoArray

FORMAT = ClipFormat()
#: Reads the clip of one of the files that begins at so many seconds: uint8 `[T, H, W, 3]`.
Read = Callable[[int, float], VideoArray]


def pyav_to_rgb(paths: Sequence[Path], frame_rate: float) -> Read:
    """PyAV: seek, decode, convert the wanted frames. How the releases of AVID and GDT read."""
    containers = [av.open(str(path)) for path in paths]
    streams = [container.streams.video[0] for container in containers]
    for stream in streams:
        stream.thread_type = "NONE"

    def read(file: int, seconds: float) -> VideoArray:
        container, stream = containers[file], streams[file]
        container.seek(int(seconds / float(stream.time_base or 1)), stream=stream)
        images: list[VideoArray] = []
        for frame in container.decode(stream):
            wanted = seconds + len(images) / FORMAT.frame_rate
            if frame.time is not None and frame.time >= wanted - 0.5 / frame_rate:
                images.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
                if len(images) == FORMAT.frames:
                    break
        return np.stack(images)

    return read


def torchcodec_to_rgb(paths: Sequence[Path], frame_rate: float) -> Read:
    """Torchcodec; its index of frames is approximate, which is exact for a fixed frame rate."""
    from torchcodec.decoders import VideoDecoder

    decoders = [
        VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode="approximate") for path in paths
    ]

    def read(file: int, seconds: float) -> VideoArray:
        # A little into each frame: rounding must not give the one before.
        times = [
            seconds + index / FORMAT.frame_rate + 0.1 / frame_rate for index in range(FORMAT.frames)
        ]
        data = decoders[file].get_frames_played_at(times).data
        return np.asarray(data.permute(0, 2, 3, 1).numpy(), np.uint8)

    return read


def decord_to_rgb(paths: Sequence[Path], frame_rate: float) -> Read:
    """Decord."""
    import decord

    readers = [decord.VideoReader(str(path), num_threads=1) for path in paths]

    def read(file: int, seconds: float) -> VideoArray:
        numbers = [
            round((seconds + index / FORMAT.frame_rate) * frame_rate)
            for index in range(FORMAT.frames)
        ]
        return np.asarray(readers[file].get_batch(numbers).asnumpy(), np.uint8)

    return read


def rivals_here() -> dict[str, Callable[[Sequence[Path], float], Read]]:
    """The rivals that are installed, by name."""
    rivals = {"pyav": pyav_to_rgb, "torchcodec": torchcodec_to_rgb, "decord": decord_to_rgb}
    return {
        name: rival
        for name, rival in rivals.items()
        if name == "pyav" or importlib.util.find_spec(name) is not None
    }
