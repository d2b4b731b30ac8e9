"""The command line: one verb per task. Only this package prints; it composes the library."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from toomuchtv.cli import (
    catalog,
    compare,
    diagnose,
    doctor,
    embed,
    evaluate,
    export,
    index,
    prepare,
    pretrain,
    scan,
    search,
    serve,
)

__all__ = ["app", "main"]

app = typer.Typer(
    name="toomuchtv",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
# The order in which --help lists the verbs.
for _verb in (
    doctor.doctor,
    scan.scan,
    prepare.prepare,
    pretrain.pretrain,
    diagnose.diagnose,
    evaluate.evaluate,
    compare.compare,
    embed.embed,
    search.search,
    serve.serve,
    export.export,
):
    app.command()(_verb)

_catalog_app = typer.Typer(no_args_is_help=True, help="Inspect and correct a catalog.")
_catalog_app.command()(catalog.show)
_catalog_app.command()(catalog.rename)
_catalog_app.command()(catalog.segments)
app.add_typer(_catalog_app, name="catalog")

_index_app = typer.Typer(no_args_is_help=True, help="Inspect an index, and export its embeddings.")
_index_app.command()(index.info)
_index_app.command()(index.check)
_index_app.command()(index.export)
app.add_typer(_index_app, name="index")


def _print_version(requested: bool) -> None:
    if requested:
        print(version("toomuchtv"))
        raise typer.Exit


@app.callback()
def _describe(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Train a video encoder and an audio encoder on films and TV series, without labels.

    Run the verbs in this order: scan, prepare, pretrain, diagnose, evaluate; then embed, and search
    or serve; or export. `toomuchtv VERB --help` describes a verb and its options.

    The exit code is 0 if everything was done, 1 if a part failed (the failures are listed), and 2
    if the usage or the input was wrong or the system has a fault, such as a full disk. It is 130
    after Ctrl-C and 143 after SIGTERM.
    """


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        # File names need not be valid UTF-8. Printing one must not end the command.
        reconfigure: Callable[..., None] | None = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    app()
