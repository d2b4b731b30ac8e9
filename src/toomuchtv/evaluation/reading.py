"""From a labeled clip to the views an encoder is given: decoded, cut and, to train on, changed."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from toomuchtv._internal.random_numbers import uniforms
from toomuchtv.data.augmentation import AugmentationConfig, draw_augmentation
from toomuchtv.evaluation.benchmark import LabeledClip
from toomuchtv.evaluation.encoders.interface import AudioEncoder, VideoEncoder
from toomuchtv.evaluation.views import (
    AudioViews,
    VideoAugment,
    VideoViews,
    covering_starts,
    crop_corners,
    even_starts,
    random_boxes,
    random_starts,
)
from toomuchtv.media.clip import VideoArray, WaveformArray
from toomuchtv.media.clip_reader import read_audio, read_clip
from toomuchtv.media.containers import audio_duration_seconds, video_duration_seconds

# A whole clip is decoded at once where that is at most this many frames.
_MOST_FRAMES_AT_ONCE = 1024
_MOST_SECONDS_AT_ONCE = 120.0
# Short sounds are kept for the next protocol or encoder: 0.1 s of a core to decode, and at most
# 0.7 GB at 16 kHz.
_MOST_SECONDS_KEPT, _SOUNDS_KEPT = 10.0, 1024
# The least sound that can be read along with pictures that nobody listens to.
_NO_SOUND_SECONDS, _NO_SOUND_HZ = 0.01, 2_000


def read_views(
    clip: LabeledClip,
    views: VideoViews | AudioViews,
    encoder: VideoEncoder | AudioEncoder,
    *,
    seed: int,
) -> Tensor:
    """Read the views of a clip by whichever sense they are of.

    Args:
        clip: Which file and stretch.
        views: With everything filled in.
        encoder: Of that sense: its sample rate is what sound is read at.
        seed: What random views follow from.

    Returns:
        `[V, T, crop, crop, 3]` uint8 or `[V, S]` float32.

    Raises:
        MediaError: The file cannot be read.
    """
    if isinstance(views, VideoViews):
        return read_video_views(clip, views, seed=seed)
    assert isinstance(encoder, AudioEncoder)
    return read_audio_views(clip, views, encoder.input.sample_rate_hz, seed=seed)


def resolved_views(
    views: VideoViews | AudioViews, encoder: VideoEncoder | AudioEncoder
) -> VideoViews | AudioViews:
    """Fill in what follows the encoder, which is of the views' sense."""
    if isinstance(views, VideoViews):
        assert isinstance(encoder, VideoEncoder)
        return views.of(encoder.input)
    assert isinstance(encoder, AudioEncoder)
    return views.of(encoder.input)


def read_video_views(clip: LabeledClip, views: VideoViews, *, seed: int) -> Tensor:
    """Read the views of a clip: RGB uint8 `[V, T, crop, crop, 3]`, times outside, crops inside.

    Args:
        clip: Which file and stretch.
        views: With everything filled in, see `VideoViews.of`.
        seed: What random views follow from.

    Raises:
        MediaError: The file cannot be read.
    """
    assert views.frames is not None
    assert views.frame_rate is not None
    assert views.crop is not None
    assert views.short_side is not None
    stop = clip.stop_seconds if clip.stop_seconds is not None else video_duration_seconds(clip.path)
    total, length = stop - clip.start_seconds, views.frames / views.frame_rate
    if views.augment is None:
        starts = even_starts(total, length, views.times)
    else:
        starts = random_starts(total, length, views.times, seed=seed)
    films = _read_frames(clip, starts, total, views.frames, views.frame_rate, views.short_side)
    if views.augment is not None:
        return _augmented(films, views.augment, views.crop, seed)
    height, width = films.shape[2:4]
    return torch.stack(
        [
            film[:, top : top + views.crop, left : left + views.crop]
            for film in films
            for top, left in crop_corners(height, width, views.crop, views.crops)
        ]
    )


def _read_frames(
    clip: LabeledClip,
    starts: list[float],
    total: float,
    frames: int,
    frame_rate: float,
    short_side: int,
) -> Tensor:
    """Frames of each view, uint8 `[V, T, H, W, 3]`.

    A short clip is decoded once for all views, whose starts then fall on its frames: at most half
    a frame off.
    """

    def read(start: float, num: int) -> VideoArray:
        return read_clip(
            clip.path,
            start_seconds=clip.start_seconds + start,
            frames=num,
            frame_rate=frame_rate,
            audio_seconds=_NO_SOUND_SECONDS,
            sample_rate_hz=_NO_SOUND_HZ,
            short_side=short_side,
        ).video

    first = [round(start * frame_rate) for start in starts]
    whole = max(first) + frames
    if whole > min(_MOST_FRAMES_AT_ONCE, max(frames, 2 * frames * len(starts))):
        return torch.from_numpy(np.stack([read(start, frames) for start in starts]))
    # Frames after the end would repeat the last one; read_clip does that by itself.
    everything = read(0.0, min(whole, max(frames, math.ceil(total * frame_rate) + frames)))
    return torch.from_numpy(np.stack([everything[at : at + frames] for at in first]))


