"""`python -m experiments.demo`: the whole job on a small rendered library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toomuchtv.cli.options import Json, Workers, verb_output


def main(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything it makes.")] = Path(
        "demo"
    ),
    *,
    seed: Annotated[int, typer.Option(help="Of the library, the weights and the plans.")] = 0,
    workers: Workers = 2,
    as_json: Json = False,
) -> None:
    """Do the whole job on a small library of rendered films, ending in a report.

    Trains twice, with uniform and with hierarchical sampling, and compares what a linear
    classifier can tell of the events in titles that neither has seen. Interrupted, the same
    command goes on where it stopped.
    """
    from experiments.demo.run import run_demo

    with verb_output(as_json=as_json) as output:
        result = run_demo(out, seed=seed, num_workers=workers, output=output)
        output.print_json(result)


if __name__ == "__main__":
    typer.run(main)
