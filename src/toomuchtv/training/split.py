"""The titles that a run trains on and those that it holds out: `RUN/split.json`.

The file is written when the run begins and is the truth from then on, whatever happens to the
catalog. A title is recognized by its kind, name and year, and by the fingerprints of its files, so
that it stays on its side when it is renamed.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from toomuchtv._internal.files import read_json, write_json
from toomuchtv.catalog.records import Title
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.catalog.splits import split_titles
from toomuchtv.catalog.store import Catalog
from toomuchtv.errors import CheckpointError
from toomuchtv.training.run_config import Config

SPLIT_NAME = "split.json"

_Key = tuple[str, str, int | None]


class TitleRecord(BaseModel):
    """A title of a split.

    Attributes:
        kind: `movie`, `show` or `clip`.
        name: Display name.
        year: Year of release, or None.
        files: Fingerprints of its files, also of files that the catalog has no more.
        added_at_step: Step from which on a title is trained on that was new to a resumed run; None
            for the titles with which the run began.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    name: str
    year: int | None
    files: tuple[str, ...]
    added_at_step: int | None = None

    @property
    def key(self) -> _Key:
        """Kind, name and year."""
        return self.kind, self.name, self.year

    @property
    def display_name(self) -> str:
        """Name and year."""
        return self.name if self.year is None else f"{self.name} ({self.year})"


