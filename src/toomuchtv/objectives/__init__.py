"""Objectives, one a file: embeddings and pair roles in, loss out."""

from toomuchtv.objectives.contract import DenseRoles, Moments, Objective, Roles
from toomuchtv.objectives.info_nce import InfoNCE, InfoNCEConfig, info_nce
from toomuchtv.objectives.joint_nce import JointNCE, JointNCEConfig, joint_nce
from toomuchtv.objectives.memory_bank import MemoryBank, MemoryBankConfig
from toomuchtv.objectives.negatives import NegativeFigures, negative_figures
from toomuchtv.objectives.registry import OBJECTIVES, ObjectiveConfig, build_objective
from toomuchtv.objectives.sigmoid import Sigmoid, SigmoidConfig, sigmoid
from toomuchtv.objectives.sup_con import SupCon, SupConConfig, sup_con
from toomuchtv.objectives.within_modal import WithinModal, WithinModalConfig, within_modal

__all__ = [
    "OBJECTIVES",
    "DenseRoles",
    "InfoNCE",
    "InfoNCEConfig",
    "JointNCE",
    "JointNCEConfig",
    "MemoryBank",
    "MemoryBankConfig",
    "Moments",
    "NegativeFigures",
    "Objective",
    "ObjectiveConfig",
    "Roles",
    "Sigmoid",
    "SigmoidConfig",
    "SupCon",
    "SupConConfig",
    "WithinModal",
    "WithinModalConfig",
    "build_objective",
    "info_nce",
    "joint_nce",
    "negative_figures",
    "sigmoid",
    "sup_con",
    "within_modal",
]
