"""`python -m experiments.study.beyond`: two ideas beyond the paper, against k = 8 on shows.

Each idea is one condition, which was fixed before anything was trained. It has the seeds, the
library, the transfer sets, the initial weights and the settings of the study's condition k = 8 on
shows, which is trained beside it. The ideas are built from parts of the library, which does not
know of them.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from experiments.study.beyond.joint_selection import joint_steps, train_jointly
from experiments.study.beyond.look_alikes import train_look_alikes
from experiments.study.conditions import FIRST_SEED, Library, chosen
from experiments.study.findings import BENCHMARK_NAMES, Findings, FindingsBuilder, compare
from experiments.study.libraries import catalog_path, make_library, make_transfer
from experiments.study.run_condition import linear_scores
from experiments.study.scores import Score
from experiments.study.settings import condition_config
from experiments.study.size import FULL, QUICK, Frozen, StudySize, read_size
from experiments.study.statistics import DIFFERENCE_HEADER, Difference, paired_difference
from toomuchtv._internal.files import write_text
from toomuchtv.cli.options import Json, Workers, verb_output
from toomuchtv.training.pretrain import pretrain

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

#: The condition that the ideas are compared with comes first; it is also the reference of the
#: joint selection.
IDEAS = ("plain", "look-alike-titles", "joint-selection")


class IdeaScores(Frozen):
    """What was measured of one training.

    Attributes:
        idea: One of `IDEAS`.
        seed: The seed.
        steps: Number of steps.
        seconds: Wall time of the training, of the last call if it was interrupted.
        scores: Linear probes on the transfer sets.
    """

    idea: str
    seed: int
    steps: int
    seconds: float
    scores: tuple[Score, ...]


@app.command()
def main(
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder of a study, or a new one.")],
    size_file: Annotated[Path | None, typer.Option("--size", help="TOML file of a size.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The size of the quick study.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 3,
    first_seed: Annotated[int, typer.Option(min=0, help="First seed.")] = FIRST_SEED,
    workers: Workers = 2,
    as_json: Json = False,
) -> None:
    """Train look-alike titles and joint selection on shows, and compare them with k = 8.

    Libraries that OUT has are used. Each training that has finished is kept, in OUT/beyond, and an
    interrupted one continues when the command is repeated.

    Example: `python -m experiments.study.beyond --out out/study --seeds 3`
    """
    with verb_output(as_json=as_json) as output:
        size = QUICK if quick else FULL if size_file is None else read_size(size_file)
        found = []
        for seed in range(first_seed, first_seed + seeds):
            library = Library(content="shows", seed=seed)
            make_transfer(out, size, seed, num_workers=workers)
            make_library(out, size, library, num_workers=workers)
            for idea in IDEAS:
                one = run_idea(out, size, library, idea)
                found.append(one)
                scores = ", ".join(f"{s.benchmark} {s.accuracy:.3f}" for s in one.scores)
                output.info(
                    f"{idea}, seed {seed}, {one.steps} steps, {one.seconds:.0f} s: {scores}"
                )
        findings = report(out, found)
        output.info("\n".join(findings.sentences))
        output.print_json({"results": [one.model_dump(mode="json") for one in found]})


def run_idea(out: Path, size: StudySize, library: Library, idea: str) -> IdeaScores:
    """Train one idea on a library and evaluate it, unless that has been done.

    Raises:
        ToomuchtvError: If training or evaluation failed.
    """
    folder, seed = out / "beyond", library.seed
    name = f"{idea}-seed{seed}"
    path = folder / "results" / f"{name}.json"
    if path.exists():
        return IdeaScores.model_validate_json(path.read_text("utf-8"))
    catalog, run = catalog_path(out, library), folder / name
    usual = condition_config(size, chosen(library))
    begun, steps = time.monotonic(), size.steps
    if idea == "plain":
        pretrain(catalog, run, usual, resume=True)
    elif idea == "look-alike-titles":
        train_look_alikes(catalog, run, usual)
    else:
        steps = joint_steps(size.steps)
        fewer = condition_config(size.model_copy(update={"steps": steps}), chosen(library))
        train_jointly(catalog, run, fewer, reference=folder / f"plain-seed{seed}")
    found = IdeaScores(
        idea=idea,
        seed=seed,
        steps=steps,
        seconds=time.monotonic() - begun,
        scores=linear_scores(out, seed, run),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, found.model_dump_json(indent=1) + "\n")
    return found


def report(out: Path, found: list[IdeaScores]) -> Findings:
    """State the differences from k = 8, and draw them into OUT/beyond/beyond.png."""
    b = FindingsBuilder(["idea", "transfer set", *DIFFERENCE_HEADER])
    for idea in IDEAS[1:]:
        for benchmark, name in BENCHMARK_NAMES.items():
            difference = _difference(found, idea, benchmark)
            b.sentences.append(compare(f"{idea}, {name}", difference, than="k=8 for equal cost"))
            b.add(difference, cells=[idea, name], panel=f"minus k=8: {name}", label=idea,
                  estimate=f"{idea} minus k=8, {benchmark}")  # fmt: skip
    findings = b.build(
        "Do two ideas beyond the paper score higher than k=8 on shows for equal cost?",
        how_to_read="Linear probes: accuracy of the idea minus that of k=8, paired by seed.",
    )
    if findings.draw_chart is not None:
        (out / "beyond" / "beyond.png").write_bytes(findings.draw_chart())
    return findings


def _difference(found: list[IdeaScores], idea: str, benchmark: str) -> Difference | None:
    """Return the score of an idea minus that of k = 8, paired by seed; None for no seed."""
    by_idea = {
        name: {one.seed: score for one in found if one.idea == name
               for score in one.scores if score.benchmark == benchmark}
        for name in (IDEAS[0], idea)
    }  # fmt: skip
    base, other = by_idea[IDEAS[0]], by_idea[idea]
    return paired_difference([(base[seed], other[seed]) for seed in base if seed in other])


if __name__ == "__main__":
    app()