class RunSplit(BaseModel):
    """The content of `RUN/split.json`.

    Attributes:
        train: The titles that are trained on.
        held_out: The titles that are held out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: tuple[TitleRecord, ...]
    held_out: tuple[TitleRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOfCatalog:
    """The prepared titles of a catalog by the side of a run's split, as sorted ids.

    Attributes:
        train: Titles that are trained on.
        held_out: Titles that are held out.
        new: Titles that the run does not know.
        mixed: Titles that are left out of both sides, because they hold content of both.
        vanished: Titles of the split that are not in the catalog, or not prepared.
    """

    train: tuple[int, ...]
    held_out: tuple[int, ...]
    new: tuple[int, ...]
    mixed: tuple[int, ...]
    vanished: tuple[TitleRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedTitles:
    """The titles of a catalog that have a prepared file.

    Attributes:
        by_id: The titles.
        files: The fingerprints of the files of each title, without extras.
        duplicates: Pairs of titles that share content.
    """

    by_id: dict[int, Title]
    files: dict[int, list[str]]
    duplicates: list[tuple[int, int]]


def prepared_titles(catalog: Catalog, snapshot: CatalogSnapshot | None = None) -> PreparedTitles:
    """Read the prepared titles of a catalog; `snapshot` saves reading it again."""
    snapshot = catalog.snapshot() if snapshot is None else snapshot
    prepared = set(snapshot.title_id.tolist())
    files: dict[int, list[str]] = {title_id: [] for title_id in prepared}
    for item in catalog.item_labels():
        if item.title_id in prepared:
            files[item.title_id].append(item.fingerprint)
    return PreparedTitles(
        by_id={title.id: title for title in catalog.titles() if title.id in prepared},
        files=files,
        duplicates=[pair for pair in catalog.title_duplicates() if prepared.issuperset(pair)],
    )


def draw_split(titles: PreparedTitles, config: Config) -> RunSplit:
    """Draw the split of a new run."""
    split = split_titles(
        list(titles.by_id.values()),
        held_out_share=config.training.held_out_share,
        seed=config.training.seed,
        duplicates=titles.duplicates,
    )
    return RunSplit(
        train=tuple(_record(titles, title_id) for title_id in split.train),
        held_out=tuple(_record(titles, title_id) for title_id in split.held_out),
    )


def read_split(run: str | os.PathLike[str]) -> RunSplit:
    """Read the split of a run.

    Raises:
        CheckpointError: The run has none, or it cannot be read.
    """
    path = Path(run) / SPLIT_NAME
    try:
        return RunSplit.model_validate(read_json(path))
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it was written otherwise"
        raise CheckpointError(
            f"the split of the run, {str(path)!r}, cannot be read: {reason}"
        ) from error


def write_split(run: Path, split: RunSplit) -> None:
    """Write the split of a run."""
    write_json(run / SPLIT_NAME, split.model_dump(mode="json"))


def split_of_run(run: str | os.PathLike[str], catalog: Catalog) -> dict[str, list[int]]:
    """Return the ids of the prepared titles that a run has held out and that it was trained on.

    No title is among the held-out ones that has a file which was trained on, or that shares
    content with a title which was.

    Returns:
        Ids under the keys `held_out` and `train`.

    Raises:
        CheckpointError: The run has no split that can be read.
    """
    found = match_split(read_split(run), prepared_titles(catalog))
    return {"held_out": list(found.held_out), "train": list(found.train)}


def match_split(split: RunSplit, titles: PreparedTitles) -> SplitOfCatalog:
    """Find the titles of a split in a catalog."""
    sides_of_file: defaultdict[str, set[str]] = defaultdict(set)
    side_of_name: dict[_Key, str] = {}
    for side, records in (("train", split.train), ("held_out", split.held_out)):
        for record in records:
            side_of_name[record.key] = side
            for fingerprint in record.files:
                sides_of_file[fingerprint].add(side)
    sides: dict[int, set[str]] = {}
    for title_id, title in titles.by_id.items():
        files = titles.files[title_id]
        sides[title_id] = set[str]().union(*(sides_of_file.get(one, ()) for one in files))
        sides[title_id].update({side_of_name.get(_key(title), "")} - {""})
    _spread_over_duplicates(sides, titles.duplicates)

    def titles_on(*wanted: str) -> tuple[int, ...]:
        return tuple(sorted(one for one, found in sides.items() if found == set(wanted)))

    train, held_out, new = titles_on("train"), titles_on("held_out"), titles_on()
    names = {_key(title) for title in titles.by_id.values()}
    present = {fingerprint for files in titles.files.values() for fingerprint in files}
    return SplitOfCatalog(
        train=train,
        held_out=held_out,
        new=new,
        mixed=tuple(sorted(set(sides) - {*train, *held_out, *new})),
        vanished=tuple(
            record
            for record in (*split.train, *split.held_out)
            if record.key not in names and present.isdisjoint(record.files)
        ),
    )


def _spread_over_duplicates(sides: dict[int, set[str]], duplicates: list[tuple[int, int]]) -> None:
    """Mark titles that share content with a title of the other side.

    A held-out title that shares content with a trained one is not held out in truth: it gets both
    sides. A new title that shares content with a held-out one gets the mark `like_held_out`, so
    that it is not trained on either.
    """
    pairs = [*duplicates, *((other, one) for one, other in duplicates)]
    for one, other in pairs:
        if sides[one] == {"held_out"} and "train" in sides[other]:
            sides[one].add("train")
    is_spreading = True
    while is_spreading:
        is_spreading = False
        for one, other in pairs:
            if not sides[one] and sides[other] & {"held_out", "like_held_out"}:
                sides[one].add("like_held_out")
                is_spreading = True


def update_split(
    split: RunSplit, titles: PreparedTitles, *, train_new_titles: bool, step: int
) -> RunSplit:
    """Record files that are new in known titles, and on request new titles, for training.

    Args:
        split: The split so far.
        titles: The titles of the catalog as it is now.
        train_new_titles: Whether titles that the run does not know are trained on from now on.
        step: Number of steps that are done.
    """
    found = match_split(split, titles)

    def grown(records: tuple[TitleRecord, ...], ids: tuple[int, ...]) -> list[TitleRecord]:
        result = list(records)
        rows = {record.key: row for row, record in enumerate(result)}
        for title_id in ids:
            row = rows.get(_key(titles.by_id[title_id]))
            if row is None:  # the title was renamed; it is known by a file
                result.append(_record(titles, title_id))
            else:
                files = dict.fromkeys((*result[row].files, *titles.files[title_id]))
                result[row] = result[row].model_copy(update={"files": tuple(files)})
        return result

    train = grown(split.train, found.train)
    if train_new_titles:
        train += [_record(titles, title_id, added_at_step=step) for title_id in found.new]
    return RunSplit(train=tuple(train), held_out=tuple(grown(split.held_out, found.held_out)))


def _record(
    titles: PreparedTitles, title_id: int, *, added_at_step: int | None = None
) -> TitleRecord:
    title = titles.by_id[title_id]
    return TitleRecord(
        kind=str(title.kind),
        name=title.name,
        year=title.year,
        files=tuple(titles.files[title_id]),
        added_at_step=added_at_step,
    )


def _key(title: Title) -> _Key:
    return str(title.kind), title.name, title.year
