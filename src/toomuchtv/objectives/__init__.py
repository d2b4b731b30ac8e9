"""Objectives, one a file: embeddings and pair roles in, loss out."""

from toomuchtv.objectives.info_nce import InfoNCE, InfoNCEConfig, info_nce
from toomuchtv.objectives.negatives import NegativeFigures, negative_figures

__all__ = ["InfoNCE", "InfoNCEConfig", "NegativeFigures", "info_nce", "negative_figures"]
