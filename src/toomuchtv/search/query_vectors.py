"""The embeddings of a query by each encoder of an index."""

from __future__ import annotations

import functools
import threading

import torch.nn.functional as F
from torch import Tensor

from toomuchtv.errors import SearchError, ToomuchtvError
from toomuchtv.search.encoder_index import EncoderIndex
from toomuchtv.search.hits import Modality, QueryModality
from toomuchtv.search.index_folder import IndexedEncoder
from toomuchtv.search.queries import Moment, Query, QueryText, QueryVector, as_unit
from toomuchtv.search.query_files import FileWindows, QueryFile, WindowFormat, read_query_file
from toomuchtv.search.window_encoders import WindowEncoder, load_window_encoder

# A vector takes a few kB, and the decoded windows of a file up to 100 MB.
_MAX_VECTORS, _MAX_FILES = 256, 2


class QueryEmbedder:
    """Embeds queries. Encoders are loaded when a file or a text first needs them, and kept.

    Several threads may use it. Files and texts are embedded one at a time.
    """

    def __init__(self) -> None:
        self._encoders: dict[str, WindowEncoder] = {}
        self._lock = threading.RLock()
        self._read = functools.lru_cache(maxsize=_MAX_FILES)(read_query_file)
        self._embedded = functools.lru_cache(maxsize=_MAX_VECTORS)(self._embed)

    def vector(
        self, encoder: EncoderIndex, query: Query, query_modality: QueryModality, modality: Modality
    ) -> Tensor | None:
        """Return the unit vector of a query, float32 `[D]`; None if the query has no such modality.

        Args:
            encoder: The encoder, with its embeddings of the catalog.
            query: The query.
            query_modality: What of the query to embed. A text has only itself.
            modality: What it will be compared with.

        Raises:
            SearchError: The query cannot be read, or the encoder cannot be loaded.
        """
        record = encoder.record
        if isinstance(query, QueryText):
            if modality not in record.text_modalities:
                return None
            if not query.text:
                raise SearchError("the description is empty: write text:WORDS")
            with self._lock:
                return self._embedded(record, query, modality)
        if query_modality == "text":
            return None
        if isinstance(query, Moment):
            found = encoder.vector_at(query.item_id, query.seconds, query_modality)
            return None if found is None else as_unit(found)
        if isinstance(query, QueryVector):
            if query.encoder != record.name or query.modality != query_modality:
                return None
            dim = record.video_dim if query_modality == "video" else record.audio_dim
            if tuple(query.vector.shape) != (dim,):
                raise SearchError(
                    f"a vector of {record.name!r} has {dim} numbers, got {list(query.vector.shape)}"
                )
            return as_unit(query.vector)
        with self._lock:
            return self._embedded(record, query, query_modality)

    def _embed(
        self, record: IndexedEncoder, query: QueryFile | QueryText, modality: Modality
    ) -> Tensor | None:
        loaded = self._load(record)
        if isinstance(query, QueryText):
            text = loaded.encoder.text
            assert text is not None
            return as_unit(text.embed([query.text], modality)[0])
        video, audio = loaded.encoder.video, loaded.encoder.audio
        windows: FileWindows = self._read(
            query,
            WindowFormat(
                window_seconds=record.window_seconds,
                frames=0 if video is None else video.input.frames,
                audio_seconds=0.0 if audio is None else audio.input.seconds,
                sample_rate_hz=16_000 if audio is None else audio.input.sample_rate_hz,
            ),
        )
        if modality == "video":
            if video is None or windows.video is None:
                return None
            vectors = loaded.embed_video(windows.video)
        else:
            if audio is None or windows.audio is None:
                return None
            vectors = loaded.embed_audio(windows.audio, audio.input.sample_rate_hz)
        return as_unit(F.normalize(vectors, dim=1).mean(dim=0))

    def _load(self, record: IndexedEncoder) -> WindowEncoder:
        if record.id not in self._encoders:
            try:
                loaded = load_window_encoder(record.source)
            except (ToomuchtvError, ValueError) as error:
                raise SearchError(
                    f"the encoder {record.name!r}, which this query needs, cannot be loaded from "
                    f"{record.source!r}: {error}"
                ) from error
            if loaded.encoder.fingerprint != record.fingerprint:
                raise SearchError(
                    f"{record.source!r} is no longer the encoder that made the index: restore it, "
                    "or embed everything anew with `toomuchtv embed --replace`"
                )
            self._encoders[record.id] = loaded
        return self._encoders[record.id]
