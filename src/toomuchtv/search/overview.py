"""A whole catalog at one view: a map of its moments, similar titles, and scenes that recur."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toomuchtv._internal.random_numbers import FloatArray, IntArray
from toomuchtv.catalog.records import Segment
from toomuchtv.errors import SearchError
from toomuchtv.search.encoder_index import EncoderIndex
from toomuchtv.search.hits import Modality
from toomuchtv.search.scoring import similarities

_NUM_LANDMARKS = 1500
_PCA_DIM = 30
_NUM_NEIGHBORS = 8
# Neighbors count by exp(similarity / temperature): near ones decide, and no single one alone.
_TEMPERATURE = 0.05
_MIN_FOR_TSNE = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MomentMap:
    """Moments of an index as points of a plane, where similar moments are near each other.

    Attributes:
        positions: Coordinates in -1..1, float32 `[N, 2]`.
        seconds: Middle of each window on its item's timeline, float32 `[N]`.
        item_ids: The item of each window, int64 `[N]`.
        title_ids: The title of each window, int64 `[N]`.
    """

    positions: NDArray[np.float32]
    seconds: NDArray[np.float32]
    item_ids: IntArray
    title_ids: IntArray

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarTitle:
    """A title whose moments resemble those of another one on average.

    Attributes:
        title_id: Number of the title in the catalog.
        name: Its name.
        similarity: Cosine of the two titles' mean vectors, after the mean of all titles was
            subtracted from both; in -1..1.
    """

    title_id: int
    name: str
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringScene:
    """One content that several items of a catalog have, such as an opening.

    Attributes:
        recurrence: Its number in the catalog.
        kind: The kind of most of its segments.
        segments: Where it occurs, by item and time.
    """

    recurrence: int
    kind: str
    segments: tuple[Segment, ...]

    @property
    def num_items(self) -> int:
        """Number of items that have it."""
        return len({segment.item_id for segment in self.segments})

    @property
    def seconds(self) -> float:
        """Median duration of its segments."""
        return float(np.median([s.stop_seconds - s.start_seconds for s in self.segments]))


def map_moments(
    encoder: EncoderIndex, modality: Modality, *, max_points: int = 100_000, seed: int = 0
) -> MomentMap:
    """Project the moments of an index to a plane.

    Up to 1,500 random moments (the landmarks) are placed by t-SNE (van der Maaten and Hinton 2008)
    on their first 30 principal components. All others are placed between the landmarks that they
    resemble most, so the time grows linearly with the number of moments: about 10 seconds for
    100,000 on two cores. The same index and seed give the same map.

    Args:
        encoder: The embeddings of one encoder.
        modality: Which of its vectors to place.
        max_points: An index with more windows is represented by so many random ones.
        seed: Seed of the random choices and of t-SNE.

    Raises:
        SearchError: The encoder has no vectors of this modality.
    """
    rows = [row for row, entry in enumerate(encoder.items) if entry.vectors.has(modality)]
    counts = np.array([len(encoder.items[row].vectors) for row in rows], np.int64)
    total = int(counts.sum())
    if not total:
        raise SearchError(
            f"the encoder {encoder.record.name!r} has embedded no {modality}: there is nothing to "
            "show in a map"
        )
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(total)[:max_points])
    vectors, seconds, item_ids, title_ids = [], [], [], []
    starts = np.concatenate([[0], np.cumsum(counts)])
    for number, row in enumerate(rows):
        low, high = np.searchsorted(chosen, starts[number : number + 2])
        here = chosen[low:high] - starts[number]
        entry = encoder.items[row]
        values = entry.vectors.of(modality)
        assert values is not None
        vectors.append(values[torch.from_numpy(here)])
        seconds.append(encoder.centers(row)[here])
        item_ids.append(np.full(len(here), entry.item.id))
        title_ids.append(np.full(len(here), entry.title.id))
    return MomentMap(
        positions=_positions(torch.cat(vectors), rng, seed),
        seconds=np.concatenate(seconds).astype(np.float32),
        item_ids=np.concatenate(item_ids),
        title_ids=np.concatenate(title_ids),
    )


def _positions(vectors: Tensor, rng: np.random.Generator, seed: int) -> NDArray[np.float32]:
    """Return the coordinates of vectors (float16 `[N, D]`), float32 `[N, 2]` in -1..1."""
    drawn = np.sort(rng.permutation(len(vectors))[:_NUM_LANDMARKS])
    landmarks = vectors[torch.from_numpy(drawn)].float()
    placed = torch.from_numpy(_place_landmarks(landmarks.double().numpy(), seed)).float()
    if len(drawn) == len(vectors):
        out = placed
    else:
        num_neighbors = min(_NUM_NEIGHBORS, len(drawn))
        parts = []
        for block in torch.split(vectors, 4096):
            near, which = similarities(block, landmarks).topk(num_neighbors, dim=1)
            weights = (near / _TEMPERATURE).softmax(dim=1)
            parts.append((placed[which] * weights.unsqueeze(2)).sum(dim=1))
        out = torch.cat(parts)
        out[torch.from_numpy(drawn)] = placed
    low, high = out.amin(dim=0), out.amax(dim=0)
    scaled = (out - (low + high) / 2) / ((high - low) / 2).clamp(min=1e-9)
    return np.asarray(scaled.clamp(-1, 1).numpy(), np.float32)


def _place_landmarks(vectors: FloatArray, seed: int) -> FloatArray:
    """Return the coordinates of a few vectors, float64 `[L, 2]`."""
    left, sizes, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    reduced = (left * sizes)[:, :_PCA_DIM]
    if reduced.shape[1] < 2:
        reduced = np.pad(reduced, ((0, 0), (0, 1)))
    if len(vectors) < _MIN_FOR_TSNE or sizes[0] < 1e-6:
        # Too few for neighborhoods, or all equal: the first two principal components.
        return np.asarray(reduced[:, :2])
    # The import takes seconds, and only a map needs it.
    from sklearn.manifold import TSNE

    # The start must have a small scale, and the same one for every index (Kobak and Berens 2019).
    start = reduced[:, :2] / reduced[:, 0].std() * 1e-4
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init=start.astype(np.float32), random_state=seed)
    return np.asarray(tsne.fit_transform(reduced), np.float64)


def similar_titles(
    encoder: EncoderIndex, title_id: int, modality: Modality, *, k: int = 10
) -> list[SimilarTitle]:
    """Return the titles whose moments resemble those of a title on average, most similar first.

    Args:
        encoder: The embeddings of one encoder.
        title_id: The title.
        modality: Which vectors to compare.
        k: How many titles to return at most.

    Raises:
        SearchError: Nothing of this title and modality is embedded.
    """
    means = encoder.title_means(modality)
    if title_id not in means:
        raise SearchError(f"the index has no {modality} of title {title_id}")
    # What all titles share says nothing about two of them.
    common = torch.stack(list(means.values())).mean(dim=0)
    own = means[title_id] - common
    names = {entry.title.id: entry.title.name for entry in encoder.items}
    found = [
        SimilarTitle(
            title_id=other,
            name=names[other],
            similarity=float(torch.cosine_similarity(own, mean - common, dim=0)),
        )
        for other, mean in means.items()
        if other != title_id
    ]
    return sorted(found, key=lambda title: (-title.similarity, title.title_id))[:k]


def recurring_scenes(segments: Iterable[Segment]) -> list[RecurringScene]:
    """Return the contents that several items have, those with the most items first.

    Args:
        segments: Segments of a catalog, such as `Catalog.segments()`.
    """
    by_number: dict[int, list[Segment]] = defaultdict(list)
    for segment in segments:
        if segment.recurrence is not None:
            by_number[segment.recurrence].append(segment)
    scenes = []
    for number, found in by_number.items():
        found.sort(key=lambda s: (s.item_id, s.start_seconds))
        kinds = [segment.kind for segment in found]
        kind = max(sorted(set(kinds)), key=kinds.count)
        scenes.append(RecurringScene(recurrence=number, kind=kind, segments=tuple(found)))
    return sorted(scenes, key=lambda s: (-s.num_items, -s.seconds, s.recurrence))
