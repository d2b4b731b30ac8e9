"""The paper's claims as an experiment over rendered worlds that anyone can run again."""

from toomuchtv.study.design import Design, design
from toomuchtv.study.run import run_study
from toomuchtv.study.scale import FULL, QUICK, Scale

__all__ = ["FULL", "QUICK", "Design", "Scale", "design", "run_study"]
