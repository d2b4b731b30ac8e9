"""A resumed run keeps its split, whatever happens to the catalog, and says what has changed."""

from __future__ import annotations

import json
import random
import shutil
import signal
from pathlib import Path

import pytest

from tests.media_files import write_film
from tests.prepared import RECIPE, make_prepared_catalog, tiny_config
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.records import Title, TitleKind
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.diagnosis import diagnose
from toomuchtv.errors import CatalogError, CheckpointError
from toomuchtv.evaluation.retrieval_benchmarks import run_catalog_retrieval
from toomuchtv.inference.pretrained import load
from toomuchtv.training.pretrain import PretrainResult, pretrain
from toomuchtv.training.snapshot_record import read_history
from toomuchtv.training.split import (
    PreparedTitles,
    RunSplit,
    TitleRecord,
    match_split,
    read_split,
    split_of_run,
    update_split,
)
from toomuchtv.training.step import TrainingStep

CONFIG = tiny_config(training={"held_out_share": 0.25, "validate_every": 0})
Names = dict[str, set[str]]


def titles_of(run: Path) -> Names:
    content = json.loads((run / "split.json").read_text())
    return {side: {one["name"] for one in content[side]} for side in ("train", "held_out")}


def bring_up_to_date(folder: Path) -> None:
    scan_library(folder / "library", folder / "catalog")
    with open_catalog(folder / "catalog") as catalog:
        prepare_catalog(catalog, RECIPE)


def train(
    folder: Path, run: Path, *, stop_at: int = 0, train_new_titles: bool = False
) -> PretrainResult:
    def stop(done: float, total: float, what: str) -> None:
        if done == stop_at:
            signal.raise_signal(signal.SIGTERM)

    return pretrain(
        folder / "catalog", run, CONFIG,
        resume=True, progress=stop if stop_at else lambda *_: None,
        **({"train_new_titles": True} if train_new_titles else {}),
    )  # fmt: skip


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> set[tuple[int, int]]:
    """Pairs of the step and the row of each item that a training step gets."""
    pairs: set[tuple[int, int]] = set()
    original = TrainingStep.__call__

    def record(self, batch, rate):  # type: ignore[no-untyped-def]
        pairs.update((batch.host.step, spec.item) for spec in batch.host.specs)
        return original(self, batch, rate)

    monkeypatch.setattr(TrainingStep, "__call__", record)
    return pairs


def test_a_resumed_run_keeps_its_split(
    tmp_path: Path, seen: set[tuple[int, int]], caplog: pytest.LogCaptureFixture
) -> None:
    make_prepared_catalog(tmp_path)
    run, library = tmp_path / "run", tmp_path / "library"
    assert train(tmp_path, run, stop_at=4).steps == 4
    first = titles_of(run)
    (held_out,) = first["held_out"]
    assert len(first["train"]) == 3
    years = {"Alpha": 2001, "Beta": 2002, "Gamma": 2003}
    assert held_out in years, "a film, for what follows"
    # The held-out film gets another name, one film that was trained on vanishes, and so many come
    # that another split would be drawn.
    (library / f"{held_out} ({years[held_out]})").rename(library / "Zeta (1999)")
    (library / "Zeta (1999)" / f"{held_out} ({years[held_out]}).mp4").rename(
        library / "Zeta (1999)" / "Zeta (1999).mp4"
    )
    gone = sorted(first["train"] & years.keys())[0]
    shutil.move(library / f"{gone} ({years[gone]})", tmp_path / "away")
    new = {f"New {number}": 1960 + number for number in range(6)}
    for number, (name, year) in enumerate(new.items()):
        path = library / f"{name} ({year})" / f"{name} ({year}).mp4"
        write_film(path, seconds=2.0, first_frame=100 + number)
    bring_up_to_date(tmp_path)
    seen.clear()
    assert train(tmp_path, run, stop_at=6).steps == 6
    with open_catalog(tmp_path / "catalog") as catalog:
        names = {title.id: title.name for title in catalog.titles()}
        sides = {
            side: {names[one] for one in ids} for side, ids in split_of_run(run, catalog).items()
        }
        snapshot = catalog.snapshot()
    assert sides == {"held_out": {"Zeta"}, "train": first["train"] - {gone}}
    train_ids = [one for one, name in names.items() if name in sides["train"]]
    rows = snapshot.of_titles(train_ids)
    assert {step for step, _ in seen} == {4, 5}
    assert {names[int(rows.title_id[item])] for _, item in seen} <= sides["train"]
    assert titles_of(run)["train"] == first["train"]
    history = read_history(run)
    assert [start.step for start in history.starts] == [0, 4]
    assert history.starts[0].train != history.starts[1].train
    assert any(gone in change for change in history.starts[1].changes)
    assert "6 titles are new and are left out" in caplog.text
    assert not any("New" in change for change in history.starts[1].changes)

    # On request, the new titles are trained on, and this is recorded.
    seen.clear()
    train(tmp_path, run, train_new_titles=True)
    recorded = {one.name: one.added_at_step for one in read_split(run).train}
    assert {name for name, step in recorded.items() if step == 6} == new.keys()
    assert titles_of(run)["held_out"] == {held_out, "Zeta"}
    assert [start.step for start in read_history(run).starts] == [0, 4, 6]

    # Diagnosis and retrieval read the same split.
    with open_catalog(tmp_path / "catalog") as catalog:
        found = diagnose(run, catalog, split="held_out", clips=32)
    assert (found.split, found.num_titles) == ("held_out", 1)
    assert str(tmp_path) not in json.dumps(found.figures())
    ranked = run_catalog_retrieval(load(run), run, tmp_path / "catalog", 64, 0)
    assert set(ranked.metrics) == {"held_out", "train"}


