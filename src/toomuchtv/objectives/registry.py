"""Which objectives there are, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from toomuchtv.objectives.contract import Objective
from toomuchtv.objectives.info_nce import InfoNCE, InfoNCEConfig

_DEFAULT = "info_nce"


def _name(value: Any) -> str | None:
    name = value.get("name", _DEFAULT) if isinstance(value, Mapping) else None
    return name or getattr(value, "name", None)


#: Settings of one objective, told apart by `name`; without a name they are those of InfoNCE.
ObjectiveConfig = InfoNCEConfig

#: One entry an objective; each is given its own settings and the size of the embeddings.
OBJECTIVES: dict[str, Callable[[Any, int], Objective]] = {
    "info_nce": lambda config, embedding_dim: InfoNCE(config),
}


def build_objective(config: ObjectiveConfig, *, embedding_dim: int) -> Objective:
    """Build the objective that `config` names.

    Args:
        config: Its settings.
        embedding_dim: Size of the embeddings; what banks are made for.
    """
    return OBJECTIVES[config.name](config, embedding_dim)
