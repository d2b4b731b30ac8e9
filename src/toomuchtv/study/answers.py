"""All questions of the study, answered from what was measured."""

from __future__ import annotations

from toomuchtv.study.answer import Answer
from toomuchtv.study.answers_checks import guards, steps_to_score
from toomuchtv.study.answers_choices import curated, openings
from toomuchtv.study.answers_negatives import easy_negatives
from toomuchtv.study.answers_transfer import clips_per_title, shows, transfer
from toomuchtv.study.evidence import Evidence


def answers(evidence: Evidence) -> list[Answer]:
    """Answer every question, in order; what was not measured is said to be so."""
    return [
        easy_negatives(evidence),
        transfer(evidence),
        shows(evidence),
        clips_per_title(evidence),
        openings(evidence),
        curated(evidence),
        steps_to_score(evidence),
        guards(evidence),
    ]