def _augmented(films: Tensor, augment: VideoAugment, crop: int, seed: int) -> Tensor:
    """One random crop, flip and color of each view: uint8 `[V, T, crop, crop, 3]`."""
    num, _, height, width = films.shape[:4]
    boxes = random_boxes(augment, height, width, num, seed=seed)
    colors = AugmentationConfig(
        brightness=augment.brightness,
        contrast=augment.contrast,
        saturation=augment.saturation,
        hue=augment.hue,
        grayscale=augment.grayscale,
    )
    seeds = (uniforms(seed, 8, np.arange(num)) * 2.0**53).astype(np.uint64)
    changes = draw_augmentation(colors, seeds)
    colored = uniforms(seed, 9, np.arange(num)) < augment.color
    out = []
    for view, box in enumerate(boxes):
        cut = _resized(films[view], box, crop)
        if colored[view]:
            bias = 255.0 * changes.color_bias[view]
            values = torch.addmm(bias, cut.reshape(-1, 3).float(), changes.color[view].T)
            cut = values.round_().clamp_(0, 255).to(torch.uint8).reshape(cut.shape)
        out.append(cut)
    return torch.stack(out)


def _resized(film: Tensor, box: NDArray[np.float64], crop: int) -> Tensor:
    """Cut a box out, at whole pixels, and resize it: uint8 `[T, H, W, 3]` to `[T, crop, crop, 3]`.

    `box` is left, top, width, height as shares; a negative width mirrors. Bytes are resampled as
    bytes, ten times as fast as the same sums in float32 and half a level off at most.
    """
    height, width = film.shape[1:3]
    left, right = sorted((box[0] * width, (box[0] + box[2]) * width))
    first, top = round(left), round(box[1] * height)
    last = max(first + 1, round(right))
    bottom = max(top + 1, round((box[1] + box[3]) * height))
    part = film[:, top:bottom, first:last].permute(0, 3, 1, 2)
    out = F.interpolate(part, size=(crop, crop), mode="bilinear", antialias=True)
    return (out.flip(3) if box[2] < 0 else out).permute(0, 2, 3, 1)


def read_audio_views(
    clip: LabeledClip, views: AudioViews, sample_rate_hz: int, *, seed: int
) -> Tensor:
    """Read the views of a clip's sound: float32 `[V, S]`.

    Args:
        clip: Which file and stretch.
        views: With everything filled in, see `AudioViews.of`.
        sample_rate_hz: The encoder's.
        seed: What random views follow from.

    Raises:
        MediaError: The file cannot be read or has no sound.
    """
    assert views.seconds is not None
    stop = clip.stop_seconds if clip.stop_seconds is not None else audio_duration_seconds(clip.path)
    total = stop - clip.start_seconds
    if views.augment is not None:
        starts = random_starts(total, views.seconds, views.times, seed=seed)
    elif views.times == 0:
        starts = covering_starts(total, views.seconds)
    else:
        starts = even_starts(total, views.seconds, views.times)
    length = round(views.seconds * sample_rate_hz)
    sounds = _read_stretches(clip, starts, total, length, sample_rate_hz)
    if views.augment is not None:
        volume = uniforms(seed, 10, np.arange(len(sounds)))
        loud = 1 + views.augment.volume * (2 * volume - 1)
        sounds = sounds * loud[:, None].astype(np.float32)
    return torch.from_numpy(sounds)


def _read_stretches(
    clip: LabeledClip, starts: list[float], total: float, length: int, rate: int
) -> WaveformArray:
    first = round(clip.start_seconds * rate)
    if total > _MOST_SECONDS_AT_ONCE:
        return np.stack(
            [_sound(clip.path, first + round(start * rate), length, rate) for start in starts]
        )
    whole = _sound(clip.path, first, max(round(total * rate), length), rate)
    last = len(whole) - length
    at = [min(round(start * rate), last) for start in starts]
    stretches: NDArray[np.float32] = np.stack([whole[begin : begin + length] for begin in at])
    return stretches


def _sound(path: Path, first: int, num: int, rate: int) -> WaveformArray:
    read = _kept_sound if num <= _MOST_SECONDS_KEPT * rate else _read_sound
    return read(path, first, num, rate)


def _read_sound(path: Path, first: int, num: int, rate: int) -> WaveformArray:
    return read_audio(path, first_sample=first, num_samples=num, sample_rate_hz=rate)


@lru_cache(maxsize=_SOUNDS_KEPT)
def _kept_sound(path: Path, first: int, num: int, rate: int) -> WaveformArray:
    sound = _read_sound(path, first, num, rate)
    sound.setflags(write=False)
    return sound
