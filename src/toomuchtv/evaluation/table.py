"""Rows of tables: one result in detail, several results together, and published figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toomuchtv.evaluation.protocols import PROTOCOLS, FinetuneProtocol, ProbeProtocol
from toomuchtv.evaluation.protocols.description import describe_views
from toomuchtv.evaluation.published import PUBLISHED
from toomuchtv.evaluation.result import Evaluation
from toomuchtv.evaluation.views import AudioViews, VideoViews

Row = list[object]

_METRIC_NAMES = {"accuracy": "accuracy", "map": "mAP", "mse": "mean squared error"}
SUMMARY_HEADER = [
    "benchmark", "protocol", "modality", "encoder", "pretraining", "score, %", "95%", "chance",
    "data",
]  # fmt: skip
_SCORE_COLUMN = SUMMARY_HEADER.index("score, %")
PUBLISHED_HEADER = ["benchmark", "way", "method", "pretraining", "reported, %", "source"]


def figure_rows(result: Evaluation) -> tuple[list[str], list[Row]]:
    """Return the header and the rows of a table of all figures of one result."""
    if result.primary is None:
        header = ["candidates", "direction", "score", "value", "95%", "chance"]
        return header, [
            row
            for entry in _retrieval_figures(result.metrics, result.chance)
            for row in _retrieval_rows(*entry)
        ]
    figures = result.metrics[result.primary]
    header = [_METRIC_NAMES[result.primary], "std over folds", "95%", "folds", "chance"]
    row: Row = [
        f"{figures['mean']:.3f}",
        f"{figures['std']:.3f}",
        _interval(figures.get("interval"), ".3f"),
        "  ".join(f"{value:.3f}" for value in figures["folds"]),
        f"{result.chance[result.primary]:.3f}",
    ]
    if "miou" in result.metrics:
        header, row = [*header, "mIoU of scenes"], [*row, f"{result.metrics['miou']:.3f}"]
    return header, [row]


_Entry = tuple[str, str, dict[str, Any], dict[str, float]]


def _retrieval_figures(metrics: Any, chance: Any, candidates: tuple[str, ...] = ()) -> list[_Entry]:
    """Return candidates, direction, figures and chance of each ranking in nested metrics."""
    found: list[_Entry] = []
    for name, values in metrics.items():
        if not isinstance(values, dict):
            continue
        if "recall_at_1" in values:
            found.append((", ".join(candidates) or "all", name, values, chance[name]))
        else:
            found += _retrieval_figures(values, chance[name], (*candidates, name))
    return found


_RETRIEVAL_NAMES = {
    "recall_at_1": "R@1", "recall_at_5": "R@5", "recall_at_10": "R@10",
    "median_rank": "median rank", "class_map": "class mAP",
}  # fmt: skip


def _retrieval_rows(
    candidates: str, direction: str, figures: dict[str, Any], chance: dict[str, float]
) -> list[Row]:
    intervals = figures.get("interval", {})
    rows: list[Row] = []
    for key, name in _RETRIEVAL_NAMES.items():
        if key not in figures:
            continue
        interval = _interval(intervals.get(key), ".3g")
        place = [candidates.replace("_", " "), direction.replace("_", " ")]
        value, guess = f"{figures[key]:.3g}", f"{chance[key]:.3g}"
        rows.append([*place, name, value, interval, guess])
    return rows


def _interval(low_high: Sequence[float] | None, form: str, scale: float = 1) -> str:
    """Format an interval; a score of clips of one source has none."""
    if low_high is None:
        return "-"
    low, high = (scale * end for end in low_high)
    return f"{low:{form}} to {high:{form}}"


def summary_row(result: Evaluation) -> list[str]:
    """Return the row of one result in a table of several results; see `SUMMARY_HEADER`."""
    encoder = result.encoder or {}
    data = result.data or {}
    if result.primary is not None:
        figures = result.metrics[result.primary]
        # Shares are shown in percent, and errors in their own unit.
        scale, unit = (1, " (mse)") if result.primary == "mse" else (100, "")
        score = f"{scale * figures['mean']:.1f} +- {scale * figures['std']:.1f}{unit}"
        interval = _interval(figures.get("interval"), ".1f", scale)
        chance = f"{scale * result.chance[result.primary]:.1f}"
    else:
        _, _, figures, guess = _retrieval_figures(result.metrics, result.chance)[0]
        score = f"R@1 {100 * figures['recall_at_1']:.1f}"
        interval = _interval(figures.get("interval", {}).get("recall_at_1"), ".1f", 100)
        chance = f"{100 * guess['recall_at_1']:.1f}"
    complete = data.get("complete", True)
    return [
        result.benchmark,
        result.protocol,
        result.modality or "-",
        str(encoder.get("name", "?")),
        str(encoder.get("pretraining", "?")),
        score,
        interval,
        chance,
        "all" if complete else f"part: {data.get('clips', '?')} clips",
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreGrid:
    """The scores of one benchmark and modality, with a row per protocol and a column per encoder.

    Attributes:
        title: Benchmark and modality.
        header: Header of the columns.
        rows: Cells; "-" marks a combination without a result.
    """

    title: str
    header: list[str]
    rows: list[list[str]]


def score_grids(results: Sequence[Evaluation]) -> list[ScoreGrid]:
    """Arrange the results that have a main metric in one grid per benchmark and modality.

    Encoders with the same name share a column, where their scores are joined. Compare scores
    within a row only, because each protocol measures something else.
    """
    by_grid: dict[tuple[str, str], dict[tuple[str, str], list[str]]] = defaultdict(dict)
    for result in results:
        if result.primary is not None:
            row = summary_row(result)
            by_grid[row[0], row[2]].setdefault((row[1], row[3]), []).append(row[_SCORE_COLUMN])
    grids = []
    for (benchmark, modality), cells in sorted(by_grid.items()):
        protocols = sorted({protocol for protocol, _ in cells})
        encoders = sorted({encoder for _, encoder in cells})
        rows = [
            [protocol, *("; ".join(cells.get((protocol, one), ["-"])) for one in encoders)]
            for protocol in protocols
        ]
        title = f"{benchmark}, from {modality}"
        grids.append(ScoreGrid(title=title, header=["protocol", *encoders], rows=rows))
    return grids


def published_rows(results: Sequence[Evaluation]) -> list[list[str]]:
    """Return the published figures on the benchmarks of these results; see `PUBLISHED_HEADER`."""
    names = {result.benchmark for result in results}
    figures = sorted(
        (figure for figure in PUBLISHED if figure.benchmark in names),
        key=lambda figure: (figure.benchmark, figure.way, figure.percent),
    )
    return [
        [
            figure.benchmark, figure.way, figure.method, figure.pretraining,
            f"{figure.percent:.1f}", figure.source,
        ]
        for figure in figures
    ]  # fmt: skip


def comparability_warnings(results: Sequence[Evaluation]) -> list[str]:
    """Return the reasons why some of these results are not comparable with each other."""
    warnings = []
    by_benchmark: dict[str, list[Evaluation]] = defaultdict(list)
    for result in results:
        by_benchmark[result.benchmark].append(result)
    for benchmark, group in by_benchmark.items():
        protocols = sorted({result.protocol for result in group})
        if len(protocols) > 1:
            described = "; ".join(
                f"{name}: {protocol_views(name)}" for name in protocols if name in PROTOCOLS
            )
            warnings.append(f"{benchmark}: the protocols differ: {described}")
        if len({(result.data or {}).get("clips") for result in group}) > 1:
            warnings.append(f"{benchmark}: the results are of different numbers of clips")
        pretraining = sorted({str((result.encoder or {}).get("pretraining")) for result in group})
        if len(pretraining) > 1:
            warnings.append(f"{benchmark}: the pretraining differs ({'; '.join(pretraining)})")
        if any(not (result.data or {}).get("complete", True) for result in group):
            warnings.append(
                f"{benchmark}: files are missing, so the scores do not compare with published ones"
            )
        if any(result.protocol.endswith("peeking") for result in group):
            warnings.append(f"{benchmark}: a peeking protocol selects on the test fold")
        if any(figure.benchmark == benchmark for figure in PUBLISHED):
            warnings.append(
                f"{benchmark}: each published figure has its own protocol, frames, crop, views and "
                "pretraining, which differ from these"
            )
    return warnings


def protocol_views(name: str) -> str:
    """Describe the test views of a protocol, for all modalities that it evaluates."""
    protocol = PROTOCOLS[name]
    test: tuple[VideoViews | AudioViews | None, ...]
    if isinstance(protocol, FinetuneProtocol):
        test = (protocol.test,)
    elif isinstance(protocol, ProbeProtocol):
        test = (protocol.video_test, protocol.audio_test)
    else:
        test = (protocol.video, protocol.audio)
    return "; ".join(describe_views(views) for views in test if views is not None)
