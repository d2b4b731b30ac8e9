"""Objectives, one a file: embeddings and pair roles in, loss out."""

from toomuchtv.objectives.contract import DenseRoles, Moments, Objective, Roles
from toomuchtv.objectives.info_nce import InfoNCE, InfoNCEConfig, info_nce
from toomuchtv.objectives.negatives import NegativeFigures, negative_figures
from toomuchtv.objectives.registry import ObjectiveConfig, build_objective

__all__ = [
    "DenseRoles",
    "InfoNCE",
    "InfoNCEConfig",
    "Moments",
    "NegativeFigures",
    "Objective",
    "ObjectiveConfig",
    "Roles",
    "build_objective",
    "info_nce",
    "negative_figures",
]
