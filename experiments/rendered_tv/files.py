"""Writing media files and their ground truth, each either completely or not at all."""

from __future__ import annotations

import json
import wave
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from experiments.rendered_tv.config import RenderedTVConfig
from experiments.rendered_tv.script import Script, cue_track
from experiments.rendered_tv.titles import Title
from toomuchtv._internal.files import replacing

_FORMATS = {".mp4": "mp4", ".mkv": "matroska"}


def write_film(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    waveform: NDArray[Any],
    *,
    frame_rate: int,
    sample_rate_hz: int,
    name: str,
) -> None:
    """Write H.264 video and AAC audio to an MP4 or MKV file.

    The same input gives the same bytes: encoding uses one thread, and the file contains no dates
    and no random identifiers.

    Args:
        path: Output file with the suffix `.mp4` or `.mkv`. Its folder is created.
        frames: uint8 `[H, W, 3]` RGB frames, all of the same size.
        waveform: float32 `[S]` in -1..1, as long as the frames.
        frame_rate: Frames per second.
        sample_rate_hz: Samples per second.
        name: Title in the file's metadata.
    """
    with (
        replacing(path) as partial,
        av.open(
            partial, "w", format=_FORMATS[path.suffix], options={"fflags": "+bitexact"}
        ) as container,
    ):
        container.metadata["title"] = name
        video: av.VideoStream | None = None
        # This coder takes half the time of the default one. At this bit rate the difference in
        # quality is not audible.
        audio = container.add_stream("aac", rate=sample_rate_hz, options={"aac_coder": "fast"})
        audio.layout = "mono"
        audio.bit_rate = 64_000
        sent = 0
        for number, frame in enumerate(frames):
            if video is None:
                video = _add_video_stream(container, frame, frame_rate)
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            # One second of audio follows each second of video, so that the file is interleaved.
            if (number + 1) % frame_rate == 0:
                until = (number + 1) * sample_rate_hz // frame_rate
                container.mux(audio.encode(_audio_frame(waveform, sent, until, sample_rate_hz)))
                sent = until
        if sent < len(waveform):
            rest = _audio_frame(waveform, sent, len(waveform), sample_rate_hz)
            container.mux(audio.encode(rest))
        for stream in (video, audio):
            if stream is not None:
                container.mux(stream.encode(None))


def write_wav(path: Path, waveform: NDArray[Any], sample_rate_hz: int) -> None:
    """Write float32 `[S]` in -1..1 as a 16-bit mono WAV file."""
    with replacing(path) as partial, partial.open("wb") as raw, wave.open(raw, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes((np.clip(waveform, -1, 1) * 32767).round().astype("<i2").tobytes())


def _add_video_stream(
    container: av.container.OutputContainer, frame: NDArray[np.uint8], frame_rate: int
) -> av.VideoStream:
    # x264's macroblock tree is not deterministic on frames this small: ten encodings of the same
    # frames at 160x96 on one thread gave ten streams. Without it (or with asm=0) they are equal.
    options = {
        "preset": "superfast",
        "crf": "22",
        "g": str(3 * frame_rate),
        "x264-params": "mbtree=0",
    }
    stream = container.add_stream("libx264", rate=frame_rate, options=options)
    stream.height, stream.width = frame.shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.codec_context.thread_count = 1
    return stream


def _audio_frame(waveform: NDArray[Any], start: int, stop: int, rate: int) -> av.AudioFrame:
    part = np.ascontiguousarray(waveform[None, start:stop], np.float32)
    frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
    frame.sample_rate = rate
    frame.pts = start
    return frame


def ground_truth(config: RenderedTVConfig, title: Title, script: Script) -> dict[str, Any]:
    """Describe what happens in a file. All times are in seconds from the first frame.

    The keys are `title`, `kind`, `duration_seconds`, `opening` and `credits` (half-open intervals
    `[start, stop]`, or null), `scenes`, `shots` and `events`. The `impacts` of an event are the
    times at which something hits; they are empty for kinds without hits.
    """

    def span(frames: tuple[int, int] | None) -> list[float] | None:
        return None if frames is None else [frame / config.frame_rate for frame in frames]

    def times(item: Any) -> dict[str, float]:
        return {
            "start_seconds": item.first_frame / config.frame_rate,
            "stop_seconds": item.stop_frame / config.frame_rate,
        }

    return {
        "title": title.name,
        "kind": title.path[0],
        "duration_seconds": script.num_frames / config.frame_rate,
        "opening": span(script.span("opening")),
        "credits": span(script.span("credits")),
        "scenes": [
            {
                **times(scene),
                "role": scene.role,
                "set": "/".join(map(str, scene.set_path)) if scene.set_path else None,
                "set_recurs": scene.set_recurs,
                "figures": ["/".join(map(str, path)) for path, _ in scene.figures],
                "music": {None: None, -1: "theme"}.get(scene.music, f"stock {scene.music}"),
            }
            for scene in script.scenes
        ],
        "shots": [
            {**times(shot), "scene": number, "camera": shot.camera.move}
            for number, scene in enumerate(script.scenes)
            for shot in scene.shots
        ],
        "events": [
            {
                **times(cue),
                "kind": cue.kind,
                "scene": number,
                "impacts": [
                    round(cue.first_frame / config.frame_rate + float(hit), 4)
                    for hit in cue_track(config, cue).impacts
                ],
            }
            for number, scene in enumerate(script.scenes)
            for cue in scene.cues
        ],
    }


def ground_truth_json(config: RenderedTVConfig, title: Title, script: Script) -> str:
    """Return the ground truth as JSON text."""
    return json.dumps(ground_truth(config, title, script), indent=1) + "\n"
