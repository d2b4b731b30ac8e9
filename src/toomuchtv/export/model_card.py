"""The model card, `README.md`, filled from a run.

It names neither files nor folders nor hosts of the machine that the run was made on.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Sequence

from toomuchtv.data.config import SamplingConfig, schedule_pairs
from toomuchtv.evaluation.result import Evaluation
from toomuchtv.evaluation.table import figure_rows
from toomuchtv.export.preprocessing import describe_audio_input, describe_video_input
from toomuchtv.export.run_facts import RunFacts, TitleFacts

CARD_NAME = "README.md"

# The hub knows the value "unknown", and this program knows no more.
_FRONT_MATTER = """---
license: unknown
library_name: {library}
pipeline_tag: feature-extraction
tags:
- audio-visual
- contrastive-learning
- self-supervised
- toomuchtv
---
"""

_LICENCE = """The code of toomuchtv is licensed under Apache-2.0. That says nothing about these
weights: the program that wrote this card does not know who has the rights to the films that they
were trained on. Whoever publishes this folder has to choose a licence, and to replace both
`license: unknown` at the top of this file and this paragraph."""

_NAMES_OF_KINDS = {
    "movie": ("film", "films"), "show": ("show", "shows"), "clip": ("short clip", "short clips"),
}  # fmt: skip


def model_card(
    name: str, facts: RunFacts, *, library: str, use: Sequence[str], list_titles: bool
) -> str:
    """Write the card.

    Args:
        name: Name of the model.
        facts: The run.
        library: The library that loads the files, for the hub: `toomuchtv` or `onnx`.
        use: The part that says how to use the files, as blocks of Markdown.
        list_titles: Whether the card names the titles of both sides.
    """
    config, model = facts.encoder.config, facts.encoder.model
    parameters = sum(value.numel() for value in model.parameters()) / 1e6
    blocks = [
        _FRONT_MATTER.format(library=library),
        f"# {escape_markdown(name)}",
        f"A video encoder ({config.model.video.label}) and an audio encoder "
        f"({config.model.audio.label}) for moments of films and TV series, with "
        f"{parameters:.1f} million parameters together. Each maps a clip to a unit vector of "
        f"{config.model.embedding_dim} numbers in one space: the inner product of two vectors is "
        "their similarity, also between video and audio. They were trained without labels by "
        "toomuchtv, a contrastive method after "
        '"Watching Too Much Television is Good" (arXiv 2106.08513).',
        *(
            f"The {modality} encoder started from the published weights "
            f"{escape_markdown(folder)}. What those were trained on, and with which labels, is "
            "stated where they were published."
            for modality, folder in facts.published.items()
        ),
        *use,
        "## Input",
        describe_video_input(config),
        describe_audio_input(config),
        "The file `preprocessor_config.json` has all of these numbers.",
        *_data(facts, list_titles=list_titles),
        *_training(facts),
        *_results(facts),
        "## Licence",
        _LICENCE,
        *_limits(facts),
    ]
    return "\n\n".join(block.strip() for block in blocks) + "\n"


def code_block(lines: str) -> str:
    """Return Python code as a block of Markdown."""
    return f"```python\n{lines.strip()}\n```"


def quoted(text: str) -> str:
    """Return a string as a literal that Python and JSON read alike."""
    return json.dumps(text)


def escape_markdown(text: str) -> str:
    """Escape what Markdown would act on, and put everything on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", " ".join(text.split()))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _data(facts: RunFacts, *, list_titles: bool) -> list[str]:
    sides = (("trained on", facts.train), ("held out", facts.held_out))
    rows = [
        [
            side,
            _count_titles(titles),
            titles.num_files,
            "not recorded" if titles.hours is None else f"{titles.hours:.3g}",
        ]
        for side, titles in sides
    ]
    blocks = ["## Data", table(["titles", "number", "files", "hours"], rows)]
    if not list_titles:
        return [*blocks, "Their names were left out when this card was written."]
    for side, titles in sides:
        if titles.names:
            names = "; ".join(escape_markdown(name) for name in titles.names)
            blocks.append(f"Titles that were {side}: {names}.")
    return blocks


