"""Several results as one table beside the published figures, and what keeps them apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.protocols import PROTOCOLS, FinetuneProtocol
from toomuchtv.evaluation.published import PUBLISHED
from toomuchtv.evaluation.result import Evaluation, load_evaluation
from toomuchtv.evaluation.views import AudioViews, VideoViews

Row = list[object]

_METRIC_WORDS = {"accuracy": "accuracy", "map": "mAP", "mse": "mean squared error"}


def results_of(path: Path) -> list[tuple[Path, Evaluation]]:
    """Find the results of a run, of a folder of results, or the one that `path` itself is.

    Raises:
        BenchmarkError: There is none.
    """
    if path.suffix == ".json" or (path / "result.json").is_file():
        return [(path, load_evaluation(path))]
    for folder in (path / "evaluations", path):
        found = sorted(folder.glob("*/result.json"))
        if found:
            return [(place.parent, load_evaluation(place)) for place in found]
    raise BenchmarkError(
        f"no result in {str(path)!r}: give a run that `toomuchtv evaluate` was called on, a folder "
        "of results, or a result's own folder"
    )


def gather(paths: Sequence[Path]) -> list[Evaluation]:
    """All results of several places, as `results_of`.

    Raises:
        BenchmarkError: A place has none.
    """
    return [result for path in paths for _, result in results_of(path)]


def figure_rows(result: Evaluation) -> tuple[list[str], list[Row]]:
    """Header and rows of one result's figures, for a person."""
    if result.primary is None:
        return _retrieval_rows(result)
    figures = result.metrics[result.primary]
    low, high = figures.get("interval", (float("nan"), float("nan")))
    header = [_METRIC_WORDS[result.primary], "std over folds", "95%", "folds", "chance"]
    row: Row = [
        f"{figures['mean']:.3f}",
        f"{figures['std']:.3f}",
        f"{low:.3f} to {high:.3f}",
        "  ".join(f"{value:.3f}" for value in figures["folds"]),
        f"{result.chance[result.primary]:.3f}",
    ]
    if "miou" in result.metrics:
        header, row = [*header, "mIoU of scenes"], [*row, f"{result.metrics['miou']:.3f}"]
    return header, [row]


def _retrieval_rows(result: Evaluation) -> tuple[list[str], list[Row]]:
    header = ["candidates", "way", "R@1", "R@5", "R@10", "median", "class mAP", "chance"]
    rows = [
        _retrieval_row(where, way, figures, guess)
        for where, way, figures, guess in _rankings(result.metrics, result.chance, ())
    ]
    return header, rows


def _rankings(
    metrics: Any, chance: Any, where: tuple[str, ...]
) -> list[tuple[str, str, dict[str, float], dict[str, float]]]:
    """Every ranking in nested figures: where it lies, its way, its figures and their chance."""
    found = []
    for name, values in metrics.items():
        if not isinstance(values, dict):
            continue
        if "recall_at_1" in values:
            found.append((", ".join(where) or "all", name, values, chance[name]))
        else:
            found += _rankings(values, chance[name], (*where, name))
    return found


def _retrieval_row(where: str, way: str, figures: dict[str, float], guess: dict[str, float]) -> Row:
    keys = ("recall_at_1", "recall_at_5", "recall_at_10", "median_rank", "class_map")
    return [
        where.replace("_", " "),
        way.replace("_", " "),
        *(f"{figures[key]:.3g}" if key in figures else "-" for key in keys),
        "  ".join(f"{guess[key]:.3g}" for key in keys if key in guess),
    ]


def summary_row(result: Evaluation) -> list[str]:
    """One line of the table of several results."""
    encoder = result.encoder or {}
    data = result.data or {}
    if result.primary is not None:
        figures = result.metrics[result.primary]
        low, high = figures.get("interval", (float("nan"), float("nan")))
        # Shares in percent; an error in its own unit.
        scale, unit = (1, " (mse)") if result.primary == "mse" else (100, "")
        score = f"{scale * figures['mean']:.1f} +- {scale * figures['std']:.1f}{unit}"
        interval = f"{scale * low:.1f} to {scale * high:.1f}"
        chance = f"{scale * result.chance[result.primary]:.1f}"
    else:
        first = _rankings(result.metrics, result.chance, ())[:1]
        score = "; ".join(f"R@1 {100 * figures['recall_at_1']:.1f}" for _, _, figures, _ in first)
        interval = "-"
        chance = "; ".join(f"{100 * guess['recall_at_1']:.1f}" for *_, guess in first)
    complete = "all" if data.get("complete", True) else f"part: {data.get('clips', '?')} clips"
    return [
        result.benchmark,
        result.protocol,
        result.modality or "-",
        str(encoder.get("name", "?")),
        str(encoder.get("pretraining", "?")),
        score,
        interval,
        chance,
        complete,
    ]


