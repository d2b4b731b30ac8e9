"""Small films with an exact frame rate, a timecode track, or frames at any times."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.media_files import encode_audio, frame_image, tone
from toomuchtv.catalog.records import TitleKind
from toomuchtv.search.hits import Hit, Match


def write_rated_film(
    path: Path,
    frame_rate: Fraction,
    *,
    num_frames: int = 60,
    timecode: str = "",
    sound: bool = True,
    ticks: Sequence[int] | None = None,
    codec: str = "mpeg4",
    keyframe_every: int = 12,
) -> Path:
    """Write a film of `num_frames` frames; frame i is `frame_image(i)`.

    Args:
        path: The file, such as `.mov` or `.mkv`.
        frame_rate: Frames per second.
        num_frames: Number of frames.
        timecode: SMPTE timecode of the first frame; "" for none.
        sound: Whether the film has sound, a tone whose pitch changes every second.
        ticks: Times of the frames in units of 1/1000 s, in place of a constant rate.
        codec: Codec of the video.
        keyframe_every: Distance of key frames.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "bf": "2"} if codec == "libx264" else {"bf": "0"}
        video = container.add_stream(codec, rate=frame_rate, options=options)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.gop_size = keyframe_every
        if timecode:
            video.metadata["timecode"] = timecode
        time_base = 1 / frame_rate
        if ticks is not None:
            time_base = video.codec_context.time_base = Fraction(1, 1000)
        audio: av.AudioStream | None = None
        if sound:
            stream = container.add_stream("aac", rate=16_000, layout="mono")
            assert isinstance(stream, av.AudioStream)
            audio = stream
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(frame_image(number), format="rgb24")
            frame.pts = number if ticks is None else ticks[number]
            frame.time_base = time_base
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            wave = tone(float(num_frames / frame_rate))
            encode_audio(container, audio, np.asarray(wave, np.float32), 0.0)
    return path


def make_hit(
    path: Path,
    start_seconds: float,
    stop_seconds: float,
    *,
    rank: int = 1,
    name: str | None = None,
    item_id: int = 1,
    similarity: float = 0.5,
    z_score: float = 3.0,
) -> Hit:
    """Return a hit with one match."""
    match = Match(
        encoder="base",
        query_modality="video",
        modality="video",
        similarity=similarity,
        z_score=z_score,
        is_confident=True,
        rank=rank,
    )
    return Hit(
        rank=rank,
        item_id=item_id,
        title=path.stem,
        name=path.stem if name is None else name,
        kind=TitleKind.MOVIE,
        season=None,
        episode=None,
        path=path,
        start_seconds=start_seconds,
        stop_seconds=stop_seconds,
        center_seconds=(start_seconds + stop_seconds) / 2,
        score=1 / (60 + rank),
        matches=(match,),
    )
