"""Options that several verbs share, and the conversion of errors to messages and exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from toomuchtv.cli.console import Output
from toomuchtv.errors import ToomuchtvError

DONE, DONE_IN_PART, WRONG_INPUT = 0, 1, 2
_INTERRUPTED = 130  # what a shell reports for a process that SIGINT ended

Catalog = Annotated[Path, typer.Option("--catalog", help="Folder of the catalog.")]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object on stdout and everything else on stderr."),
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Number of worker processes.")]


@contextmanager
def verb_output(*, as_json: bool, is_quiet: bool = False) -> Iterator[Output]:
    """Provide the output of a verb, and turn expected errors into a message and an exit code.

    Args:
        as_json: Whether stdout is reserved for one JSON object.
        is_quiet: Whether only errors are printed. Processes of rank 1 and above are quiet.

    Raises:
        typer.Exit: With code 2 for wrong usage or input, and with 130 after an interruption.
    """
    output = Output(as_json=as_json, is_quiet=is_quiet)
    try:
        yield output
    except (ToomuchtvError, ValueError) as error:
        output.error(str(error))
        raise typer.Exit(WRONG_INPUT) from error
    except KeyboardInterrupt as error:
        output.error("Interrupted. What was finished so far is kept.")
        raise typer.Exit(_INTERRUPTED) from error
