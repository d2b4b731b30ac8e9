"""All questions of the study, answered from what was measured."""

from __future__ import annotations

from dataclasses import replace

from experiments.study.answer import NOT_MEASURED, Answer
from experiments.study.answers_checks import guards, steps_to_score
from experiments.study.answers_choices import curated, openings
from experiments.study.answers_negatives import easy_negatives
from experiments.study.answers_transfer import clips_per_title, shows, transfer
from experiments.study.measurements import Measurements


def answers(evidence: Measurements) -> list[Answer]:
    """Answer every question, in order; what was not measured is said to be so."""
    found = [
        easy_negatives(evidence),
        transfer(evidence),
        shows(evidence),
        clips_per_title(evidence),
        openings(evidence),
        curated(evidence),
        steps_to_score(evidence),
        guards(evidence),
    ]
    return [_without_gaps(answer) for answer in found]


def _without_gaps(answer: Answer) -> Answer:
    """Say once what all was not measured, or that nothing was."""
    ending = f": {NOT_MEASURED}".lower()
    lacking = [said for said in answer.sentences if said.lower().endswith(ending)]
    if not lacking:
        return answer
    if not answer.estimates and answer.chart is None:
        return Answer(question=answer.question, sentences=(NOT_MEASURED,))
    names = "; ".join(said[: -len(ending)] for said in lacking)
    kept = [said for said in answer.sentences if said not in lacking]
    return replace(answer, sentences=(*kept, f"{NOT_MEASURED[:-1]}: {names}."))
