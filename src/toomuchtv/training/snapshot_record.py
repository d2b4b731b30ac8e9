"""What a run's batches are made of, and what has changed when the run resumes.

The batch of a step is a function of the config, the step and the snapshot of the catalog. A run
records its snapshot in `RUN/snapshot.json`, so that a change of the catalog is noticed and said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from toomuchtv._internal.files import read_json, write_json
from toomuchtv.catalog.records import Proxy
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.errors import CheckpointError
from toomuchtv.training.split import PreparedTitles, SplitOfCatalog

SNAPSHOT_NAME = "snapshot.json"
_MAX_NAMES = 5


class FileRecord(BaseModel):
    """One prepared file of a snapshot.

    Attributes:
        name: Display name.
        proxy: Digest of what is known of its proxy.
        segments: Digest of those of its segments that batches depend on.
        seconds: Duration; None in records of older versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    proxy: str
    segments: str
    seconds: float | None = None


class SnapshotRecord(BaseModel):
    """The part of a catalog that a run uses.

    Attributes:
        train: Digest of everything that the batches depend on.
        held_out: Digest of everything that the validation batch depends on.
        files: The prepared files of both sides, by fingerprint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: str
    held_out: str
    files: dict[str, FileRecord]


class Start(BaseModel):
    """A start of a run with a catalog that differed from that of the start before.

    Attributes:
        step: Number of steps that were done.
        train: Digest of the snapshot from then on.
        held_out: The same of the held-out titles.
        changes: What had changed, as sentences.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    train: str
    held_out: str
    changes: tuple[str, ...] = ()


class SnapshotHistory(BaseModel):
    """The content of `RUN/snapshot.json`.

    Attributes:
        starts: The first start, and each later one that found another catalog.
        files: The files of the last start.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    starts: tuple[Start, ...]
    files: dict[str, FileRecord]


def read_history(run: Path) -> SnapshotHistory:
    """Read the record of a run.

    Raises:
        CheckpointError: There is none, or it cannot be read.
    """
    path = run / SNAPSHOT_NAME
    try:
        return SnapshotHistory.model_validate(read_json(path))
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it was written otherwise"
        raise CheckpointError(
            f"the record of the run's catalog, {str(path)!r}, cannot be read: {reason}"
        ) from error


def write_history(run: Path, history: SnapshotHistory) -> None:
    """Write the record of a run."""
    write_json(run / SNAPSHOT_NAME, history.model_dump(mode="json"))


def record_snapshot(
    proxies: Mapping[int, Proxy],
    train: CatalogSnapshot,
    held_out: CatalogSnapshot,
    names: Mapping[int, str],
) -> SnapshotRecord:
    """Record the snapshots of both sides.

    Args:
        proxies: The proxies of the catalog, by item id.
        train: Items that are trained on.
        held_out: Items that are held out.
        names: Display names by item id.
    """
    files: dict[str, FileRecord] = {}
    digests = []
    for snapshot in (train, held_out):
        lines = []
        segments = _segment_digests(snapshot)
        groups = snapshot.title_number
        for row, item_id in enumerate(snapshot.item_id.tolist()):
            proxy = proxies[item_id]
            made = _digest(
                proxy.format_id, proxy.num_frames, proxy.frame_rate, proxy.width, proxy.height,
                proxy.num_samples, proxy.sample_rate_hz,
                [(audio.audio_track, audio.language) for audio in proxy.audio_files],
            )  # fmt: skip
            files[proxy.fingerprint] = FileRecord(
                name=names[item_id],
                proxy=made,
                segments=segments[row],
                seconds=proxy.num_frames / proxy.frame_rate,
            )
            place = (int(groups[row]), int(snapshot.kind[row]), int(snapshot.season[row]))
            lines.append((proxy.fingerprint, made, segments[row], place))
        digests.append(_digest(lines))
    return SnapshotRecord(train=digests[0], held_out=digests[1], files=files)


def _segment_digests(snapshot: CatalogSnapshot) -> list[str]:
    """Return a digest of the segments of each row.

    Numbers of recurrences only say which segments are equal, so they count in the order in which
    they first appear.
    """
    segments = snapshot.segments
    is_recurring = segments.recurrence >= 0
    _, first, which = np.unique(
        segments.recurrence[is_recurring], return_index=True, return_inverse=True
    )
    number = np.full(len(segments), -1, np.int32)
    number[is_recurring] = np.argsort(np.argsort(first))[which]
    columns = (segments.start_seconds, segments.stop_seconds, segments.kind, number)
    edges = np.searchsorted(segments.row, np.arange(len(snapshot) + 1)).tolist()
    return [
        hashlib.sha256(b"".join(column[begin:stop].tobytes() for column in columns)).hexdigest()[
            :16
        ]
        for begin, stop in pairwise(edges)
    ]


def _digest(*values: object) -> str:
    return hashlib.sha256(repr(values).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def describe_changes(
    before: SnapshotHistory,
    now: SnapshotRecord,
    split: SplitOfCatalog,
    titles: PreparedTitles,
) -> list[str]:
    """Return sentences about what has changed since a run was started last; none if nothing has.

    Args:
        before: The run's record.
        now: The catalog now.
        split: The catalog's titles by side, after new titles were added if that was asked for.
        titles: The catalog's titles.
    """
    last = before.starts[-1]
    if (last.train, last.held_out) == (now.train, now.held_out):
        return []
    old, new = before.files, now.files
    both = sorted(old.keys() & new.keys(), key=lambda one: new[one].name)
    changes = [
        *_count(
            [one.display_name for one in split.vanished if not old.keys().isdisjoint(one.files)],
            "title of the run is not in the catalog and is left out",
            "titles of the run are not in the catalog and are left out",
        ),
        *_count(
            [titles.by_id[one].name for one in split.mixed],
            "title is left out, because it shares content with titles of the other side",
            "titles are left out, because they share content with titles of the other side",
        ),
        *_count(
            sorted(old[one].name for one in old.keys() - new.keys()),
            "file is gone",
            "files are gone",
        ),
        *_count(
            sorted(new[one].name for one in new.keys() - old.keys()),
            "file is new",
            "files are new",
        ),
        *_count(
            [new[one].name for one in both if old[one].proxy != new[one].proxy],
            "file has another proxy",
            "files have other proxies",
        ),
        *_count(
            [new[one].name for one in both if old[one].segments != new[one].segments],
            "file has other segments",
            "files have other segments",
        ),
    ]
    return changes or ["the catalog has the same files in another order or under other titles"]


def describe_new_titles(split: SplitOfCatalog, titles: PreparedTitles) -> list[str]:
    """Return a sentence about the titles that a run does not know; none if there are none."""
    return _count(
        [titles.by_id[one].name for one in split.new],
        "title is new and is left out (--train-new-titles trains on it)",
        "titles are new and are left out (--train-new-titles trains on them)",
    )


def _count(names: Sequence[str], one: str, many: str) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    what = one if len(names) == 1 else many
    return [f"{len(names)} {what}: {', '.join(names[:_MAX_NAMES])}{more}"]
