"""The page of a run, `RUN/report.html`: what came of it, at a glance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from toomuchtv.catalog.store import Catalog
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.errors import CatalogError, MediaError
from toomuchtv.media.clip import Clip
from toomuchtv.reports.charts import COLORS, Curve, draw_clips, draw_curves
from toomuchtv.reports.page import ResultTable, Section, write_page
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.nan_dump import timecode
from toomuchtv.training.run import item_names, split_catalog
from toomuchtv.training.run_config import Config, load_config

_NUM_EXAMPLES = 5

Lines = Sequence[dict[str, float]]


def write_run_page(run_path: Path, catalog: Catalog) -> Path:
    """Write the page of a run, be it finished or stopped.

    Args:
        run_path: The run's folder.
        catalog: What it was trained on.

    Returns:
        Where the page lies.
    """
    config = load_config(file=run_path / "config.toml")
    lines = read_metrics(run_path)
    trained = [line for line in lines if "loss" in line]
    held_out = [line for line in lines if "held_out_loss" in line]
    done = int(trained[-1]["step"]) if trained else 0
    sections = [_outcome(trained, held_out)]
    if trained:
        sections += [
            _learning(trained, held_out),
            _throughput(trained),
            _negatives(trained),
            *_examples(catalog, config, done),
        ]
    sections.append(_settings(config))
    page = run_path / "report.html"
    state = "finished" if (run_path / "model" / "config.json").exists() else "not finished yet"
    write_page(
        page,
        title=f"Pretraining {run_path.name}",
        lead=f"{done:,} of {config.training.steps:,} steps of {config.sampling.batch_size} clips, "
        f"drawn by the {config.sampling.name} policy; {state}.",
        sections=sections,
    )
    return page


def _outcome(trained: Lines, held_out: Lines) -> Section:
    rows = []
    if trained:
        last = trained[-1]
        rates = [line["clips_per_second"] for line in trained]
        rows += [
            ["loss, first and last logged interval", f"{_show(trained[0], 'loss')}, "
             f"{_show(last, 'loss')}"],
            ["clips a second, median of the intervals", f"{sorted(rates)[len(rates) // 2]:.1f}"],
            ["share of the time spent waiting for data, last interval",
             f"{last['data_wait_share']:.1%}"],
            ["effective negatives, last", _show(last, "effective_negatives")],
        ]  # fmt: skip
    if held_out:
        best = min(held_out, key=lambda line: _value(line, "held_out_loss"))
        rows += [
            ["held-out loss, last", _show(held_out[-1], "held_out_loss")],
            ["held-out loss, lowest", f"{_show(best, 'held_out_loss')} at step {best['step']:,}"],
        ]
    return Section(
        heading="What came",
        text="The figures are those of metrics.jsonl, which the curves below show in full."
        if rows
        else "Nothing has been logged yet.",
        table=ResultTable(header=["", ""], rows=rows) if rows else None,
    )


def _learning(trained: Lines, held_out: Lines) -> Section:
    losses = [_curve("training", trained, "loss", COLORS[2])]
    if held_out:
        losses.append(_curve("held out", held_out, "held_out_loss", COLORS[1]))
    return Section(
        heading="Learning",
        text="Loss on the titles trained on and on those held out, learning rate, and the norm of "
        "the gradient before clipping.",
        how_to_read="The two losses are of batches of different size and makeup, so their levels "
        "do not compare; their turns do. A held-out loss that rises while the other falls means "
        "that titles are learned by heart. A gradient norm that grows or jumps asks for a lower "
        "learning rate.",
        png=draw_curves(
            {
                "loss": losses,
                "learning rate": [_curve("training", trained, "learning_rate", COLORS[2])],
                "gradient norm": [_curve("training", trained, "gradient_norm", COLORS[2])],
            },
            x_label="step",
        ),
        png_alt="Loss, learning rate and gradient norm over the steps",
    )


def _throughput(trained: Lines) -> Section:
    return Section(
        heading="Throughput",
        text="Clips a second over all processes, and the share of the time in which this one "
        "waited for a batch to be decoded.",
        how_to_read="Where the wait is more than a few percent, more decoding processes "
        "(training.num_workers) or cores would make the run faster; where it is not, only the "
        "model's own speed counts.",
        png=draw_curves(
            {
                "clips a second": [_curve("run", trained, "clips_per_second", COLORS[3])],
                "share of waiting": [_curve("run", trained, "data_wait_share", COLORS[5])],
            },
            x_label="step",
        ),
        png_alt="Clips a second and share of waiting over the steps",
    )


def _negatives(trained: Lines) -> Section:
    charts = {
        "mass on the same title": "mass_same_title",
        "effective negatives": "effective_negatives",
        "own moment nearest": "top1",
    }
    known = {label: key for label, key in charts.items() if key in trained[-1]}
    return Section(
        heading="Negatives",
        text="How much of the weight of all negatives lies on moments of the same title, how many "
        "negatives count in effect, and how often a moment's own counterpart is the nearest of all "
        "in the batch.",
        how_to_read="Few effective negatives that lie in other titles are easy ones: the batch "
        "teaches little. The command toomuchtv diagnose says more.",
        png=draw_curves(
            {label: [_curve("batch", trained, key, COLORS[4])] for label, key in known.items()},
            x_label="step",
        ),
        png_alt="Figures of the negatives over the steps",
    )


def _examples(catalog: Catalog, config: Config, done: int) -> list[Section]:
    """Some clips of the last batch, one an item as far as there are so many."""
    train = catalog.snapshot().of_titles(split_catalog(catalog, config).train)
    names = item_names(catalog, train)
    plan = ClipSampler(train, config.sampling, config.clip).draw(
        seed=config.training.seed, step=done - 1
    )
    specs = list(plan)
    first_of_item = {spec.item: spec for spec in reversed(specs)}
    clips: list[Clip] = []
    captions: list[str] = []
    for spec in [*first_of_item.values(), *specs]:
        caption = f"{names[spec.item]}, {timecode(spec.start_seconds)}"
        if len(clips) == _NUM_EXAMPLES or caption in captions:
            continue
        try:
            clip = catalog.clip(int(train.item_id[spec.item]), spec.start_seconds, config.clip)
        except (CatalogError, MediaError):
            continue  # gone or damaged by now; the run has told what it could not read
        clips.append(clip)
        captions.append(caption)
    if not clips:
        return []
    return [
        Section(
            heading="Examples",
            text=f"Clips of the batch of step {done:,}, before augmentation: four of the frames, "
            "and the log-mel spectrogram of the sound around them.",
            png=draw_clips(clips, captions, sample_rate_hz=config.clip.sample_rate_hz),
            png_alt="Frames and spectrograms of some clips with their timecodes",
        )
    ]


def _settings(config: Config) -> Section:
    def rows(values: dict[str, object], prefix: str = "") -> list[list[str]]:
        flat: list[list[str]] = []
        for key, value in values.items():
            if isinstance(value, dict):
                flat += rows(value, f"{prefix}{key}.")
            else:
                flat.append([f"{prefix}{key}", str(value)])
        return flat

    return Section(
        heading="Settings",
        text="All of them, as config.toml in the run's folder has them.",
        table=ResultTable(header=["setting", "value"], rows=rows(config.model_dump())),
    )


def _curve(name: str, lines: Lines, key: str, color: str) -> Curve:
    known = [line for line in lines if key in line]
    return Curve(
        name=name,
        x=[line["step"] for line in known],
        y=[_value(line, key) for line in known],
        color=color,
    )


def _value(line: dict[str, float], key: str) -> float:
    """A figure; NaN where the log has null for what was not finite."""
    value = line.get(key)
    return math.nan if value is None else value


def _show(line: dict[str, float], key: str) -> str:
    return f"{_value(line, key):.4g}"
