"""Measures how hard a run's negatives are, and whether its embeddings encode titles or events."""

from toomuchtv.diagnosis.diagnose import diagnose
from toomuchtv.diagnosis.results import Diagnosis

__all__ = ["Diagnosis", "diagnose"]