def _count_titles(titles: TitleFacts) -> str:
    counts = [
        f"{number} {_NAMES_OF_KINDS[kind][number != 1]}"
        for kind, number in sorted(titles.num_by_kind.items())
    ]
    return " and ".join(counts) or "none"


def _training(facts: RunFacts) -> list[str]:
    config = facts.config
    steps, batch = config.training.steps, config.sampling.batch_size
    hours = steps * batch * config.clip.span_seconds / 3600
    rows: list[list[object]] = [
        ["sampling policy", _describe_sampling(config.sampling)],
        ["started from", "published weights" if facts.published else "random weights"],
        ["steps", f"{steps:,}"],
        ["clips per step", f"{batch:,}"],
        ["clips seen", f"{steps * batch:,}, {hours:.3g} hours"],
        ["loss", config.loss.name],
        ["optimizer", f"{config.optimizer.name}, learning rate {config.optimizer.learning_rate:g}"],
        ["seed", config.training.seed],
    ]
    if facts.loss is not None:
        rows.append(["loss at the last logged step", f"{facts.loss:.4g}"])
    if facts.held_out_loss is not None:
        rows.append(["loss on held-out titles", f"{facts.held_out_loss:.4g}"])
    note = (
        "The two losses are of batches of different size and composition. The card was written by "
    )
    version = f"toomuchtv {importlib.metadata.version('toomuchtv')}."
    return ["## Training", table(["setting", "value"], rows), note + version]


def _describe_sampling(sampling: SamplingConfig) -> str:
    if sampling.name == "uniform":
        return "uniform: every clip is drawn independently, items weighted by their duration"
    batches = ", ".join(
        f"{f'from step {step:,} on ' if step else ''}{sampling.titles_at(step)} titles x "
        f"{sampling.items_per_title} items x {clips} clips"
        for step, clips in schedule_pairs(sampling.clips_per_item)
    )
    return f"hierarchical: {batches}; a title is a {sampling.level}"


def _results(facts: RunFacts) -> list[str]:
    blocks = ["## Results"]
    for result in facts.results:
        blocks += _result(result)
    if not facts.results:
        blocks.append(
            "No benchmark was run on these weights before they were exported. What they are worth "
            "is not known."
        )
    if facts.num_stale_results:
        blocks.append(
            f"Results that are left out, because they are of other weights of this run: "
            f"{facts.num_stale_results}."
        )
    return blocks


def _result(result: Evaluation) -> list[str]:
    header, rows = figure_rows(result)
    modality = f" from {result.modality}" if result.modality else ""
    weights = ", random weights" if result.untrained else ""
    sentences = [
        "The 95% intervals are those of a bootstrap over source videos or recordings. Where there "
        "is only one source, there is none."
    ]
    data = result.data or {}
    if not data.get("complete", True):
        sentences.append(
            f"Files of the benchmark were missing, and {data.get('clips')} clips were used: the "
            "figures do not compare with published ones."
        )
    if result.benchmark != "retrieval":
        leakage = result.leakage
        sentences.append(
            "The benchmark was not searched for clips of the training data."
            if leakage is None
            else f"{leakage['found']} of {leakage['clips']} clips of the benchmark were found in "
            "the training data."
        )
    return [
        f"### {result.benchmark}{modality}, protocol {result.protocol}{weights}",
        table(header, rows),
        " ".join(sentences),
    ]


def _limits(facts: RunFacts) -> list[str]:
    hours = facts.train.hours
    trained = _count_titles(facts.train) + ("" if hours is None else f" ({hours:.3g} hours)")
    size = facts.encoder.config.transform.size
    return [
        "## Limits",
        f"- The encoders were trained on {trained}. What does not occur there, they have not "
        "learned here.\n"
        "- Clips of one title resemble each other by cast, sets, colors and music. The vectors may "
        "encode the title rather than the event; `toomuchtv diagnose` measures that.\n"
        "- A similarity is not a probability. Compare it with that of random pairs of your own "
        "data.\n"
        f"- Video is seen as a centered square of {size} x {size} pixels. Small things and the "
        "sides of a wide picture are lost.\n"
        "- The people, places and languages of the films are not a balanced selection, and the "
        "encoders are not made for recognizing persons.\n"
        "- There is no text encoder.",
    ]
