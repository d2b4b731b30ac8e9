"""The one direction in which modules may know each other, read from the source."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

import toomuchtv

ROOT = Path(toomuchtv.__file__).parent

_BASE = {"errors", "_internal"}
_JOBS = _BASE | {"engines"}
_DATA = _JOBS | {"media", "catalog", "detection", "data"}
_LEARNING = _DATA | {"models", "losses", "inference"}

#: What each package may import of this project, besides itself. Every module of the package
#: belongs to one of these; there are no exceptions.
MAY_IMPORT = {
    "errors": set[str](),
    "_internal": {"errors"},
    "engines": _BASE,
    "media": _BASE,
    "catalog": _JOBS | {"media"},
    "detection": _JOBS | {"media", "catalog"},
    "data": _BASE | {"media", "catalog", "detection"},
    "models": _BASE,
    "losses": _BASE,
    "inference": _DATA | {"models"},
    "training": _LEARNING,
    "evaluation": _LEARNING | {"training"},
    "diagnosis": _LEARNING | {"training", "evaluation"},
    "search": _LEARNING | {"training", "evaluation"},
    "export": _LEARNING | {"training", "evaluation"},
    "server": _BASE | {"media", "catalog", "search"},
    "reports": _LEARNING | {"training", "evaluation", "diagnosis"},
    "cli": _LEARNING
    | {"training", "evaluation", "diagnosis", "search", "export", "reports", "server"},
    "__init__": _LEARNING | {"training", "evaluation", "diagnosis", "search", "export"},
    "__main__": {"_internal", "cli"},
}

#: What pure tensor code may import from outside, besides the standard library.
OUTSIDE = {"models": {"torch", "pydantic"}, "losses": {"torch", "pydantic"}}


def _sources() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


@functools.cache
def _nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text("utf-8"))))


@functools.cache
def _imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere in it, by its absolute name."""
    package = ("toomuchtv", *path.relative_to(ROOT).with_suffix("").parts)[:-1]
    found: set[str] = set()
    for node in _nodes(path):
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


@pytest.mark.parametrize("owner", sorted({_owner(path) for path in _sources()}))
def test_imports_go_one_way(owner: str) -> None:
    allowed = MAY_IMPORT[owner] | {owner}
    for path in _sources():
        if _owner(path) == owner:
            imported = {name for name in _imports(path) if name.partition(".")[0] == "toomuchtv"}
            # `import toomuchtv` alone would reach everything: only the package itself may say it.
            wrong = {name for name in imported if (*name.split("."), "")[1] not in allowed}
            assert not wrong, f"{path}: {owner} may import {sorted(allowed)}"


def test_the_package_knows_nothing_of_experiments() -> None:
    for path in _sources():
        outside = {name.partition(".")[0] for name in _imports(path)}
        assert not outside & {"experiments", "benchmarks", "tests"}, path


def test_only_the_documented_modules_are_at_the_root() -> None:
    assert {path.stem for path in ROOT.glob("*.py")} == {"__init__", "__main__", "errors"}


def test_only_the_command_line_prints() -> None:
    for path in _sources():
        if _owner(path) == "cli":
            continue
        called = [node.func for node in _nodes(path) if isinstance(node, ast.Call)]
        assert not [name for name in called if isinstance(name, ast.Name) and name.id == "print"]
        assert not _imports(path) & {"rich", "rich.console", "typer"}, path


@pytest.mark.parametrize("package", sorted(OUTSIDE))
def test_tensor_code_knows_only_torch(package: str) -> None:
    outside = {
        name.partition(".")[0] for path in (ROOT / package).rglob("*.py") for name in _imports(path)
    }
    assert outside - set(sys.stdlib_module_names) - {"toomuchtv"} <= OUTSIDE[package]


def test_no_module_is_a_junk_drawer() -> None:
    names = {path.stem for path in _sources()} | {path.parent.name for path in _sources()}
    assert not {name for name in names if {"utils", "util", "common", "helpers"} & {name}}


def test_nothing_is_unpickled() -> None:
    """Weights and checkpoints are data: no file that a user is given can run code."""
    for path in _sources():
        # Between a process and its own children, what was pickled a moment ago may come back.
        between_processes = path == ROOT / "_internal" / "subprocess_pool.py"
        unsafe = {"pickle", "dill", "cloudpickle", "joblib", "shelve"}
        assert between_processes or not _imports(path) & unsafe, path
        for node in _nodes(path):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {("torch", "load"), ("torch", "save")}
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant)
                assert node.value.value is False


def test_scanning_needs_no_torch() -> None:
    code = "import sys, toomuchtv.catalog.scan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
