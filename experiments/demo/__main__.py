"""`python -m experiments.demo --out demo`: the whole workflow on a small rendered library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.demo.run import FULL, SMALL, run_demo
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
    full: Annotated[
        bool, typer.Option("--full", help="Films and series, larger clips: 20 minutes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the whole workflow on a small library of rendered series and write a report.

    The demo renders a library, scans and prepares it, and trains two pairs of encoders: one with
    uniform and one with hierarchical sampling. It then measures how well a linear classifier
    recognizes events in titles that were not in training, and searches for the same event in other
    titles. OUT/report.html shows the results. The demo takes about five minutes on two cores. An
    interrupted demo continues when the command is repeated.
    """
    with verb_output(as_json=as_json) as output:
        size = FULL if full else SMALL
        result = run_demo(out, seed=seed, num_workers=workers, output=output, size=size)
        output.info(_farewell(result))
        output.print_json(result)


def _farewell(result: dict[str, Any]) -> str:
    """Return what was shown, and what to do next."""
    uniform, hierarchical = (
        result["scores"][name]["video"]["metrics"]["accuracy"]["mean"]
        for name in ("uniform", "hierarchical")
    )
    found = result["search"]["precision_at_5"]
    return f"""
Two pairs of encoders saw the same films without labels, and only their batches differed. With
uniform batches, {uniform:.0%} of the events in unseen titles are named; with many clips of one title per
batch, {hierarchical:.0%}. Of the hits of a search in other titles, {found["uniform"]:.0%} and {found["hierarchical"]:.0%} show the same event.

The report: {result["report"]}

Next, on your own films:

  toomuchtv scan ~/films --catalog out/cat
  toomuchtv prepare --catalog out/cat --workers 2
  toomuchtv pretrain --catalog out/cat --run out/run --preset tiny
"""  # noqa: E501


if __name__ == "__main__":
    app()
