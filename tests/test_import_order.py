"""The one direction in which modules may know each other, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import toomuchtv

ROOT = Path(toomuchtv.__file__).parent

LEAVES = {"errors", "progress", "randomness", "isolation", "distributed"}
_DATA = LEAVES | {"media", "catalog", "sampling"}
_LEARNING = _DATA | {"models", "objectives", "pretrained", "config"}

#: What each module or package may import of this project, besides itself. What is not named here
#: stands at the top: it may know everything, and nothing that is named may know it.
MAY_IMPORT = {
    **dict.fromkeys(LEAVES, LEAVES),
    "media": LEAVES,
    "catalog": LEAVES | {"media"},
    "sampling": LEAVES | {"media", "catalog"},
    "models": {"errors"},
    "objectives": {"errors", "distributed"},
    "pretrained": LEAVES | {"media", "models"},
    "config": _DATA | {"models", "objectives", "training.config"},
    "training": _LEARNING,
    "studio": LEAVES,
    "evaluation": _LEARNING | {"training"},
    "hear": LEAVES | {"media", "pretrained"},
    "search": _LEARNING,
    "report": _LEARNING | {"training", "evaluation", "search", "studio"},
    "study": _LEARNING | {"training", "evaluation", "studio", "report", "console", "doctor"},
}

#: What pure tensor code may import from outside, besides the standard library.
OUTSIDE = {"models": {"torch", "pydantic"}, "objectives": {"torch", "pydantic"}}


def _sources() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def _imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere in it, by its absolute name."""
    package = ("toomuchtv", *path.relative_to(ROOT).with_suffix("").parts)[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [base])])
            found.update(
                {f"{base}.{alias.name}" for alias in node.names} if base == "toomuchtv" else {base}
            )
    return found


def _owner(path: Path) -> str:
    """The package, or the module at the top, that a file belongs to."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


@pytest.mark.parametrize("path", _sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    owner = _owner(path)
    if owner not in MAY_IMPORT:
        return
    allowed = MAY_IMPORT[owner] | {owner}
    own = {name.removeprefix("toomuchtv.") for name in _imports(path) if "toomuchtv" in name}
    wrong = {name for name in own if name.partition(".")[0] not in allowed and name not in allowed}
    assert not wrong, f"{owner} may import {sorted(allowed)}, not {sorted(wrong)}"


@pytest.mark.parametrize("package", sorted(OUTSIDE))
def test_tensor_code_knows_only_torch(package: str) -> None:
    outside = {
        name.partition(".")[0] for path in (ROOT / package).rglob("*.py") for name in _imports(path)
    }
    assert outside - set(sys.stdlib_module_names) - {"toomuchtv"} <= OUTSIDE[package]


def test_every_leaf_is_there() -> None:
    assert all((ROOT / f"{name}.py").exists() for name in LEAVES)


def test_no_module_is_a_junk_drawer() -> None:
    names = {path.stem for path in _sources()} | {path.parent.name for path in _sources()}
    assert not {name for name in names if {"utils", "util", "common", "helpers"} & {name}}


def test_nothing_is_unpickled() -> None:
    """Weights and checkpoints are data: no file that a user is given can run code."""
    for path in _sources():
        # Between a process and its own children, what was pickled a moment ago may come back.
        between_processes = path == ROOT / "isolation.py"
        unsafe = {"pickle", "dill", "cloudpickle", "joblib", "shelve"}
        assert between_processes or not _imports(path) & unsafe, path
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {("torch", "load"), ("torch", "save")}
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant)
                assert node.value.value is False


def test_scanning_needs_no_torch() -> None:
    code = "import sys, toomuchtv.catalog.scan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
