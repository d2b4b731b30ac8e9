"""NCE against embeddings of earlier steps, with positives across modalities: AVID."""

from __future__ import annotations

from typing import Literal, Unpack

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from toomuchtv.losses.base import (
    LabelRows,
    PairLabelsLike,
    PairLoss,
    TemperatureConfig,
    TemperatureOptions,
)
from toomuchtv.losses.chunked import LOG_ZERO, log_sums, pair_logits, row_chunks, without_autocast
from toomuchtv.losses.pair_matrix import PairMatrix

Exclude = Literal["clip", "item", "title"]

# Odd numbers with well mixed bits: the golden ratio, and primes of the xxHash family.
_HASH_FACTORS = (-7046029254386353131, -4417276706812531889, 1609587929392839161)


class MemoryBankConfig(TemperatureConfig):
    """Settings of NCE with a memory bank.

    Attributes:
        num_negatives: Number of stored clips that serve as negatives in a step.
        bank_size: Number of entries; each holds one embedding of either modality.
        bucket_seconds: Clips of one item that start in one bucket of this length share an entry.
        momentum: Weight of the stored embedding when an entry is updated.
        exclude: Stored clips that are never negatives of a clip: the same clip, all clips of the
            same item, or all clips of the same title.
    """

    name: Literal["memory_bank"] = "memory_bank"
    num_negatives: int = Field(default=1024, ge=1, le=2**24)
    bank_size: int = Field(default=32768, ge=1, le=2**24)
    bucket_seconds: float = Field(default=2.0, gt=0.0, le=1e6)
    momentum: float = Field(default=0.5, ge=0.0, lt=1.0)
    exclude: Exclude = "clip"