def test_a_catalog_without_the_titles_is_refused(prepared_catalog: Path, tmp_path: Path) -> None:
    pretrain(prepared_catalog, tmp_path / "run", tiny_config(training={"steps": 1}))
    write_film(tmp_path / "library" / "Other (1990).mp4", seconds=2.0, first_frame=50)
    bring_up_to_date(tmp_path)
    config = tiny_config(training={"steps": 1})
    with pytest.raises(CatalogError, match="no title that the run"):
        pretrain(tmp_path / "catalog", tmp_path / "run", config, resume=True)


def test_a_damaged_split_is_refused(prepared_catalog: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    pretrain(prepared_catalog, run, tiny_config(training={"steps": 1}))
    for name in ("split.json", "snapshot.json", "run.json", "config.toml"):
        whole = (run / name).read_bytes()
        for content in (
            b"", b"[" * 100_000, b"null", b"\xff\xfe", whole[:-9],
            whole.replace(b"1", b"2", 1), whole.replace(b"Alpha", b"Alphb").replace(b"=", b"= ", 1),
        ):  # fmt: skip
            if content == whole:
                continue
            (run / name).write_bytes(content)
            with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
                pretrain(prepared_catalog, run, tiny_config(training={"steps": 1}), resume=True)
        (run / name).write_bytes(whole)
    assert pretrain(
        prepared_catalog, run, tiny_config(training={"steps": 1}), resume=True
    ).steps == 1  # fmt: skip
    (run / "split.json").unlink()
    with open_catalog(prepared_catalog) as catalog, pytest.raises(CheckpointError, match="split"):
        split_of_run(run, catalog)


def make_titles(
    rng: random.Random, num_titles: int, num_files: int, *, duplicates: int = 0
) -> PreparedTitles:
    """Draw titles whose names and files are from small sets, so that they meet those of others."""
    files = [f"file{number}" for number in range(num_files)]
    rng.shuffle(files)
    names = rng.sample(range(2 * num_titles), num_titles)
    titles = PreparedTitles(
        by_id={
            one: Title(id=one, kind=TitleKind.MOVIE, name=f"T{name}", year=None)
            for one, name in enumerate(names)
        },
        files={one: [files.pop() for _ in range(rng.randint(1, 2))] for one in range(num_titles)},
        duplicates=[],
    )
    for _ in range(duplicates):
        one, other = sorted(rng.sample(range(num_titles), 2))
        titles.duplicates.append((one, other))
    return titles


def records(titles: PreparedTitles, ids: list[int]) -> tuple[TitleRecord, ...]:
    return tuple(
        TitleRecord(
            kind="movie", name=titles.by_id[one].name, year=None, files=tuple(titles.files[one])
        )
        for one in ids
    )


def test_no_title_ever_changes_its_side() -> None:
    """Random histories: titles vanish, come, are renamed, merged and split, and share content."""
    rng = random.Random(0)
    num_mixed = num_added = 0
    for _ in range(300):
        start = make_titles(rng, 6, 20)
        split = RunSplit(train=records(start, [0, 1, 2, 3]), held_out=records(start, [4, 5]))
        trained = {one for record in split.train for one in (record.name, *record.files)}
        held_out = {one for record in split.held_out for one in (record.name, *record.files)}
        for step in range(3):
            now = make_titles(rng, 6, 20, duplicates=rng.randint(0, 3))
            train_new = rng.random() < 0.5
            split = update_split(split, now, train_new_titles=train_new, step=step)
            found = match_split(split, now)
            assert not set(found.train) & set(found.held_out)
            assert {*found.train, *found.held_out, *found.mixed, *found.new} == set(now.by_id)
            marks = {one: {now.by_id[one].name, *now.files[one]} for one in now.by_id}
            for one in found.train:
                assert not marks[one] & held_out
                trained |= marks[one]
            for one in found.held_out:
                assert not marks[one] & trained
                assert not any(
                    one in pair and set(pair) & set(found.train) for pair in now.duplicates
                )
                held_out |= marks[one]
            assert not (train_new and found.new)
            num_mixed += len(found.mixed)
            num_added += sum(record.added_at_step == step for record in split.train)
    assert num_mixed > 100
    assert num_added > 100


def test_nothing_changes_without_a_change(prepared_catalog: Path) -> None:
    rng = random.Random(1)
    titles = make_titles(rng, 6, 20)
    split = RunSplit(train=records(titles, [0, 1, 2, 3]), held_out=records(titles, [4, 5]))
    for train_new in (False, True):
        assert update_split(split, titles, train_new_titles=train_new, step=3) == split
    found = match_split(split, titles)
    assert (found.train, found.held_out) == ((0, 1, 2, 3), (4, 5))
    assert (found.new, found.mixed, found.vanished) == ((), (), ())
