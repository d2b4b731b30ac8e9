"""The losses by name, as the config selects them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from toomuchtv.losses.base import PairLoss
from toomuchtv.losses.info_nce import InfoNCE, InfoNCEConfig
from toomuchtv.losses.joint_nce import JointNCE, JointNCEConfig
from toomuchtv.losses.memory_bank import MemoryBank, MemoryBankConfig
from toomuchtv.losses.within_modal import WithinModal, WithinModalConfig


def _name(value: Any) -> Any:
    if isinstance(value, Mapping):
        return value.get("name", "info_nce")
    return getattr(value, "name", None)


#: Settings of one loss. The key `name` selects it; without a name they are those of InfoNCE.
LossConfig = Annotated[
    Annotated[InfoNCEConfig, Tag("info_nce")]
    | Annotated[JointNCEConfig, Tag("joint_nce")]
    | Annotated[MemoryBankConfig, Tag("memory_bank")]
    | Annotated[WithinModalConfig, Tag("within_modal")],
    Discriminator(_name),
]

LOSSES: dict[str, type[PairLoss]] = {
    "info_nce": InfoNCE,
    "joint_nce": JointNCE,
    "memory_bank": MemoryBank,
    "within_modal": WithinModal,
}


def build_loss(config: LossConfig, *, embedding_dim: int) -> PairLoss:
    """Build the loss that a config names.

    Args:
        config: The settings of one loss.
        embedding_dim: Size D of the embeddings, which a memory bank must know in advance.
    """
    settings = config.model_dump(exclude={"name"})
    if isinstance(config, MemoryBankConfig):
        settings["embedding_dim"] = embedding_dim
    return LOSSES[config.name](**settings)
