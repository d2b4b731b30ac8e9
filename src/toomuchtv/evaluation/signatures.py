"""Words that identify content: perceptual hashes of frames, and audio fingerprints.

A word changes in few bits when a video is encoded again, scaled, or made brighter or louder. Words
of frames are the 64-bit perceptual hash of Zauner ("Implementation and benchmarking of perceptual
image hash functions", 2010): the signs of the lowest frequencies of the centered square of the
frame, relative to their median. They do not survive mirroring, or cropping by more than a few
percent. Words of audio are the 32-bit fingerprints of `toomuchtv.detection.fingerprints`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.catalog.records import Proxy
from toomuchtv.catalog.store import Catalog
from toomuchtv.data.clip_transform import resize_matrix
from toomuchtv.detection.features_on_disk import features_path, read_fingerprint
from toomuchtv.detection.fingerprints import (
    FINGERPRINT_RATE_HZ,
    AudioFingerprint,
    fingerprint_audio,
)
from toomuchtv.evaluation.benchmark import LabeledClip, Modality
from toomuchtv.media.clip_reader import read_audio, read_clip
from toomuchtv.media.extent import measure_extent
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.timestamps import read_timeline

_REDUCED_SIZE, _NUM_FREQUENCIES = 32, 8
_SHORT_SIDE = 64
_MIN_STD = 4.0  # of luma in 0..255; below it a frame is nearly one color
_FRAMES_PER_READ = 512
_LUMA_WEIGHTS = torch.tensor([0.299, 0.587, 0.114])
_CLIP_FRAME_RATE, _ITEM_FRAME_RATE = 2.0, 4.0
_SAMPLE_RATE_HZ = 16_000


class Words(NamedTuple):
    """Words of a video or of an audio track.

    Attributes:
        words: uint64 or uint32 `[n]`.
        seconds: Time of each word in the file, float64 `[n]`.
        is_distinctive: bool `[n]`; False for words of plain frames and of silent or steady audio,
            which many files have in common.
    """

    words: NDArray[Any]
    seconds: NDArray[np.float64]
    is_distinctive: NDArray[np.bool_]


def clip_words(clip: LabeledClip, modality: Modality) -> Words:
    """Return the words of a clip.

    Raises:
        MediaError: The file cannot be read, or lacks the modality.
    """
    stop = clip.stop_seconds
    if stop is None:
        stop = measure_extent(clip.path, modality)[1]
    if modality == "audio":
        return audio_words(clip.path, start_seconds=clip.start_seconds, stop_seconds=stop)
    return video_words(
        clip.path, start_seconds=clip.start_seconds, stop_seconds=stop, frame_rate=_CLIP_FRAME_RATE
    )


def catalog_words(
    catalog: Catalog, modality: Modality, *, progress: ProgressCallback = no_progress
) -> Iterator[tuple[str, Words]]:
    """Yield the path and the words of every item that has an up-to-date proxy.

    Raises:
        MediaError: A proxy cannot be read.
    """
    items = catalog.items()
    proxies = catalog.proxies()
    for done, item in enumerate(items, start=1):
        proxy = proxies.get(item.id)
        if proxy is None:
            continue
        if modality == "video":
            yield str(item.path), video_words(
                catalog.folder / proxy.video_path, start_seconds=0.0,
                stop_seconds=proxy.num_frames / proxy.frame_rate,
                frame_rate=min(_ITEM_FRAME_RATE, proxy.frame_rate),
            )  # fmt: skip
        elif proxy.audio_path is not None:
            yield str(item.path), _as_words(_item_fingerprint(catalog, proxy), start_seconds=0.0)
        progress(done, len(items), f"reading the catalog's {modality}")


def video_words(
    path: str | os.PathLike[str], *, start_seconds: float, stop_seconds: float, frame_rate: float
) -> Words:
    """Return the words of the frames in an interval of a file, at a given frame rate.

    Raises:
        MediaError: The file cannot be read.
    """
    total = max(1, math.ceil((stop_seconds - start_seconds) * frame_rate))
    words, is_distinctive = [], []
    for first in range(0, total, _FRAMES_PER_READ):
        clip = read_clip(
            path,
            start_seconds=start_seconds + first / frame_rate,
            frames=min(_FRAMES_PER_READ, total - first),
            frame_rate=frame_rate,
            # The shortest audio that can be read along with the frames; it is not used.
            audio_seconds=0.01,
            sample_rate_hz=2_000,
            short_side=_SHORT_SIDE,
        )
        found = frame_words(clip.video)
        words.append(found[0])
        is_distinctive.append(found[1])
    seconds = start_seconds + np.arange(total) / frame_rate
    return Words(np.concatenate(words), seconds, np.concatenate(is_distinctive))


def frame_words(video: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the word of each frame, `[T]`, and whether it is distinctive, `[T]`.

    Args:
        video: RGB frames, uint8 `[T, H, W, 3]`.
    """
    luma = torch.from_numpy(video).float() @ _LUMA_WEIGHTS
    height, width = luma.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = luma[:, top : top + side, left : left + side]
    reduce = resize_matrix(torch.tensor([0.0]), torch.tensor([1.0]), side, _REDUCED_SIZE)[0]
    small = reduce @ square @ reduce.T  # [T, 32, 32]
    # The first rows of the DCT-II.
    k, n = torch.arange(_NUM_FREQUENCIES)[:, None], torch.arange(_REDUCED_SIZE)[None, :]
    transform = torch.cos(math.pi * k * (2 * n + 1) / (2 * _REDUCED_SIZE))
    values = (transform @ small @ transform.T).flatten(1)[:, 1:]  # without the mean
    bits = (values > values.median(dim=1, keepdim=True).values).numpy().astype(np.uint64)
    powers = np.uint64(1) << np.arange(bits.shape[1], dtype=np.uint64)
    is_distinctive = small.flatten(1).std(dim=1).numpy() > _MIN_STD
    return (bits * powers).sum(axis=1, dtype=np.uint64), is_distinctive


