"""The paper's claims as an experiment over rendered worlds that anyone can run again."""

from toomuchtv.study.design import FULL, QUICK, Design, Scale, design
from toomuchtv.study.run import run_study

__all__ = ["FULL", "QUICK", "Design", "Scale", "design", "run_study"]
