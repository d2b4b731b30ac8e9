"""What a model card says about a run, read from the run's folder."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toomuchtv._internal.files import read_json
from toomuchtv.errors import CheckpointError
from toomuchtv.evaluation.benchmark import shareable_name
from toomuchtv.evaluation.encoders.pretrained import encoder_of
from toomuchtv.evaluation.result import Evaluation, find_results
from toomuchtv.inference.pretrained import PretrainedEncoder, load
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.run_config import Config, load_config
from toomuchtv.training.snapshot_record import FileRecord, read_history
from toomuchtv.training.split import TitleRecord, read_split


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleFacts:
    """The titles on one side of a run's split.

    Attributes:
        names: Names with years, in alphabetical order.
        num_by_kind: Number of titles of each kind: `movie`, `show` and `clip`.
        num_files: Number of prepared films and episodes.
        hours: Their duration; None if the run was made by a version that did not record it.
    """

    names: tuple[str, ...]
    num_by_kind: Mapping[str, int]
    num_files: int
    hours: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A finished run.

    Attributes:
        encoder: Its encoders, on the CPU. Their config has no path of this machine.
        published: Names of the folders of published weights that the encoders started from, by
            modality.
        config: Its settings.
        train: The titles that it was trained on.
        held_out: The titles that it held out.
        loss: Loss of the last logged step; None if nothing was logged.
        held_out_loss: Last loss on held-out titles; None if there is none.
        results: Results of `toomuchtv evaluate` of these weights, and of random weights.
        num_stale_results: Number of results in the run's folder that are of other weights.
    """

    encoder: PretrainedEncoder
    published: Mapping[str, str]
    config: Config
    train: TitleFacts
    held_out: TitleFacts
    loss: float | None
    held_out_loss: float | None
    results: tuple[Evaluation, ...]
    num_stale_results: int


def read_run_facts(run: str | os.PathLike[str]) -> RunFacts:
    """Read a finished run.

    Raises:
        CheckpointError: There is no run, it has no model yet, or one of its files was damaged or
            edited.
        BenchmarkError: A result of an evaluation cannot be read.
        ValueError: The config of the run cannot be used by this version.
    """
    run = Path(run)
    if not (run / "config.toml").is_file():
        raise CheckpointError(
            f"{os.fspath(run)!r} is not the folder of a run: export needs the run, from which it "
            "fills the model card"
        )
    encoder, config = load(run), _read_config(run)
    split, files = read_split(run), read_history(run).files
    fingerprint = encoder_of(encoder, run.name, untrained=False).fingerprint
    found = _results(run)
    fresh = [
        one for one in found if one.untrained or one.identity.encoder_fingerprint == fingerprint
    ]
    # Models of earlier versions name folders of this machine.
    architecture = {"model": encoder.config.model.without_init()}
    return RunFacts(
        encoder=PretrainedEncoder(encoder.model, encoder.config.model_copy(update=architecture)),
        published=_published(config),
        config=config,
        train=_title_facts(split.train, files),
        held_out=_title_facts(split.held_out, files),
        loss=_last(run, "loss"),
        held_out_loss=_last(run, "held_out_loss"),
        results=tuple(fresh),
        num_stale_results=len(found) - len(fresh),
    )


def _published(config: Config) -> dict[str, str]:
    """Return the names of folders of published weights. The saved model does not have them."""
    folders = {
        modality: getattr(getattr(config.model, modality), "init", "")
        for modality in ("video", "audio")
    }
    return {modality: shareable_name(folder) for modality, folder in folders.items() if folder}


def _read_config(run: Path) -> Config:
    """Read the config of a run, and check that it is the one that the run began with."""
    path = run / "config.toml"
    try:
        expected = read_json(run / "run.json").get("config_sha256")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"cannot read {error.filename!r} of the run: {error.strerror}"
        ) from error
    if digest != expected:
        raise CheckpointError(
            f"{os.fspath(path)!r} was damaged or edited since the run began: restore it from a copy"
        )
    return load_config(file=path)


def _title_facts(titles: Sequence[TitleRecord], files: Mapping[str, FileRecord]) -> TitleFacts:
    present = [files[one] for title in titles for one in title.files if one in files]
    seconds = [file.seconds for file in present if file.seconds is not None]
    return TitleFacts(
        names=tuple(sorted(title.display_name for title in titles)),
        num_by_kind=Counter(title.kind for title in titles),
        num_files=len(present),
        hours=sum(seconds) / 3600 if len(seconds) == len(present) else None,
    )


def _results(run: Path) -> list[Evaluation]:
    if not any((run / "evaluations").glob("*/result.json")):
        return []
    return [result for _, result in find_results(run)]


def _last(run: Path, key: str) -> float | None:
    values = [line[key] for line in read_metrics(run) if line.get(key) is not None]
    return float(values[-1]) if values else None
