"""From requests to calls of the engine, and from its results to responses."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Sequence

import numpy as np

from toomuchtv._internal.timecode import format_timecode
from toomuchtv.errors import SearchError
from toomuchtv.search.filters import Filters
from toomuchtv.search.hits import NO_CONFIDENT_MATCH, Hit, Match, Modality
from toomuchtv.search.overview import map_moments, recurring_scenes, similar_titles
from toomuchtv.search.queries import Moment, Query, QueryText
from toomuchtv.search.query_files import QueryFile
from toomuchtv.search.result_tables import hit_to_dict
from toomuchtv.server.library import Generation
from toomuchtv.server.schemas import (
    FiltersInput,
    HitModel,
    MapModel,
    MomentQuery,
    NamedTitle,
    OutliersRequest,
    PlaceModel,
    QueryInput,
    RecurringModel,
    SearchedModel,
    SearchRequest,
    SearchResponse,
    SimilarTitleModel,
)
from toomuchtv.server.uploads import UploadStore

# A point in JavaScript's typed arrays.
_MAX_UINT32 = 2**32 - 1


def run_search(
    generation: Generation, uploads: UploadStore, request: SearchRequest, problems: list[str]
) -> SearchResponse:
    """Search.

    Raises:
        SearchError: The query cannot be understood or answered.
        ValueError: A value is out of range.
        LookupError: An upload is gone.
    """
    start = time.perf_counter()
    index = generation.index

    def queries(found: Iterable[QueryInput]) -> list[Query]:
        return [_query(generation, uploads, one) for one in found]

    [query] = queries([request.query])
    try:
        hits = index.search(
            query,
            k=request.k,
            by=request.by,
            plus=queries(request.plus),
            minus=queries(request.minus),
            more_like=queries(request.more_like),
            less_like=queries(request.less_like),
            other_titles=request.other_titles,
            centered=request.centered,
            then=None if request.then is None else queries([request.then])[0],
            within_seconds=request.within_seconds,
            filters=_filters(request.filters),
            weights=request.weights,
            per_title=request.per_title,
            collapse=request.collapse,
        )
    except SearchError as error:
        raise SearchError(uploads.with_names(str(error))) from error
    is_confident = any(hit.is_confident for hit in hits)
    message = None
    if not hits:
        message = "Nothing was found that meets the conditions."
    elif not is_confident:
        message = NO_CONFIDENT_MATCH
    return SearchResponse(
        hits=[to_model(hit) for hit in hits],
        confident=is_confident,
        message=message,
        query=_searched(generation, uploads, query),
        took_ms=1000 * (time.perf_counter() - start),
        problems=problems,
    )


def run_outliers(
    generation: Generation, request: OutliersRequest, problems: list[str]
) -> SearchResponse:
    """Return the most unusual moments.

    Raises:
        SearchError: There is no such encoder, or it lacks the modality.
        ValueError: A value is out of range.
    """
    start = time.perf_counter()
    hits = generation.index.outliers(
        k=request.k,
        by=request.by,
        encoder=request.encoder,
        filters=_filters(request.filters),
    )
    return SearchResponse(
        hits=[to_model(hit) for hit in hits],
        confident=any(hit.is_confident for hit in hits),
        message=None if hits else "Nothing was found that meets the conditions.",
        query=None,
        took_ms=1000 * (time.perf_counter() - start),
        problems=problems,
    )


def _query(generation: Generation, uploads: UploadStore, query: QueryInput) -> Query:
    if isinstance(query, str):
        return generation.index.parse_query(query, allow_files=False)
    if isinstance(query, MomentQuery):
        return generation.index.moment(query.item_id, query.seconds)
    upload = uploads.get(query.upload)
    if upload is None:
        raise LookupError("this file is not kept any more: send it again")
    return QueryFile(path=upload.path, at_seconds=query.at_seconds)


def _searched(generation: Generation, uploads: UploadStore, query: Query) -> SearchedModel:
    if isinstance(query, Moment):
        name = generation.name_of(generation.items[query.item_id])
        return SearchedModel(
            name=f"{name} {format_timecode(query.seconds)}",
            item_id=query.item_id,
            seconds=query.seconds,
        )
    if isinstance(query, QueryFile):
        upload = uploads.get(query.path.name)
        name = "a file" if upload is None else upload.name
        return SearchedModel(name=name, upload=query.path.name)
    assert isinstance(query, QueryText)
    return SearchedModel(name=query.text)


def _filters(filters: FiltersInput) -> Filters:
    return Filters(
        titles=tuple(filters.titles),
        kinds=tuple(filters.kinds),
        seasons=tuple(filters.seasons),
        from_seconds=filters.from_seconds,
        to_seconds=math.inf if filters.to_seconds is None else filters.to_seconds,
        in_segments=tuple(filters.in_segments),
        not_in_segments=tuple(filters.not_in_segments),
    )


def to_model(hit: Hit) -> HitModel:
    """Return a hit without the path of its file."""
    values = hit_to_dict(hit)
    del values["path"]
    return HitModel.model_validate(values)


def to_hits(generation: Generation, models: Sequence[HitModel]) -> list[Hit]:
    """Return hits as the engine gave them. What names an item or a file comes from the catalog.

    Raises:
        LookupError: There is no such item.
        ValueError: A time is not in the item.
    """
    hits = []
    for model in models:
        item = generation.items.get(model.item_id)
        if item is None:
            raise LookupError(f"there is no item {model.item_id} in the catalog")
        title = generation.titles[item.title_id]
        # A window may end a little behind the item.
        longest = max(generation.duration_of(item), item.probe.duration_seconds) + 60.0
        if not 0 <= model.start_seconds < model.stop_seconds <= longest:
            raise ValueError(
                f"a hit must lie in its item, got {model.start_seconds:g} to "
                f"{model.stop_seconds:g} s of {generation.name_of(item)}"
            )
        hits.append(
            Hit(
                rank=model.rank,
                item_id=item.id,
                title=title.name,
                name=generation.name_of(item),
                kind=title.kind,
                season=item.season,
                episode=item.episode,
                path=generation.index.source_path(item),
                start_seconds=model.start_seconds,
                stop_seconds=model.stop_seconds,
                center_seconds=model.center_seconds,
                score=model.score,
                matches=tuple(
                    Match(
                        encoder=match.encoder,
                        query_modality=match.query_modality,
                        modality=match.modality,
                        similarity=match.similarity,
                        z_score=math.nan if match.z_score is None else match.z_score,
                        is_confident=match.is_confident,
                        rank=match.rank,
                    )
                    for match in model.matches
                ),
                num_collapsed=model.num_collapsed,
                then_seconds=model.then_seconds,
            )
        )
    return hits


class Overviews:
    """Maps of an index, which take seconds and are kept until the index changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # one at a time: each uses all cores
        self._generation = ""
        self._maps: dict[tuple[str, Modality], tuple[MapModel, bytes]] = {}

    def map(
        self, generation: Generation, encoder: str | None, modality: Modality
    ) -> tuple[MapModel, bytes]:
        """Return a map and its points, as the contract of `/api/map` describes them.

        Raises:
            SearchError: There is no such encoder, or it has no vectors of this modality.
        """
        name = _encoder_name(generation, encoder)
        with self._lock:
            if self._generation != generation.name:
                self._maps, self._generation = {}, generation.name
            if (name, modality) not in self._maps:
                self._maps[name, modality] = self._make(generation, name, modality)
            return self._maps[name, modality]

    def _make(
        self, generation: Generation, encoder: str, modality: Modality
    ) -> tuple[MapModel, bytes]:
        made = map_moments(generation.index.encoders[encoder], modality)
        arrays = (
            made.positions[:, 0].astype("<f4"),
            made.positions[:, 1].astype("<f4"),
            made.seconds.astype("<f4"),
            np.clip(made.item_ids, 0, _MAX_UINT32).astype("<u4"),
            np.clip(made.title_ids, 0, _MAX_UINT32).astype("<u4"),
        )
        number = list(generation.index.encoders).index(encoder)
        model = MapModel(
            encoder=encoder,
            modality=modality,
            count=len(made),
            titles=[
                NamedTitle(id=title.id, name=title.name)
                for title in generation.titles.values()
                if title.id in set(made.title_ids.tolist())
            ],
            points_url=f"/api/map/points?number={number}&modality={modality}"
            f"&generation={generation.name}",
        )
        return model, b"".join(array.tobytes() for array in arrays)


