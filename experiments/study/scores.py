"""What is known of an arm once it is done: typed, and as JSON."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from experiments.study.condition import Condition


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Score(_Frozen):
    """Accuracy of one protocol on one benchmark.

    Attributes:
        benchmark: `actions` or `sounds`.
        protocol: `linear`, `finetune`, or `shuffled`: linear, of labels dealt at random.
        sense: What was judged, `video` or `audio`.
        accuracy: Mean over folds.
        folds: Of each fold.
        chance: What guessing gives.
        sources: Of each test title: clips that got their class, and clips.
    """

    benchmark: str
    protocol: str
    sense: str
    accuracy: float
    folds: tuple[float, ...]
    chance: float
    sources: dict[str, tuple[float, int]]


class Milestone(_Frozen):
    """The linear probe on actions, from video, of an unfinished training."""

    step: int
    accuracy: float


class ConditionScores(_Frozen):
    """Everything measured of one arm.

    Attributes:
        arm: Which.
        scores: Its scores.
        milestones: Its probes along the way.
        negatives: For each policy, figures of batches that it draws from this world, embedded by
            this arm's encoders: see `NegativeFigures`.
        even: The same figures where all embeddings are alike: what counts of pairs alone give.
        steps: Of its training.
        hours: Of film that it trained on.
        core_seconds: Of all of it.
    """

    arm: Condition
    scores: tuple[Score, ...]
    milestones: tuple[Milestone, ...] = ()
    negatives: dict[str, dict[str, float]] = {}
    even: dict[str, dict[str, float]] = {}
    steps: int
    hours: float
    core_seconds: float

    def accuracy(self, benchmark: str, protocol: str = "linear") -> float | None:
        """One score; None where it was not measured."""
        score = self.score(benchmark, protocol)
        return None if score is None else score.accuracy

    def score(self, benchmark: str, protocol: str = "linear") -> Score | None:
        """One score in full; None where it was not measured."""
        for score in self.scores:
            if (score.benchmark, score.protocol) == (benchmark, protocol):
                return score
        return None


def scores_path(folder: Path) -> Path:
    """Where an arm's scores lie in its folder."""
    return folder / "scores.json"


def read_scores(folder: Path, arm: Condition) -> ConditionScores | None:
    """Read the scores of an arm; None if it is not done, or was done as another arm."""
    try:
        scores = ConditionScores.model_validate_json(scores_path(folder).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return scores if scores.arm == arm else None
