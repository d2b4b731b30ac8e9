"""The command line: one verb a task. The only place that knows every part."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from toomuchtv.cli.evaluation import compare, evaluate
from toomuchtv.cli.library import doctor, prepare, scan, show
from toomuchtv.cli.training import diagnose, pretrain

__all__ = ["app", "main"]

app = typer.Typer(
    name="toomuchtv",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Teach a video and an audio encoder from a folder of films and TV series, without labels."
    "\n\nThe usual order is scan, prepare, pretrain, evaluate.\n\nExit codes: 0 done, "
    "1 done in part (what failed is listed), 2 wrong usage or input.",
)
catalog_app = typer.Typer(no_args_is_help=True, help="Look into a catalog.")
app.add_typer(catalog_app, name="catalog")

catalog_app.command()(show)
# As --help lists them.
for _verb in (doctor, scan, prepare, pretrain, evaluate, diagnose, compare):
    app.command()(_verb)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Callable[..., None] | None = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    app()
