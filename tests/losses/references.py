"""Reference implementations of the losses: float64 loops that follow the papers' equations.

They share no code with `src`. `labels[i, j]` is the label of (video i, audio j): 1 positive,
0 negative, -1 ignored. Reference gradients are central differences of these functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Labels = NDArray[np.int8]
Reference = Callable[[Float, Float, Labels, float], float]


def log_sum(values: list[float]) -> float:
    """Return the logarithm of the sum of exponentials."""
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def log_sigmoid(value: float) -> float:
    """Return -log(1 + e^-x) without overflow."""
    return -math.log1p(math.exp(-value)) if value > 0 else value - math.log1p(math.exp(value))


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def info_nce(video: Float, audio: Float, labels: Labels, temperature: float) -> float:
    """Van den Oord et al. 2018, eq. 4, symmetric, without other positives in the denominator."""
    directions = []
    for queries, keys, anchor_labels in ((video, audio, labels), (audio, video, labels.T)):
        rows = []
        for i in range(len(queries)):
            logits = [float(queries[i] @ key) / temperature for key in keys]
            negatives = [logits[j] for j in range(len(keys)) if anchor_labels[i, j] == 0]
            terms = [
                log_sum([logits[j], *negatives]) - logits[j]
                for j in range(len(keys))
                if anchor_labels[i, j] == 1
            ]
            if terms:
                rows.append(mean(terms))
        directions.append(mean(rows))
    return 0.5 * sum(directions)


def joint_nce(video: Float, audio: Float, labels: Labels, temperature: float) -> float:
    """Miech et al. 2020, eq. 1; P_i and N_i are the pairs that contain clip i."""
    terms = []
    for i in range(len(video)):
        positives, negatives = [], []
        for j in range(len(video)):
            forward = float(video[i] @ audio[j]) / temperature
            back = float(video[j] @ audio[i]) / temperature
            if labels[i, j] == 1:
                positives.append(forward)
            if labels[j, i] == 1 and i != j:
                positives.append(back)
            if labels[i, j] == 0:
                negatives.append(forward)
            if labels[j, i] == 0:
                negatives.append(back)
        if positives:
            terms.append(log_sum([*positives, *negatives]) - log_sum(positives))
    return mean(terms)


def within_modal(
    video: Float, audio: Float, labels: Labels, temperature: float, *, weight: float = 0.7
) -> float:
    """Zolfaghari et al. 2021, without pruning and connectivity weights."""
    directions = []
    for queries, keys, anchor_labels in ((video, audio, labels), (audio, video, labels.T)):
        rows = []
        for i in range(len(queries)):
            others = [
                float(queries[i] @ keys[j]) / temperature
                for j in range(len(keys))
                if anchor_labels[i, j] == 0
            ] + [
                float(queries[i] @ queries[j]) / temperature + math.log(weight)
                for j in range(len(keys))
                if anchor_labels[i, j] == 0 and i != j
            ]
            terms = []
            for j in range(len(keys)):
                if anchor_labels[i, j] == 1:
                    positive = float(queries[i] @ keys[j]) / temperature
                    terms.append(log_sum([positive, *others]) - positive)
            if terms:
                rows.append(mean(terms))
        directions.append(mean(rows))
    return 0.5 * sum(directions)


class Avid:
    """Morgado et al. 2021 with a plain dictionary as the memory, all of which are negatives."""

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
        labels: Labels,
        temperature: float,
        keys: list[tuple[int, int]],
        *,
        fresh: tuple[Float, Float],
        write: bool,
    ) -> float:
        """Return the loss of one step; `fresh` are the embeddings to store, without gradient."""
        count = len(keys)
        stored = [self.memory.get(keys[i], (fresh[0][i], fresh[1][i])) for i in range(count)]
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
                if key != keys[i] and (key not in holder or labels[i, holder[key]] == 0)
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
        total = self._both_directions(
            (video, audio), labels, temperature, stored, memory, negatives, partition or 0.0
        )
        if write:
            self.memory, self.log_partition = memory, partition
        return total

    def _both_directions(
        self,
        embeddings: tuple[Float, Float],
        labels: Labels,
        temperature: float,
        stored: list[tuple[Float, Float]],
        memory: dict[tuple[int, int], tuple[Float, Float]],
        negatives: list[list[tuple[int, int]]],
        log_partition: float,
    ) -> float:
        directions = []
        for side, anchor_labels in ((0, labels), (1, labels.T)):
            rows = []
            for i in range(len(labels)):
                positives = [j for j in range(len(labels)) if anchor_labels[i, j] == 1]
                if not positives:
                    continue
                query = embeddings[side][i]
                if not negatives[i]:
                    rows.append(0.0)
                    continue
                log_noise = math.log(len(negatives[i])) + log_partition
                pull = mean(
                    [
                        -log_sigmoid(float(query @ stored[j][1 - side]) / temperature - log_noise)
                        for j in positives
                    ]
                )
                push = sum(
                    -log_sigmoid(log_noise - float(query @ memory[key][1 - side]) / temperature)
                    for key in negatives[i]
                )
                rows.append(pull + push)
            directions.append(mean(rows))
        return 0.5 * sum(directions)


def numerical_gradient(function: Callable[[Float], float], at: Float, step: float = 1e-6) -> Float:
    """Return the central differences of a function of an array."""
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
    """Return random unit vectors `[rows, dim]`."""
    values = np.random.default_rng(seed).normal(size=(rows, dim))
    lengths: Float = np.linalg.norm(values, axis=1, keepdims=True)
    return values / lengths
