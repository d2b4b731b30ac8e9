"""The page of a run, `RUN/report.html`: losses, throughput, negatives and example clips."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toomuchtv._internal.timecode import format_timecode
from toomuchtv.catalog.store import Catalog
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.errors import CatalogError, MediaError
from toomuchtv.media.clip import Clip
from toomuchtv.reports.charts import COLORS, Curve, draw_clips, draw_curves, plain_text
from toomuchtv.reports.page import ResultTable, Section, write_page
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.run import item_names, titles_of_run
from toomuchtv.training.run_config import Config, load_config
from toomuchtv.training.snapshot_record import SNAPSHOT_NAME, read_history

_NUM_EXAMPLES = 5

Lines = Sequence[dict[str, float]]


def write_run_page(run_path: str | os.PathLike[str], catalog: Catalog) -> Path:
    """Write the page of a run, whether it has finished or not.

    Args:
        run_path: Folder of the run.
        catalog: The catalog that it was trained on.

    Returns:
        The path of the page.

    Raises:
        CheckpointError: A file of the run is damaged.
        CatalogError: The catalog cannot be used.
        OSError: A file cannot be read, or the page cannot be written.
        ValueError: The config of the run, or what the catalog has left, cannot be used.
    """
    run_path = Path(run_path)
    config = load_config(file=run_path / "config.toml")
    lines = read_metrics(run_path)
    trained = [line for line in lines if "loss" in line]
    held_out = [line for line in lines if "held_out_loss" in line]
    step = int(trained[-1]["step"]) if trained else 0
    sections = [_summary_section(trained, held_out)]
    if trained:
        sections += [
            _learning_section(trained, held_out),
            _throughput_section(trained),
            _negatives_section(trained),
            *_examples_section(catalog, config, run_path, step),
        ]
    sections += [*_changes_section(run_path), _settings_section(config)]
    is_finished = (run_path / "model" / "config.json").exists()
    page = run_path / "report.html"
    write_page(
        page,
        title=f"Pretraining {run_path.name}",
        lead=f"This run has done {step:,} of {config.training.steps:,} steps with batches of "
        f"{config.sampling.batch_size} clips from {config.sampling.name} sampling. "
        f"It has {'finished' if is_finished else 'not finished yet'}.",
        sections=sections,
    )
    return page


def _summary_section(trained: Lines, held_out: Lines) -> Section:
    rows = []
    if trained:
        last = trained[-1]
        rate = statistics.median(_number(line, "clips_per_second") for line in trained)
        rows += [
            ["loss at the first logged step", _formatted(trained[0], "loss")],
            ["loss at the last logged step", _formatted(last, "loss")],
            ["clips per second (median)", f"{rate:.1f}"],
            ["share of the time spent waiting for data", f"{_number(last, 'data_wait_share'):.1%}"],
            [
                "effective negatives at the last logged step",
                _formatted(last, "effective_negatives"),
            ],
        ]
    if held_out:
        best = min(held_out, key=lambda line: _number(line, "held_out_loss"))
        rows += [
            ["last held-out loss", _formatted(held_out[-1], "held_out_loss")],
            [
                "lowest held-out loss",
                f"{_formatted(best, 'held_out_loss')} (step {best['step']:,})",
            ],
        ]
    if not rows:
        return Section(heading="Summary", text="The run has not logged a step yet.")
    return Section(
        heading="Summary",
        text="These figures are from metrics.jsonl. The charts below show all logged steps.",
        table=ResultTable(header=["figure", "value"], rows=rows),
    )


def _learning_section(trained: Lines, held_out: Lines) -> Section:
    losses = [_curve("training titles", trained, "loss", COLORS[2])]
    if held_out:
        losses.append(_curve("held-out titles", held_out, "held_out_loss", COLORS[1]))
    return Section(
        heading="Learning",
        text="The charts show the loss on training titles and on held-out titles, the learning "
        "rate, and the norm of the gradient before clipping.",
        how_to_read="The two losses are measured on batches of different size and composition, so "
        "compare how they change and not their values. If the held-out loss rises while the "
        "training loss falls, the encoders memorize the training titles. If the gradient norm "
        "grows or jumps, lower the learning rate.",
        charts=draw_curves(
            {
                "loss": losses,
                "learning rate": [_curve("training", trained, "learning_rate", COLORS[2])],
                "gradient norm": [_curve("training", trained, "gradient_norm", COLORS[2])],
            },
            x_label="step",
        ),
    )


def _throughput_section(trained: Lines) -> Section:
    return Section(
        heading="Throughput",
        text="The charts show the clips per second of all processes together, and the share of "
        "the time in which the first process waited for decoded batches.",
        how_to_read="If the share of waiting is more than a few percent, more decoding processes "
        "(training.num_workers) or more cores make the run faster. Otherwise the speed of the "
        "model is the limit.",
        charts=draw_curves(
            {
                "clips per second": [_curve("run", trained, "clips_per_second", COLORS[3])],
                "share of waiting": [_curve("run", trained, "data_wait_share", COLORS[5])],
            },
            x_label="step",
        ),
    )


def _negatives_section(trained: Lines) -> Section:
    charts = {
        "mass on same title": "mass_same_title",
        "effective negatives": "effective_negatives",
        "share of easy negatives": "easy_negative_share",
        "top-1 accuracy": "top1",
    }
    logged = {label: key for label, key in charts.items() if key in trained[-1]}
    return Section(
        heading="Negatives",
        text="The charts show the share of the softmax mass of all negatives that lies on clips of "
        "the same title, the effective number of negatives, the share of negatives with less than "
        "1% of an equal split, and how often the audio of the same clip is the most similar one in "
        "the batch, and the reverse.",
        how_to_read="While the encoders learn, the effective number of negatives falls. If it is "
        "close to 1 and most negatives are easy, the batches have no hard negatives left. The "
        "command toomuchtv diagnose measures both sampling policies on the finished model.",
        charts=draw_curves(
            {label: [_curve("batch", trained, key, COLORS[4])] for label, key in logged.items()},
            x_label="step",
        ),
    )


def _examples_section(catalog: Catalog, config: Config, run_path: Path, step: int) -> list[Section]:
    """Show clips of the last batch, of different items as far as possible."""
    snapshot, split = titles_of_run(catalog, config, run_path)
    train = snapshot.of_titles(split.train)
    names = item_names(catalog, train)
    sampler = ClipSampler(train, config.sampling, config.clip)
    specs = list(sampler.draw(seed=config.training.seed, step=step - 1))
    first_of_item = {spec.item: spec for spec in reversed(specs)}
    clips: list[Clip] = []
    captions: list[str] = []
    for spec in [*first_of_item.values(), *specs]:
        caption = f"{plain_text(names[spec.item], 60)}, {format_timecode(spec.start_seconds)}"
        if len(clips) == _NUM_EXAMPLES or caption in captions:
            continue
        try:
            clip = catalog.clip(int(train.item_id[spec.item]), spec.start_seconds, config.clip)
        except (CatalogError, MediaError):
            continue  # The proxy was removed or damaged since. The run has logged such clips.
        clips.append(clip)
        captions.append(caption)
    if not clips:
        return []
    return [
        Section(
            heading="Examples",
            text=f"These clips are from the batch of step {step:,}, before augmentation. Each row "
            "shows four frames and the log-mel spectrogram of the audio.",
            charts=[
                (
                    draw_clips(clips, captions, sample_rate_hz=config.clip.sample_rate_hz),
                    "Frames and spectrograms of some clips with their times",
                )
            ],
        )
    ]


def _changes_section(run_path: Path) -> list[Section]:
    """Say when the run was resumed with a catalog that had changed."""
    if not (run_path / SNAPSHOT_NAME).exists():
        return []
    points = [
        f"Step {start.step:,}: {change}"
        for start in read_history(run_path).starts
        for change in start.changes
    ]
    if not points:
        return []
    return [
        Section(
            heading="Changes of the catalog",
            text="The run was resumed with a catalog that had changed since it was started.",
            points=points,
        )
    ]


def _settings_section(config: Config) -> Section:
    return Section(
        heading="Settings",
        text="These are all settings of the run, as in its config.toml.",
        table=ResultTable(header=["setting", "value"], rows=_flatten(config.model_dump())),
    )


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[list[str]]:
    rows: list[list[str]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += _flatten(value, f"{prefix}{key}.")
        else:
            rows.append([f"{prefix}{key}", str(value)])
    return rows


def _curve(name: str, lines: Lines, key: str, color: str) -> Curve:
    logged = [line for line in lines if key in line]
    return Curve(
        name=name,
        x=[line["step"] for line in logged],
        y=[_number(line, key) for line in logged],
        color=color,
    )


def _number(line: Mapping[str, float], key: str) -> float:
    """Return a logged figure. Figures that are not finite are null in the log, and NaN here."""
    value = line.get(key)
    return math.nan if value is None else value


def _formatted(line: Mapping[str, float], key: str) -> str:
    return f"{_number(line, key):.4g}"
