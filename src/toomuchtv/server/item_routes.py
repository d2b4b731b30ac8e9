"""Routes about single items, with their pictures and media, and about the whole catalog."""

from __future__ import annotations

import os
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request, Response

from toomuchtv.catalog.records import Item, Proxy
from toomuchtv.server.library import Generation
from toomuchtv.server.media_files import (
    RefusedSourceError,
    file_response,
    open_source,
    playable_mime,
    player_offset,
)
from toomuchtv.server.pictures import preview, thumbnail
from toomuchtv.server.schemas import (
    MAX_EXCERPT_SECONDS,
    ItemId,
    ItemModel,
    MapModel,
    Modality,
    PlayableModel,
    Problem,
    RecurringModel,
    Seconds,
    SegmentModel,
    SimilarTitleModel,
)
from toomuchtv.server.searches import find_recurring, find_similar_titles
from toomuchtv.server.state import Answers, State, plain, refusals, refusing

# Pictures of a moment do not change while its file does not.
PICTURE_CACHE = "private, max-age=600"
JPEG: Answers = {200: {"content": {"image/jpeg": {}}, "description": "A picture."}}
_EncoderName = Annotated[str | None, Query(max_length=200)]


# ---- Items


def add_items(app: FastAPI, state: State) -> None:
    """Add the routes about single items."""

    def item_of(current: Generation, item_id: int) -> Item:
        item = current.items.get(item_id)
        if item is None:
            raise HTTPException(404, f"there is no item {item_id} in the catalog")
        return item

    def proxy_of(current: Generation, item_id: int) -> Proxy:
        item_of(current, item_id)
        proxy = current.proxies.get(item_id)
        if proxy is None:
            raise HTTPException(404, "this item has no proxy: run `toomuchtv prepare`")
        return proxy

    @app.get("/api/items/{item_id}", responses=refusals(404))
    def item(item_id: ItemId) -> ItemModel:
        """Return an item, how it can be played, and its segments."""
        current = state.library.current
        return _item_model(current, item_of(current, item_id))

    @app.get(
        "/api/items/{item_id}/thumbnail",
        response_class=Response,
        responses={**refusals(404, 429), **JPEG},
    )
    def item_thumbnail(
        item_id: ItemId,
        at: Seconds = 0.0,
        width: Annotated[int, Query(ge=16, le=1280)] = 320,
    ) -> Response:
        """Return the picture of a moment."""
        current = state.library.current
        proxy = proxy_of(current, item_id)
        with state.drawing.taken(), refusing(404):
            content = thumbnail(current.catalog_folder, proxy, at, width)
        headers = {"cache-control": PICTURE_CACHE}
        return Response(content, headers=headers, media_type="image/jpeg")

    @app.get(
        "/api/items/{item_id}/preview",
        response_class=Response,
        responses={**refusals(404, 429), **JPEG},
    )
    def item_preview(item_id: ItemId, at: Seconds = 0.0) -> Response:
        """Return 12 frames around a moment, side by side, each of 240x135 pixels."""
        current = state.library.current
        proxy = proxy_of(current, item_id)
        with state.drawing.taken(), refusing(404):
            content = preview(current.catalog_folder, proxy, at)
        headers = {"cache-control": PICTURE_CACHE}
        return Response(content, headers=headers, media_type="image/jpeg")

    def media(request: Request, item_id: ItemId) -> Response:
        """Return the file of an item, or a range of it."""
        current = state.library.current
        found = item_of(current, item_id)
        try:
            descriptor, _ = open_source(current.root, found)
        except RefusedSourceError as error:
            raise HTTPException(404, plain(str(error))) from error
        mime, _ = playable_mime(descriptor, found)
        return file_response(request, descriptor, mime=mime or "application/octet-stream")

    media_answers: Answers = {
        **refusals(404, 416),
        200: {"content": {"video/*": {}, "application/octet-stream": {}}},
        206: {"content": {"video/*": {}, "application/octet-stream": {}}, "description": "A range"},
        304: {"description": "The file has not changed."},
    }

    def excerpt(
        request: Request,
        item_id: ItemId,
        start: Seconds = 0.0,
        seconds: Annotated[float, Query(gt=0, le=MAX_EXCERPT_SECONDS)] = 20.0,
    ) -> Response:
        """Return a part of an item that every browser plays, made from its proxy."""
        current = state.library.current
        proxy = proxy_of(current, item_id)
        if start > proxy.duration_seconds:
            raise HTTPException(404, f"this item has only {proxy.duration_seconds:.1f} s")
        with state.encoding.taken(), refusing(404):
            file = state.excerpts.open(current.catalog_folder, proxy, start, seconds)
        with file:
            descriptor = os.dup(file.fileno())
        return file_response(request, descriptor, mime="video/mp4", cache="private, max-age=600")

    for path, route, answers in (
        ("/media/{item_id}", media, media_answers),
        ("/media/{item_id}/excerpt", excerpt, {**media_answers, 429: {"model": Problem}}),
    ):
        app.get(path, response_class=Response, responses=answers)(route)
        app.head(path, include_in_schema=False)(route)


