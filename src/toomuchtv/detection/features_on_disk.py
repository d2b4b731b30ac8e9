"""Features of items on disk, so that a proxy is decoded for detection only once.

There is one file per item, `CAT/features/0000/0000005-<source>.npz`, with the fingerprint of its
audio and the features of its frames: about 20 kB per minute. The name contains a digest of what the
features were computed from, so that a file that exists is up to date.
"""

from __future__ import annotations

import functools
import hashlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toomuchtv._internal.files import replacing
from toomuchtv.catalog.proxies import open_proxy
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

#: Folder of the files, inside the catalog folder.
FOLDER = "features"
_ITEMS_PER_FOLDER = 1000
_MAX_IN_MEMORY = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemFeatures:
    """The features of one item.

    Attributes:
        fingerprint: Fingerprint of the preferred audio track. It is empty for a silent item.
        frames: Features of the frames.
    """

    fingerprint: AudioFingerprint
    frames: FrameFeatures


def digest(*parts: object) -> str:
    """Return a short digest of the text of some values."""
    text = "\n".join(map(str, parts))
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def features_path(proxy: Proxy) -> Path:
    """Return the path of an item's features, relative to the catalog folder.

    Another content, proxy format or version of the features has another path.
    """
    source = digest(proxy.fingerprint, proxy.format_id, FINGERPRINT_VERSION, FRAME_FEATURES_VERSION)
    folder = f"{proxy.item_id // _ITEMS_PER_FOLDER:04d}"
    return Path(FOLDER) / folder / f"{proxy.item_id:07d}-{source}.npz"


def compute_features(
    folder: Path, proxy: Proxy, report: Callable[[float], None] = lambda seconds: None
) -> ItemFeatures:
    """Compute the features of an item from its proxy.

    Args:
        folder: The catalog's folder.
        proxy: The proxy.
        report: Receives the seconds of video that are done, from time to time.

    Raises:
        MediaError: The proxy is missing or damaged.
    """
    frames = compute_frame_features(
        folder / proxy.video_path, frame_rate=proxy.frame_rate, report=report
    )
    reader = open_proxy(folder, proxy)
    try:
        fingerprint = fingerprint_audio(
            lambda first, count: reader.read_waveform(first_sample=first, num_samples=count),
            num_samples=proxy.num_samples if proxy.audio_files else 0,
            sample_rate_hz=proxy.sample_rate_hz,
        )
    finally:
        reader.close()
    return ItemFeatures(fingerprint=fingerprint, frames=frames)


def write_features(path: Path, features: ItemFeatures) -> None:
    """Write features to a file, completely or not at all. Frame features have half precision."""
    frames = {name: getattr(features.frames, name).astype(np.float16) for name in FRAME_FEATURES}
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(
            file,
            words=features.fingerprint.words,
            level_dbfs=features.fingerprint.level_dbfs,
            is_distinctive=features.fingerprint.is_distinctive,
            frame_rate=np.float64(features.frames.frame_rate),
            **frames,
        )


@contextmanager
def _arrays(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as arrays:
            yield arrays
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise MediaError(
            f"the features {path.name} are missing or damaged ({error}): delete the file, if it "
            "exists, and run `toomuchtv prepare` again"
        ) from error


def read_fingerprint(path: Path) -> AudioFingerprint:
    """Read only the fingerprint from a file of features.

    Raises:
        MediaError: The file is missing or damaged.
    """
    with _arrays(path) as arrays:
        return AudioFingerprint(
            words=arrays["words"],
            level_dbfs=arrays["level_dbfs"],
            is_distinctive=arrays["is_distinctive"],
        )


def read_frame_features(path: Path) -> FrameFeatures:
    """Read only the frame features from a file of features.

    Raises:
        MediaError: The file is missing or damaged.
    """
    with _arrays(path) as arrays:
        return FrameFeatures(
            frame_rate=float(arrays["frame_rate"]),
            **{name: arrays[name].astype(np.float32) for name in FRAME_FEATURES},
        )


class StoredFingerprints:
    """The fingerprints of many items by index, read from disk when needed.

    The 64 fingerprints that were used last are kept in memory.

    Args:
        paths: The file of features of each item.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._read = functools.lru_cache(_MAX_IN_MEMORY)(read_fingerprint)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> AudioFingerprint:
        return self._read(self._paths[index])

    def __iter__(self) -> Iterator[AudioFingerprint]:
        return map(self._read, self._paths)
