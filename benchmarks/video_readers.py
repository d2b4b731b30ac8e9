"""Other readers of video clips, for comparison with ours: PyAV, torchcodec and decord.

Each keeps its files open and returns RGB.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np

from toomuchtv.media.clip import ClipFormat, VideoArray

#: Reads the clip of a file, given by its index, that starts at a time: uint8 `[T, H, W, 3]`.
ReadClip = Callable[[int, float], VideoArray]
#: Opens files of a frame rate, to read clips of a format from them.
OpenReader = Callable[[Sequence[Path], float, ClipFormat], ReadClip]


def open_pyav(paths: Sequence[Path], frame_rate: float, clip_format: ClipFormat) -> ReadClip:
    """Seek, decode and convert with PyAV, as the releases of AVID and GDT do."""
    containers = [av.open(str(path)) for path in paths]
    streams = [container.streams.video[0] for container in containers]
    for stream in streams:
        stream.thread_type = "NONE"

    def read(file: int, start_seconds: float) -> VideoArray:
        container, stream = containers[file], streams[file]
        container.seek(int(start_seconds / float(stream.time_base or 1)), stream=stream)
        images: list[VideoArray] = []
        for frame in container.decode(stream):
            wanted = start_seconds + len(images) / clip_format.frame_rate
            if frame.time is not None and frame.time >= wanted - 0.5 / frame_rate:
                images.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
                if len(images) == clip_format.frames:
                    break
        return np.stack(images + images[-1:] * (clip_format.frames - len(images)))

    return read


def open_torchcodec(paths: Sequence[Path], frame_rate: float, clip_format: ClipFormat) -> ReadClip:
    """Read with torchcodec; its approximate index is exact for a constant frame rate."""
    from torchcodec.decoders import VideoDecoder

    decoders = [
        VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode="approximate") for path in paths
    ]
    # A little after the start of each frame, so that rounding cannot select the frame before it.
    offsets = np.arange(clip_format.frames) / clip_format.frame_rate + 0.1 / frame_rate

    def read(file: int, start_seconds: float) -> VideoArray:
        data = decoders[file].get_frames_played_at((start_seconds + offsets).tolist()).data
        return np.asarray(data.permute(0, 2, 3, 1).numpy(), np.uint8)

    return read


def open_decord(paths: Sequence[Path], frame_rate: float, clip_format: ClipFormat) -> ReadClip:
    """Read with decord."""
    import decord

    readers = [decord.VideoReader(str(path), num_threads=1) for path in paths]
    offsets = np.arange(clip_format.frames) / clip_format.frame_rate

    def read(file: int, start_seconds: float) -> VideoArray:
        frames = np.rint((start_seconds + offsets) * frame_rate).astype(int).tolist()
        return np.asarray(readers[file].get_batch(frames).asnumpy(), np.uint8)

    return read


def installed_readers() -> dict[str, OpenReader]:
    """Return the readers whose packages are installed, by name."""
    readers: dict[str, OpenReader] = {
        "pyav": open_pyav, "torchcodec": open_torchcodec, "decord": open_decord
    }  # fmt: skip
    return {
        name: reader
        for name, reader in readers.items()
        if name == "pyav" or importlib.util.find_spec(name) is not None
    }