def _item_model(current: Generation, item: Item) -> ItemModel:
    title = current.titles[item.title_id]
    playable, reason = None, None
    try:
        descriptor, _ = open_source(current.root, item)
    except RefusedSourceError as error:
        reason = str(error)
    else:
        try:
            mime, reason = playable_mime(descriptor, item)
        finally:
            os.close(descriptor)
        if mime is not None:
            playable = PlayableModel(
                url=f"/media/{item.id}", mime=mime, offset_seconds=player_offset(item)
            )
    video = item.probe.video
    is_turned = video.rotation_degrees in (90, 270)
    width, height = (video.height, video.width) if is_turned else (video.width, video.height)
    previous_id, next_id = current.neighbors(item)
    return ItemModel(
        item_id=item.id,
        name=current.name_of(item),
        title=title.name,
        kind=title.kind,
        season=item.season,
        episode=item.episode,
        duration_seconds=current.duration_of(item),
        width=width,
        height=height,
        frame_rate=video.frame_rate,
        playable=playable,
        reason=None if reason is None else plain(reason),
        excerpt=item.id in current.proxies,
        segments=[
            SegmentModel(
                kind=segment.kind,
                start_seconds=segment.start_seconds,
                stop_seconds=segment.stop_seconds,
                recurrence=segment.recurrence,
            )
            for segment in current.segments.get(item.id, ())
        ],
        previous_id=previous_id,
        next_id=next_id,
    )


# ---- The whole catalog at one view


def add_overviews(app: FastAPI, state: State) -> None:
    """Add the routes about the whole catalog."""

    @app.get("/api/map", responses=refusals(404, 429))
    def moment_map(encoder: _EncoderName = None, modality: Modality = "video") -> MapModel:
        """Return a map of the moments. The first request for it takes seconds."""
        with state.searching.taken(), refusing(404):
            return state.overviews.map(state.library.current, encoder, modality)[0]

    @app.get(
        "/api/map/points",
        response_class=Response,
        responses={**refusals(404, 429), 200: {"content": {"application/octet-stream": {}}}},
    )
    def map_points(number: Annotated[int, Query(ge=0, le=1000)], modality: Modality) -> Response:
        """Return the points of a map: x, y, seconds (float32), item, title (uint32)."""
        current = state.library.current
        names = [*current.index.encoders]
        if number >= len(names):
            raise HTTPException(404, "there is no such map")
        with state.searching.taken(), refusing(404):
            _, points = state.overviews.map(current, names[number], modality)
        return Response(points, media_type="application/octet-stream")

    @app.get("/api/similar-titles", responses=refusals(404))
    def similar(
        title: ItemId, modality: Modality = "video", encoder: _EncoderName = None
    ) -> list[SimilarTitleModel]:
        """Return the titles that resemble a title most."""
        with refusing(404):
            return find_similar_titles(state.library.current, title, modality, encoder)

    @app.get("/api/recurring", responses=refusals())
    def recurring() -> list[RecurringModel]:
        """Return the scenes that several items have, such as openings."""
        return find_recurring(state.library.current)
