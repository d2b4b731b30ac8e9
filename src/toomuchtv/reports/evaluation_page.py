"""Pages of results: one result in full, and several in a table beside the published figures."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from toomuchtv.evaluation.result import Evaluation
from toomuchtv.evaluation.table import (
    PUBLISHED_HEADER,
    SUMMARY_HEADER,
    comparability_warnings,
    describe_views,
    figure_rows,
    published_rows,
    score_grids,
    summary_row,
)
from toomuchtv.reports.page import ResultTable, Section, write_page

_MOST_CLASSES_NAMED = 60


def write_evaluation_page(path: Path, result: Evaluation) -> None:
    """Write the page of one result.

    Args:
        path: Where to.
        result: What came.
    """
    encoder = result.encoder or {}
    header, rows = figure_rows(result)
    sections = [
        Section(
            heading="Score",
            text=f"{encoder.get('name', 'The encoder')}, pretrained on "
            f"{encoder.get('pretraining', 'what is not said')}.",
            how_to_read="The interval draws source videos or recordings, not clips: clips of one "
            "source are no independent evidence. Chance is what guessing gives.",
            table=ResultTable(header=header, rows=[[str(cell) for cell in row] for row in rows]),
        ),
        _protocol_section(result),
        _data_section(result),
    ]
    if result.per_class:
        worst = sorted(result.per_class.items(), key=lambda entry: entry[1])
        sections.append(
            Section(
                heading="By class",
                text="From the worst to the best: share of its clips that were named right, over "
                "all folds; average precision where clips have several labels.",
                table=ResultTable(
                    header=["class", "score"],
                    rows=[[name, f"{value:.3f}"] for name, value in worst],
                ),
            )
        )
    if result.confusion is not None:
        sections.append(
            Section(
                heading="What is taken for what",
                text="Clips of each true class (rows) by the class that they were given (columns), "
                "all folds together.",
                png=draw_confusion(result.confusion, result.classes),
                png_alt="Confusion matrix",
            )
        )
    write_page(
        path,
        title=f"{result.benchmark}, protocol {result.protocol}",
        lead=_lead(result),
        sections=sections,
    )


def _lead(result: Evaluation) -> str:
    sense = f" from {result.modality}" if result.modality else ""
    if result.primary is None:
        return f"Retrieval{sense}; every figure stands beside what guessing gives."
    figures = result.metrics[result.primary]
    return (
        f"{result.primary.capitalize()}{sense}: {figures['mean']:.3f}, standard deviation over "
        f"{len(figures['folds'])} folds {figures['std']:.3f}, chance "
        f"{result.chance[result.primary]:.3f}."
    )


def _protocol_section(result: Evaluation) -> Section:
    config = result.protocol_config or {}
    rows = [["from", str(config.get("source", "-"))]]
    if result.benchmark != "retrieval":
        rows.append(["tested on", describe_views(result.protocol, result.modality)])
    rows += [["departs", text] for text in config.get("departures", ())]
    if result.selection:
        how = {
            "fixed": "fixed by the protocol",
            "inner": "chosen inside the training set, never with a look at the test fold",
            "test": "CHOSEN ON THE TEST FOLD, as the release does: the score is biased",
        }
        rows.append(["free number", how.get(str(result.selection["how"]), "-")])
        rows.append(["chosen", _chosen(result.selection["chosen"])])
    return Section(
        heading="Protocol",
        text="What was shown, fitted and chosen. A score without it means nothing.",
        table=ResultTable(header=["", ""], rows=rows),
    )


def _chosen(folds: Sequence[Mapping[str, float]]) -> str:
    """What was chosen in each fold, in words."""
    return "; ".join(
        ", ".join(
            f"{value:g}" if name == "chosen" else f"{name.replace('_', ' ')} {value:g}"
            for name, value in fold.items()
        )
        for fold in folds
    )


def _data_section(result: Evaluation) -> Section:
    rows = [[name, str(value)] for name, value in (result.data or {}).items()]
    rows += [["note", note] for note in result.notes]
    leakage = result.leakage
    if leakage is None:
        rows.append(["leakage", "not looked for: give --catalog, the one it was pretrained on"])
    else:
        rows += [
            [f"leakage: {name.replace('_', ' ')}",
             "; ".join(value) if isinstance(value, list) else str(value)]
            for name, value in leakage.items()
            if value != []
        ]  # fmt: skip
    rows += [["version", f"{name} {value}"] for name, value in (result.versions or {}).items()]
    return Section(
        heading="Data",
        text="What was tested on, and how complete it was.",
        table=ResultTable(header=["", ""], rows=rows),
    )


def draw_confusion(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> bytes:
    """Draw a confusion matrix as a PNG; rows are shares of the true class."""
    counts = np.array(confusion, dtype=np.float64)
    shares = counts / np.maximum(1.0, counts.sum(axis=1, keepdims=True))
    named = len(classes) <= _MOST_CLASSES_NAMED
    side = min(14.0, max(4.5, 0.32 * len(classes) + 2.0))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    if named:
        axes.set_xticks(range(len(classes)), list(classes), rotation=90, fontsize=8)
        axes.set_yticks(range(len(classes)), list(classes), fontsize=8)
    if len(classes) <= 20:
        for row, column in np.argwhere(counts > 0):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(
                column, row, f"{counts[row, column]:.0f}", ha="center", va="center",
                fontsize=8, color=color,
            )  # fmt: skip
    axes.set_xlabel("named")
    axes.set_ylabel("true")
    out = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(out, format="png")
    return out.getvalue()


def write_table(folder: Path, results: Sequence[Evaluation]) -> None:
    """Write `table.html` and `table.txt`: results, what keeps them apart, the field's figures."""
    rows = sorted(summary_row(result) for result in results)
    warnings = comparability_warnings(results)
    published = published_rows(results)
    sections = [
        Section(
            heading=grid.title,
            text="Mean and standard deviation over folds, in percent. Rows are not to be held "
            "against each other: each protocol asks something else.",
            table=ResultTable(header=grid.header, rows=[_unbroken(row) for row in grid.rows]),
        )
        for grid in score_grids(results)
    ]
    sections += [
        Section(
            heading="Measured",
            text="Mean and standard deviation over folds, and the 95% interval over sources.",
            table=ResultTable(header=SUMMARY_HEADER, rows=[_unbroken(row) for row in rows]),
        ),
        Section(
            heading="What keeps these figures apart",
            text="Frames, crop and number of views alone move such scores by points.",
            table=ResultTable(header=["warning"], rows=[[text] for text in warnings]),
        ),
    ]
    if published:
        sections.append(
            Section(
                heading="Published by others",
                text="Read off papers and READMEs, not measured here; each of a protocol and a "
                "pretraining of its own, some chosen on the test fold.",
                table=ResultTable(header=PUBLISHED_HEADER, rows=published),
            )
        )
    write_page(
        folder / "table.html",
        title="Results beside the field's",
        lead=f"{len(results)} results. A score without the name of its protocol means nothing.",
        sections=sections,
    )
    parts = [_text_table("Measured", SUMMARY_HEADER, rows)]
    parts += [f"warning: {warning}" for warning in warnings]
    if published:
        parts.append(_text_table("Published by others", PUBLISHED_HEADER, published))
    partial = folder / "table.partial"
    partial.write_text("\n".join(parts) + "\n", encoding="utf-8")
    os.replace(partial, folder / "table.txt")


def _unbroken(row: Sequence[str]) -> list[str]:
    """Keep figures, as "58.0 +- 4.0" and "52.7 to 63.4", on one line."""
    return [
        cell.replace("+-", "\N{PLUS-MINUS SIGN}").replace(" ", "\N{NO-BREAK SPACE}")
        if cell[:1].isdigit()
        else cell
        for cell in row
    ]


def _text_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as plain text, with columns that are aligned by spaces."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    aligned = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
               for line in lines]  # fmt: skip
    return "\n".join([title, *(line.rstrip() for line in aligned), ""])
