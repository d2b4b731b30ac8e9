"""Fingerprints of random words, whose copies differ in a few bits.

They have the statistics of real audio without the audio: unrelated fingerprints differ in half of
their bits, and those of another encoding in a few (`test_fingerprints.py` measures both).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toomuchtv.detection.fingerprints import FINGERPRINT_RATE_HZ, WORD_BITS, AudioFingerprint

#: Share of the bits that each encoding flips. In two copies, 7% of the bits differ and 10% of the
#: words are equal, as in films at 64 kbit/s and the worst offset.
ERROR = 0.036


def random_words(seed: int, seconds: float) -> NDArray[np.uint32]:
    """Return the words of audio that no other seed has."""
    return np.random.default_rng([7, seed]).integers(
        0, 1 << WORD_BITS, round(seconds * FINGERPRINT_RATE_HZ), np.uint32
    )


def encoded(*parts: NDArray[np.uint32], seed: int = 0, error: float = ERROR) -> AudioFingerprint:
    """Return the fingerprint of the parts one after the other, in an encoding of its own."""
    words = np.concatenate(parts)
    turned = np.random.default_rng([8, seed]).random((len(words), WORD_BITS)) < error
    flips = (turned << np.arange(WORD_BITS, dtype=np.uint32)).sum(1).astype(np.uint32)
    return AudioFingerprint(
        words=words ^ flips,
        level_dbfs=np.full(len(words), -20, np.int8),
        is_distinctive=np.ones(len(words), np.bool_),
    )


def silence(seconds: float) -> AudioFingerprint:
    """Return the fingerprint of digital silence."""
    count = round(seconds * FINGERPRINT_RATE_HZ)
    return AudioFingerprint(
        words=np.zeros(count, np.uint32),
        level_dbfs=np.full(count, -120, np.int8),
        is_distinctive=np.zeros(count, np.bool_),
    )
