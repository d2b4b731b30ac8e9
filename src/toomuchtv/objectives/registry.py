"""Which objectives there are, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from toomuchtv.objectives.contract import Objective
from toomuchtv.objectives.info_nce import InfoNCE, InfoNCEConfig
from toomuchtv.objectives.joint_nce import JointNCE, JointNCEConfig
from toomuchtv.objectives.memory_bank import MemoryBank, MemoryBankConfig
from toomuchtv.objectives.sigmoid import Sigmoid, SigmoidConfig
from toomuchtv.objectives.sup_con import SupCon, SupConConfig
from toomuchtv.objectives.within_modal import WithinModal, WithinModalConfig

_DEFAULT = "info_nce"


def _name(value: Any) -> Any:
    if isinstance(value, Mapping):
        return value.get("name", _DEFAULT)
    return getattr(value, "name", None)


#: Settings of one objective, told apart by `name`; without a name they are those of InfoNCE.
ObjectiveConfig = Annotated[
    Annotated[InfoNCEConfig, Tag("info_nce")]
    | Annotated[JointNCEConfig, Tag("joint_nce")]
    | Annotated[MemoryBankConfig, Tag("memory_bank")]
    | Annotated[SigmoidConfig, Tag("sigmoid")]
    | Annotated[SupConConfig, Tag("sup_con")]
    | Annotated[WithinModalConfig, Tag("within_modal")],
    Discriminator(_name),
]

#: Each is given its own settings and the size of the embeddings.
OBJECTIVES: dict[str, Callable[[Any, int], Objective]] = {
    "info_nce": lambda config, embedding_dim: InfoNCE(config),
    "joint_nce": lambda config, embedding_dim: JointNCE(config),
    "memory_bank": MemoryBank,
    "sigmoid": lambda config, embedding_dim: Sigmoid(config),
    "sup_con": lambda config, embedding_dim: SupCon(config),
    "within_modal": lambda config, embedding_dim: WithinModal(config),
}


def build_objective(config: ObjectiveConfig, *, embedding_dim: int) -> Objective:
    """Build the objective that `config` names.

    Args:
        config: Its settings.
        embedding_dim: Size of the embeddings; what banks are made for.
    """
    return OBJECTIVES[config.name](config, embedding_dim)
