"""What was measured of a condition, and how it is stored as JSON."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from experiments.study.conditions import Condition
from experiments.study.size import Frozen


class Score(Frozen):
    """Accuracy of one protocol on one benchmark.

    Attributes:
        benchmark: `actions` or `sounds`.
        protocol: `linear`, `finetune`, or `shuffled` (linear with randomly permuted labels).
        modality: The encoder that was evaluated, `video` or `audio`.
        accuracy: Mean over folds.
        folds: Accuracy of each fold.
        chance: Accuracy of guessing.
        sources: For each test title, the number of correct clips and of all clips.
    """

    benchmark: str
    protocol: str
    modality: str
    accuracy: float
    folds: tuple[float, ...]
    chance: float
    sources: dict[str, tuple[float, int]]


class Milestone(Frozen):
    """Accuracy of the linear probe on actions, from video, during training."""

    step: int
    accuracy: float


class ConditionScores(Frozen):
    """Everything that was measured of one condition.

    Attributes:
        condition: The condition.
        scores: Scores of the final encoders.
        milestones: Scores during training.
        negatives: For each policy, the figures of its batches on this library, embedded by this
            condition's encoders; see `toomuchtv.diagnosis`.
        even: The same figures if all embeddings were equal, which depend only on pair counts.
        steps: Number of training steps.
        hours: Duration of the library.
        core_seconds: CPU time of training and measuring.
    """

    condition: Condition
    scores: tuple[Score, ...]
    milestones: tuple[Milestone, ...] = ()
    negatives: dict[str, dict[str, float]] = Field(default_factory=dict)
    even: dict[str, dict[str, float]] = Field(default_factory=dict)
    steps: int
    hours: float
    core_seconds: float

    def accuracy(self, benchmark: str, protocol: str = "linear") -> float | None:
        """Return the accuracy of one score, or None if it was not measured."""
        score = self.score(benchmark, protocol)
        return None if score is None else score.accuracy

    def score(self, benchmark: str, protocol: str = "linear") -> Score | None:
        """Return one score, or None if it was not measured."""
        for score in self.scores:
            if (score.benchmark, score.protocol) == (benchmark, protocol):
                return score
        return None


def condition_path(out: Path, condition: Condition) -> Path:
    """Return a condition's folder in the study's folder."""
    return out / "conditions" / condition.name


def scores_path(out: Path, condition: Condition) -> Path:
    """Return the path of a condition's scores."""
    return condition_path(out, condition) / "scores.json"


def read_scores(out: Path, condition: Condition) -> ConditionScores | None:
    """Read a condition's scores. None means that they are missing or of another condition."""
    try:
        text = scores_path(out, condition).read_text("utf-8")
        scores = ConditionScores.model_validate_json(text)
    except (OSError, ValueError):
        return None
    return scores if scores.condition == condition else None
