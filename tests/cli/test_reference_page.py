"""The reference page of the command line lists exactly the options that the command line has."""

from __future__ import annotations

import functools
import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from toomuchtv.cli import app

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "cli.md"


@functools.cache
def commands() -> dict[str, TyperCommand]:
    """Every verb by its full name, for example `catalog show`."""
    found: dict[str, TyperCommand] = {}
    for name, command in typer.main.get_group(app).commands.items():
        nested = command.commands if isinstance(command, TyperGroup) else {"": command}
        for child, leaf in nested.items():
            assert isinstance(leaf, TyperCommand)
            found[f"{name} {child}".strip()] = leaf
    return found


def parameters(command: TyperCommand) -> list[TyperArgument | TyperOption]:
    """The arguments and options of a verb, without --help."""
    return [one for one in command.params if isinstance(one, (TyperArgument, TyperOption))]


def option_rows(command: TyperCommand) -> list[str]:
    """The table rows that the page must have for one verb."""
    rows = []
    for one in parameters(command):
        names = " / ".join(f"`{name}`" for name in [*one.opts, *one.secondary_opts])
        if isinstance(one, TyperArgument):
            names = f"`{str(one.name).upper()}`"
        default = "required" if one.required else one.default
        shown = "" if default is None or default is False else str(default)
        rows.append(f"| {names} | {shown} | {one.help} |")
    return rows


@pytest.mark.parametrize("verb", sorted(commands()))
def test_page_has_every_option_and_no_other(verb: str) -> None:
    text = PAGE.read_text("utf-8")
    (section,) = re.findall(rf"^## {verb}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| `.*\|$", section, re.MULTILINE)
    assert rows == option_rows(commands()[verb])


def test_page_has_every_verb_and_no_other() -> None:
    headings = re.findall(r"^## (.*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(commands())


def test_every_option_has_a_complete_sentence_as_help() -> None:
    for verb, command in commands().items():
        assert command.help, verb
        for one in parameters(command):
            assert one.help, (verb, one.name)
            assert one.help[0].isupper(), (verb, one.name, one.help)
            assert one.help.endswith("."), (verb, one.name, one.help)


def printed_commands() -> list[tuple[str, list[str]]]:
    """Every command in a code block of the docs, as its page and its words after `toomuchtv`."""
    found = []
    for page in sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")]):
        text = page.read_text("utf-8").replace("\\\n", " ")
        blocks = re.findall(r"^```\w*\n(.*?)^```$|^    (\S[^\n]*)$", text, re.MULTILINE | re.DOTALL)
        for line in "\n".join(fenced or indented for fenced, indented in blocks).splitlines():
            match = re.fullmatch(r"(?:\$ |[A-Z_]+=\S+ )*toomuchtv ([a-z].*)", line.strip())
            if match:
                words = shlex.split(match[1], comments=True)
                found.append((str(page.relative_to(ROOT)), words))
    return found


def test_every_printed_command_has_a_verb_and_options_that_exist() -> None:
    printed = printed_commands()
    assert len(printed) > 60
    for page, words in printed:
        verb = " ".join(words[:2]) if words[0] in {"catalog", "index"} else words[0]
        assert verb in commands(), (page, words)
        names = {
            name
            for one in parameters(commands()[verb])
            for name in [*one.opts, *one.secondary_opts]
        }
        used = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert used <= {*names, "--help"}, (page, words)
