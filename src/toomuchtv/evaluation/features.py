"""Features of a benchmark's files: several windows a file, their mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from toomuchtv.errors import MediaError
from toomuchtv.evaluation.labeled import FeatureArray
from toomuchtv.media.original import picture_seconds, read_clip, read_sound, sound_seconds
from toomuchtv.pretrained import Pretrained
from toomuchtv.progress import ProgressHook, no_progress


def window_starts(total: float, window: float, num_windows: int) -> list[float]:
    """Starts of `num_windows` windows spread evenly over `[0, total)`, in seconds.

    Where a window does not fit, it starts at 0.
    """
    room = max(0.0, total - window)
    if num_windows == 1:
        return [room / 2]
    return [room * index / (num_windows - 1) for index in range(num_windows)]


def audio_features(
    pretrained: Pretrained,
    paths: Sequence[Path],
    *,
    num_windows: int,
    progress: ProgressHook = no_progress,
) -> FeatureArray:
    """Extract the features of how files sound: float32 `[files, F]`.

    Args:
        pretrained: The encoders.
        paths: Any media files with sound.
        num_windows: Windows a file, spread evenly; a shorter file is padded with silence.
        progress: Told the files done.

    Raises:
        MediaError: A file cannot be read.
    """
    clip_format = pretrained.config.clip
    rate = clip_format.sample_rate_hz
    rows = []
    for index, path in enumerate(paths):
        seconds = sound_seconds(path)
        whole = read_sound(
            path,
            first_sample=0,
            num_samples=max(round(seconds * rate), clip_format.num_samples),
            sample_rate_hz=rate,
        )
        starts = window_starts(len(whole) / rate, clip_format.audio_seconds, num_windows)
        windows = [
            whole[first : first + clip_format.num_samples]
            for first in (
                min(round(start * rate), len(whole) - clip_format.num_samples) for start in starts
            )
        ]
        rows.append(_mean(pretrained.audio_features(torch.from_numpy(np.stack(windows)))))
        progress(index + 1, len(paths), "listening")
    return np.stack(rows)


def video_features(
    pretrained: Pretrained,
    paths: Sequence[Path],
    *,
    num_windows: int,
    progress: ProgressHook = no_progress,
) -> FeatureArray:
    """Extract the features of how files look: float32 `[files, F]`; as `audio_features`.

    Raises:
        MediaError: A file cannot be read.
    """
    clip_format = pretrained.config.clip
    rows = []
    for index, path in enumerate(paths):
        starts = window_starts(picture_seconds(path), clip_format.span_seconds, num_windows)
        clips = [
            read_clip(
                path,
                start_seconds=start,
                frames=clip_format.frames,
                frame_rate=clip_format.frame_rate,
                short_side=pretrained.config.input.size,
            ).video
            for start in sorted(set(starts))
        ]
        rows.append(_mean(pretrained.video_features(torch.from_numpy(np.stack(clips)))))
        progress(index + 1, len(paths), "watching")
    return np.stack(rows)


def _mean(features: Tensor) -> FeatureArray:
    mean: FeatureArray = features.mean(dim=0).cpu().numpy()
    if not np.isfinite(mean).all():
        raise MediaError("the encoder gave features that are not finite")
    return mean
