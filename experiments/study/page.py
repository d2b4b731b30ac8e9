"""The study's page: what was done, each question with its figure, and how to do it again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.study.answer import Answer
from experiments.study.charts import draw_chart
from experiments.study.design import CHOSEN_CLIPS, Design
from experiments.study.schedule import Failure
from experiments.study.scores import ConditionScores
from toomuchtv.reports.page import ResultTable, Section, write_page


def write_study_page(
    path: Path,
    *,
    out: Path,
    design: Design,
    scores: Sequence[ConditionScores],
    answers: Sequence[Answer],
    failures: Sequence[Failure],
) -> None:
    """Write the page, and its figures beside it: `figures/question1.png` and so on.

    Args:
        path: Where to.
        out: The study's folder, for the commands.
        design: What was to be done.
        scores: What was done.
        answers: To each question.
        failures: Arms that came to nothing.
    """
    scale = design.scale
    figures = path.parent / "figures"
    figures.mkdir(exist_ok=True)
    sections = []
    for number, answer in enumerate(answers, start=1):
        png = None if answer.chart is None else draw_chart(answer.chart)
        if png is not None:
            (figures / f"question{number}.png").write_bytes(png)
        sections.append(_answer_section(number, answer, png))
    sections += [_arms_section(scores), _commands_section(out, design)]
    if failures:
        sections.insert(0, _failures_section(failures))
    write_page(
        path,
        title="toomuchtv: the paper's claims on rendered television",
        lead=f"{len(scores)} of {len(design.arms)} arms, trained on {len(design.worlds)} rendered "
        f"worlds of {scale.hours:.2f} hours each, {scale.steps} steps of {scale.batch_size} clips, "
        f"seeds {', '.join(map(str, design.seeds))}. Arms of a comparison differ in what is "
        "compared and in nothing else. Judged by linear probes on labeled clips of titles that no "
        f"training has seen. Hierarchical means {CHOSEN_CLIPS} clips a title (k={CHOSEN_CLIPS}) "
        "unless said otherwise; that was fixed before anything was trained. Intervals are 95%; a "
        "whisker that ends in an arrow goes on. "
        "Nothing here reproduces a number of the paper, whose films are private.",
        sections=sections,
    )


def _answer_section(number: int, answer: Answer, png: bytes | None) -> Section:
    return Section(
        heading=f"{number}. {answer.question}",
        text="",
        points=answer.sentences,
        how_to_read=answer.how_to_read if png is not None else "",
        details=answer.table if answer.table is not None and answer.table.rows else None,
        png=png,
        png_alt=answer.question,
    )


def _failures_section(failures: Sequence[Failure]) -> Section:
    return Section(
        heading="What failed",
        text="These arms came to nothing; the same command tries them again.",
        table=ResultTable(header=["arm", "why"], rows=[[one.arm, one.reason] for one in failures]),
    )


def _arms_section(scores: Sequence[ConditionScores]) -> Section:
    def shown(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    return Section(
        heading="All arms",
        text="Accuracy, mean over folds; study.json has every fold and every test title.",
        table=ResultTable(
            header=["arm", "steps", "hours", "actions, linear", "sounds, linear",
                    "actions, fine-tuned", "sounds, fine-tuned", "core seconds"],
            rows=[
                [
                    one.arm.name,
                    str(one.steps),
                    f"{one.hours:.2f}",
                    shown(one.accuracy("actions")),
                    shown(one.accuracy("sounds")),
                    shown(one.accuracy("actions", "finetune")),
                    shown(one.accuracy("sounds", "finetune")),
                    f"{one.core_seconds:.0f}",
                ]
                for one in scores
            ],
        ),
    )  # fmt: skip


def _commands_section(out: Path, design: Design) -> Section:
    name = design.scale.name
    size = {"full": "", "quick": " --quick"}.get(name, f" --size {name}.toml")
    count = len(design.seeds)
    seeds = f"--seeds {count} --first-seed"
    again = f"{out.name}-again"
    rows = [
        ["this study", f"toomuchtv study --out {out.name}{size} {seeds} {design.first_seed}"],
        ["with other seeds",
         f"toomuchtv study --out {again}{size} {seeds} {design.first_seed + count}"],
        ["do the two agree", f"toomuchtv study-agreement {out.name} {again}"],
        ["one arm in detail", f"toomuchtv diagnose {out.name}/arms/ARM/run --catalog "
         f"{out.name}/worlds/WORLD/cat"],
    ]  # fmt: skip
    return Section(
        heading="Do it again",
        text="The same seeds give the same worlds, plans and starting weights.",
        table=ResultTable(header=["", "command"], rows=rows),
    )
