"""A copy of an index in LanceDB: approximate search over many millions of windows, also remote.

The index folder stays what it is: exact, and made by `toomuchtv embed`. `lance_publishing` copies
it into a LanceDB database, whose address may be a folder or a URI of an object store. The database
has these tables, `<id>` being that of an encoder:

    toomuchtv_index        name, text: the description and the calibrations, as JSON
    items_<id>             content, times, means: one row for each item that is complete
    video_<id>, audio_<id> content, number, vector: one row for each window

Rows are only added and deleted, an item at a time. An item counts once its row in `items_<id>` is
there, which is added last and deleted first. So a copy that was interrupted has no wrong content.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor

from toomuchtv.errors import SearchError
from toomuchtv.search.calibration import Calibration
from toomuchtv.search.encoder_index import Candidates, EncoderIndex, IndexedItem, ScoreArray
from toomuchtv.search.hits import MODALITIES, Modality
from toomuchtv.search.index_folder import IndexDescription, IndexedEncoder, IndexFolder
from toomuchtv.search.vector_files import ItemVectors

#: Name of the table with the description.
TABLE = "toomuchtv_index"
# The quantized similarities choose so many times more windows than are wanted, whose exact
# similarities decide.
_REFINE_FACTOR = 3
# Share of the partitions of the inverted file that a query visits. 5% of them gave a recall at 10
# above 0.99, see docs/experiments.
_PROBED_SHARE = 0.05
_LEAST_PROBES = 24
_MAX_NAMES_IN_FILTER = 20_000


def open_store(path: str | os.PathLike[str]) -> IndexFolder | LanceStore:
    """Return the index at a path: a folder, or a copy in LanceDB."""
    return LanceStore(path) if is_lance_index(path) else IndexFolder(Path(path))


def is_lance_index(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a URI, or a folder with a copy of an index in LanceDB."""
    text = os.fspath(path)
    return "://" in text or os.path.isdir(os.path.join(text, f"{TABLE}.lance"))


class LanceItemVectors(ItemVectors):
    """The embeddings of one item in LanceDB. Vectors are fetched when they are asked for.

    Attributes:
        store: The database.
        encoder: The encoder.
        content: Digest of what was embedded.
    """

    __slots__ = ("content", "encoder", "store")

    def __init__(
        self,
        store: LanceStore,
        encoder: IndexedEncoder,
        content: str,
        times: Tensor,
        means: dict[Modality, Tensor],
    ) -> None:
        super().__init__(
            times=times, video=None, audio=None, video_mean=means.get("video"),
            audio_mean=means.get("audio"),
        )  # fmt: skip
        for name, value in (("store", store), ("encoder", encoder), ("content", content)):
            object.__setattr__(self, name, value)

    store: LanceStore
    encoder: IndexedEncoder
    content: str

    def of(self, modality: Modality) -> Tensor | None:
        """Fetch the vectors of a modality."""
        if not self.has(modality):
            return None
        return self.store.vectors(self.encoder, self.content, modality, len(self))