class EmbeddingBank(nn.Module):
    """A hash table of clip embeddings of bounded size.

    Clips are drawn at random times, so they cannot be numbered in advance. The key of a clip is
    (title, item, time bucket), and its entry is a hash of item and bucket. A clip whose entry holds
    another clip takes the entry over. All state is in buffers and depends only on the whole batch,
    so that it is the same on every process.

    Args:
        size: Number of entries.
        embedding_dim: D.
        momentum: Weight of the stored embedding when a clip is stored again.
    """

    video: Tensor
    audio: Tensor
    keys: Tensor
    steps: Tensor

    def __init__(self, *, size: int, embedding_dim: int, momentum: float) -> None:
        super().__init__()
        self._momentum = momentum
        self.register_buffer("video", torch.zeros(size, embedding_dim))
        self.register_buffer("audio", torch.zeros(size, embedding_dim))
        self.register_buffer("keys", torch.full((size, 3), -1))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def entries(self, keys: Tensor) -> Tensor:
        """Return the entry of each key, int64 `[N]`."""
        mixed = _mix(keys[:, 1] * _HASH_FACTORS[0] + keys[:, 2] * _HASH_FACTORS[1])
        return mixed.remainder(len(self.keys))

    def contains(self, keys: Tensor, entries: Tensor) -> Tensor:
        """Return whether each entry holds the clip with this key, bool `[N]`."""
        return (self.keys[entries] == keys).all(dim=1)

    def lookup(
        self, keys: Tensor, entries: Tensor, video: Tensor, audio: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the stored embeddings of each clip, or the given ones if it is not stored."""
        is_stored = self.contains(keys, entries)[:, None]
        return (
            torch.where(is_stored, self.video[entries], video),
            torch.where(is_stored, self.audio[entries], audio),
        )

    def store(
        self, keys: Tensor, entries: Tensor, video: Tensor, audio: Tensor, valid: Tensor
    ) -> None:
        """Store the valid clips. Of several with the same entry, the last one is stored."""
        is_stored = self.contains(keys, entries)[:, None]
        # All clips of one entry write the same row, so that their order does not matter: that of
        # the last valid one, or what the entry holds already.
        last = last_with_entry(entries, valid, len(self.keys))[entries]
        has_valid, last = (last >= 0)[:, None], last.clamp(min=0)
        for bank, new in ((self.video, video), (self.audio, audio)):
            mixed = self._momentum * bank[entries] + (1 - self._momentum) * new
            updated = torch.where(is_stored, F.normalize(mixed, dim=1), new)
            bank[entries] = torch.where(has_valid, updated[last], bank[entries])
        self.keys[entries] = torch.where(has_valid, keys[last], self.keys[entries])
        self.steps += 1

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Draw used entries without repeats; the same state gives the same draw.

        The result has a size that does not depend on the state, so that the host need not wait for
        a GPU: if fewer entries are used, unused ones fill it up.

        Returns:
            Entries int64 `[K]`, where K is the smaller of `count` and the size of the bank; and
            whether each is used, bool `[K]`.
        """
        is_used = self.keys[:, 1] >= 0
        number = torch.arange(len(self.keys), device=self.keys.device)
        score = _mix(number * _HASH_FACTORS[0] + self.steps * _HASH_FACTORS[1])
        # Without its sign, a score is at least 0, so that unused entries come last.
        score = torch.where(is_used, score & (2**63 - 1), -1)
        drawn = score.topk(min(count, len(score))).indices
        return drawn, is_used[drawn]


def _mix(values: Tensor) -> Tensor:
    """Mix the bits of int64 values, so that equal differences give unrelated results."""
    for shift, factor in ((32, _HASH_FACTORS[2]), (29, _HASH_FACTORS[0])):
        # The shift of a signed integer copies the sign; the mask clears these copies.
        values = (values ^ ((values >> shift) & (2 ** (64 - shift) - 1))) * factor
    return values ^ ((values >> 32) & (2**32 - 1))


def last_with_entry(entries: Tensor, valid: Tensor, size: int) -> Tensor:
    """Return for each entry `[size]` the last valid clip that hashes to it, or -1."""
    index = torch.arange(len(entries), device=entries.device).masked_fill(~valid, -1)
    last = torch.full((size,), -1, device=entries.device)
    return last.scatter_reduce_(0, entries, index, "amax")


class MemoryBank(PairLoss):
    """Binary NCE of clips against a memory bank of the other modality.

    Morgado et al., "Audio-Visual Instance Discrimination with Cross-Modal Agreement", CVPR 2021,
    section 3.2 (cross-AVID), with the binary NCE of Gutmann and Hyvarinen (AISTATS 2010) in the
    form of Wu et al. ("Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
    CVPR 2018, eq. 5 to 7). With l = similarity / temperature and K the number of a clip's
    negatives, NCE models the probability that a pair is positive as P = e^l / (e^l + K Z):

        1/2 [mean over videos of (mean over positives of -log P(video, stored audio)
             + sum over K stored audios of -log(1 - P)) + the same for audios and stored videos]

    Z is the mean of e^l over the negatives of the first batch and stays fixed, as in the authors'
    code. A learned temperature moves away from it.

    Departures: a clip's place in the bank is a hash (see `EmbeddingBank`). A clip that is not
    stored yet is represented by its current embedding, without gradient. All clips of a step share
    one draw of negatives, which is made after the clips of this step were stored; `exclude` and
    the pair labels remove entries from it (the labels of video i for both directions of clip i).
    In `eval()` nothing is stored, and all drawn entries are negatives, because the items of
    held-out clips are numbered independently.

    Args:
        embedding_dim: D.
        num_negatives: See `MemoryBankConfig`, as for the other arguments.
        bank_size: Number of entries.
        bucket_seconds: Length of a time bucket.
        momentum: Weight of the stored embedding.
        exclude: "clip", "item" or "title".
        **options: See `PairLoss`.
    """

    partition: Tensor

    def __init__(
        self,
        embedding_dim: int,
        *,
        num_negatives: int = 1024,
        bank_size: int = 32768,
        bucket_seconds: float = 2.0,
        momentum: float = 0.5,
        exclude: Exclude = "clip",
        **options: Unpack[TemperatureOptions],
    ) -> None:
        super().__init__(**options)
        self._num_negatives = num_negatives
        self._bucket_seconds = bucket_seconds
        self._excluded_columns = {"title": [0], "item": [1], "clip": [1, 2]}[exclude]
        self.bank = EmbeddingBank(size=bank_size, embedding_dim=embedding_dim, momentum=momentum)
        # log Z, and LOG_ZERO until the first batch.
        self.register_buffer("partition", torch.tensor(LOG_ZERO, dtype=torch.float64))

    def clip_keys(self, title: Tensor, item: Tensor, start_seconds: Tensor) -> Tensor:
        """Return the keys that `forward` needs, int64 `[N, 3]`: title, item and time bucket.

        Args:
            title: int64 `[N]`.
            item: int64 `[N]`, different for items of different titles.
            start_seconds: `[N]`.
        """
        bucket = (start_seconds / self._bucket_seconds).floor().long()
        return torch.stack([title, item, bucket], dim=1)

    def forward(
        self,
        video: Tensor,
        audio: Tensor,
        pair_labels: PairLabelsLike = None,
        *,
        clip_keys: Tensor | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss of a batch. In training mode, also store its embeddings.

        Args:
            video: Unit vectors `[N, D]`.
            audio: Unit vectors `[N, D]` of the same clips.
            pair_labels: See `PairLoss.forward`.
            clip_keys: int64 `[N, 3]` from the method `clip_keys`; required in training mode.
            valid: bool `[N]`: clips to store. None: all of them.

        Returns:
            A float32 scalar.
        """
        pairs = PairMatrix(video, audio, pair_labels, self.temperature)
        stored_video, stored_audio, drawn, excluded = self._read_bank(pairs, clip_keys, valid)
        banks = self.bank.video[drawn], self.bank.audio[drawn]
        log_noise = self._log_noise(pairs, banks, excluded)
        row, column = pairs.row, pairs.column
        # -log P of a positive: softplus(log K Z - l)
        to_audio = pair_logits(pairs.scaled_video, stored_audio, row, column)
        to_video = pair_logits(stored_video, pairs.scaled_audio, row, column)
        positives = pairs.mean_over_pairs(
            F.softplus(log_noise[row] - to_audio), F.softplus(log_noise[column] - to_video)
        )
        negatives = pairs.mean_over_anchors(
            _negative_terms(pairs.scaled_video, banks[1], log_noise, excluded),
            _negative_terms(pairs.scaled_audio, banks[0], log_noise, excluded),
        )
        return (positives + negatives).float()

    @torch.no_grad()
    def _read_bank(
        self, pairs: PairMatrix, clip_keys: Tensor | None, valid: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, LabelRows]:
        """Look up the clips of the batch, store them in training mode, and draw negatives.

        Returns:
            The stored video and audio embeddings `[N, D]` of the batch, the drawn entries `[K]`,
            and a function that says by rows of clips which of these are no negatives, bool.
        """
        video, audio = pairs.video.detach(), pairs.audio.detach()
        if not self.training:
            drawn, is_used = self.bank.draw(self._num_negatives)
            return video, audio, drawn, _exclude_unused(is_used)
        if clip_keys is None or clip_keys.shape != (len(video), 3):
            found = None if clip_keys is None else list(clip_keys.shape)
            raise ValueError(
                f"a memory bank needs clip_keys {[len(video), 3]} in training mode, got {found}: "
                "compute them with its method clip_keys()"
            )
        if valid is None:
            valid = torch.ones(len(video), dtype=torch.bool, device=video.device)
        entries = self.bank.entries(clip_keys)
        stored_video, stored_audio = self.bank.lookup(clip_keys, entries, video, audio)
        self.bank.store(clip_keys, entries, video, audio, valid)
        drawn, is_used = self.bank.draw(self._num_negatives)
        excluded = self._excluded(pairs, clip_keys, entries, valid, drawn, is_used)
        return stored_video, stored_audio, drawn, excluded

    def _excluded(
        self,
        pairs: PairMatrix,
        clip_keys: Tensor,
        entries: Tensor,
        valid: Tensor,
        drawn: Tensor,
        is_used: Tensor,
    ) -> LabelRows:
        drawn_keys = self.bank.keys[drawn][:, self._excluded_columns]
        own_keys = clip_keys[:, self._excluded_columns]
        # The clip of this batch that each drawn entry holds, or -1: its pair label counts.
        is_stored = valid & self.bank.contains(clip_keys, entries)
        holder = last_with_entry(entries, is_stored, len(self.bank.keys))[drawn]

        def rows(start: int, stop: int) -> Tensor:
            same = (own_keys[start:stop, None] == drawn_keys[None]).all(dim=2)
            not_negative = pairs.labels(start, stop)[:, holder.clamp(min=0)] != 0
            return ~is_used | same | (not_negative & (holder >= 0))

        return rows

    @torch.no_grad()
    def _log_noise(
        self, pairs: PairMatrix, banks: tuple[Tensor, Tensor], excluded: LabelRows
    ) -> Tensor:
        """Return log K Z of each clip, float64 `[N]`, and fix Z if this is the first batch."""
        count = torch.zeros(len(pairs.video), dtype=torch.float64, device=pairs.video.device)
        for start, stop in row_chunks(len(count), len(banks[0]), count.device):
            count[start:stop] = (~excluded(start, stop)).sum(dim=1)
        partition = self._partition_of(pairs, banks, excluded, count)
        if self.training:
            self.partition.copy_(partition)
        return torch.where(count > 0, count.clamp(min=1).log() + partition, LOG_ZERO)

    def _partition_of(
        self, pairs: PairMatrix, banks: tuple[Tensor, Tensor], excluded: LabelRows, count: Tensor
    ) -> Tensor:
        """Return log Z: the stored one, or that of this batch if there is none yet.

        The latter is always computed, because asking which it is would wait for a GPU.
        """
        sums = [
            log_sums(side, bank, excluded).rows
            for side, bank in ((pairs.scaled_video, banks[1]), (pairs.scaled_audio, banks[0]))
        ]
        total = 2 * count.sum()
        of_batch = torch.cat(sums).logsumexp(dim=0) - total.clamp(min=1).log()
        is_fixed = self.partition > LOG_ZERO
        return torch.where(is_fixed, self.partition, of_batch.where(total > 0, LOG_ZERO))


def _exclude_unused(is_used: Tensor) -> LabelRows:
    def rows(start: int, stop: int) -> Tensor:
        return (~is_used).expand(stop - start, -1)

    return rows


def _negative_terms(
    queries: Tensor, bank: Tensor, log_noise: Tensor, excluded: LabelRows
) -> Tensor:
    """Sum -log(1 - P) = softplus(l - log K Z) over the negatives of each clip, float64 `[N]`."""

    def terms(queries: Tensor, bank: Tensor, start: int, stop: int) -> Tensor:
        with without_autocast(queries.device):
            logits = queries @ bank.T - log_noise[start:stop, None].float()
        return F.softplus(logits).masked_fill(excluded(start, stop), 0.0).sum(dim=1).double()

    chunks = [
        checkpoint(
            terms, queries[start:stop], bank, start, stop,
            use_reentrant=False, preserve_rng_state=False,
        )
        for start, stop in row_chunks(len(queries), len(bank), queries.device)
    ]  # fmt: skip
    return torch.cat(chunks) if chunks else queries.new_zeros(len(queries)).double()
