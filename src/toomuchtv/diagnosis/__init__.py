"""Why a run learned what it learned: its negatives, and what its embeddings know."""

from toomuchtv.diagnosis.diagnose import diagnose
from toomuchtv.diagnosis.results import Diagnosis

__all__ = ["Diagnosis", "diagnose"]