class LanceEncoderIndex(EncoderIndex):
    """All windows of one encoder in LanceDB.

    Args:
        store: The database.
        record: The encoder.
        items: The items, whose vectors are `LanceItemVectors`.
        calibration: Similarities of random moments, or None.
    """

    def __init__(
        self,
        store: LanceStore,
        record: IndexedEncoder,
        items: Sequence[IndexedItem],
        calibration: Calibration | None,
    ) -> None:
        super().__init__(record, items, calibration)
        self._store = store
        self._contents = [cast(LanceItemVectors, entry.vectors).content for entry in items]
        self._row_of_content = {content: row for row, content in enumerate(self._contents)}

    def candidates(
        self, query: Tensor, modality: Modality, allowed: NDArray[np.bool_] | None, count: int
    ) -> Candidates | None:
        """Search approximately; see `EncoderIndex.candidates`.

        If the conditions leave too few of the windows that were found, all windows of the allowed
        items are compared.
        """
        condition = None
        wanted = min(count, len(self))
        if allowed is not None:
            condition = self._condition(allowed)
            wanted = min(wanted, int(allowed.sum()))
        found = self._search(query, modality, allowed, condition, count, is_exact=False)
        if allowed is not None and len(found.windows) < min(wanted, 200):
            found = self._search(query, modality, allowed, condition, 20 * count, is_exact=True)
        return found

    def best_elsewhere(self, modality: Modality, max_references: int, seed: int) -> ScoreArray:
        """Refuse: this reads all vectors, for which the index folder is made.

        Raises:
            SearchError: Always.
        """
        raise SearchError(
            "a search for outliers reads all vectors of an index: use the index folder that this "
            "copy in LanceDB was made from"
        )

    def recall(
        self, modality: Modality, *, k: int = 10, queries: int = 100, seed: int = 0
    ) -> tuple[float, NDArray[np.float64]] | None:
        """Measure the approximate search against the exact one, with windows as queries.

        Args:
            modality: Which vectors to compare.
            k: How many windows to find.
            queries: How many random windows.
            seed: Seed of the choice.

        Returns:
            The share of the k most similar windows that are found (ties count as found), and the
            seconds of each approximate search, float64 `[queries]`; None if there are no windows.
        """
        having = [row for row, entry in enumerate(self.items) if entry.vectors.has(modality)]
        if not having:
            return None
        rng = np.random.default_rng(seed)
        found, seconds = [], []
        for row in rng.choice(having, queries).tolist():
            vectors = self.items[row].vectors.of(modality)
            assert vectors is not None
            query = vectors[int(rng.integers(len(vectors)))].float()
            begun = time.perf_counter()
            near = self._search(query, modality, None, None, k, is_exact=False)
            seconds.append(time.perf_counter() - begun)
            exact = self._search(query, modality, None, None, k, is_exact=True)
            least = float((exact.vectors @ query).min()) - 1e-3 * 0.5
            found.append(float((near.vectors @ query >= least).sum()) / len(exact.windows))
        return float(np.mean(found)), np.array(seconds)

    def _condition(self, allowed: NDArray[np.bool_]) -> str | None:
        """Return a filter on items, or None if it would be too long or exclude nothing."""
        used = np.logical_or.reduceat(allowed, self.starts[:-1]) if len(self) else allowed
        used &= np.diff(self.starts) > 0
        names: dict[bool, list[str]] = {True: [], False: []}
        for content, is_used in zip(self._contents, used.tolist(), strict=True):
            names[is_used].append(content)
        which = len(names[True]) <= len(names[False])
        if not names[False] or len(names[which]) > _MAX_NAMES_IN_FILTER:
            return None
        quoted = ", ".join(f"'{name}'" for name in names[which])
        return f"content {'IN' if which else 'NOT IN'} ({quoted or repr('')})"

    def _search(
        self,
        query: Tensor,
        modality: Modality,
        allowed: NDArray[np.bool_] | None,
        condition: str | None,
        count: int,
        *,
        is_exact: bool,
    ) -> Candidates:
        table = self._store.table(modality, self.record)
        num_partitions = num_partitions_of(len(self))
        search = (
            table.search(query.numpy(), vector_column_name="vector")
            .distance_type("cosine")
            .nprobes(max(_LEAST_PROBES, round(_PROBED_SHARE * num_partitions)))
            .refine_factor(_REFINE_FACTOR)
            .limit(count)
            .select(["content", "number", "vector", "_distance"])
        )
        if condition is not None:
            search = search.where(condition, prefilter=True)
        if is_exact:
            search = search.bypass_vector_index()
        result = search.to_arrow().combine_chunks()
        # Items that were published after this index was opened are not in it.
        rows = np.array([self._row_of_content.get(c, -1) for c in result["content"].to_pylist()])
        windows = self.starts[rows] + result["number"].to_numpy() if len(rows) else rows
        keep = rows >= 0
        if allowed is not None and keep.any():
            keep &= allowed[np.where(keep, windows, 0)]
        vectors = _as_matrix(result["vector"], len(query))
        return Candidates(
            windows=np.asarray(windows[keep], np.int64), vectors=vectors[torch.from_numpy(keep)]
        )


