"""Why a run learned what it learned: its negatives, and what its embeddings know."""

from toomuchtv.evaluation.diagnosis.examination import diagnose
from toomuchtv.evaluation.diagnosis.results import Diagnosis

__all__ = ["Diagnosis", "diagnose"]
