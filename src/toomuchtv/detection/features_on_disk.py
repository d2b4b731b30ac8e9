"""What analyzing an item's proxy leaves on disk, so that it is decoded for it only once.

One file an item, `CAT/analysis/0000/0000005-<source>.npz`: the prints of the sound and the traits
of the pictures, about 20 kB a minute. The name says what it was made from.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from toomuchtv.catalog.records import Proxy
from toomuchtv.detection.fingerprints import (
    FINGERPRINT_VERSION,
    AudioFingerprint,
    fingerprint_audio,
)
from toomuchtv.detection.frame_features import (
    FRAME_FEATURES,
    FRAME_FEATURES_VERSION,
    FrameFeatures,
    compute_frame_features,
)
from toomuchtv.errors import MediaError
from toomuchtv.media.proxy_reader import ProxyReader

FOLDER = "analysis"
_ITEMS_A_FOLDER = 1000
_KEPT_OPEN = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traces:
    """The fingerprint of an item's sound, empty for a silent one, and its pictures' traits."""

    prints: AudioFingerprint
    traits: FrameFeatures


def digest(*parts: object) -> str:
    """A short name for what something was made from."""
    text = "\n".join(map(str, parts))
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def features_path(proxy: Proxy) -> Path:
    """Where an item's traces lie, relative to the catalog folder: other content, other name."""
    source = digest(proxy.fingerprint, proxy.format_id, FINGERPRINT_VERSION, FRAME_FEATURES_VERSION)
    folder = f"{proxy.item_id // _ITEMS_A_FOLDER:04d}"
    return Path(FOLDER) / folder / f"{proxy.item_id:07d}-{source}.npz"


def compute_features(catalog: Path, proxy: Proxy, tell: Callable[[float], None]) -> Traces:
    """Look at and listen to a proxy.

    Args:
        catalog: The catalog folder.
        proxy: What to analyze; of its sounds, the preferred one.
        tell: Called now and then with the seconds done.

    Raises:
        MediaError: The proxy is missing or damaged.
    """
    video_path = catalog / proxy.video_path
    traits = compute_frame_features(video_path, frame_rate=proxy.frame_rate, tell=tell)
    audio_path = None if proxy.audio_path is None else catalog / proxy.audio_path
    reader = ProxyReader(
        video_path,
        audio_path,
        frame_rate=proxy.frame_rate,
        sample_rate_hz=proxy.sample_rate_hz,
    )
    try:
        prints = fingerprint_audio(
            lambda first, count: reader.read_waveform(first_sample=first, num_samples=count),
            num_samples=proxy.num_samples if audio_path is not None else 0,
            sample_rate_hz=proxy.sample_rate_hz,
        )
    finally:
        reader.close()
    return Traces(prints=prints, traits=traits)


def write_features(path: Path, traces: Traces) -> None:
    """Write traces, whole or not at all. Half precision is plenty for the traits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        np.savez(
            file,
            words=traces.prints.words,
            level_dbfs=traces.prints.level_dbfs,
            is_distinctive=traces.prints.is_distinctive,
            frame_rate=np.float64(traces.traits.frame_rate),
            **{name: getattr(traces.traits, name).astype(np.float16) for name in FRAME_FEATURES},
        )
    os.replace(partial, path)


def read_fingerprint(path: Path) -> AudioFingerprint:
    """Read the prints alone.

    Raises:
        MediaError: The file is missing or damaged.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return AudioFingerprint(
                words=file["words"],
                level_dbfs=file["level_dbfs"],
                is_distinctive=file["is_distinctive"],
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise MediaError(f"the analysis {path.name} is missing or damaged: {error}") from error


def read_frame_features(path: Path) -> FrameFeatures:
    """Read the traits alone.

    Raises:
        MediaError: The file is missing or damaged.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return FrameFeatures(
                frame_rate=float(file["frame_rate"]),
                **{name: file[name].astype(np.float32) for name in FRAME_FEATURES},
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise MediaError(f"the analysis {path.name} is missing or damaged: {error}") from error


class StoredFingerprints(Sequence[AudioFingerprint]):
    """The prints of many items, read as they are asked for, a few kept.

    Args:
        paths: One file an item.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._kept: OrderedDict[int, AudioFingerprint] = OrderedDict()

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> AudioFingerprint: ...
    @overload
    def __getitem__(self, index: slice) -> StoredFingerprints: ...
    def __getitem__(self, index: int | slice) -> AudioFingerprint | StoredFingerprints:
        if isinstance(index, slice):
            return StoredFingerprints(self._paths[index])
        prints = self._kept.pop(index, None)
        if prints is None:
            prints = read_fingerprint(self._paths[index])
            if len(self._kept) >= _KEPT_OPEN:
                self._kept.popitem(last=False)
        self._kept[index] = prints
        return prints
