"""A bounded memory of what moments looked and sounded like when they were last seen."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toomuchtv.losses.base import Moments

# Odd numbers with well mixed bits: the golden ratio, and primes of the xxHash family.
_MIX = (-7046029254386353131, -4417276706812531889, 1609587929392839161)


class MomentBank(nn.Module):
    """Embeddings of moments, each at a slot that its item and time hash to.

    Moments are drawn at random, so there is no list of them to number. A moment is its item, the
    bucket of `bucket_seconds` in which it starts and its sound track; one that hashes to a slot
    held by another takes it over. All state is in buffers, alike on every process, and nothing in
    it depends on how clips are spread over the processes.

    Args:
        size: Slots.
        embedding_dim: D.
        bucket_seconds: Moments of one item in one bucket are the same moment.
        momentum: Share of the old embedding in the new, where the moment was known.
    """

    video: Tensor
    audio: Tensor
    owner: Tensor
    steps: Tensor

    def __init__(
        self, *, size: int, embedding_dim: int, bucket_seconds: float, momentum: float
    ) -> None:
        super().__init__()
        self._bucket_seconds, self._momentum = bucket_seconds, momentum
        self.register_buffer("video", torch.zeros(size, embedding_dim))
        self.register_buffer("audio", torch.zeros(size, embedding_dim))
        self.register_buffer("owner", torch.full((size, 4), -1))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def keys(self, moments: Moments) -> Tensor:
        """Title, item, bucket and sound track of each moment, int64 `[N, 4]`."""
        bucket = (moments.start_seconds / self._bucket_seconds).floor().long()
        return torch.stack([moments.title, moments.item, bucket, moments.audio_track], dim=1)

    def slots(self, keys: Tensor) -> Tensor:
        """Slot of each key, int64 `[N]`."""
        mixed = keys[:, 1] * _MIX[0] + keys[:, 2] * _MIX[1] + keys[:, 3] * _MIX[2]
        for shift, factor in ((32, _MIX[2]), (29, _MIX[0])):
            # The shift copies the sign; the mask makes it a shift of plain bits.
            mixed = (mixed ^ ((mixed >> shift) & (2 ** (64 - shift) - 1))) * factor
        mixed = mixed ^ ((mixed >> 32) & (2**32 - 1))
        return mixed.remainder(len(self.owner))

    def knows(self, keys: Tensor, slots: Tensor) -> Tensor:
        """Whether each slot holds that very moment, bool `[N]`."""
        return (self.owner[slots] == keys).all(dim=1)

    def recall(
        self, keys: Tensor, slots: Tensor, video: Tensor, audio: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What is remembered of each moment; of one not known, what is given."""
        known = self.knows(keys, slots)[:, None]
        return (
            torch.where(known, self.video[slots], video),
            torch.where(known, self.audio[slots], audio),
        )

    def remember(
        self, keys: Tensor, slots: Tensor, video: Tensor, audio: Tensor, valid: Tensor
    ) -> None:
        """Write moments down; of several that share a slot, the last in the batch stays."""
        known = self.knows(keys, slots)[:, None]
        order = torch.arange(len(slots), device=slots.device).masked_fill(~valid, -1)
        last = torch.full((len(self.owner),), -1, device=slots.device)
        last.scatter_reduce_(0, slots, order, "amax")
        stays = (last[slots] == order) & valid
        for bank, fresh in ((self.video, video), (self.audio, audio)):
            mixed = self._momentum * bank[slots] + (1 - self._momentum) * fresh
            bank[slots[stays]] = torch.where(known, F.normalize(mixed, dim=1), fresh)[stays]
        self.owner[slots[stays]] = keys[stays]
        self.steps += 1

    def draw(self, count: int) -> Tensor:
        """Up to `count` of the slots in use, without repeats: the same for the same state."""
        used = (self.owner[:, 1] >= 0).nonzero().squeeze(1)
        generator = torch.Generator().manual_seed(int(self.steps))
        order = torch.randperm(len(used), generator=generator)[:count]
        return used[order.to(used.device)]
