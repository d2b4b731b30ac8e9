"""Losses that are not part of this package, selected by the name of their class."""

from __future__ import annotations

import importlib
from typing import Self

from pydantic import Field, JsonValue, model_validator

from toomuchtv.losses.base import PairLoss, TemperatureConfig


class CustomLossConfig(TemperatureConfig):
    """Settings of a loss of your own.

    The class is imported when a training begins or resumes, and never when a config, a run or a
    model is read.

    Attributes:
        name: Module and class of the loss, such as `my_losses:MyLoss`.
        options: Keyword arguments of the class, besides those of every loss. If it also takes
            `embedding_dim`, it receives the size of the embeddings.
    """

    name: str = Field(pattern=r"^[\w.]+:\w+$")
    options: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        if common := sorted(self.options.keys() & TemperatureConfig.model_fields.keys()):
            raise ValueError(f"options must not have {common[0]}: set loss.{common[0]} instead")
        return self


def import_loss(name: str) -> type[PairLoss]:
    """Import the class of a loss.

    Args:
        name: `module:Class`.

    Raises:
        ValueError: The module cannot be imported, has no such class, or it is no `PairLoss`.
    """
    module_name, _, class_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(
            f"loss.name is {name!r}, and its module cannot be imported ({error}): install it, or "
            "add the folder that holds it to the environment variable PYTHONPATH"
        ) from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        raise ValueError(
            f"loss.name is {name!r}, and the module has no class {class_name}: write the name of "
            "a class in it"
        )
    if not issubclass(found, PairLoss):
        raise ValueError(
            f"loss.name is {name!r}, and this class is no toomuchtv.losses.PairLoss: derive it "
            "from that class"
        )
    return found
