"""Each objective as its paper writes it: float64, one loop a sum, nothing shared with `src`.

`role[i, j]` is of video i and audio j: 1 positive, 0 negative, -1 ignored. Gradients are central
differences of these, so they know nothing of how the losses are coded either.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Role = NDArray[np.int8]
Reading = Callable[[Float, Float, Role, float], float]


def log_sum(values: list[float]) -> float:
    """Log of the sum of exp."""
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def log_sigmoid(value: float) -> float:
    """-log(1 + e^-x) without overflow."""
    return -math.log1p(math.exp(-value)) if value > 0 else value - math.log1p(math.exp(value))


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def info_nce(video: Float, audio: Float, role: Role, temperature: float) -> float:
    """Van den Oord et al. 2018, eq. 4, both ways; other positives out of the denominator."""
    ways = []
    for queries, keys, roles in ((video, audio, role), (audio, video, role.T)):
        rows = []
        for i in range(len(queries)):
            logits = [float(queries[i] @ key) / temperature for key in keys]
            negatives = [logits[j] for j in range(len(keys)) if roles[i, j] == 0]
            terms = [
                log_sum([logits[j], *negatives]) - logits[j]
                for j in range(len(keys))
                if roles[i, j] == 1
            ]
            if terms:
                rows.append(mean(terms))
        ways.append(mean(rows))
    return 0.5 * sum(ways)


def joint_nce(video: Float, audio: Float, role: Role, temperature: float) -> float:
    """Miech et al. 2020, eq. 1: P_i and N_i are the pairs that clip i takes part in."""
    terms = []
    for i in range(len(video)):
        positives, negatives = [], []
        for j in range(len(video)):
            forward = float(video[i] @ audio[j]) / temperature
            back = float(video[j] @ audio[i]) / temperature
            if role[i, j] == 1:
                positives.append(forward)
            if role[j, i] == 1 and i != j:
                positives.append(back)
            if role[i, j] == 0:
                negatives.append(forward)
            if role[j, i] == 0:
                negatives.append(back)
        if positives:
            terms.append(log_sum([*positives, *negatives]) - log_sum(positives))
    return mean(terms)


def sup_con(
    video: Float, audio: Float, role: Role, temperature: float, *, inside: bool = False
) -> float:
    """Khosla et al. 2020, eq. 2 (or eq. 3), of each row and each column."""
    ways = []
    for queries, keys, roles in ((video, audio, role), (audio, video, role.T)):
        rows = []
        for i in range(len(queries)):
            logits = {
                j: float(queries[i] @ keys[j]) / temperature
                for j in range(len(keys))
                if roles[i, j] >= 0
            }
            positives = [j for j in logits if roles[i, j] == 1]
            if not positives:
                continue
            bottom = log_sum(list(logits.values()))
            shares = [logits[j] - bottom for j in positives]
            if inside:
                rows.append(math.log(len(positives)) - log_sum(shares))
            else:
                rows.append(-mean(shares))
        ways.append(mean(rows))
    return 0.5 * sum(ways)


def sup_con_inside(video: Float, audio: Float, role: Role, temperature: float) -> float:
    return sup_con(video, audio, role, temperature, inside=True)


def within_modal(
    video: Float, audio: Float, role: Role, temperature: float, *, weight: float = 0.7
) -> float:
    """Zolfaghari et al. 2021, without pruning and connectivity weights."""
    ways = []
    for queries, keys, roles in ((video, audio, role), (audio, video, role.T)):
        rows = []
        for i in range(len(queries)):
            others = [
                float(queries[i] @ keys[j]) / temperature
                for j in range(len(keys))
                if roles[i, j] == 0
            ] + [
                float(queries[i] @ queries[j]) / temperature + math.log(weight)
                for j in range(len(keys))
                if roles[i, j] == 0 and i != j
            ]
            terms = []
            for j in range(len(keys)):
                if roles[i, j] == 1:
                    positive = float(queries[i] @ keys[j]) / temperature
                    terms.append(log_sum([positive, *others]) - positive)
            if terms:
                rows.append(mean(terms))
        ways.append(mean(rows))
    return 0.5 * sum(ways)


def sigmoid(
    video: Float, audio: Float, role: Role, temperature: float, *, bias: float = -3.0
) -> float:
    """Zhai et al. 2023, section 3.2; t = 1 / temperature. |B| is every clip of the batch."""
    total = 0.0
    for i in range(len(video)):
        for j in range(len(video)):
            z = float(video[i] @ audio[j]) / temperature + bias
            if role[i, j] >= 0:
                total -= log_sigmoid(z if role[i, j] == 1 else -z)
    return total / len(video)


class Avid:
    """Morgado et al. 2021 with a memory that is a plain dictionary, and every memory a negative."""

    def __init__(self, bucket_seconds: float, momentum: float) -> None:
        self.bucket_seconds, self.momentum = bucket_seconds, momentum
        self.memory: dict[tuple[int, int], tuple[Float, Float]] = {}
        self.log_partition: float | None = None

    def key(self, item: int, start_seconds: float) -> tuple[int, int]:
        return item, math.floor(start_seconds / self.bucket_seconds)

    def loss(
        self,
        video: Float,
        audio: Float,
        role: Role,
        temperature: float,
        keys: list[tuple[int, int]],
        *,
        fresh: tuple[Float, Float],
        write: bool,
    ) -> float:
        """One step of valid clips; what is remembered of it is `fresh`, which has no gradient."""
        count = len(keys)
        stands = [self.memory.get(keys[i], (fresh[0][i], fresh[1][i])) for i in range(count)]
        memory = dict(self.memory)
        for i in range(count):
            memory[keys[i]] = (fresh[0][i], fresh[1][i])
            if keys[i] in self.memory:
                mixed = [
                    self.momentum * old + (1 - self.momentum) * new[i]
                    for old, new in zip(self.memory[keys[i]], fresh, strict=True)
                ]
                memory[keys[i]] = (
                    mixed[0] / np.linalg.norm(mixed[0]),
                    mixed[1] / np.linalg.norm(mixed[1]),
                )
        holder = {keys[i]: i for i in range(count)}
        negatives = [
            [
                key
                for key in memory
                if key != keys[i] and (key not in holder or role[i, holder[key]] == 0)
            ]
            for i in range(count)
        ]
        logits = [
            float(query[i] @ memory[key][side]) / temperature
            for query, side in ((fresh[0], 1), (fresh[1], 0))
            for i in range(count)
            for key in negatives[i]
        ]
        partition = self.log_partition
        if partition is None and logits:
            partition = log_sum(logits) - math.log(len(logits))
        total = self._two_ways(
            (video, audio), role, temperature, stands, memory, negatives, partition or 0.0
        )
        if write:
            self.memory, self.log_partition = memory, partition
        return total

    def _two_ways(
        self,
        embeddings: tuple[Float, Float],
        role: Role,
        temperature: float,
        stands: list[tuple[Float, Float]],
        memory: dict[tuple[int, int], tuple[Float, Float]],
        negatives: list[list[tuple[int, int]]],
        log_partition: float,
    ) -> float:
        ways = []
        for side, roles in ((0, role), (1, role.T)):
            rows = []
            for i in range(len(role)):
                positives = [j for j in range(len(role)) if roles[i, j] == 1]
                if not positives:
                    continue
                query = embeddings[side][i]
                if not negatives[i]:
                    rows.append(0.0)
                    continue
                noise = math.log(len(negatives[i])) + log_partition
                pull = mean(
                    [
                        -log_sigmoid(float(query @ stands[j][1 - side]) / temperature - noise)
                        for j in positives
                    ]
                )
                push = sum(
                    -log_sigmoid(noise - float(query @ memory[key][1 - side]) / temperature)
                    for key in negatives[i]
                )
                rows.append(pull + push)
            ways.append(mean(rows))
        return 0.5 * sum(ways)


def slope(function: Callable[[Float], float], at: Float, step: float = 1e-6) -> Float:
    """Central differences of a function of an array."""
    values, gradient = at.copy(), np.zeros_like(at)
    for index in np.ndindex(at.shape):
        ends = []
        for sign in (1, -1):
            values[index] = at[index] + sign * step
            ends.append(function(values))
        values[index] = at[index]
        gradient[index] = (ends[0] - ends[1]) / (2 * step)
    return gradient


def unit(seed: int, rows: int, dim: int = 5) -> Float:
    """Unit vectors at random."""
    values = np.random.default_rng(seed).normal(size=(rows, dim))
    lengths: Float = np.linalg.norm(values, axis=1, keepdims=True)
    return values / lengths