def find_similar_titles(
    generation: Generation, title_id: int, modality: Modality, encoder: str | None
) -> list[SimilarTitleModel]:
    """Return the titles that resemble a title most.

    Raises:
        SearchError: Nothing of this title and modality is embedded.
    """
    chosen = generation.index.encoders[_encoder_name(generation, encoder)]
    return [
        SimilarTitleModel(title_id=one.title_id, name=one.name, similarity=one.similarity)
        for one in similar_titles(chosen, title_id, modality)
    ]


def find_recurring(generation: Generation) -> list[RecurringModel]:
    """Return the scenes that several items have, most places first."""
    found = []
    for scene in recurring_scenes(
        segment for segments in generation.segments.values() for segment in segments
    ):
        places = [one for one in scene.segments if one.item_id in generation.items]
        if not places:
            continue
        first = generation.items[places[0].item_id]
        found.append(
            RecurringModel(
                recurrence=scene.recurrence,
                kind=scene.kind,
                seconds=scene.seconds,
                num_items=len({place.item_id for place in places}),
                title=generation.titles[first.title_id].name,
                places=[
                    PlaceModel(
                        item_id=place.item_id,
                        name=generation.name_of(generation.items[place.item_id]),
                        start_seconds=place.start_seconds,
                        stop_seconds=place.stop_seconds,
                    )
                    for place in places
                ],
            )
        )
    return sorted(found, key=lambda scene: (-len(scene.places), scene.recurrence))


def _encoder_name(generation: Generation, name: str | None) -> str:
    known = generation.index.encoders
    chosen = name or next(iter(known), "")
    if chosen not in known:
        raise SearchError(f"the index has no encoder {chosen!r}: use one of {', '.join(known)}")
    return chosen
