"""The verb `diagnose`: how hard the negatives of a run are, and what its embeddings encode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Option

from toomuchtv._internal.files import write_text
from toomuchtv.cli.console import Output
from toomuchtv.cli.options import Catalog, Json, verb_output

if TYPE_CHECKING:
    from toomuchtv.diagnosis import Diagnosis


def diagnose(
    run: Annotated[Path, Argument(help="Folder of a run whose training has finished.")],
    catalog: Catalog,
    *,
    out: Annotated[
        Path | None, Option(help="Folder for the page. The default is RUN/diagnosis.")
    ] = None,
    clips: Annotated[int, Option(help="Number of clips that are drawn per figure.")] = 512,
    seed: Annotated[int, Option(help="Seed of the clips that are drawn.")] = 0,
    split: Annotated[
        Literal["auto", "held_out", "train", "all"],
        Option(help="Titles to use. auto: the held-out titles if there are at least 4, else all."),
    ] = "auto",
    truth: Annotated[
        Path | None,
        Option(help="Folder of labeled events. The default is `ground_truth` beside the library."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure how easy the negatives are, and whether the embeddings encode titles or events.

    The page OUT/diagnosis.html shows every figure and explains how to read it. OUT/diagnosis.json
    has the same figures for programs.

    For example:

        toomuchtv diagnose runs/first --catalog cat
    """
    from toomuchtv.catalog.store import open_catalog
    from toomuchtv.diagnosis import diagnose as measure
    from toomuchtv.reports.diagnosis_page import write_diagnosis_page

    with verb_output(as_json=as_json) as output, open_catalog(catalog) as opened:
        with output.progress("clips") as progress:
            result = measure(
                run, opened, split=split, clips=clips, seed=seed, truth=truth, progress=progress
            )
        folder = run / "diagnosis" if out is None else out
        page, figures = folder / "diagnosis.html", folder / "diagnosis.json"
        write_diagnosis_page(page, result)
        values = result.figures()
        write_text(figures, json.dumps(values, indent=1) + "\n")
        _print_diagnosis(output, result)
        output.print_json({"page": page, "figures": figures, **values})
        output.info(f"{page}")


def _print_diagnosis(output: Output, result: Diagnosis) -> None:
    from toomuchtv.diagnosis.results import Unavailable

    policies = [policy for policy in result.policies if not isinstance(policy, Unavailable)]
    if policies:
        names = [f"{one.policy}{' (of the run)' if one.trained_with else ''}" for one in policies]
        rows = [
            [
                name.replace("_", " "),
                *(
                    f"{one.figures[name].mean:.3g} ± {one.figures[name].std:.2g}"
                    for one in policies
                ),
            ]
            for name in policies[0].figures
        ]
        output.print_table("Hardness of the negatives, by sampling policy", ["", *names], rows)
    for target, probes in (("title", result.title_probes), ("event", result.event_probes)):
        if not isinstance(probes, Unavailable):
            output.print_table(
                f"Linear probe of the {target}",
                ["modality", "content", "layer", "weights", "accuracy", "chance"],
                [
                    [
                        probe.modality,
                        probe.content,
                        probe.layer,
                        "trained" if probe.trained else "untrained",
                        probe.accuracy,
                        probe.chance,
                    ]
                    for probe in probes
                ],
            )
    for part in (*result.policies, result.pool, result.title_probes, result.event_probes):
        if isinstance(part, Unavailable):
            output.warning(f"not measured: {part.reason}")
    for note in result.notes:
        output.warning(f"note: {note}")
