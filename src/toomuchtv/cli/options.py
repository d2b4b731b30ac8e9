"""What all verbs share: options, exit codes, and how errors are told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from toomuchtv.cli.console import Output
from toomuchtv.errors import ToomuchtvError

DONE, DONE_IN_PART, WRONG_INPUT = 0, 1, 2

Catalog = Annotated[Path, typer.Option("--catalog", help="Folder of the catalog.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, all else on stderr.")
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes to work with.")]


@contextmanager
def verb_output(*, as_json: bool, is_quiet: bool = False) -> Iterator[Output]:
    """Say errors as a person reads them, and exit as DESIGN.md has it.

    A quiet one says nothing else: one of many processes that do the same.
    """
    output = Output(as_json=as_json, is_quiet=is_quiet)
    try:
        yield output
    except (ToomuchtvError, ValueError) as error:
        output.error(str(error))
        raise typer.Exit(WRONG_INPUT) from error
    except KeyboardInterrupt as error:
        output.error("interrupted; what was done so far is kept")
        raise typer.Exit(130) from error
