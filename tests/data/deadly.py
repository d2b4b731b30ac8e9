"""Readers that crash or stall their process, in a module that a worker imports quickly."""

from __future__ import annotations

import os
import signal

from toomuchtv.data.clip_reader import ClipReader
from toomuchtv.data.clip_specs import ClipSpec
from toomuchtv.media.clip import VideoArray, WaveformArray


class Deadly(ClipReader):
    """A reader that crashes its process when it reads item 0."""

    def read(
        self,
        clip: ClipSpec,
        video: VideoArray,
        waveform: WaveformArray,
        *,
        crop_position: float | None = None,
    ) -> None:
        if clip.item == 0:
            os.kill(os.getpid(), signal.SIGSEGV)
        super().read(clip, video, waveform)


class AlwaysDeadly(ClipReader):
    """A reader that ends its process whatever it reads."""

    def read(
        self,
        clip: ClipSpec,
        video: VideoArray,
        waveform: WaveformArray,
        *,
        crop_position: float | None = None,
    ) -> None:
        os._exit(7)


class Stalling(ClipReader):
    """A reader that waits for ever at a proxy that is a pipe, like a file on a server that is gone.

    Opening media refuses pipes, so that a pipe alone no longer stalls a reader.
    """

    def read(
        self,
        clip: ClipSpec,
        video: VideoArray,
        waveform: WaveformArray,
        *,
        crop_position: float | None = None,
    ) -> None:
        (self._catalog_path / self._proxies[clip.item].video_path).open("rb").close()
        super().read(clip, video, waveform)
