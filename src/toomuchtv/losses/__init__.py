"""Objectives, one a file: embeddings and pair roles in, loss out."""

from toomuchtv.losses.base import DensePairLabels, Moments, PairLoss, Roles
from toomuchtv.losses.info_nce import InfoNCE, InfoNCEConfig, info_nce
from toomuchtv.losses.joint_nce import JointNCE, JointNCEConfig, joint_nce
from toomuchtv.losses.memory_bank import MemoryBank, MemoryBankConfig
from toomuchtv.losses.negatives import NegativeFigures, negative_figures
from toomuchtv.losses.registry import LOSSES, LossConfig, build_loss
from toomuchtv.losses.sigmoid import Sigmoid, SigmoidConfig, sigmoid
from toomuchtv.losses.sup_con import SupCon, SupConConfig, sup_con
from toomuchtv.losses.within_modal import WithinModal, WithinModalConfig, within_modal

__all__ = [
    "LOSSES",
    "DensePairLabels",
    "InfoNCE",
    "InfoNCEConfig",
    "JointNCE",
    "JointNCEConfig",
    "LossConfig",
    "MemoryBank",
    "MemoryBankConfig",
    "Moments",
    "NegativeFigures",
    "PairLoss",
    "Roles",
    "Sigmoid",
    "SigmoidConfig",
    "SupCon",
    "SupConConfig",
    "WithinModal",
    "WithinModalConfig",
    "build_loss",
    "info_nce",
    "joint_nce",
    "negative_figures",
    "sigmoid",
    "sup_con",
    "within_modal",
]
