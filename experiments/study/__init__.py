"""The paper's claims as a controlled experiment on rendered libraries."""

from experiments.study.conditions import Design, design
from experiments.study.run import run_study
from experiments.study.size import FULL, QUICK, StudySize, read_size

__all__ = ["FULL", "QUICK", "Design", "StudySize", "design", "read_size", "run_study"]
