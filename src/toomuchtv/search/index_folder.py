"""An index: a folder with the embeddings of a catalog's items by one or several encoders.

    IDX/
      index.json                       the catalog and the encoders, with a checksum
      vectors/<encoder>/<content>.vec  one file for each item and encoder, see `vector_files`
      calibration/<encoder>.json       similarities of random moments, see `calibration`
      lock                             while a process writes

`<encoder>` is a digest of the weights, the windows and the file format, and `<content>` one of what
was embedded. Titles, items and segments are those of the catalog at the time of the search, so that
a renamed file needs no new embedding, and an item that left the library is not found.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toomuchtv._internal.files import read_json, write_json
from toomuchtv._internal.folder_lock import FolderInUseError, folder_lock
from toomuchtv.catalog.records import Item, Proxy
from toomuchtv.errors import CheckpointError, SearchError
from toomuchtv.search.vector_files import (
    FORMAT,
    DamagedVectorFileError,
    ItemVectors,
    read_vector_file,
)

INDEX_NAME = "index.json"
_VECTORS, _CALIBRATION = "vectors", "calibration"


class IndexedEncoder(BaseModel):
    """One encoder of an index.

    Attributes:
        name: Name in the index, chosen by the user.
        source: Where to load it from: a folder, or what `--encoder` takes.
        fingerprint: Digest of weights, settings and code.
        window_seconds: Duration of a window.
        stride_seconds: Time between the starts of two windows.
        video_dim: Size of its video embeddings; None if it has no video encoder.
        audio_dim: Size of its audio embeddings; None likewise.
        shares_space: Whether its video and audio embeddings can be compared.
        text_modalities: The modalities that its text embeddings can be compared with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=100)
    source: str
    fingerprint: str
    window_seconds: float = Field(gt=0)
    stride_seconds: float = Field(gt=0)
    video_dim: int | None = Field(default=None, ge=1)
    audio_dim: int | None = Field(default=None, ge=1)
    shares_space: bool = False
    text_modalities: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Digest of everything that the vectors depend on besides the item."""
        text = f"{self.fingerprint} {self.window_seconds!r} {self.stride_seconds!r} {FORMAT}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class IndexDescription(BaseModel):
    """The content of `index.json`.

    Attributes:
        format: Version of the layout.
        catalog: Folder of the catalog, absolute, as UTF-8 with escaped bytes.
        encoders: The encoders by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(default=1, ge=1, le=1)
    catalog: str
    encoders: tuple[IndexedEncoder, ...] = ()

    def encoder(self, name: str) -> IndexedEncoder | None:
        """Return the encoder of a name, or None."""
        return next((encoder for encoder in self.encoders if encoder.name == name), None)


@dataclass(frozen=True, slots=True)
class IndexFolder:
    """The files of an index."""

    path: Path
    #: The verb that brings it up to date.
    updated_by: ClassVar[str] = "embed"

    def exists(self) -> bool:
        """Return whether the folder holds an index."""
        return (self.path / INDEX_NAME).exists()

    def state(self) -> tuple[object, ...]:
        """Return something that differs after `embed` has changed the index."""
        paths = [self.path / INDEX_NAME]
        for name in (_VECTORS, _CALIBRATION):
            paths.append(self.path / name)
            with suppress(OSError):
                paths += sorted((self.path / name).iterdir())
        return states_of_files(path for path in paths if path.suffix != ".partial")

    def read(self) -> IndexDescription:
        """Read `index.json`.

        Raises:
            SearchError: There is no index, or its description is damaged or of another version.
        """
        path = self.path / INDEX_NAME
        try:
            return IndexDescription.model_validate(read_json(path))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise SearchError(
                f"no index in {os.fspath(self.path)!r}: make one with "
                "`toomuchtv embed RUN --catalog CAT --index IDX`"
            ) from error
        except (CheckpointError, ValidationError) as error:
            raise SearchError(
                f"{os.fspath(path)!r} is damaged or of another version of this program ({error}): "
                "delete it and run `toomuchtv embed` again for each of its encoders, which keeps "
                "all embeddings that are still good"
            ) from error

    def write(self, description: IndexDescription) -> None:
        """Write `index.json`, whole or not at all."""
        write_json(self.path / INDEX_NAME, description.model_dump(mode="json"))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Own the index. Readers need no lock.

        Raises:
            SearchError: Another process writes to it. The message names the process.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with folder_lock(self.path):
                yield
        except FolderInUseError as error:
            raise SearchError(str(error)) from error

    def vectors_of(self, encoder: IndexedEncoder) -> Path:
        """Return the folder with the vector files of an encoder."""
        return self.path / _VECTORS / encoder.id

    def calibration_of(self, encoder: IndexedEncoder) -> Path:
        """Return the file with the calibration of an encoder."""
        return self.path / _CALIBRATION / f"{encoder.id}.json"

    def vector_file(self, encoder: IndexedEncoder, content: str) -> Path:
        """Return the vector file of an item's content."""
        return self.vectors_of(encoder) / f"{content}.vec"

    def read_vectors(
        self, encoder: IndexedEncoder, content: str, *, verify: bool = True
    ) -> ItemVectors:
        """Map the embeddings of an item's content; see `read_vector_file` for the errors."""
        path = self.vector_file(encoder, content)
        return read_vector_file(path, file_description(encoder, content), verify=verify)

    def read_all(
        self, encoder: IndexedEncoder, contents: Iterable[str]
    ) -> Iterator[ItemVectors | FileNotFoundError | DamagedVectorFileError]:
        """Map the embeddings of many contents, in order. What cannot be used is an error instead.

        Checksums take most of the time, and threads share them.
        """

        def read(content: str) -> ItemVectors | FileNotFoundError | DamagedVectorFileError:
            try:
                return self.read_vectors(encoder, content)
            except (FileNotFoundError, DamagedVectorFileError) as error:
                return error

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            yield from pool.map(read, contents)


def states_of_files(paths: Iterable[Path]) -> tuple[tuple[str, int, int], ...]:
    """Return name, size and time of change of the files that exist."""
    found = []
    for path in paths:
        with suppress(OSError):
            status = path.stat()
            found.append((path.name, status.st_size, status.st_mtime_ns))
    return tuple(found)


def content_of(item: Item, proxy: Proxy) -> str:
    """Return the digest that names what is embedded of an item: its proxy with the first track."""
    text = f"{item.fingerprint} {proxy.format_id} {proxy.audio_track}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def file_description(encoder: IndexedEncoder, content: str) -> dict[str, str]:
    """Return what the vector file of an item says that it is of."""
    return {"encoder": encoder.fingerprint, "id": encoder.id, "content": content}
