"""The losses by name, as the config selects them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Discriminator, Tag, ValidationError

from toomuchtv.losses.base import PairLoss
from toomuchtv.losses.custom import CustomLossConfig, import_loss
from toomuchtv.losses.info_nce import InfoNCE, InfoNCEConfig
from toomuchtv.losses.joint_nce import JointNCE, JointNCEConfig
from toomuchtv.losses.memory_bank import MemoryBank, MemoryBankConfig
from toomuchtv.losses.within_modal import WithinModal, WithinModalConfig

#: Tag of all losses that are not part of this package. It has the form of their names.
_CUSTOM = "module:Class"


def _tag(value: Any) -> Any:
    is_mapping = isinstance(value, Mapping)
    name = value.get("name", "info_nce") if is_mapping else getattr(value, "name", None)
    return _CUSTOM if isinstance(name, str) and ":" in name else name


#: Settings of one loss. The key `name` selects it; without a name they are those of InfoNCE.
LossConfig = Annotated[
    Annotated[InfoNCEConfig, Tag("info_nce")]
    | Annotated[JointNCEConfig, Tag("joint_nce")]
    | Annotated[MemoryBankConfig, Tag("memory_bank")]
    | Annotated[WithinModalConfig, Tag("within_modal")]
    | Annotated[CustomLossConfig, Tag(_CUSTOM)],
    Discriminator(_tag),
]

LOSSES: dict[str, type[PairLoss]] = {
    "info_nce": InfoNCE,
    "joint_nce": JointNCE,
    "memory_bank": MemoryBank,
    "within_modal": WithinModal,
}


def build_loss(config: LossConfig, *, embedding_dim: int, seed: int = 0) -> PairLoss:
    """Build the loss that a config names. Only this imports a loss of the user's own.

    Args:
        config: The settings of one loss.
        embedding_dim: Size D of the embeddings, for losses that take it as an argument.
        seed: Seed of the loss's parameters. PyTorch's global generator stays unchanged.

    Raises:
        ValueError: A loss of the user's own cannot be imported, or does not take its options.
    """
    settings = config.model_dump(exclude={"name", "options"})
    custom = config if isinstance(config, CustomLossConfig) else None
    loss_class = LOSSES[config.name] if custom is None else import_loss(custom.name)
    if custom is not None:
        settings |= custom.options
    if "embedding_dim" in inspect.signature(loss_class).parameters:
        settings["embedding_dim"] = embedding_dim
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return loss_class(**settings)
        except (TypeError, ValueError) as error:
            if custom is None:
                raise
            problem = str(error)
            if isinstance(error, ValidationError):
                first = error.errors()[0]
                problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise ValueError(
                f"{custom.name} does not take loss.options {custom.options}: {problem}"
            ) from error
