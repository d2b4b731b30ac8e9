"""Decoding of the views of labeled clips: frames and waveforms, cropped and augmented."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
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
from toomuchtv.media.durations import audio_duration_seconds, video_duration_seconds
from toomuchtv.media.timestamps import read_timeline

# A clip is decoded once for all of its views if it has at most this many frames or seconds.
_MAX_FRAMES_AT_ONCE = 1024
_MAX_SECONDS_AT_ONCE = 120.0
# 100 clips of 10 s at 16 kHz.
_CACHE_BYTES = 64 * 2**20
# The shortest audio that can be read along with frames; it is not used.
_SHORTEST_AUDIO_SECONDS, _LOWEST_RATE_HZ = 0.01, 2_000


class ViewReader:
    """A reader of the views of clips in one modality.

    Decoded audio of whole clips is kept in a cache that belongs to the reader, because fine-tuning
    reads every clip in every epoch. Any number of threads may use a reader.

    Attributes:
        views: The views, with all values that follow the encoder filled in.

    Args:
        views: Views to read; values that are None follow the encoder.
        encoder: Encoder of the same modality.
    """

    def __init__(
        self, views: VideoViews | AudioViews, encoder: VideoEncoder | AudioEncoder
    ) -> None:
        self.views: VideoViews | AudioViews
        if isinstance(views, VideoViews):
            assert isinstance(encoder, VideoEncoder)
            self.views = views.of(encoder.input)
        else:
            assert isinstance(encoder, AudioEncoder)
            self.views = views.of(encoder.input)
            self._sample_rate_hz = encoder.input.sample_rate_hz
        self._cache = AudioCache(_CACHE_BYTES)

    def read(self, clip: LabeledClip, *, seed: int) -> Tensor:
        """Read the views of a clip.

        Args:
            clip: The clip.
            seed: Seed of random views.

        Returns:
            RGB frames, uint8 `[V, T, crop, crop, 3]`, with the crops of one start adjacent; or mono
            waveforms, float32 `[V, S]`.

        Raises:
            MediaError: The file cannot be read, or lacks the modality.
        """
        if isinstance(self.views, VideoViews):
            return read_video_views(clip, self.views, seed=seed)
        return read_audio_views(
            clip, self.views, self._sample_rate_hz, seed=seed, cache=self._cache
        )


class AudioCache:
    """A cache of decoded waveforms that forgets the least recently used ones.

    Args:
        max_bytes: Largest sum of the sizes of the waveforms, in bytes.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[Path, int, int, int], WaveformArray] = OrderedDict()
        self._lock = threading.Lock()
        self.num_bytes = 0

    def read(self, path: Path, first_sample: int, num_samples: int, rate: int) -> WaveformArray:
        """Return the samples of a file, from the cache or by decoding them.

        Raises:
            MediaError: The file cannot be read.
        """
        key = (path, first_sample, num_samples, rate)
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        samples = read_audio(
            path,
            timeline=read_timeline(path),
            first_sample=first_sample,
            num_samples=num_samples,
            sample_rate_hz=rate,
        )
        samples.setflags(write=False)
        with self._lock:
            if samples.nbytes <= self._max_bytes and key not in self._entries:
                self._entries[key] = samples
                self.num_bytes += samples.nbytes
            while self.num_bytes > self._max_bytes:
                self.num_bytes -= self._entries.popitem(last=False)[1].nbytes
        return samples


