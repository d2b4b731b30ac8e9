"""Which objectives there are, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from toomuchtv.losses.base import PairLoss
from toomuchtv.losses.info_nce import InfoNCE, InfoNCEConfig
from toomuchtv.losses.joint_nce import JointNCE, JointNCEConfig
from toomuchtv.losses.memory_bank import MemoryBank, MemoryBankConfig
from toomuchtv.losses.sigmoid import Sigmoid, SigmoidConfig
from toomuchtv.losses.sup_con import SupCon, SupConConfig
from toomuchtv.losses.within_modal import WithinModal, WithinModalConfig

_DEFAULT = "info_nce"


def _name(value: Any) -> Any:
    if isinstance(value, Mapping):
        return value.get("name", _DEFAULT)
    return getattr(value, "name", None)


#: Settings of one objective, told apart by `name`; without a name they are those of InfoNCE.
LossConfig = Annotated[
    Annotated[InfoNCEConfig, Tag("info_nce")]
    | Annotated[JointNCEConfig, Tag("joint_nce")]
    | Annotated[MemoryBankConfig, Tag("memory_bank")]
    | Annotated[SigmoidConfig, Tag("sigmoid")]
    | Annotated[SupConConfig, Tag("sup_con")]
    | Annotated[WithinModalConfig, Tag("within_modal")],
    Discriminator(_name),
]

#: Each is given its own settings and the size of the embeddings.
LOSSES: dict[str, Callable[[Any, int], PairLoss]] = {
    "info_nce": lambda config, embedding_dim: InfoNCE(config),
    "joint_nce": lambda config, embedding_dim: JointNCE(config),
    "memory_bank": MemoryBank,
    "sigmoid": lambda config, embedding_dim: Sigmoid(config),
    "sup_con": lambda config, embedding_dim: SupCon(config),
    "within_modal": lambda config, embedding_dim: WithinModal(config),
}


def build_loss(config: LossConfig, *, embedding_dim: int) -> PairLoss:
    """Build the objective that `config` names.

    Args:
        config: Its settings.
        embedding_dim: Size of the embeddings; what banks are made for.
    """
    return LOSSES[config.name](config, embedding_dim)
