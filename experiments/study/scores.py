"""What was measured of a condition, and how it is stored as JSON."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from experiments.study.conditions import Condition, Design
from experiments.study.size import Frozen
from toomuchtv._internal.files import write_text


class Score(Frozen):
    """Accuracy of one protocol on one benchmark.

    Attributes:
        benchmark: `actions` or `sounds`.
        protocol: `linear`, `finetune`, or `shuffled` (linear with randomly permuted labels).
        modality: The encoder that was evaluated, `video` or `audio`.
        accuracy: Mean over folds.
        folds: Accuracy of each fold.
        chance: Accuracy of guessing.
        sources: For each test title, the number of correct clips and of all clips; empty in the
            record of a study.
    """

    benchmark: str
    protocol: str
    modality: str
    accuracy: float
    folds: tuple[float, ...]
    chance: float
    sources: dict[str, tuple[float, int]] = Field(default_factory=dict)


class Milestone(Frozen):
    """Accuracy of the linear probe on actions, from video, during training."""

    step: int
    accuracy: float


class WhyPoint(Frozen):
    """What linear probes find in the features of both encoders at one step.

    Attributes:
        step: The number of training steps; 0 for random weights.
        accuracy: Accuracy by the names of `experiments.study.title_probes.PROBES`. A probe that
            cannot be measured is omitted.
        chance: Accuracy of guessing, by the same names.
    """

    step: int
    accuracy: dict[str, float]
    chance: dict[str, float]


class ConditionScores(Frozen):
    """Everything that was measured of one condition.

    Attributes:
        condition: The condition.
        scores: Scores of the final encoders.
        milestones: Scores during training.
        why: What the encoders know of titles and of events, at each milestone and at the end.
        negatives: For each policy, the figures of its batches on this library, embedded by this
            condition's encoders; see `toomuchtv.diagnosis`.
        even: The same figures if all embeddings were equal, which depend only on pair counts.
        steps: Number of training steps.
        hours: Duration of the library.
        core_seconds: CPU time of training and measuring.
        seconds: Duration of the parts that were timed; see `experiments.study.rates`.
        seconds_per_step: Median wall time of a training step over the logged intervals; None if
            nothing was trained.
        design: Fingerprint of the design that the condition belongs to.
    """

    condition: Condition
    scores: tuple[Score, ...]
    milestones: tuple[Milestone, ...] = ()
    why: tuple[WhyPoint, ...] = ()
    negatives: dict[str, dict[str, float]] = Field(default_factory=dict)
    even: dict[str, dict[str, float]] = Field(default_factory=dict)
    steps: int
    hours: float
    core_seconds: float
    seconds: dict[str, float] = Field(default_factory=dict)
    seconds_per_step: float | None = None
    design: str = ""

    def without_titles(self) -> ConditionScores:
        """Return a smaller copy without the figures of single test titles."""
        scores = tuple(one.model_copy(update={"sources": {}}) for one in self.scores)
        return self.model_copy(update={"scores": scores})

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


def results_path(out: Path) -> Path:
    """Return the folder of the results of all conditions, one small file each."""
    return out / "results"


def write_scores(out: Path, scores: ConditionScores) -> None:
    """Write the result of a condition."""
    path = results_path(out) / f"{scores.condition.name}.json"
    write_text(path, scores.model_dump_json(indent=1) + "\n")


def read_scores(out: Path, design: Design, condition: Condition) -> ConditionScores | None:
    """Read the result of a condition.

    Returns:
        The result; None if there is none, or if not everything was measured.

    Raises:
        ValueError: If the result belongs to another design.
    """
    path = results_path(out) / f"{condition.name}.json"
    try:
        scores = ConditionScores.model_validate_json(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    check_result(path, scores, out, design)
    measured = scores.condition
    is_equal = measured.model_copy(update={"measures": condition.measures}) == condition
    return scores if is_equal and set(condition.measures) <= set(measured.measures) else None


def check_result(path: Path, scores: ConditionScores, folder: Path, design: Design) -> None:
    """Check that a result belongs to the design of a folder.

    Raises:
        ValueError: If it belongs to another design.
    """
    if scores.design != design.fingerprint:
        raise ValueError(
            f"{path} is a result of the design {scores.design or 'of an older version'}, and "
            f"{folder / 'design.json'} is the design {design.fingerprint}: remove this result"
        )