def audio_words(
    path: str | os.PathLike[str], *, start_seconds: float, stop_seconds: float
) -> Words:
    """Return the audio fingerprint of an interval of a file.

    Raises:
        MediaError: The file cannot be read, or has no audio.
    """
    first = round(start_seconds * _SAMPLE_RATE_HZ)
    length = max(0, round(stop_seconds * _SAMPLE_RATE_HZ) - first)
    samples = read_audio(
        path,
        timeline=read_timeline(path),
        first_sample=first,
        num_samples=length,
        sample_rate_hz=_SAMPLE_RATE_HZ,
    )

    def read(start: int, num: int) -> NDArray[np.float32]:
        out = np.zeros(num, np.float32)
        begin, stop = max(0, start), min(length, start + num)
        if begin < stop:
            out[begin - start : stop - start] = samples[begin:stop]
        return out

    fingerprint = fingerprint_audio(read, num_samples=length, sample_rate_hz=_SAMPLE_RATE_HZ)
    return _as_words(fingerprint, start_seconds)


def _item_fingerprint(catalog: Catalog, proxy: Proxy) -> AudioFingerprint:
    """Return the fingerprint that detection stored, or compute it from the proxy."""
    stored = catalog.folder / features_path(proxy)
    if stored.is_file():
        return read_fingerprint(stored)
    assert proxy.audio_path is not None
    reader = ProxyReader(
        catalog.folder / Path(proxy.video_path),
        catalog.folder / Path(proxy.audio_path),
        frame_rate=proxy.frame_rate,
        sample_rate_hz=proxy.sample_rate_hz,
    )
    try:
        return fingerprint_audio(
            lambda first, count: reader.read_waveform(first_sample=first, num_samples=count),
            num_samples=proxy.num_samples,
            sample_rate_hz=proxy.sample_rate_hz,
        )
    finally:
        reader.close()


def _as_words(fingerprint: AudioFingerprint, start_seconds: float) -> Words:
    seconds = start_seconds + np.arange(len(fingerprint)) / FINGERPRINT_RATE_HZ
    return Words(fingerprint.words, seconds, fingerprint.is_distinctive)
