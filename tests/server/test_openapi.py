"""Every request that the description allows, or nearly allows, has an answer that it describes."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.server.worlds import URL, World, serving

_CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance,
    response_headers_conformance, response_schema_conformance,
]  # fmt: skip
# These make films or maps, for seconds each.
_SLOW = {"/api/export": 3, "/api/map": 3, "/api/uploads": 3, "/media/{item_id}/excerpt": 3}


def send_examples(strategy: SearchStrategy[Case[Any]], num: int) -> set[int]:
    """Send requests and check the answers; return their statuses."""
    statuses: set[int] = set()

    @settings(
        max_examples=num,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def send(case: Case[Any]) -> None:
        answer = case.call(headers={"X-Toomuchtv": "1"}, timeout=120)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=_CHECKS)

    send()
    return statuses


def try_all(world: World, num_examples: int) -> dict[str, set[int]]:
    """Send generated requests to all operations; return the statuses of the answers."""
    found: dict[str, set[int]] = {}
    with serving(world) as client:
        schema = schemathesis.openapi.from_dict(client.get("/api/openapi.json").json())
        schema.app = client.app
        schema.config.update(base_url=URL)
        for result in schema.get_all_operations():
            assert isinstance(result, Ok)
            operation = result.ok()
            num = max(2, num_examples // _SLOW.get(operation.path, 1))
            has_input = any([*operation.iter_parameters(), *operation.body])
            statuses = found.setdefault(f"{operation.method.upper()} {operation.path}", set())
            for mode in GenerationMode if has_input else [GenerationMode.POSITIVE]:
                strategy = operation.as_strategy(generation_mode=mode)
                statuses.update(send_examples(strategy, num))
    return found


def test_answers_are_as_described(world: World) -> None:
    found = try_all(world, 3)
    assert len(found) >= 17
    assert all(statuses <= {200, 304, 400, 404, 413, 415, 416, 422} for statuses in found.values())
    assert 200 in found["GET /api/items/{item_id}"] or 404 in found["GET /api/items/{item_id}"]


@pytest.mark.slow
def test_many_answers_are_as_described(world: World) -> None:
    try_all(world, 100)
