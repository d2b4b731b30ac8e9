"""What a result is a result of: the encoder, the protocol and the data, each by a fingerprint.

Two results with equal identities are the same measurement. Two results can be compared if they
agree in benchmark, protocol, modality and data; only the encoder and the seed may differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toomuchtv.evaluation.benchmark import Benchmark

_DIGEST_LENGTH = 10
# Longer files, such as films, are sampled at places that are spread evenly over the file.
_WHOLE_FILE_BYTES = 256 * 2**20
_NUM_SAMPLES, _SAMPLE_BYTES = 64, 2**20
_NUM_READERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultIdentity:
    """Everything that decides what a result measures.

    Attributes:
        benchmark: Name of the benchmark.
        protocol: Name of the protocol.
        modality: `video`, `audio`, or None if both take part.
        encoder_fingerprint: Digest of the encoder's weights, settings and code.
        untrained: True if the encoder had random weights.
        seed: Seed of random weights, drawn clips and random views.
        data_fingerprint: Digest of the clips that were used, their labels, their files and folds.
    """

    benchmark: str
    protocol: str
    modality: str | None
    encoder_fingerprint: str
    untrained: bool
    seed: int
    data_fingerprint: str

    @property
    def comparable(self) -> tuple[str, str, str | None, str]:
        """What two results must have in common to be compared."""
        return self.benchmark, self.protocol, self.modality, self.data_fingerprint

    @property
    def label(self) -> str:
        """Name of the result's folder, which ends with a short digest of all fields."""
        digest = digest_of(asdict(self))[:_DIGEST_LENGTH]
        untrained = "untrained" if self.untrained else ""
        parts = [self.benchmark, self.protocol, self.modality or "", untrained, digest]
        return "-".join(part for part in parts if part)


def digest_of(facts: Any) -> str:
    """Return the SHA-256 of values that can be written as JSON."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def data_fingerprint(benchmark: Benchmark) -> str:
    """Return a digest of a benchmark's clips, labels, file contents and folds.

    It does not depend on where the folder lies.
    """
    contents = _file_digests({clip.path for clip in benchmark.clips})
    clips = [
        [benchmark.relative_key(row), clip.labels, clip.value, contents[clip.path]]
        for row, clip in enumerate(benchmark.clips)
    ]
    folds = [[fold.name, fold.train, fold.validation, fold.test] for fold in benchmark.folds]
    return digest_of([benchmark.task, benchmark.classes, clips, folds])


def _file_digests(paths: Iterable[Path]) -> dict[Path, str]:
    listed = sorted(paths)
    with ThreadPoolExecutor(_NUM_READERS) as pool:
        return dict(zip(listed, pool.map(_file_digest, listed), strict=True))


def _file_digest(path: Path) -> str:
    """Return a digest of the content; of a very long file, of its size and evenly spread parts."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _WHOLE_FILE_BYTES:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256(str(size).encode())
        for number in range(_NUM_SAMPLES):
            file.seek((size - _SAMPLE_BYTES) * number // (_NUM_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
        return digest.hexdigest()
