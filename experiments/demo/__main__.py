"""`python -m experiments.demo --out demo`: the whole workflow on a small rendered library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.demo.run import run_demo
from toomuchtv.cli.options import Json, Workers, verb_output

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def main(
    out: Annotated[Path, typer.Option("--out", help="Output folder.")] = Path("demo"),
    *,
    seed: Annotated[
        int, typer.Option(help="Seed of the library, the initial weights and the batches.")
    ] = 0,
    workers: Workers = 2,
    as_json: Json = False,
) -> None:
    """Run the whole workflow on a small library of rendered films and write a report.

    The demo renders a library, scans and prepares it, and trains two pairs of encoders: one with
    uniform and one with hierarchical sampling. It then measures how well a linear classifier
    recognizes events in titles that were not in training. OUT/report.html shows the results. The
    demo takes about 18 minutes on two cores. An interrupted demo continues when the command is
    repeated.
    """
    with verb_output(as_json=as_json) as output:
        output.print_json(run_demo(out, seed=seed, num_workers=workers, output=output))


if __name__ == "__main__":
    app()
