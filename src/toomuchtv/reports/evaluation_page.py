"""Pages of evaluations: one result in full, and several in a table beside published figures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from toomuchtv._internal.files import write_text
from toomuchtv.evaluation.result import Evaluation
from toomuchtv.evaluation.table import (
    PUBLISHED_HEADER,
    SUMMARY_HEADER,
    comparability_warnings,
    figure_rows,
    published_rows,
    score_grids,
    summary_row,
)
from toomuchtv.reports.charts import draw_confusion_matrix
from toomuchtv.reports.page import ResultTable, Section, write_page

_SELECTIONS = {
    "fixed": "fixed by the protocol",
    "inner": "chosen within the training set; the test fold was not used",
    "test": "CHOSEN ON THE TEST FOLD, as the published code does, so the score is biased",
}


def write_evaluation_page(path: str | os.PathLike[str], result: Evaluation) -> None:
    """Write the page of one result.

    Args:
        path: Path of the HTML file.
        result: The result.
    """
    encoder = result.encoder or {}
    header, rows = figure_rows(result)
    sections = [
        Section(
            heading="Score",
            text=f"Encoder: {encoder.get('name', 'not named')} "
            f"({encoder.get('weights', 'weights not known')}). Pretraining: "
            f"{encoder.get('pretraining', 'not known')}.",
            how_to_read="The confidence interval resamples source videos or recordings and not "
            "clips, because clips of one source are not independent; for retrieval, those of the "
            "queries. Drawn training sets are resampled too. Chance is the score of guessing.",
            table=ResultTable(header=header, rows=[[str(cell) for cell in row] for row in rows]),
        ),
        _protocol_section(result),
        _data_section(result),
    ]
    if result.per_class:
        ascending = sorted(result.per_class.items(), key=lambda entry: entry[1])
        sections.append(
            Section(
                heading="Score by class",
                text="The table shows the recall of each class over all folds, or its average "
                "precision if clips have several labels. The lowest score comes first.",
                table=ResultTable(
                    header=["class", "score"],
                    rows=[[name, f"{value:.3f}"] for name, value in ascending],
                ),
            )
        )
    if result.confusion is not None:
        sections.append(
            Section(
                heading="Confusion matrix",
                text="The matrix shows how many clips of each true class (row) were predicted to "
                "be of each class (column), over all folds.",
                charts=[
                    (draw_confusion_matrix(result.confusion, result.classes), "Confusion matrix")
                ],
            )
        )
    title = f"{result.benchmark}, protocol {result.protocol}"
    write_page(path, title=title, lead=_lead(result), sections=sections)


def _lead(result: Evaluation) -> str:
    modality = f" from {result.modality}" if result.modality else ""
    if result.primary is None:
        return f"This is retrieval{modality}. Every figure is shown beside its chance level."
    figures = result.metrics[result.primary]
    draws = figures.get("draws", [])
    drawn = f" Each fold is the mean over {len(draws)} drawn training sets." if draws else ""
    return (
        f"The {result.primary}{modality} is {figures['mean']:.3f}, with a standard deviation of "
        f"{figures['std']:.3f} over {len(figures['folds'])} folds.{drawn} Chance is "
        f"{result.chance[result.primary]:.3f}."
    )


def _protocol_section(result: Evaluation) -> Section:
    config = result.protocol_config or {}
    rows = [["source", str(config.get("source", "-"))]]
    rows += [[name, text] for name, text in (result.settings or {}).items()]
    rows.append(["seed", str(result.identity.seed)])
    rows += [["departure from the source", text] for text in config.get("departures", ())]
    if result.selection:
        rows.append(["hyperparameter", _SELECTIONS.get(str(result.selection["how"]), "-")])
        rows.append(["chosen value", _describe_choices(result.selection["chosen"])])
    return Section(
        heading="Protocol",
        text="The protocol defines the views, the classifier and the choice of hyperparameters. "
        "Scores of different protocols cannot be compared.",
        table=ResultTable(header=["", ""], rows=rows),
    )


def _describe_choices(folds: Sequence[Mapping[str, float]]) -> str:
    """Describe what was chosen in each fold, or once if it was the same in all."""
    listed = [
        ", ".join(
            f"{value:g}" if name == "chosen" else f"{name.replace('_', ' ')} {value:g}"
            for name, value in fold.items()
        )
        for fold in folds
    ]
    return "; ".join(listed if len(set(listed)) > 1 else listed[:1])


def _data_section(result: Evaluation) -> Section:
    rows = [[name, str(value)] for name, value in (result.data or {}).items()]
    rows += [["note", note] for note in result.notes]
    if result.leakage is None:
        rows.append(["leakage", "not measured (pass --catalog with the pretraining catalog)"])
    else:
        rows += [
            [
                f"leakage: {name.replace('_', ' ')}",
                "; ".join(value) if isinstance(value, list) else str(value),
            ]
            for name, value in result.leakage.items()
            if value != []
        ]
    rows += [["version", f"{name} {value}"] for name, value in (result.versions or {}).items()]
    return Section(
        heading="Data",
        text="The table shows what was tested, whether it was complete, and how much of it occurs "
        "in the pretraining catalog.",
        table=ResultTable(header=["", ""], rows=rows),
    )


def write_table(folder: str | os.PathLike[str], results: Sequence[Evaluation]) -> None:
    """Write `table.html` and `table.txt` with several results and the published figures."""
    folder = Path(folder)
    rows = sorted(summary_row(result) for result in results)
    warnings = comparability_warnings(results)
    published = published_rows(results)
    sections = [
        Section(
            heading=grid.title,
            text="The table shows mean and standard deviation over the folds, in percent. Do not "
            "compare scores of different rows, because each row is another protocol.",
            table=ResultTable(header=grid.header, rows=[_without_breaks(row) for row in grid.rows]),
        )
        for grid in score_grids(results)
    ]
    sections += [
        Section(
            heading="Measured",
            text="The table shows mean and standard deviation over the folds, and the 95% "
            "confidence interval over sources.",
            table=ResultTable(header=SUMMARY_HEADER, rows=[_without_breaks(row) for row in rows]),
        ),
        Section(
            heading="Differences between these results",
            text="The number of frames, the crop and the number of views alone change such scores "
            "by several points.",
            table=ResultTable(header=["warning"], rows=[[text] for text in warnings]),
        ),
    ]
    if published:
        sections.append(
            Section(
                heading="Published by others",
                text="These figures were copied from papers and READMEs and not measured here. "
                "Each has its own protocol and pretraining, and some were chosen on the test fold.",
                table=ResultTable(header=PUBLISHED_HEADER, rows=published),
            )
        )
    noun = "result" if len(results) == 1 else "results"
    write_page(
        folder / "table.html",
        title="Results beside published figures",
        lead=f"This page compares {len(results)} {noun}. Read every score together with the name "
        "of its protocol.",
        sections=sections,
    )
    blocks = [_text_table("Measured", SUMMARY_HEADER, rows)]
    blocks += [f"warning: {warning}\n" for warning in warnings]
    if published:
        blocks.append(_text_table("Published by others", PUBLISHED_HEADER, published))
    write_text(folder / "table.txt", "".join(blocks))


def _without_breaks(row: Sequence[str]) -> list[str]:
    """Keep figures such as "58.0 +- 4.0" and "52.7 to 63.4" on one line."""
    return [
        cell.replace("+-", "\N{PLUS-MINUS SIGN}").replace(" ", "\N{NO-BREAK SPACE}")
        if cell[:1].isdigit()
        else cell
        for cell in row
    ]


def _text_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table as text with aligned columns."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, ["-" * width for width in widths], *rows)
    ]
    return "\n".join([title, *lines, "", ""])
