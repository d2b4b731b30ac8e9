"""Decoding of the views of labeled clips: frames and waveforms, cropped and augmented."""

from __future__ import annotations

import functools
import itertools
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from toomuchtv._internal.random_numbers import uniforms
from toomuchtv.data.augmentation import AugmentationConfig, draw_augmentation
from toomuchtv.errors import MediaError, NoAudioError
from toomuchtv.evaluation.benchmark import LabeledClip, Modality
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
from toomuchtv.media.clip_reader import (
    DecodedAudio,
    iterate_frames,
    read_clip,
    read_decoded_audio,
)
from toomuchtv.media.extent import measure_extent
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
    """A cache of decoded audio that forgets the least recently used.

    Args:
        max_bytes: Largest sum of the sizes of the waveforms, in bytes.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[Path, int, int, int], DecodedAudio] = OrderedDict()
        self._lock = threading.Lock()
        self.num_bytes = 0

    def read(self, path: Path, first_sample: int, num_samples: int, rate: int) -> DecodedAudio:
        """Return the samples of a file, from the cache or by decoding them.

        Raises:
            MediaError: The file cannot be read, or has samples that are not finite.
        """
        key = (path, first_sample, num_samples, rate)
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        audio = read_decoded_audio(
            path,
            timeline=read_timeline(path),
            first_sample=first_sample,
            num_samples=num_samples,
            sample_rate_hz=rate,
        )
        if not np.isfinite(audio.samples).all():
            raise MediaError(f"{str(path)!r} has samples that are not finite numbers")
        audio.samples.setflags(write=False)
        with self._lock:
            if audio.samples.nbytes <= self._max_bytes and key not in self._entries:
                self._entries[key] = audio
                self.num_bytes += audio.samples.nbytes
            while self.num_bytes > self._max_bytes:
                self.num_bytes -= self._entries.popitem(last=False)[1].samples.nbytes
        return audio


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
    begin, stop = _bounds(clip, "video")
    length = views.frames / views.frame_rate

    def starts_within(total: float) -> list[float]:
        if views.augment is None:
            return even_starts(total, length, views.times)
        return random_starts(total, length, views.times, seed=seed)

    videos = _read_frames(
        clip, starts_within, stop - begin, views.frames, views.frame_rate,
        views.short_side,
    )  # fmt: skip
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


def _bounds(clip: LabeledClip, modality: Modality) -> tuple[float, float]:
    """Return the part of a clip that its file has, in seconds.

    Raises:
        NoAudioError: The audio of the file begins after the clip or ends before it.
        MediaError: The file cannot be read, or its video ends before the clip.
    """
    first, last = measure_extent(clip.path, modality)
    begin, stop = clip.start_seconds, last
    if modality == "audio":  # video is shown from time zero on
        begin = max(begin, first)
    if clip.stop_seconds is not None:
        stop = min(stop, clip.stop_seconds)
    if begin >= stop:
        error = NoAudioError if modality == "audio" else MediaError
        raise error(f"{str(clip.path)!r} has no {modality} where the clip is")
    return begin, stop


def _read_frames(
    clip: LabeledClip,
    starts_within: Callable[[float], list[float]],
    total: float,
    frames: int,
    frame_rate: float,
    short_side: int,
) -> Tensor:
    """Return the frames of each view, uint8 `[V, T, H, W, 3]`.

    A short clip is decoded once for all views. Their starts are then rounded to its frames, which
    moves them by at most half a frame.

    Args:
        clip: The clip.
        starts_within: Returns the starts of the views in a clip of a given duration.
        total: Duration of the part of the clip that its file has, by its packets.
        frames: Number of frames of a view.
        frame_rate: Frames per second of a view.
        short_side: Length of the shorter side in pixels.
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

    starts = starts_within(total)
    num_whole = max(round(start * frame_rate) for start in starts) + frames
    if num_whole > min(_MAX_FRAMES_AT_ONCE, 2 * frames * len(starts)):
        return torch.from_numpy(np.stack([read(start, frames) for start in starts]))
    if clip.start_seconds == 0.0 and clip.stop_seconds is None:
        # The end of a damaged file has packets without frames: the views lie on what was decoded.
        decoded = iterate_frames(
            clip.path, timeline=read_timeline(clip.path), frame_rate=frame_rate,
            short_side=short_side,
        )  # fmt: skip
        whole = np.stack(list(itertools.islice(decoded, num_whole)))
        if len(whole) < num_whole:
            starts = starts_within(min(total, len(whole) / frame_rate))
    else:
        whole = read(0.0, num_whole)
    first = [round(start * frame_rate) for start in starts]
    return torch.from_numpy(
        np.stack([whole[np.minimum(at + np.arange(frames), len(whole) - 1)] for at in first])
    )


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
    begin, stop = _bounds(clip, "audio")
    length = round(views.seconds * sample_rate_hz)
    first = round(begin * sample_rate_hz)
    cache = cache or AudioCache(0)
    starts_within = functools.partial(_audio_starts, views, views.seconds, seed=seed)
    if stop - begin > _MAX_SECONDS_AT_ONCE:
        parts = [
            _samples(cache.read(clip.path, first + offset, length, sample_rate_hz), clip)
            for offset in starts_within(stop - begin, sample_rate_hz)
        ]
    else:
        num_samples = max(1, round((stop - begin) * sample_rate_hz))
        whole = cache.read(clip.path, first, num_samples, sample_rate_hz)
        samples = _samples(whole, clip)
        # The views lie on the audio that is there, which may be less than the label says.
        begin_sample, stop_sample = whole.decoded[0].start, whole.decoded[-1].stop
        samples = samples[begin_sample:stop_sample]
        offsets = starts_within(len(samples) / sample_rate_hz, sample_rate_hz)
        if len(samples) < length:  # zeros, not the audio that follows the clip in the file
            samples = np.pad(samples, (0, length - len(samples)))
        parts = []
        for offset in offsets:
            at = min(offset, len(samples) - length)
            heard = range(begin_sample + at, begin_sample + at + length)
            if not any(one.start < heard.stop and heard.start < one.stop for one in whole.decoded):
                raise NoAudioError(
                    f"{str(clip.path)!r} has a hole of {views.seconds:g} s or more in its audio"
                )
            parts.append(samples[at : at + length])
    waveforms = np.stack(parts)
    if views.augment is not None:
        volume = uniforms(seed, 10, np.arange(len(waveforms)))
        gain = 1 + views.augment.volume * (2 * volume - 1)
        waveforms = waveforms * gain[:, None].astype(np.float32)
    return torch.from_numpy(waveforms)


def _audio_starts(
    views: AudioViews, view_seconds: float, total: float, sample_rate_hz: int, *, seed: int
) -> list[int]:
    """Return the first sample of each view of a clip of a given duration."""
    if views.augment is not None:
        starts = random_starts(total, view_seconds, views.times, seed=seed)
    elif views.times == 0:
        starts = covering_starts(total, view_seconds)
    else:
        starts = even_starts(total, view_seconds, views.times)
    return [round(start * sample_rate_hz) for start in starts]


def _samples(audio: DecodedAudio, clip: LabeledClip) -> WaveformArray:
    """Return the samples, of which at least one must have been decoded.

    Raises:
        NoAudioError: None was: zeros would be taken for silence.
    """
    if not audio.decoded:
        raise NoAudioError(f"no audio can be decoded in {str(clip.path)!r} where the clip is")
    return audio.samples
