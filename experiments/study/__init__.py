"""The paper's claims as an experiment over rendered worlds that anyone can run again."""

from experiments.study.design import Design, design
from experiments.study.run import run_study
from experiments.study.scale import FULL, QUICK, Scale, read_scale

__all__ = ["FULL", "QUICK", "Design", "Scale", "design", "read_scale", "run_study"]