def read_video_views(clip: LabeledClip, views: VideoViews, *, seed: int) -> Tensor:
    """Read the video views of a clip: RGB uint8 `[V, T, crop, crop, 3]`.

    Args:
        clip: The clip.
        views: Views with all values set; see `VideoViews.of`.
        seed: Seed of random views.

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
    videos = _read_frames(clip, starts, total, views.frames, views.frame_rate, views.short_side)
    if views.augment is not None:
        return _augment(videos, views.augment, views.crop, seed)
    height, width = videos.shape[2:4]
    return torch.stack(
        [
            video[:, top : top + views.crop, left : left + views.crop]
            for video in videos
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
    """Return the frames of each view, uint8 `[V, T, H, W, 3]`.

    A short clip is decoded once for all views. Their starts are then rounded to its frames, which
    moves them by at most half a frame.
    """

    def read(start: float, num: int) -> VideoArray:
        inside = num
        if clip.stop_seconds is not None:
            # Frame i is shown at start + i / frame_rate, so this many frames begin inside the clip;
            # the tolerance is for the rounding of floats. The last of them is repeated, because
            # what follows in the file may belong to a test clip.
            inside = max(1, min(num, math.ceil((total - start) * frame_rate - 1e-6)))
        video = read_clip(
            clip.path,
            start_seconds=clip.start_seconds + start,
            frames=inside,
            frame_rate=frame_rate,
            audio_seconds=_SHORTEST_AUDIO_SECONDS,
            sample_rate_hz=_LOWEST_RATE_HZ,
            short_side=short_side,
        ).video
        return video if inside == num else video[np.minimum(np.arange(num), inside - 1)]

    first = [round(start * frame_rate) for start in starts]
    num_whole = max(first) + frames
    if num_whole > min(_MAX_FRAMES_AT_ONCE, 2 * frames * len(starts)):
        return torch.from_numpy(np.stack([read(start, frames) for start in starts]))
    whole = read(0.0, num_whole)
    return torch.from_numpy(np.stack([whole[at : at + frames] for at in first]))


def _augment(videos: Tensor, augment: VideoAugment, crop: int, seed: int) -> Tensor:
    """Apply a random crop, flip and color change to each view: uint8 `[V, T, crop, crop, 3]`."""
    num, _, height, width = videos.shape[:4]
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
    is_colored = uniforms(seed, 9, np.arange(num)) < augment.color
    out = []
    for view, box in enumerate(boxes):
        resized = _resized_crop(videos[view], box, crop)
        if is_colored[view]:
            bias = 255.0 * changes.color_bias[view]
            values = torch.addmm(bias, resized.reshape(-1, 3).float(), changes.color[view].T)
            resized = values.round_().clamp_(0, 255).to(torch.uint8).reshape(resized.shape)
        out.append(resized)
    return torch.stack(out)


def _resized_crop(video: Tensor, box: NDArray[np.float64], size: int) -> Tensor:
    """Crop a box at whole pixels and resize it: uint8 `[T, H, W, 3]` to `[T, size, size, 3]`.

    The box is left, top, width and height as shares of the frame, and a negative width mirrors it.
    The resampling of bytes is ten times as fast as that of float32 values, and differs from it by
    at most half a level.
    """
    height, width = video.shape[1:3]
    left, right = sorted((box[0] * width, (box[0] + box[2]) * width))
    first, top = round(left), round(box[1] * height)
    last = max(first + 1, round(right))
    bottom = max(top + 1, round((box[1] + box[3]) * height))
    part = video[:, top:bottom, first:last].permute(0, 3, 1, 2)
    out = F.interpolate(part, size=(size, size), mode="bilinear", antialias=True)
    return (out.flip(3) if box[2] < 0 else out).permute(0, 2, 3, 1)


def read_audio_views(
    clip: LabeledClip,
    views: AudioViews,
    sample_rate_hz: int,
    *,
    seed: int,
    cache: AudioCache | None = None,
) -> Tensor:
    """Read the audio views of a clip: mono float32 `[V, S]`.

    Args:
        clip: The clip.
        views: Views with all values set; see `AudioViews.of`.
        sample_rate_hz: Sample rate of the encoder.
        seed: Seed of random views.
        cache: Cache of decoded clips.

    Raises:
        MediaError: The file cannot be read, or has no audio.
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
    first = round(clip.start_seconds * sample_rate_hz)
    offsets = [round(start * sample_rate_hz) for start in starts]
    if total > _MAX_SECONDS_AT_ONCE:
        timeline = read_timeline(clip.path)
        parts = [
            read_audio(
                clip.path, timeline=timeline, first_sample=first + offset, num_samples=length,
                sample_rate_hz=sample_rate_hz,
            )
            for offset in offsets
        ]  # fmt: skip
    else:
        num_samples = max(1, round(total * sample_rate_hz))
        if clip.stop_seconds is None:
            num_samples = max(num_samples, length)
        cache = cache or AudioCache(0)
        whole = cache.read(clip.path, first, num_samples, sample_rate_hz)
        if num_samples < length:  # zeros, not the audio that follows the clip in the file
            whole = np.pad(whole, (0, length - num_samples))
        begins = [min(offset, len(whole) - length) for offset in offsets]
        parts = [whole[begin : begin + length] for begin in begins]
    waveforms = np.stack(parts)
    if views.augment is not None:
        volume = uniforms(seed, 10, np.arange(len(waveforms)))
        gain = 1 + views.augment.volume * (2 * volume - 1)
        waveforms = waveforms * gain[:, None].astype(np.float32)
    return torch.from_numpy(waveforms)
