"""Contrastive losses of video and audio embeddings, each an `nn.Module` on plain tensors.

loss = InfoNCE(temperature=0.07)
value = loss(video_embeddings, audio_embeddings)  # [N, D] each; row i of both is of clip i
"""

from toomuchtv.losses.base import PairLabelRows, PairLabelsLike, PairLoss, label_rows
from toomuchtv.losses.custom import CustomLossConfig
from toomuchtv.losses.gather import GatheredLoss
from toomuchtv.losses.info_nce import InfoNCE, InfoNCEConfig
from toomuchtv.losses.joint_nce import JointNCE, JointNCEConfig
from toomuchtv.losses.memory_bank import MemoryBank, MemoryBankConfig
from toomuchtv.losses.negatives import NegativeFigures, negative_figures
from toomuchtv.losses.registry import LOSSES, LossConfig, build_loss
from toomuchtv.losses.within_modal import WithinModal, WithinModalConfig

__all__ = [
    "LOSSES",
    "CustomLossConfig",
    "GatheredLoss",
    "InfoNCE",
    "InfoNCEConfig",
    "JointNCE",
    "JointNCEConfig",
    "LossConfig",
    "MemoryBank",
    "MemoryBankConfig",
    "NegativeFigures",
    "PairLabelRows",
    "PairLabelsLike",
    "PairLoss",
    "WithinModal",
    "WithinModalConfig",
    "build_loss",
    "label_rows",
    "negative_figures",
]
