"""The demo's report: curves, scores, and pictures of what was seen and found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.demo.charts import draw_neighbors, draw_scores
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.data.validation_batch import draw_validation_batch
from toomuchtv.evaluation.result import Evaluation
from toomuchtv.evaluation.retrieval_benchmarks import embed_clips, run_split
from toomuchtv.inference.pretrained import load
from toomuchtv.media.clip import Clip
from toomuchtv.reports.charts import COLORS, Curve, draw_clips, draw_curves
from toomuchtv.reports.page import ResultTable, Section, write_page
from toomuchtv.training.metrics import read_metrics

_NUM_SEEN = 5
_NUM_QUERIES = 5
_NUM_ANSWERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """One arm of the demo: its run and its scores."""

    name: str
    run: Path
    video: Evaluation
    audio: Evaluation
    retrieval: Evaluation


def write_demo_page(
    path: Path, *, out: Path, arms: list[DemoResult], seed: int, steps: int
) -> None:
    """Write the demo's report.

    Args:
        path: Where to.
        out: The demo's folder.
        arms: `untrained` first, then the trained ones.
        seed: The demo's seed.
        steps: Steps of each training.
    """
    trained = [arm for arm in arms if arm.name != "untrained"]
    scores = {arm.name: arm.video.metrics["accuracy"]["mean"] for arm in arms}
    with open_catalog(out / "cat") as catalog:
        sections = [
            _scores_section(arms),
            _curves_section(trained),
            _retrieval_section(arms),
            *_pictures(catalog, trained[-1]),
        ]
        num_titles = len(catalog.titles())
    write_page(
        path,
        title="toomuchtv: what two encoders learned from rendered television",
        lead=f"Two encoders, one for sight and one for sound, were taught by {num_titles} rendered "
        f"films and series, with no labels, in {steps} steps of 64 clips. A linear classifier on "
        "the frozen video features then names the events in titles that no training has seen: "
        + ", ".join(f"{name} {score:.2f}" for name, score in scores.items())
        + f" (chance {arms[0].video.chance['accuracy']:.3f}). This is one run, of seed {seed}; the "
        "README has the spread over seeds.",
        sections=sections,
    )


def _scores_section(arms: list[DemoResult]) -> Section:
    def pair(result: Evaluation) -> tuple[float, float]:
        accuracy = result.metrics["accuracy"]
        return accuracy["mean"], accuracy["std"]

    return Section(
        heading="Events in unseen titles",
        text="Accuracy of a linear classifier on frozen features, over the three splits of the "
        "studio's labeled clips (UCF101's layout, split by title).",
        how_to_read="Bars are means, whiskers the standard deviation over the three splits, which "
        "share clips. The gray bar is the same architecture with fresh weights: what lies above "
        "it was learned. Orange and blue differ in the sampling of batches alone.",
        png=draw_scores(
            {
                "from video": {arm.name: pair(arm.video) for arm in arms},
                "from audio": {arm.name: pair(arm.audio) for arm in arms},
            },
            chance=arms[0].video.chance["accuracy"],
            y_label="accuracy",
        ),
        png_alt="Bar chart of event accuracy by arm",
    )


def _curves_section(trained: list[DemoResult]) -> Section:
    charts: dict[str, list[Curve]] = {"loss": [], "effective negatives": []}
    mass: list[Curve] = []
    for arm, color in zip(trained, COLORS[1:], strict=False):
        lines = [line for line in read_metrics(arm.run) if "loss" in line]
        steps = [line["step"] for line in lines]
        for label, key in (("loss", "loss"), ("effective negatives", "effective_negatives")):
            values = [line[key] for line in lines]
            charts[label].append(Curve(name=arm.name, x=steps, y=values, color=color))
        values = [line["mass_same_title"] for line in lines]
        mass.append(Curve(name=arm.name, x=steps, y=values, color=color))
    return Section(
        heading="Training",
        text="The loss, how many negatives it effectively looks at, and how much of their weight "
        "lies on the same title.",
        how_to_read="The two losses are of different tasks and do not compare: telling moments of "
        "one title apart is harder than telling titles apart, so the blue curve lies higher. A "
        "uniform batch spends its negatives on other titles; a hierarchical one is made to tell "
        "moments of the same title apart.",
        png=draw_curves({**charts, "mass on the same title": mass}, x_label="step"),
        png_alt="Loss, effective negatives and mass on the same title over the steps",
    )


def _retrieval_section(arms: list[DemoResult]) -> Section:
    rows = []
    for arm in arms:
        for side, scopes in arm.retrieval.metrics.items():
            for scope in ("all", "within_title"):
                figures = scopes[scope]["video_to_audio"]
                chance = arm.retrieval.chance[side][scope]["video_to_audio"]
                rows.append(
                    [
                        arm.name,
                        side.replace("_", " "),
                        scope.replace("_", " "),
                        *(f"{figures[key]:.3f}" for key in ("recall_at_1", "recall_at_10")),
                        f"{figures['median_rank']:.0f}",
                        f"{chance['recall_at_1']:.3f} / {chance['recall_at_10']:.3f} / "
                        f"{chance['median_rank']:.0f}",
                    ]
                )
    return Section(
        heading="Does a picture find its own sound?",
        text="Retrieval from video to audio among moments of the library that do not overlap, on "
        "titles held out of training and on those trained on.",
        how_to_read="'all' ranks the sounds of all drawn moments, 'within title' only those of the "
        "query's own title, where palette and theme music are of no help. The last column is what "
        "guessing gives for R@1, R@10 and the median rank.",
        table=ResultTable(
            header=["encoders", "titles", "candidates", "R@1", "R@10", "median rank", "chance"],
            rows=rows,
        ),
    )


def _pictures(catalog: Catalog, arm: DemoResult) -> list[Section]:
    """Moments of held-out titles: what they look and sound like, and what finds what."""
    pretrained = load(arm.run)
    snapshot = catalog.snapshot().of_titles(run_split(arm.run, catalog.titles())["held_out"])
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

    # One moment a title, so that the rows differ.
    firsts = np.unique(title.numpy(), return_index=True)[1].tolist()
    seen = firsts[:_NUM_SEEN]
    queries = firsts[:_NUM_QUERIES]
    nearest = [
        (video[query] @ audio.T).argsort(descending=True)[:_NUM_ANSWERS].tolist()
        for query in queries
    ]
    captions = [
        ["asks: " + caption(query)]
        + [("own sound: " if index == query else "") + caption(index) for index in found]
        for query, found in zip(queries, nearest, strict=True)
    ]
    return [
        Section(
            heading="What the encoders see and hear",
            text="Moments of held-out titles: four of the frames, and the log-mel spectrogram of "
            "the sound around them.",
            png=draw_clips(
                [clip(index) for index in seen],
                [caption(index) for index in seen],
                sample_rate_hz=clip_format.sample_rate_hz,
            ),
            png_alt="Frames and spectrograms of some moments",
        ),
        Section(
            heading="Nearest across the senses",
            text=f"Left, framed, the picture that asks ({arm.name} encoders); right, the moments "
            "whose sound lies nearest to it, nearest first, shown by their own pictures.",
            how_to_read="Good answers show the same event, be it in another title; 'own sound' "
            "marks the sound that belongs to the asking picture.",
            png=draw_neighbors(
                [clip(query) for query in queries],
                [[clip(index) for index in found] for found in nearest],
                captions,
            ),
            png_alt="Pictures and the moments whose sound is nearest to them",
        ),
    ]
