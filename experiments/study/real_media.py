"""Measuring the encoders of a study on real sounds, videos and films."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.study.conditions import Condition, steps_of
from experiments.study.run_condition import probe_encoder
from experiments.study.scores import Score, condition_path
from experiments.study.settings import proxy_format
from experiments.study.size import Detail, Frozen, StudySize
from toomuchtv._internal.files import write_text
from toomuchtv._internal.progress import ProgressCallback
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.data.batches import draw_validation_batch
from toomuchtv.evaluation.benchmark import Benchmark, Modality
from toomuchtv.evaluation.checking import check_benchmark
from toomuchtv.evaluation.datasets import read_benchmark
from toomuchtv.evaluation.encoders import run_encoder
from toomuchtv.evaluation.identity import data_fingerprint, digest_of
from toomuchtv.evaluation.retrieval import pair_ranks
from toomuchtv.evaluation.retrieval_benchmarks import embed_clips
from toomuchtv.inference.pretrained import load
from toomuchtv.training.device import choose_device

#: Layout of the files, and modality that is evaluated, by the name of the score.
_BENCHMARKS: dict[str, tuple[str, Modality]] = {
    "sounds": ("esc50", "audio"),
    "videos": ("ucf101", "video"),
}
#: A query of the retrieval is a hit if its partner is among this many.
RECALL_AT = 5
RETRIEVAL_CLIPS = 256
_SEED_IN_NAME = re.compile(r"-seed\d+")


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
        encoder: Fingerprint of the encoders.
        data: Fingerprint of the data that each score was measured on.
        scores: Linear probes of `sounds` and `videos`, and `retrieval`: the share of the clips of
            a library whose partner is among the five most similar, in both directions.
    """

    kind: str
    seed: int
    step: int
    is_final: bool
    encoder: str
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
        data: Fingerprint of each.
    """

    benchmarks: dict[str, Benchmark]
    catalog: Path | None
    data: dict[str, str]


def read_media(
    out: Path,
    detail: Detail,
    folders: Mapping[str, Path],
    num_workers: int,
    progress: ProgressCallback,
) -> RealMedia:
    """Read the lists of the benchmarks, and scan and prepare the library."""
    if not folders:
        raise ValueError("nothing to measure on: give --sounds, --videos or --library")
    benchmarks, data = {}, {}
    for name, (layout, modality) in _BENCHMARKS.items():
        if name in folders:
            listed = read_benchmark(layout, folders[name])
            benchmarks[name], _ = check_benchmark(
                listed, modality, allow_missing=True, progress=progress
            )
            data[name] = data_fingerprint(benchmarks[name])
    catalog = None
    if "retrieval" in folders:
        catalog = out / "real" / "catalog"
        scan_library(folders["retrieval"], catalog, num_workers=num_workers, progress=progress)
        with open_catalog(catalog) as opened:
            prepare_catalog(opened, proxy_format(detail), num_workers=num_workers,
                            progress=progress)  # fmt: skip
            data["retrieval"] = digest_of(sorted(item.fingerprint for item in opened.items()))
    return RealMedia(benchmarks=benchmarks, catalog=catalog, data=data)


def trainings_of(out: Path, size: StudySize, condition: Condition) -> Iterator[Training]:
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
    encoder = run_encoder(training.run, untrained=False, seed=training.seed)
    known: dict[str, Score] = {}
    data: dict[str, str] = {}
    if path.exists():
        read = RealScores.model_validate_json(path.read_text("utf-8"))
        if read.encoder == encoder.fingerprint:
            known, data = {one.benchmark: one for one in read.scores}, read.data
    new = [name for name in media.data if data.get(name) != media.data[name]]
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
        encoder=encoder.fingerprint, data={**data, **media.data}, scores=tuple(known.values()),
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
            num_clips=RETRIEVAL_CLIPS, seed=0,
        )  # fmt: skip
    if batch is None:
        raise ValueError("the library has less than two clips: give one with more hours")
    video, audio, title = embed_clips(encoder, batch)
    ranks = pair_ranks(video, audio)
    hits = np.stack([ranks.video_to_audio, ranks.audio_to_video]) <= RECALL_AT
    folds = hits.mean(axis=1)
    film, of_film = np.unique(title.numpy(), return_inverse=True)
    sources = {
        str(film[row]): (float(hits[:, of_film == row].sum()), 2 * int((of_film == row).sum()))
        for row in range(len(film))
    }
    return Score(
        benchmark="retrieval", protocol=f"recall at {RECALL_AT}", modality="both",
        accuracy=float(hits.mean()), folds=tuple(folds.tolist()),
        chance=RECALL_AT / len(title), sources=sources,
    )  # fmt: skip
