"""The oldest versions that `make test-oldest` installs are the lower bounds of pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _version(text: str) -> tuple[int, ...]:
    numbers = [int(part) for part in text.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def test_every_dependency_has_both_bounds_and_the_oldest_versions_are_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lower: dict[str, tuple[int, ...]] = {}
    for dependency in project["dependencies"]:
        match = re.fullmatch(r"([a-z0-9-]+)>=([0-9.]+),<([0-9.]+)", dependency)
        assert match, f"{dependency} needs a lower and an upper bound"
        lower[match[1]] = _version(match[2])
        assert _version(match[2]) < _version(match[3])
    lines = (ROOT / "constraints-oldest.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {name: _version(text) for name, text in pins.items()} == lower
