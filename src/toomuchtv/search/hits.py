"""What a search returns: moments of a catalog, with scores that can be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toomuchtv.catalog.records import TitleKind

Modality = Literal["video", "audio"]
MODALITIES: tuple[Modality, ...] = ("video", "audio")
#: What a query may consist of. Text needs an encoder with a text tower.
QueryModality = Literal["video", "audio", "text"]

#: What people are told if no hit of a search is confident.
NO_CONFIDENT_MATCH = (
    "No confident match: moments that have nothing to do with each other are often as similar as "
    "the query and these hits."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How one encoder found a moment, in one direction.

    Attributes:
        encoder: Name of the encoder in the index.
        query_modality: What of the query was compared.
        modality: What of the moment was compared.
        similarity: Cosine of the two embeddings, in -1..1.
        z_score: By how many standard deviations this similarity exceeds the mean similarity of
            random moments of different titles, in the same direction. NaN if it is not known.
        is_confident: Whether the similarity reaches the threshold of this encoder and direction,
            which one of ten random moments reaches in another title. After centering, what the hits
            are ordered by decides.
        rank: Position of the moment in this encoder and direction, from 1.
    """

    encoder: str
    query_modality: QueryModality
    modality: Modality
    similarity: float
    z_score: float
    is_confident: bool
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One moment that a search has found.

    Times are seconds on the timeline of the item, whose zero is the first presented frame.

    Attributes:
        rank: Position in the result, from 1.
        item_id: Number of the item in the catalog.
        title: Name of the title.
        name: Name of the item for people: `Caminandes S01E03`.
        kind: Whether the title is a film, a show or a clip.
        season: Number of the season, or None.
        episode: Number of the episode, or None.
        path: The media file, absolute.
        start_seconds: Start of the moment: of its shot where shots are known.
        stop_seconds: End of the moment, exclusive.
        center_seconds: Middle of the window that matched best, between start and stop.
        score: Reciprocal ranks of the matches, summed with the weights of the encoders.
        matches: How each encoder found the moment, the most similar by z-score first.
        num_collapsed: Number of further windows of the same moment, which this hit stands for.
        then_seconds: Middle of the second moment, if a sequence was searched for.
    """

    rank: int
    item_id: int
    title: str
    name: str
    kind: TitleKind
    season: int | None
    episode: int | None
    path: Path
    start_seconds: float
    stop_seconds: float
    center_seconds: float
    score: float
    matches: tuple[Match, ...]
    num_collapsed: int = 0
    then_seconds: float | None = None

    @property
    def similarity(self) -> float:
        """Similarity of the best match."""
        return self.matches[0].similarity

    @property
    def z_score(self) -> float:
        """Z-score of the best match."""
        return self.matches[0].z_score

    @property
    def is_confident(self) -> bool:
        """Whether any encoder is confident."""
        return any(match.is_confident for match in self.matches)
