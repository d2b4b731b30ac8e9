from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from experiments.rendered_tv import RenderedTVConfig
from experiments.rendered_tv.events.registry import EVENT_KINDS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 161}, "use 160x96"),
        ({"width": 400}, "between 1:1 and 3:1"),
        ({"movies": 9999}, "ask for fewer movies, shows or clips"),
        ({"clips": 9985}, "got 10001 titles"),
        ({"episodes": 3, "seasons": 4}, "raise episodes or lower seasons"),
        ({"movies": 0, "shows": 0, "transfer_clips_per_kind": 0}, "nothing would be rendered"),
        ({"transfer_clips_per_kind": 3}, "use 0 for no transfer sets"),
        ({"transfer_clips_per_kind": 999}, "raise transfer_titles"),
        ({"event_kinds": ("bounce", "sneeze")}, "sneeze.*choose from bounce"),
        ({"event_kinds": ()}, "at least one kind"),
        ({"event_kinds": ("drum", "drum")}, "each kind once"),
        ({"event_kinds": 99}, "less than or equal to"),
        ({"transfer_titles": 4}, "greater than or equal to 5"),
        ({"signature_picture": 1.5}, "less than or equal to 1"),
        ({"minute": 3}, "minute"),
    ],
)
def test_invalid_values_are_rejected(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RenderedTVConfig(**change)


def test_kinds_keep_the_order_of_the_registry() -> None:
    assert RenderedTVConfig().kinds == tuple(EVENT_KINDS)
    assert RenderedTVConfig(event_kinds=3).kinds == tuple(EVENT_KINDS)[:3]
    assert RenderedTVConfig(event_kinds=("drum", "bounce")).kinds == ("bounce", "drum")


def test_config_round_trips_through_json() -> None:
    config = RenderedTVConfig(event_kinds=("drum", "bounce"))
    assert RenderedTVConfig.model_validate_json(config.model_dump_json()) == config
