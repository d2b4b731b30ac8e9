"""The record of where clips come from, one by one and as the arrays of a batch.

Samplers draw `ClipSpecs` before anything is decoded. Every later layer (decoding, pair labels,
logging, the gather over processes) passes the same record on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from toomuchtv._internal.random_numbers import FloatArray, IntArray, UInt64Array

if TYPE_CHECKING:
    # PyTorch is imported only by the methods that return tensors: a decoding worker starts in a
    # tenth of the time and in a fifth of the memory without it.
    from torch import Tensor, device


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSpec:
    """Where one clip comes from. Nothing is decoded yet.

    Attributes:
        item: Row of the item in the catalog snapshot.
        title: Number of the title, at the level that the sampling policy counts as one title.
        start_seconds: Time of the first frame, in seconds on the item's timeline. It is a whole
            number of the proxy's frames.
        audio_track: Number of the item's prepared audio track; 0 is the preferred one.
        recurrence: Number of the recurring segment (an opening, say) that the clip touches with
            its frames or its audio; -1 for none.
        seed: Seed from which the augmentation of this clip is drawn, uint64.
    """

    item: int
    title: int
    start_seconds: float
    audio_track: int = 0
    recurrence: int = -1
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipSpecs:
    """The specs of N clips as arrays. `specs[i]` is a `ClipSpec`, `specs[i:j]` are `ClipSpecs`.

    Attributes:
        item: int64 `[N]`; the columns mean the same as the fields of `ClipSpec`.
        title: int64 `[N]`.
        start_seconds: float64 `[N]`.
        audio_track: int64 `[N]`.
        recurrence: int64 `[N]`.
        seed: uint64 `[N]`.
    """

    item: IntArray
    title: IntArray
    start_seconds: FloatArray
    audio_track: IntArray
    recurrence: IntArray
    seed: UInt64Array

    @classmethod
    def from_clips(cls, clips: Iterable[ClipSpec]) -> ClipSpecs:
        """Collect single specs into arrays."""
        clips = list(clips)
        return cls(
            **{
                name: np.array([getattr(clip, name) for clip in clips], dtype)
                for name, dtype in SPEC_DTYPES.items()
            }
        )

    @classmethod
    def concatenate(cls, parts: Iterable[ClipSpecs]) -> ClipSpecs:
        """Join several parts in order. There must be at least one."""
        parts = list(parts)
        return cls(
            **{
                name: np.concatenate([getattr(part, name) for part in parts])
                for name in SPEC_DTYPES
            }
        )

    def __len__(self) -> int:
        return len(self.item)

    def __iter__(self) -> Iterator[ClipSpec]:
        columns = [getattr(self, name).tolist() for name in SPEC_DTYPES]
        for values in zip(*columns, strict=True):
            yield ClipSpec(**dict(zip(SPEC_DTYPES, values, strict=True)))

    @overload
    def __getitem__(self, index: int) -> ClipSpec: ...

    @overload
    def __getitem__(self, index: slice | NDArray[np.bool_] | IntArray) -> ClipSpecs: ...

    def __getitem__(
        self, index: int | slice | NDArray[np.bool_] | IntArray
    ) -> ClipSpec | ClipSpecs:
        if isinstance(index, int):
            return ClipSpec(**{name: getattr(self, name)[index].item() for name in SPEC_DTYPES})
        return ClipSpecs(**{name: getattr(self, name)[index] for name in SPEC_DTYPES})

    def to_tensor(self, valid: Tensor | None = None, device: device | None = None) -> Tensor:
        """Return the columns that other processes need of each clip as one tensor.

        The pair labels of a batch depend on the clips of all processes. One tensor means one
        collective call to gather them. Integers up to 2**53 are exact in float64. The tensor has
        no seeds, because only the process that decodes a clip augments it.

        Args:
            valid: bool `[N]`; all clips are valid if omitted.
            device: Device of the result; the CPU if omitted.

        Returns:
            float64 `[N, 6]` with the columns `TENSOR_COLUMNS`, from which `PairLabels` are made.
        """
        import torch

        columns = [torch.from_numpy(getattr(self, name)).double() for name in TENSOR_COLUMNS[:-1]]
        columns.append(torch.ones(len(self)).double() if valid is None else valid.cpu().double())
        return torch.stack(columns, dim=1).to(device)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipBatch:
    """The decoded batch of one process.

    Attributes:
        specs: Where each clip comes from, `N` clips. A clip that could not be decoded has been
            replaced by another one of its title, and `specs` describes the clip that was read.
        valid: bool `[N]`; false where no clip of the title could be decoded. Such a clip is zeros.
        video: uint8 `[N, T, S * 3 / 2, S]`, YUV 4:2:0 planes; see `media.proxy_reader`.
        waveform: float32 `[N, num_samples]`, in [-1, 1].
        step: The step that the batch was drawn for; 0 in batches of `collate_clips`.
        failures: One message for each clip that could not be decoded.
    """

    specs: ClipSpecs
    valid: Tensor
    video: Tensor
    waveform: Tensor
    step: int = 0
    failures: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.specs)

    def __getitem__(self, part: slice | IntArray) -> ClipBatch:
        """Return some of the clips, such as those of one process, by a slice or their numbers."""
        return ClipBatch(
            specs=self.specs[part],
            valid=self.valid[part],
            video=self.video[part],
            waveform=self.waveform[part],
            step=self.step,
            failures=self.failures,
        )

    def spec_tensor(self, device: device | None = None) -> Tensor:
        """Return `specs` and `valid` as one float64 tensor `[N, 6]`; see `ClipSpecs.to_tensor`."""
        return self.specs.to_tensor(self.valid, device)


#: Columns of `ClipSpecs` and their dtypes.
SPEC_DTYPES: dict[str, DTypeLike] = {
    "item": np.int64,
    "title": np.int64,
    "start_seconds": np.float64,
    "audio_track": np.int64,
    "recurrence": np.int64,
    "seed": np.uint64,
}
#: Columns of the tensor of `ClipSpecs.to_tensor`.
TENSOR_COLUMNS = ("title", "item", "start_seconds", "audio_track", "recurrence", "valid")
