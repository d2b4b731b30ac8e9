"""In a rendered file, the sound of a bounce coincides with the lowest position of the ball."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from experiments.rendered_tv import RenderedTVConfig
from experiments.rendered_tv.audio import AudioMixer
from experiments.rendered_tv.files import ground_truth, write_film
from experiments.rendered_tv.script import Script, write_clip
from experiments.rendered_tv.titles import Title, draw_title
from experiments.rendered_tv.video import VideoRenderer

FRAME_SECONDS = 1 / 16


def decoded(path: Path) -> tuple[Any, Any]:
    """Return gray frames in presentation order, and audio samples from time zero."""
    with av.open(path) as container:
        frames = {
            round(float(frame.time or 0.0) * 16): frame.to_ndarray(format="gray").astype(float)
            for frame in container.decode(video=0)
        }
    with av.open(path) as container:
        parts = list(container.decode(audio=0))
    sound = np.concatenate([part.to_ndarray()[0] for part in parts])
    lead = round(float(parts[0].time or 0.0) * 16000)
    return np.stack([frames[k] for k in sorted(frames)]), sound[max(-lead, 0) :]


def steady_bounce(config: RenderedTVConfig) -> tuple[Title, Script]:
    """Return a clip of a bounce in one shot from a still camera."""
    title = draw_title(config, "transfer", 0)
    for clip in range(100):
        script = write_clip(config, title, "bounce", clip, 4.5)
        shots = script.scenes[0].shots
        if len(shots) == 1 and shots[0].camera.move == "still":
            return title, script
    raise AssertionError("no clip has a single still shot")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_impacts_are_simultaneous_in_video_and_audio(suffix: str, tmp_path: Path) -> None:
    config = RenderedTVConfig(signature_picture=0.0, signature_sound=0.0, music_overlap=0.0)
    title, script = steady_bounce(config)
    path = tmp_path / f"bounce{suffix}"
    write_film(
        path,
        VideoRenderer(config, title).render(script),
        AudioMixer(config, title).mix(script),
        frame_rate=16,
        sample_rate_hz=16000,
        name="bounce",
    )
    frames, sound = decoded(path)
    moving = np.abs(frames - np.median(frames, axis=0)) > 35
    rows = np.arange(frames.shape[1])[:, None]
    lowest = (moving * rows).sum(axis=(1, 2)) / np.maximum(moving.sum(axis=(1, 2)), 1)
    (event,) = ground_truth(config, title, script)["events"]
    impacts = [hit for hit in event["impacts"] if 0.3 < hit < 4.2]
    assert len(impacts) >= 3
    for hit in impacts:
        around = np.arange(round(hit * 16) - 4, round(hit * 16) + 5)
        seen = around[np.argmax(lowest[around])] * FRAME_SECONDS
        assert abs(seen - hit) <= FRAME_SECONDS
        first = round((hit - 0.2) * 16000)
        energy = sound[first : first + 6400].reshape(-1, 80)
        rise = np.diff(np.log((energy**2).mean(axis=1) + 1e-7))
        heard = hit - 0.2 + (int(np.argmax(rise)) + 1) * 0.005
        assert abs(heard - hit) <= FRAME_SECONDS / 2
