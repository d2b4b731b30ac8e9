"""`python -m experiments.study.real_media`: what the encoders of a study know of real media."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Annotated

import numpy as np
import typer

from experiments.study.charts import Band, draw_bands
from experiments.study.conditions import Condition, read_design, select, steps_of
from experiments.study.findings import Findings, FindingsBuilder, compare
from experiments.study.run_condition import probe_encoder
from experiments.study.scores import Score, condition_path, read_scores
from experiments.study.settings import proxy_format
from experiments.study.size import Detail, Frozen, StudySize
from experiments.study.statistics import DIFFERENCE_HEADER, Difference, paired_difference
from toomuchtv._internal.files import write_text
from toomuchtv._internal.progress import ProgressCallback
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.cli.options import Json, Workers, verb_output
from toomuchtv.data.batches import draw_validation_batch
from toomuchtv.evaluation.benchmark import Benchmark, Modality
from toomuchtv.evaluation.checking import check_benchmark
from toomuchtv.evaluation.datasets import read_benchmark
from toomuchtv.evaluation.encoders import run_encoder
from toomuchtv.evaluation.retrieval import pair_ranks
from toomuchtv.evaluation.retrieval_benchmarks import embed_clips
from toomuchtv.inference.pretrained import load
from toomuchtv.reports.charts import COLORS
from toomuchtv.reports.page import Section, write_page
from toomuchtv.training.device import choose_device

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

#: What is measured, by the name of its score.
NAMES = {
    "sounds": "real sounds, from audio",
    "videos": "real actions, from video",
    "retrieval": "retrieval in a real library",
}
#: Layout of the files, and modality that is evaluated.
_BENCHMARKS: dict[str, tuple[str, Modality]] = {
    "sounds": ("esc50", "audio"),
    "videos": ("ucf101", "video"),
}
#: A query of the retrieval is a hit if its partner is among this many.
_RECALL_AT = 5
_RETRIEVAL_CLIPS = 256
_SEED_IN_NAME = re.compile(r"-seed(\d+)")
_UNTRAINED, _UNIFORM = "untrained", "uniform"


@dataclass(frozen=True, slots=True)
class Training:
    """Encoders to measure.

    Attributes:
        kind: Name of the condition without its seed.
        seed: Its seed.
        step: Number of training steps; 0 for random weights.
        run: Folder of a run.
        is_final: Whether the training was at its end.
    """

    kind: str
    seed: int
    step: int
    run: Path
    is_final: bool = False


class RealScores(Frozen):
    """What was measured of one training on real media, at the end or at a milestone.

    Attributes:
        kind: Name of the condition without its seed.
        seed: Its seed.
        step: Number of training steps; 0 for random weights.
        is_final: Whether the training was at its end.
        data: Name of the folder that each score was measured on.
        scores: Linear probes of `sounds` and `videos`, and `retrieval`: the share of the clips of
            a library whose partner is among the five most similar, in both directions.
    """

    kind: str
    seed: int
    step: int
    is_final: bool
    data: dict[str, str]
    scores: tuple[Score, ...]

    def score(self, benchmark: str) -> Score | None:
        """Return one score, or None if it was not measured."""
        return next((one for one in self.scores if one.benchmark == benchmark), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RealMedia:
    """The media that encoders are measured on; what is not given is not measured.

    Attributes:
        benchmarks: Benchmarks by the name of their score.
        catalog: A prepared catalog of films, for retrieval.
        data: Name of the folder of each.
    """

    benchmarks: dict[str, Benchmark]
    catalog: Path | None
    data: dict[str, str]


@app.command()
def main(
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder of a study with its trainings.")],
    sounds: Annotated[
        Path | None, typer.Option(help="ESC-50, or its part ESC-10: audio/ and meta/esc50.csv.")
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(help="UCF101 or a part: videos/ and ucfTrainTestlist/.")
    ] = None,
    library: Annotated[
        Path | None, typer.Option(help="Library of films, for retrieval between video and audio.")
    ] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option("--conditions", help="Only the conditions whose name matches. Repeatable."),
    ] = None,
    workers: Workers = 2,
    as_json: Json = False,
) -> None:
    """Measure the finished encoders of a study on real sounds, videos and films.

    Linear probes are fitted to the features of real sounds and real videos, and the video of each
    moment of a library is searched by its audio and the reverse. Nothing is trained. Each training
    is compared with random weights of the same seed, and with uniform sampling. Checkpoints along
    the way are measured as well where the study has kept them.

    Files of the benchmarks that are missing are left out. What has been measured is kept in
    OUT/real, so that an interrupted call continues. The findings are in OUT/real_media.html.

    Example: `python -m experiments.study.real_media --out out/shows --sounds ESC-50`
    """
    with verb_output(as_json=as_json) as output:
        design = read_design(out)
        found: list[RealScores] = []
        finished = [
            one for one in select(design.conditions, conditions or ())
            if read_scores(out, design, one) is not None
        ]  # fmt: skip
        if not finished:
            raise ValueError(f"no condition of {out} has finished: run the study first")
        with output.progress("encoders") as progress:
            given = {"sounds": sounds, "videos": videos, "retrieval": library}
            folders = {name: path for name, path in given.items() if path is not None}
            media = _read_media(out, design.size.detail, folders, workers, progress)
            trainings = [
                one for condition in finished for one in _trainings(out, design.size, condition)
            ]
            for number, training in enumerate(trainings):
                progress(number, len(trainings), "measuring encoders")
                found.append(measure(out, training, media))
            progress(len(trainings), len(trainings), "measuring encoders")
        findings = [policies(found), along_the_way(found)]
        page = _write(out, media, findings)
        for one in findings:
            output.info("\n  ".join([f"\n{one.question}", *one.sentences]))
        output.info(f"\n{page}")
        output.print_json({"page": page, "results": [one.model_dump(mode="json") for one in found]})


def _read_media(
    out: Path,
    detail: Detail,
    folders: Mapping[str, Path],
    num_workers: int,
    progress: ProgressCallback,
) -> RealMedia:
    """Read the lists of the benchmarks, and scan and prepare the library."""
    if not folders:
        raise ValueError("nothing to measure on: give --sounds, --videos or --library")
    benchmarks = {}
    for name, (layout, modality) in _BENCHMARKS.items():
        if name in folders:
            listed = read_benchmark(layout, folders[name])
            benchmarks[name], _ = check_benchmark(
                listed, modality, allow_missing=True, progress=progress
            )
    catalog = None
    if "retrieval" in folders:
        catalog = out / "real" / "catalog"
        scan_library(folders["retrieval"], catalog, num_workers=num_workers, progress=progress)
        with open_catalog(catalog) as opened:
            prepare_catalog(opened, proxy_format(detail), num_workers=num_workers,
                            progress=progress)  # fmt: skip
    return RealMedia(
        benchmarks=benchmarks,
        catalog=catalog,
        data={name: path.resolve().name for name, path in folders.items()},
    )


def _trainings(out: Path, size: StudySize, condition: Condition) -> Iterator[Training]:
    """Yield the checkpoints along the way of a condition, and its final encoders."""
    folder, last = condition_path(out, condition), steps_of(size, condition)
    kind = _SEED_IN_NAME.sub("", condition.name)
    for path in folder.glob("milestones/step*"):
        yield Training(kind, condition.library.seed, int(path.name.removeprefix("step")), path)
    yield Training(kind, condition.library.seed, last, folder / "run", is_final=True)


def measure(out: Path, training: Training, media: RealMedia) -> RealScores:
    """Measure the encoders of a training, except for what has been measured already."""
    name = f"{training.kind}-seed{training.seed}-step{training.step}"
    path = out / "real" / "results" / f"{name}.json"
    known: dict[str, Score] = {}
    data: dict[str, str] = {}
    if path.exists():
        read = RealScores.model_validate_json(path.read_text("utf-8"))
        known, data = {one.benchmark: one for one in read.scores}, read.data
    new = [name for name in media.data if data.get(name) != media.data[name]]
    if new:
        encoder = run_encoder(training.run, untrained=False, seed=training.seed)
        for name in new:
            if name == "retrieval":
                known[name] = _retrieve(training.run, media)
            else:
                modality = _BENCHMARKS[name][1]
                known[name] = probe_encoder(
                    encoder, media.benchmarks[name], name, modality, allow_missing=True
                )
    found = RealScores(
        kind=training.kind, seed=training.seed, step=training.step, is_final=training.is_final,
        data={**data, **media.data}, scores=tuple(known.values()),
    )  # fmt: skip
    if new:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, found.model_dump_json(indent=1) + "\n")
    return found


def _retrieve(run: Path, media: RealMedia) -> Score:
    """Search the partner of each clip of the library, in both directions.

    The clips are the same for all encoders. A film is a source of the bootstrap.
    """
    assert media.catalog is not None
    encoder = load(run)
    encoder = encoder.to(choose_device("auto"))
    with open_catalog(media.catalog) as catalog:
        batch = draw_validation_batch(
            catalog.folder, catalog.snapshot(), catalog.proxies(), encoder.config.clip,
            num_clips=_RETRIEVAL_CLIPS, seed=0,
        )  # fmt: skip
    if batch is None:
        raise ValueError("the library has less than two clips: give one with more hours")
    video, audio, title = embed_clips(encoder, batch)
    ranks = pair_ranks(video, audio)
    hits = np.stack([ranks.video_to_audio, ranks.audio_to_video]) <= _RECALL_AT
    folds = hits.mean(axis=1)
    film, of_film = np.unique(title.numpy(), return_inverse=True)
    sources = {
        str(film[row]): (float(hits[:, of_film == row].sum()), 2 * int((of_film == row).sum()))
        for row in range(len(film))
    }
    return Score(
        benchmark="retrieval", protocol=f"recall at {_RECALL_AT}", modality="both",
        accuracy=float(hits.mean()), folds=tuple(folds.tolist()),
        chance=_RECALL_AT / len(title), sources=sources,
    )  # fmt: skip


def policies(found: Sequence[RealScores]) -> Findings:
    """Compare all final encoders with random weights, and hierarchical with uniform sampling.

    Sentences judge uniform sampling and the largest k; the table has everything.
    """
    b = FindingsBuilder(["encoders", "minus", "measured on", *DIFFERENCE_HEADER])
    final = [one for one in found if one.is_final]
    kinds = list(dict.fromkeys(one.kind for one in final))
    bases = [one for one in kinds if one.endswith((f"-{_UNTRAINED}", f"-{_UNIFORM}"))]
    for benchmark, name in NAMES.items():
        for base in bases:
            content, policy = base.rsplit("-", 1)
            others = [one for one in kinds if one.startswith(f"{content}-") and one != base]
            others = [one for one in others if not one.endswith(_UNTRAINED)]
            judged = _judged(others)
            for other in others:
                difference = _difference(final, base, other, benchmark)
                than = "random weights" if policy == _UNTRAINED else "uniform sampling"
                label = other.removeprefix(f"{content}-")
                if difference is None:
                    continue
                if other in judged:
                    b.sentences.append(compare(f"{other}, {name}", difference, than=than))
                b.add(difference, cells=[other, than, name], panel=f"minus {than}: {name}",
                      label=label, estimate=f"{other} minus {base}, {benchmark}")  # fmt: skip
    return b.build(
        "What do the encoders know of real media?",
        how_to_read="Accuracy of linear probes on real sounds and videos, and the share of the "
        f"moments of a real library whose sound is among the {_RECALL_AT} most similar of "
        f"{_RETRIEVAL_CLIPS}, in both directions; minus the same of random weights, or of uniform "
        "sampling, paired by seed.",
    )


def _judged(kinds: Sequence[str]) -> set[str]:
    """Return uniform sampling and that with the largest k, without any variant."""
    by_clips = {int(found[1]): one for one in kinds if (found := re.search(r"-k(\d+)$", one))}
    uniform = {one for one in kinds if one.endswith(f"-{_UNIFORM}") and one.count("-") == 1}
    return uniform | ({by_clips[max(by_clips)]} if by_clips else set())


def _difference(
    found: Sequence[RealScores], base: str, other: str, benchmark: str
) -> Difference | None:
    by_kind = {
        kind: {one.seed: score for one in found
               if one.kind == kind and (score := one.score(benchmark)) is not None}
        for kind in (base, other)
    }  # fmt: skip
    pairs = [
        (score, by_kind[other][seed])
        for seed, score in by_kind[base].items()
        if seed in by_kind[other]
    ]
    return paired_difference(pairs)


def along_the_way(found: Sequence[RealScores]) -> Findings:
    """Show how the scores grow with the steps, where checkpoints along the way are known."""
    b = FindingsBuilder([])
    followed = list(dict.fromkeys(one.kind for one in found if not one.is_final))
    panels: dict[str, list[Band]] = {}
    for benchmark, name in NAMES.items():
        for color, kind in zip(COLORS[1:], followed, strict=False):
            start = kind.rsplit("-", 1)[0] + f"-{_UNTRAINED}"
            by_step: dict[int, list[float]] = defaultdict(list)
            for one in found:
                score = one.score(benchmark)
                if one.kind in (kind, start) and score is not None:
                    by_step[one.step].append(score.accuracy)
            if by_step:
                steps = sorted(by_step)
                panels.setdefault(name, []).append(
                    Band(
                        name=kind,
                        color=color,
                        x=steps,
                        mean=[mean(by_step[step]) for step in steps],
                        low=[min(by_step[step]) for step in steps],
                        high=[max(by_step[step]) for step in steps],
                    )
                )
    b.sentences.append("The figure shows it." if panels else "No checkpoint has been kept.")
    return b.build(
        "How does it grow with the steps?",
        draw_chart=partial(draw_bands, panels, x_label="step") if panels else None,
        how_to_read="Mean over seeds, and the range of the seeds. Step 0 is random weights. Points "
        "before the end come from unfinished trainings, whose learning rate has not decayed.",
    )


def _write(out: Path, media: RealMedia, findings: Sequence[Findings]) -> Path:
    sections = []
    for number, one in enumerate(findings):
        png = None if one.draw_chart is None else one.draw_chart()
        if png is not None:
            (out / "real" / f"figure{number + 1}.png").write_bytes(png)
        sections.append(
            Section(
                heading=one.question,
                text="",
                points=one.sentences,
                details=one.table,
                how_to_read=one.how_to_read,
                charts=[] if png is None else [(png, one.question)],
            )
        )
    names = ", ".join(f"{NAMES[name]}: {folder}" for name, folder in media.data.items())
    path = out / "real_media.html"
    write_page(
        path, title="toomuchtv: rendered television, real media", sections=sections,
        lead="The encoders of a study were trained on rendered television alone. Here they are "
        f"measured on real media ({names}). Intervals are 95% confidence intervals over seeds, "
        "and over the sources of the clips.",
    )  # fmt: skip
    return path


if __name__ == "__main__":
    app()
