"""The demo's report: scores, negatives of both policies, a search, and training curves."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.demo.search import DemoSearch
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.evaluation.result import Evaluation
from toomuchtv.media.clip import Clip, ClipFormat
from toomuchtv.media.cutting import cut_film
from toomuchtv.reports.charts import COLORS, Curve, draw_curves, style_axes, to_png
from toomuchtv.reports.page import Card, CardSide, Section, write_page
from toomuchtv.search.queries import Moment, moment_of
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.run_config import load_config

_NUM_NEGATIVES = 7
# Shown around the middle of a hit.
_VIDEO_SECONDS = 2.0
_CURVES = {
    "loss": "loss",
    "effective_negatives": "effective negatives",
    "mass_same_title": "softmax mass on the same title",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """The run and the scores of one condition."""

    name: str
    run: Path
    video: Evaluation
    audio: Evaluation


def write_demo_page(
    path: Path,
    *,
    out: Path,
    results: list[DemoResult],
    search: DemoSearch,
    seed: int,
    size_text: str,
) -> None:
    """Write the demo's report.

    Args:
        path: Path of the page.
        out: The demo's folder.
        results: `untrained` first, then the trained conditions.
        search: The search for the same event in other titles.
        seed: The demo's seed.
        size_text: Length of the training.
    """
    trained = [one for one in results if one.name != "untrained"]
    scores = ", ".join(
        f"{one.video.metrics['accuracy']['mean']:.2f} ({one.name})" for one in results
    )
    with open_catalog(out / "cat") as catalog:
        overview = draw_overview(catalog, results, search)
        (out / "overview.png").write_bytes(overview)
        sections = [
            Section(
                heading="In short",
                text="On the left, the accuracy of naming events from video in titles that were "
                "not in training. On the right, a search for the same event in other titles.",
                charts=[(overview, "Accuracy of three encoders, and the hits of a search")],
            ),
            _scores_section(results),
            _negatives_section(catalog, trained, seed),
            _search_section(catalog, search),
            _curves_section(trained),
        ]
        num_titles = len(catalog.titles())
    write_page(
        path,
        title="toomuchtv: what two encoders learned from rendered television",
        lead=f"A video encoder and an audio encoder were trained twice on {num_titles} rendered "
        f"titles, without labels, for {size_text}. The two trainings differ only in which clips "
        "make a batch. A linear classifier on the frozen video features then recognizes the events "
        f"in titles that were not in training. Its accuracy is {scores}; chance is "
        f"{results[0].video.chance['accuracy']:.2f}. This is one run with seed {seed}: other seeds "
        "differ, see docs/experiments/2026-11-demo.md.",
        sections=sections,
    )


def _scores_section(results: list[DemoResult]) -> Section:
    def mean_and_interval(evaluation: Evaluation) -> tuple[float, float, float]:
        accuracy = evaluation.metrics["accuracy"]
        return (accuracy["mean"], *accuracy["interval"])

    return Section(
        heading="Events in unseen titles",
        text="Accuracy of a linear classifier on frozen features, over the three splits of the "
        "rendered labeled clips. They have UCF101's layout and are split by title.",
        how_to_read="Whiskers are 95% intervals over the titles of the labeled clips. The gray bar "
        "has the same architecture with random weights, so the difference from it was learned. "
        "Orange and blue differ only in the sampling of batches.",
        charts=[
            (
                draw_scores(
                    {
                        "from video": {one.name: mean_and_interval(one.video) for one in results},
                        "from audio": {one.name: mean_and_interval(one.audio) for one in results},
                    },
                    chance=results[0].video.chance["accuracy"],
                    y_label="accuracy",
                ),
                "Bar chart of event accuracy by condition",
            )
        ],
    )


def _curves_section(trained: list[DemoResult]) -> Section:
    charts: dict[str, list[Curve]] = {label: [] for label in _CURVES.values()}
    for one, color in zip(trained, COLORS[1:], strict=False):
        lines = [line for line in read_metrics(one.run) if "loss" in line]
        steps = [line["step"] for line in lines]
        for key, label in _CURVES.items():
            values = [line[key] for line in lines]
            charts[label].append(Curve(name=one.name, x=steps, y=values, color=color))
    return Section(
        heading="Training",
        text="The loss, the effective number of negatives, and the share of the negatives' softmax "
        "weights that is on the same title.",
        how_to_read="The two losses belong to different tasks, so that a lower one says nothing "
        "about the encoders. In a uniform batch, almost all negatives are from other titles. A "
        "hierarchical batch has many negatives from the same title.",
        charts=draw_curves(charts, x_label="step"),
    )


def draw_overview(catalog: Catalog, results: list[DemoResult], search: DemoSearch) -> bytes:
    """Draw the accuracy from video beside the query of the search and its hits, as PNG."""
    rows = list(search.hits)
    columns = 1 + max(len(hits) for hits in search.hits.values())
    figure = Figure(figsize=(3.2 + 1.75 * columns, 3.3), layout="constrained")
    grid = figure.add_gridspec(1, 2, width_ratios=(3.2, 1.75 * columns))
    left, right = (figure.add_subfigure(grid[0, side]) for side in (0, 1))
    axes = left.add_subplot()
    accuracy = [one.video.metrics["accuracy"] for one in results]
    errors = np.abs(
        np.array([[a["interval"][side] - a["mean"] for a in accuracy] for side in (0, 1)])
    )
    means = [a["mean"] for a in accuracy]
    bars = axes.bar(range(len(results)), means, 0.7, yerr=errors, capsize=3,
                    color=COLORS[: len(results)])  # fmt: skip
    axes.bar_label(bars, fmt="%.2f", padding=2)
    axes.axhline(results[0].video.chance["accuracy"], color="black", linewidth=1, linestyle=":")
    axes.set_xticks(range(len(results)), [one.name for one in results], fontsize=8)
    axes.set_title("naming events in unseen titles", fontsize=9)
    axes.set_ylabel("accuracy")
    style_axes(axes)

    def show(row: int, column: int, moment: Moment, text: str, color: str) -> None:
        proxy = catalog.proxy(moment.item_id)
        form = ClipFormat(
            frames=1, frame_rate=proxy.frame_rate, sample_rate_hz=proxy.sample_rate_hz
        )
        latest = proxy.duration_seconds - 1 / proxy.frame_rate
        frame = catalog.clip(moment.item_id, min(moment.seconds, latest), form).video[0]
        cell = right.add_subplot(len(rows), columns, row * columns + column + 1)
        cell.imshow(frame)
        cell.set_title(text, fontsize=7.5, loc="left")
        cell.set_xticks([])
        cell.set_yticks([])
        for spine in cell.spines.values():
            spine.set_color(color)
            spine.set_linewidth(2.5)

    for row, encoder in enumerate(rows):
        kind = search.kind.replace("_", " ")
        show(row, 0, search.query, f"query: {kind}", COLORS[5])
        for column, (hit, found) in enumerate(search.hits[encoder], start=1):
            is_right = found == search.kind
            text = f"{column}. {(found or 'nothing').replace('_', ' ')}"
            show(row, column, moment_of(hit), text, "#009E73" if is_right else "#bbbbbb")
    right.suptitle(
        "best hits in other titles after " + " (above) and ".join(rows) + " training (below)",
        fontsize=9,
    )
    return to_png(figure)


def _negatives_section(catalog: Catalog, trained: list[DemoResult], seed: int) -> Section:
    """Show a clip of a batch of each policy with some of its negatives."""
    queries, answers, captions = [], [], []
    for one in trained:
        config = load_config(file=one.run / "config.toml")
        snapshot = catalog.snapshot()
        batch = ClipSampler(snapshot, config.sampling, config.clip).draw(seed=seed, step=0)
        clips, texts = [], []
        for number in range(_NUM_NEGATIVES + 1):
            spec = batch[number]
            item = catalog.item(int(snapshot.item_id[spec.item]))
            clips.append(catalog.clip(item.id, spec.start_seconds, config.clip))
            texts.append(f"{catalog.title(item.title_id).name}, {spec.start_seconds:.1f} s")
        queries.append(clips[0])
        answers.append(clips[1:])
        captions.append([f"{one.name}: {texts[0]}", *texts[1:]])
    return Section(
        heading="What a clip is told apart from",
        text="The framed clip on the left is one of a training batch. To its right are seven of "
        "the clips that serve as its negatives: the encoder must learn to tell their audio from "
        "that of the framed clip.",
        how_to_read="In a uniform batch the negatives are other shows, with other colors and other "
        "music. The encoder needs to know nothing about events. In a hierarchical batch the "
        "negatives have the same sets, colors and music, and what happens decides.",
        charts=[
            (
                draw_neighbors(queries, answers, captions),
                "A clip and some of its negatives, for both policies",
            )
        ],
    )


def _search_section(catalog: Catalog, search: DemoSearch) -> Section:
    """Show a query moment and its hits in other titles, with video and sound."""
    folder = Path(tempfile.mkdtemp(prefix="toomuchtv-demo-"))
    try:
        cards = [
            Card(
                sides=[
                    CardSide(
                        caption=f"Query: {search.name}, {search.query.seconds:.1f} s",
                        mp4=_video(catalog, search.query, folder),
                    )
                ],
                text=f"What happens here: {search.kind.replace('_', ' ')}.",
            )
        ]
        for encoder, hits in search.hits.items():
            sides = [
                CardSide(
                    caption=f"{hit.rank}. {hit.name}, {hit.center_seconds:.1f} s: "
                    + ("right" if kind == search.kind else (kind or "nothing").replace("_", " ")),
                    mp4=_video(catalog, moment_of(hit), folder),
                )
                for hit, kind in hits
            ]
            right = sum(kind == search.kind for _, kind in hits)
            text = f"The five best hits after {encoder} training: {right} show the same event."
            cards.append(Card(sides=sides, text=text))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    precision = ", ".join(f"{name} {value:.0%}" for name, value in search.precision.items())
    return Section(
        heading="Find the same event in other titles",
        text=f"For {search.num_queries} random moments at which something happens, the library was "
        "searched by look, without the title of the moment. Share of the five best hits that show "
        f"the same event: {precision}; chance is {search.chance:.0%}.",
        how_to_read="The example was chosen by a rule: it is the query whose results are nearest "
        "to the average of both trainings. Click a video for its sound. This is what `toomuchtv "
        "search` does with --other-titles.",
        cards=cards,
    )


def _video(catalog: Catalog, moment: Moment, folder: Path) -> bytes:
    """Return a short MP4 of a moment, with sound."""
    path = catalog.source_path(catalog.item(moment.item_id))
    start = max(0.0, moment.seconds - _VIDEO_SECONDS / 2)
    target = folder / "clip.mp4"
    cut_film(path, target, start_seconds=start, stop_seconds=start + _VIDEO_SECONDS, copy=False)
    return target.read_bytes()


def draw_scores(
    scores: Mapping[str, Mapping[str, tuple[float, float, float]]], *, chance: float, y_label: str
) -> bytes:
    """Draw groups of bars: `scores[group][name]` is (mean, low end, high end of the interval)."""
    groups = list(scores)
    names = list(next(iter(scores.values())))
    figure = Figure(figsize=(3.4 * len(groups) + 1.5, 3.4), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(names)
    for index, name in enumerate(names):
        x = np.arange(len(groups)) + (index - (len(names) - 1) / 2) * width
        mean = [scores[group][name][0] for group in groups]
        errors = [
            [max(0.0, scores[group][name][0] - scores[group][name][1]) for group in groups],
            [max(0.0, scores[group][name][2] - scores[group][name][0]) for group in groups],
        ]
        bars = axes.bar(
            x, mean, width * 0.92, yerr=errors, color=COLORS[index], label=name, capsize=3
        )
        axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=8)
    axes.axhline(chance, color="black", linewidth=1, linestyle=":", label=f"chance {chance:.3f}")
    axes.set_xticks(np.arange(len(groups)), groups)
    axes.set_ylabel(y_label)
    axes.set_ylim(0, 1.12 * max(value[2] for group in scores.values() for value in group.values()))
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    style_axes(axes)
    return to_png(figure)


def draw_neighbors(
    queries: Sequence[Clip],
    answers: Sequence[Sequence[Clip]],
    captions: Sequence[Sequence[str]],
) -> bytes:
    """Draw one row per query: its middle frame and the middle frames of its results."""
    columns = 1 + max(len(row) for row in answers)
    figure = Figure(figsize=(2.2 * columns, 1.75 * len(queries)), layout="constrained")
    for row, (query, found) in enumerate(zip(queries, answers, strict=True)):
        for column, clip in enumerate([query, *found]):
            axes = figure.add_subplot(len(queries), columns, row * columns + column + 1)
            axes.imshow(clip.video[len(clip.video) // 2])
            axes.set_title(captions[row][column], fontsize=7, loc="left")
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_color(COLORS[5] if column == 0 else "#cccccc")
                spine.set_linewidth(2.0 if column == 0 else 0.8)
    return to_png(figure)
