"""The demo's report: scores, training curves, and examples of clips and retrieval results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.data.batches import draw_validation_batch
from toomuchtv.evaluation.result import Evaluation
from toomuchtv.evaluation.retrieval_benchmarks import embed_clips
from toomuchtv.inference.pretrained import load
from toomuchtv.media.clip import Clip
from toomuchtv.reports.charts import (
    COLORS,
    Curve,
    draw_clips,
    draw_curves,
    style_axes,
    to_png,
)
from toomuchtv.reports.page import ResultTable, Section, write_page
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.split import split_of_run

_NUM_EXAMPLES = 5
_NUM_NEIGHBORS = 4
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
    retrieval: Evaluation


def write_demo_page(
    path: Path, *, out: Path, results: list[DemoResult], seed: int, steps: int
) -> None:
    """Write the demo's report.

    Args:
        path: Path of the page.
        out: The demo's folder.
        results: `untrained` first, then the trained conditions.
        seed: The demo's seed.
        steps: Number of training steps.
    """
    trained = [one for one in results if one.name != "untrained"]
    scores = ", ".join(
        f"{one.video.metrics['accuracy']['mean']:.2f} ({one.name})" for one in results
    )
    with open_catalog(out / "cat") as catalog:
        sections = [
            _scores_section(results),
            _curves_section(trained),
            _retrieval_section(results),
            *_example_sections(catalog, trained[-1]),
        ]
        num_titles = len(catalog.titles())
    write_page(
        path,
        title="toomuchtv: what two encoders learned from rendered television",
        lead=f"A video encoder and an audio encoder were trained on {num_titles} rendered films "
        f"and series, without labels, for {steps} steps of 64 clips. A linear classifier on the "
        "frozen video features then recognizes the events in titles that were not in training. "
        f"Its accuracy is {scores}; chance is {results[0].video.chance['accuracy']:.3f}. This is "
        f"one run with seed {seed}. docs/experiments/2026-11-sampling-effect.md has the variation "
        "over seeds.",
        sections=sections,
    )


def _scores_section(results: list[DemoResult]) -> Section:
    def mean_and_std(evaluation: Evaluation) -> tuple[float, float]:
        accuracy = evaluation.metrics["accuracy"]
        return accuracy["mean"], accuracy["std"]

    return Section(
        heading="Events in unseen titles",
        text="Accuracy of a linear classifier on frozen features, over the three splits of the "
        "rendered labeled clips. They have UCF101's layout and are split by title.",
        how_to_read="Bars are means, and whiskers are standard deviations over the three splits, "
        "which share clips. The gray bar has the same architecture with random weights, so the "
        "difference from it was learned. Orange and blue differ only in the sampling of batches.",
        charts=[
            (
                draw_scores(
                    {
                        "from video": {one.name: mean_and_std(one.video) for one in results},
                        "from audio": {one.name: mean_and_std(one.audio) for one in results},
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
        how_to_read="The two losses belong to different tasks and cannot be compared. "
        "Distinguishing clips of one title is harder than distinguishing titles, so the blue loss "
        "is higher. In a uniform batch, almost all negatives are from other titles. A hierarchical "
        "batch has many negatives from the same title.",
        charts=draw_curves(charts, x_label="step"),
    )


def _retrieval_section(results: list[DemoResult]) -> Section:
    rows = []
    for one in results:
        for side, scopes in one.retrieval.metrics.items():
            for scope in ("all", "within_title"):
                found = scopes[scope]["video_to_audio"]
                chance = one.retrieval.chance[side][scope]["video_to_audio"]
                row = [one.name, side.replace("_", " "), scope.replace("_", " ")]
                row += [f"{found['recall_at_1']:.3f}", f"{found['recall_at_10']:.3f}"]
                row += [f"{found['median_rank']:.0f}"]
                row += [f"{chance['recall_at_1']:.3f} / {chance['recall_at_10']:.3f} / "
                        f"{chance['median_rank']:.0f}"]  # fmt: skip
                rows.append(row)
    return Section(
        heading="Retrieval: does a video find its own audio?",
        text="Retrieval from video to audio among clips of the library that do not overlap, for "
        "titles that were held out of training and for titles that were in training.",
        how_to_read="'all' ranks the audio of all clips. 'within title' ranks only the audio of "
        "the query's own title, where color palette and theme music do not help. The last column "
        "has R@1, R@10 and the median rank of random guessing.",
        table=ResultTable(
            header=["encoders", "titles", "candidates", "R@1", "R@10", "median rank", "chance"],
            rows=rows,
        ),
    )


def _example_sections(catalog: Catalog, result: DemoResult) -> list[Section]:
    """Show clips of held-out titles, and the clips whose audio is nearest to their video."""
    pretrained = load(result.run)
    snapshot = catalog.snapshot().of_titles(split_of_run(result.run, catalog)["held_out"])
    clip_format = pretrained.config.clip
    batch = draw_validation_batch(
        catalog.folder, snapshot, catalog.proxies(), clip_format, num_clips=128, seed=1
    )
    if batch is None:
        return []
    video, audio, title = embed_clips(pretrained, batch)
    names = {entry.id: entry.name for entry in catalog.titles()}

    def clip(index: int) -> Clip:
        item_id = int(snapshot.item_id[int(batch.specs.item[index])])
        return catalog.clip(item_id, float(batch.specs.start_seconds[index]), clip_format)

    def caption(index: int) -> str:
        name = names[int(snapshot.title_id[int(batch.specs.item[index])])]
        return f"{name}, {float(batch.specs.start_seconds[index]):.1f} s"

    # One clip per title makes the rows differ.
    queries = np.unique(title.numpy(), return_index=True)[1].tolist()[:_NUM_EXAMPLES]
    nearest = [
        (video[query] @ audio.T).argsort(descending=True)[:_NUM_NEIGHBORS].tolist()
        for query in queries
    ]
    captions = [
        ["query: " + caption(query)]
        + [("own audio: " if index == query else "") + caption(index) for index in found]
        for query, found in zip(queries, nearest, strict=True)
    ]
    clips = [clip(index) for index in queries]
    return [
        Section(
            heading="What the encoders receive",
            text="Clips of held-out titles: four of their frames, and the log-mel spectrogram of "
            "their audio.",
            charts=[
                (
                    draw_clips(
                        clips,
                        [caption(index) for index in queries],
                        sample_rate_hz=clip_format.sample_rate_hz,
                    ),
                    "Frames and spectrograms of some clips",
                )
            ],
        ),
        Section(
            heading="Nearest neighbors across modalities",
            text=f"The framed clip on the left is the query. To its right are the clips whose "
            f"audio embeddings are nearest to the query's video embedding ({result.name} "
            "encoders), nearest first. They are shown by their middle frames.",
            how_to_read="Good results show the same event, possibly in another title. 'own audio' "
            "marks the audio that belongs to the query.",
            charts=[
                (
                    draw_neighbors(
                        clips, [[clip(index) for index in found] for found in nearest], captions
                    ),
                    "Query clips and the clips whose audio is nearest to them",
                )
            ],
        ),
    ]


def draw_scores(
    scores: Mapping[str, Mapping[str, tuple[float, float]]], *, chance: float, y_label: str
) -> bytes:
    """Draw groups of bars: `scores[group][name]` is (mean, standard deviation)."""
    groups = list(scores)
    names = list(next(iter(scores.values())))
    figure = Figure(figsize=(3.4 * len(groups) + 1.5, 3.4), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(names)
    for index, name in enumerate(names):
        x = np.arange(len(groups)) + (index - (len(names) - 1) / 2) * width
        mean = [scores[group][name][0] for group in groups]
        std = [scores[group][name][1] for group in groups]
        bars = axes.bar(x, mean, width * 0.92, yerr=std, color=COLORS[index], label=name, capsize=3)
        axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=8)
    axes.axhline(chance, color="black", linewidth=1, linestyle=":", label=f"chance {chance:.3f}")
    axes.set_xticks(np.arange(len(groups)), groups)
    axes.set_ylabel(y_label)
    axes.set_ylim(
        0, 1.12 * max(sum(value) for group in scores.values() for value in group.values())
    )
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