SUMMARY_HEADER = [
    "benchmark", "protocol", "sense", "encoder", "pretraining", "score, %", "95%", "chance", "data",
]  # fmt: skip
PUBLISHED_HEADER = ["benchmark", "way", "method", "pretraining", "reported, %", "read in source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The scores of one benchmark and sense: a row a protocol, a column an encoder."""

    title: str
    header: list[str]
    rows: list[list[str]]


def grids(results: Sequence[Evaluation]) -> list[Grid]:
    """The results that have one score, benchmark by benchmark; "-" where there is none.

    Encoders of one name share a column, their scores one after the other.

    A column's protocols are read one under the other, never a row of one against a row of another.
    """
    score = SUMMARY_HEADER.index("score, %")
    by_sense: dict[tuple[str, str], dict[tuple[str, str], list[str]]] = defaultdict(dict)
    for result in results:
        if result.primary is not None:
            row = summary_row(result)
            by_sense[row[0], row[2]].setdefault((row[1], row[3]), []).append(row[score])
    found = []
    for (benchmark, sense), cells in sorted(by_sense.items()):
        protocols = sorted({protocol for protocol, _ in cells})
        encoders = sorted({encoder for _, encoder in cells})
        rows = [
            [protocol, *("; ".join(cells.get((protocol, one), ["-"])) for one in encoders)]
            for protocol in protocols
        ]
        title = f"{benchmark}, from {sense}"
        found.append(Grid(title=title, header=["protocol", *encoders], rows=rows))
    return found


def published_rows(results: Sequence[Evaluation]) -> list[list[str]]:
    """The field's figures on the benchmarks that the results are of."""
    names = {result.benchmark for result in results}
    rows = [figure for figure in PUBLISHED if figure.benchmark in names]
    rows.sort(key=lambda figure: (figure.benchmark, figure.way, figure.percent))
    return [
        [
            figure.benchmark,
            figure.way,
            figure.method,
            figure.pretraining,
            f"{figure.percent:.1f}",
            "yes" if figure.checked else "no: from memory",
        ]
        for figure in rows
    ]


def warnings_of(results: Sequence[Evaluation]) -> list[str]:
    """Why some of these results must not be held against each other, or against the field."""
    found = []
    by_benchmark: dict[str, list[Evaluation]] = defaultdict(list)
    for result in results:
        by_benchmark[result.benchmark].append(result)
    for benchmark, group in by_benchmark.items():
        protocols = sorted({result.protocol for result in group})
        if len(protocols) > 1:
            found.append(f"{benchmark}: protocols differ: {_why(protocols)}")
        clips = {(result.data or {}).get("clips") for result in group}
        if len(clips) > 1:
            found.append(f"{benchmark}: the results are of different numbers of clips")
        pretraining = sorted({str((result.encoder or {}).get("pretraining")) for result in group})
        if len(pretraining) > 1:
            found.append(f"{benchmark}: pretraining differs ({'; '.join(pretraining)})")
        if any(not (result.data or {}).get("complete", True) for result in group):
            found.append(f"{benchmark}: files are missing, so no published figure compares")
        if any(result.protocol.endswith("peeking") for result in group):
            found.append(f"{benchmark}: a peeking protocol chose on the test fold")
        if any(figure.benchmark == benchmark for figure in PUBLISHED):
            found.append(
                f"{benchmark}: the published figures are each of another protocol, frames, crop, "
                "views and pretraining than these"
            )
    return found


def _why(names: Sequence[str]) -> str:
    """In what some protocols differ: frames, crop, views, way."""
    parts = []
    for name in names:
        protocol = PROTOCOLS.get(name)
        if protocol is None:
            continue
        parts.append(f"{name}: {describe_views(name)}")
    return "; ".join(parts)


def describe_views(name: str, modality: str | None = None) -> str:
    """What a protocol shows to test on, in words; of one sense, or of all that it judges."""
    protocol = PROTOCOLS[name]
    video: VideoViews | None
    audio: AudioViews | None
    if isinstance(protocol, FinetuneProtocol):
        video = protocol.test if isinstance(protocol.test, VideoViews) else None
        audio = protocol.test if isinstance(protocol.test, AudioViews) else None
    elif protocol.way == "frozen":
        video, audio = protocol.video_test, protocol.audio_test
    else:
        video, audio = protocol.video, protocol.audio
    words = []
    if video is not None and modality != "audio":
        words.append(
            f"{video.frames or 'its own'} frames at {video.frame_rate or 'its own'} a second, "
            f"crop {video.crop or 'its own'}, {video.times} x {video.crops} views"
        )
    if audio is not None and modality != "video":
        count = "covering" if audio.times == 0 else str(audio.times)
        words.append(f"{audio.seconds or 'its own'} seconds of sound, {count} views")
    return "; ".join(words)