class LanceStore:
    """A copy of an index in LanceDB, for reading.

    Args:
        uri: Its address: a folder, or a URI that LanceDB accepts, such as `s3://bucket/index`.

    Raises:
        SearchError: LanceDB is not installed, or the address cannot be used.
    """

    #: The verb that brings it up to date.
    updated_by: ClassVar[str] = "index export"

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        self.path = os.fspath(uri)
        self._database = connect(self.path)
        self._tables: dict[str, Any] = {}
        self._texts: dict[str, str] = {}

    def state(self) -> tuple[object, ...]:
        """Return something that differs after `index export` has changed the copy."""
        try:
            return (self._database.open_table(TABLE).version,)
        except (ValueError, RuntimeError, OSError):
            return ()

    def read(self) -> IndexDescription:
        """Read the description of the index.

        Raises:
            SearchError: There is no index, or it is of another version of this program.
        """
        try:
            rows = self._open(TABLE).search().to_arrow()
            self._texts = dict(zip(*(rows[c].to_pylist() for c in ("name", "text")), strict=True))
            return IndexDescription.model_validate_json(self._texts["description"])
        except (ValueError, RuntimeError, OSError, KeyError) as error:
            raise SearchError(
                f"no index in {self.path!r} ({first_line(error)}): make one with `toomuchtv index "
                f"export IDX --to lance --out {self.path}`"
            ) from error

    def read_all(
        self, encoder: IndexedEncoder, contents: Iterable[str]
    ) -> Iterator[ItemVectors | FileNotFoundError]:
        """Return the embeddings of many contents, in order, or an error for what is not there."""
        known = dict(self._items(encoder))
        for content in contents:
            yield known.get(content) or FileNotFoundError(content)

    def read_calibration(self, encoder: IndexedEncoder) -> Calibration | None:
        """Return the calibration of an encoder, or None if it was not published."""
        text = self._texts.get(f"calibration {encoder.id}")
        return None if text is None else TypeAdapter(Calibration).validate_json(text)

    def table(self, kind: str, encoder: IndexedEncoder) -> Any:
        """Return the table `kind` ("items", "video" or "audio") of an encoder."""
        return self._open(f"{kind}_{encoder.id}")

    def vectors(
        self, encoder: IndexedEncoder, content: str, modality: Modality, count: int
    ) -> Tensor:
        """Fetch the vectors of one item, float16 `[count, D]`.

        Raises:
            SearchError: They are not complete, because another process has replaced them.
        """
        rows = (
            self.table(modality, encoder)
            .search()
            .where(f"content = '{content}'")
            .select(["number", "vector"])
            .to_arrow()
            .sort_by("number")
            .combine_chunks()
        )
        if len(rows) != count:
            raise SearchError(f"the index {self.path!r} has changed: open it again")
        dim = encoder.video_dim if modality == "video" else encoder.audio_dim
        return _as_matrix(rows["vector"], dim or 0).half()

    def _items(self, encoder: IndexedEncoder) -> Iterator[tuple[str, LanceItemVectors]]:
        rows = self.table("items", encoder).search().to_arrow().to_pylist()
        for row in rows:
            times = torch.from_numpy(np.frombuffer(row["times"], np.float32).copy())
            means: dict[Modality, Tensor] = {
                modality: torch.from_numpy(np.frombuffer(row[modality], np.float32).copy())
                for modality in MODALITIES
                if row[modality] is not None
            }
            yield row["content"], LanceItemVectors(self, encoder, row["content"], times, means)

    def _open(self, name: str) -> Any:
        if name not in self._tables:
            self._tables[name] = self._database.open_table(name)
        return self._tables[name]


def num_partitions_of(num_windows: int) -> int:
    """Return the number of partitions of the inverted file: about the square root."""
    return max(1, round(math.sqrt(num_windows)))


def _as_matrix(column: Any, dim: int) -> Tensor:
    """Return a column of vectors, float32 `[N, dim]`."""
    array = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    values = array.flatten().to_numpy(zero_copy_only=False)
    return torch.from_numpy(np.array(values, np.float32)).view(-1, dim)


def first_line(error: BaseException) -> str:
    """Return the first line of a message, of which LanceDB writes many."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def connect(uri: str) -> Any:
    """Open a database.

    Raises:
        SearchError: LanceDB is not installed, or the address cannot be used.
    """
    # It reports what is no problem for the user on stderr otherwise.
    os.environ.setdefault("LANCEDB_LOG", "error")
    try:
        import lancedb
    except ImportError as error:
        raise SearchError(
            "LanceDB is not installed: `pip install 'toomuchtv[lance]'` installs it"
        ) from error
    try:
        return lancedb.connect(uri)
    except (ValueError, RuntimeError, OSError) as error:
        raise SearchError(f"cannot open {uri!r}: {first_line(error)}") from error
