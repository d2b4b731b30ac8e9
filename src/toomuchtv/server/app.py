"""The HTTP interface: routes that compose the engine, and nothing else.

All routes that read are GET; a POST searches or writes a file for the client. No route writes to
the library, the catalog or the index. A plain `def` route runs in a thread of a pool.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import fastapi
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from toomuchtv.catalog.records import Item, Proxy
from toomuchtv.errors import CatalogError, MediaError, SearchError
from toomuchtv.server.excerpts import ExcerptCache
from toomuchtv.server.exports import EXPORT_FORMATS, MIME_TYPES, attachment_headers, export_hits
from toomuchtv.server.library import Generation, Library
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
    CompletionModel,
    EncoderModel,
    ExportRequest,
    FormatModel,
    GenerationModel,
    IndexModel,
    ItemId,
    ItemModel,
    MapModel,
    Modality,
    OutliersRequest,
    PlayableModel,
    Problem,
    RecurringModel,
    SearchRequest,
    SearchResponse,
    Seconds,
    SegmentModel,
    SimilarTitleModel,
    TitleModel,
    UploadModel,
)
from toomuchtv.server.searches import (
    Overviews,
    find_recurring,
    find_similar_titles,
    run_outliers,
    run_search,
    to_hits,
)
from toomuchtv.server.security import GUARD_HEADER, UPLOAD_PATH, Guard, Policy
from toomuchtv.server.uploads import UploadError, UploadStore

PAGE_FOLDER = Path(__file__).parent / "page"
_MIME_BY_SUFFIX = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon",
    ".woff2": "font/woff2", ".json": "application/json", ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}  # fmt: skip
_PAGE_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
# Pictures of a moment do not change while its file does not.
_PICTURE_CACHE = "private, max-age=600"
_WAIT_SECONDS = 60.0

_EncoderName = Annotated[str | None, Query(max_length=200)]
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}}, "description": "A picture."}
}


def _problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Problem} for code in (400, 401, 403, 422, *codes)}


class Slots:
    """Bounds how many threads do one kind of work at the same time.

    Args:
        number: How many do.
    """

    def __init__(self, number: int) -> None:
        self._free = threading.BoundedSemaphore(number)

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for a free slot, and keep it within the block.

        Raises:
            HTTPException: 429, if none becomes free within a minute.
        """
        if not self._free.acquire(timeout=_WAIT_SECONDS):
            raise HTTPException(429, "the server is busy: try again in a moment")
        try:
            yield
        finally:
            self._free.release()


class State:
    """What all requests share.

    Args:
        library: The index.
        folder: Where the folder for temporary files is made, or None for the usual place.
        max_upload_bytes: Size of one upload.
    """

    def __init__(self, library: Library, folder: Path | None, max_upload_bytes: int) -> None:
        self.library = library
        self._temporary = tempfile.TemporaryDirectory(prefix="toomuchtv-serve-", dir=folder)
        self.folder = Path(self._temporary.name)
        for name in ("uploads", "excerpts", "exports"):
            (self.folder / name).mkdir()
        self.uploads = UploadStore(self.folder / "uploads", max_bytes=max_upload_bytes)
        self.excerpts = ExcerptCache(self.folder / "excerpts")
        self.overviews = Overviews()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
        # Searches that wait for each other share a pass over the vectors; see `SharedScan`.
        self.searching = Slots(8)
        self.drawing = Slots(max(2, cores))
        self.encoding = Slots(max(1, cores // 2))

    def delete_files(self) -> None:
        """Delete all temporary files."""
        self._temporary.cleanup()


def create_app(
    index_path: str | os.PathLike[str],
    *,
    catalog: str | os.PathLike[str] | None = None,
    policy: Policy | None = None,
    max_upload_bytes: int = 200_000_000,
    temporary_folder: str | os.PathLike[str] | None = None,
) -> FastAPI:
    """Return the ASGI application that serves an index.

    Its lifespan deletes all temporary files at the end.

    Args:
        index_path: Folder of the index, or the address of its copy in LanceDB.
        catalog: Folder of its catalog, if it has moved.
        policy: Who may talk to the server; by default, this machine on port 8765.
        max_upload_bytes: Size of one upload.
        temporary_folder: Where the folder for temporary files is made.

    Raises:
        SearchError: The index cannot be opened.
        CatalogError: Its catalog cannot be opened.
    """
    library = Library(os.fspath(index_path), None if catalog is None else Path(catalog))
    folder = None if temporary_folder is None else Path(temporary_folder)
    state = State(library, folder, max_upload_bytes)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        library.start()
        try:
            yield
        finally:
            library.stop()
            state.delete_files()

    app = FastAPI(
        title="toomuchtv",
        version=version("toomuchtv"),
        summary="Find moments in films and series.",
        description=(
            "Times are seconds on the timeline of an item. Errors have one sentence in `detail`. "
            f"A POST needs the header `{GUARD_HEADER}: 1`."
        ),
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        # `/api/items/1/` is no other name of `/api/items/1`.
        redirect_slashes=False,
    )
    app.state.server = state
    app.add_middleware(Guard, policy=policy or Policy(host="127.0.0.1", port=8765))
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    _add_page(app)
    _add_index(app, state)
    _add_search(app, state)
    _add_uploads(app, state)
    _add_items(app, state)
    _add_overviews(app, state)
    return app


async def _answer_invalid(_: Request, error: Exception) -> Response:
    """Describe values that are not valid in one sentence."""
    assert isinstance(error, RequestValidationError)
    parts = []
    for problem in error.errors()[:5]:
        where = ".".join(str(part) for part in problem["loc"][1:]) or str(problem["loc"][0])
        parts.append(f"{where}: {problem['msg']}")
    return JSONResponse({"detail": _plain("; ".join(parts))}, 422)


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    """Turn errors of the engine, which are about the request, into answers."""
    try:
        yield
    except LookupError as error:
        if type(error) is not LookupError:
            raise  # a bug, such as a KeyError
        raise HTTPException(404, _plain(str(error))) from error
    except (SearchError, CatalogError, MediaError, ValueError) as error:
        raise HTTPException(400, _plain(str(error))) from error


def _plain(text: str) -> str:
    """Return a text that JSON can hold: bytes of a path that are no text are replaced."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


# ---- The page


def _add_page(app: FastAPI) -> None:
    def send(request: Request, name: str) -> Response:
        path = PAGE_FOLDER / name
        mime = _MIME_BY_SUFFIX.get(path.suffix)
        if not _PAGE_FILE.fullmatch(name) or mime is None or not path.is_file():
            raise HTTPException(404, "there is no such file")
        content = path.read_bytes()
        headers = {
            "etag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
            "cache-control": "no-cache",
        }
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=mime)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    def page(request: Request) -> Response:
        return send(request, "index.html")

    @app.api_route("/static/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    def page_file(request: Request, name: str) -> Response:
        return send(request, name)


# ---- The index


def _add_index(app: FastAPI, state: State) -> None:
    @app.get("/api/index", responses=_problems())
    def index() -> IndexModel:
        """Return what the index holds."""
        return _index_model(state)

    @app.get("/api/generation", responses=_problems())
    def generation() -> GenerationModel:
        """Return which state of the index is served."""
        return GenerationModel(generation=state.library.current.name)

    @app.get("/api/complete", responses=_problems())
    def complete(
        q: Annotated[str, Query(max_length=500)] = "",
        limit: Annotated[int, Query(ge=1, le=100)] = 12,
    ) -> list[CompletionModel]:
        """Return items whose names have all words that were typed, with the time behind them."""
        current = state.library.current
        return [
            CompletionModel(
                item_id=found.item.id,
                name=current.name_of(found.item),
                title=current.titles[found.item.title_id].name,
                kind=current.titles[found.item.title_id].kind,
                season=found.item.season,
                episode=found.item.episode,
                duration_seconds=current.duration_of(found.item),
                seconds=found.seconds,
                query=found.query,
            )
            for found in current.complete(q, limit)
        ]


def _index_model(state: State) -> IndexModel:
    current = state.library.current
    encoders = [
        EncoderModel(
            name=name,
            video=encoder.record.video_dim is not None,
            audio=encoder.record.audio_dim is not None,
            text=list(encoder.record.text_modalities),
            window_seconds=encoder.record.window_seconds,
            stride_seconds=encoder.record.stride_seconds,
            windows=len(encoder),
        )
        for name, encoder in current.index.encoders.items()
    ]
    seconds: dict[int, list[float]] = {}
    for item in current.embedded:
        seconds.setdefault(item.title_id, []).append(current.duration_of(item))
    return IndexModel(
        name=Path(current.index.folder.path).resolve().name,
        version=version("toomuchtv"),
        generation=current.name,
        encoders=encoders,
        num_items=len(current.embedded),
        num_windows=sum(encoder.windows for encoder in encoders),
        seconds=sum(map(sum, seconds.values())),
        titles=[
            TitleModel(
                id=title.id,
                name=title.name,
                year=title.year,
                kind=title.kind,
                num_items=len(seconds[title.id]),
                seconds=sum(seconds[title.id]),
            )
            for title in current.titles.values()
            if title.id in seconds
        ],
        seasons=sorted({item.season for item in current.embedded if item.season is not None}),
        segment_kinds=sorted(
            {segment.kind for segments in current.segments.values() for segment in segments}
        ),
        problems=[_plain(problem) for problem in state.library.problems],
        formats=[FormatModel(suffix=key, name=name) for key, name in EXPORT_FORMATS.items()],
        max_upload_bytes=state.uploads.max_bytes,
        has_text=any(encoder.text for encoder in encoders),
    )


# ---- Searching and exporting


def _add_search(app: FastAPI, state: State) -> None:
    @app.post("/api/search", responses=_problems(404, 408, 413, 429))
    def search(request: SearchRequest) -> SearchResponse:
        """Return the moments that are most like a query, best first."""
        problems = [_plain(problem) for problem in state.library.problems]
        with state.searching.taken(), _sentences():
            return run_search(state.library.current, state.uploads, request, problems)

    @app.post("/api/outliers", responses=_problems(404, 408, 413, 429))
    def outliers(request: OutliersRequest) -> SearchResponse:
        """Return the moments that nothing in other items resembles, the most unusual first."""
        problems = [_plain(problem) for problem in state.library.problems]
        with state.searching.taken(), _sentences():
            return run_outliers(state.library.current, request, problems)

    @app.post(
        "/api/export",
        response_class=Response,
        responses={
            **_problems(404, 408, 413, 429),
            200: {"content": {mime: {} for mime in MIME_TYPES.values()}},
        },
    )
    def export(request: Request, body: ExportRequest) -> Response:
        """Return hits as a file. Warnings are in the header `X-Warnings`."""
        current = state.library.current
        with _sentences():
            hits = to_hits(current, body.hits)
            with state.encoding.taken():
                file, name, warnings = export_hits(
                    hits,
                    state.folder / "exports",
                    format=body.format,
                    name=body.name,
                    handles_seconds=body.handles_seconds,
                    catalog=current.catalog_folder,
                )
        with file:
            descriptor = os.dup(file.fileno())
        return file_response(
            request,
            descriptor,
            mime=MIME_TYPES[body.format],
            cache="no-store",
            headers=attachment_headers(name, warnings),
        )


# ---- Uploads


def _add_uploads(app: FastAPI, state: State) -> None:
    @app.post(
        UPLOAD_PATH,
        responses=_problems(408, 413, 415, 429),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
                },
            }
        },
    )
    async def upload(
        request: Request, name: Annotated[str, Query(min_length=1, max_length=255)]
    ) -> UploadModel:
        """Keep a video, sound or image file for an hour, to search with it."""
        length = request.headers.get("content-length", "")
        try:
            path = await state.uploads.receive(
                request.stream(), int(length) if length.isdecimal() else None
            )
            kept = await fastapi.concurrency.run_in_threadpool(add, path, name)
        except UploadError as error:
            # What was not read of the body must not be taken for the next request.
            headers = {"connection": "close"} if error.status in (408, 413, 429) else None
            raise HTTPException(error.status, _plain(str(error)), headers) from error
        return UploadModel(
            upload=kept.id,
            name=kept.name,
            has_video=kept.content.has_video,
            has_audio=kept.content.has_audio,
            duration_seconds=kept.content.duration_seconds,
        )

    def add(path: Path, name: str) -> Any:
        with state.encoding.taken():
            return state.uploads.add(path, name)

    @app.get(
        "/api/uploads/{upload}/thumbnail",
        response_class=Response,
        responses={**_problems(404), **_JPEG},
    )
    def upload_thumbnail(upload: Annotated[str, PathParameter(max_length=64)]) -> Response:
        """Return a picture of an upload."""
        found = state.uploads.get(upload)
        if found is None or found.content.thumbnail is None:
            raise HTTPException(404, "there is no picture of this file")
        headers = {"cache-control": _PICTURE_CACHE}
        return Response(found.content.thumbnail, headers=headers, media_type="image/jpeg")


# ---- Items


def _add_items(app: FastAPI, state: State) -> None:
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

    @app.get("/api/items/{item_id}", responses=_problems(404))
    def item(item_id: ItemId) -> ItemModel:
        """Return an item, how it can be played, and its segments."""
        current = state.library.current
        return _item_model(current, item_of(current, item_id))

    @app.get(
        "/api/items/{item_id}/thumbnail",
        response_class=Response,
        responses={**_problems(404, 429), **_JPEG},
    )
    def item_thumbnail(
        item_id: ItemId,
        at: Seconds = 0.0,
        width: Annotated[int, Query(ge=16, le=1280)] = 320,
    ) -> Response:
        """Return the picture of a moment."""
        current = state.library.current
        proxy = proxy_of(current, item_id)
        with state.drawing.taken(), _missing():
            content = thumbnail(current.catalog_folder, proxy, at, width)
        headers = {"cache-control": _PICTURE_CACHE}
        return Response(content, headers=headers, media_type="image/jpeg")

    @app.get(
        "/api/items/{item_id}/preview",
        response_class=Response,
        responses={**_problems(404, 429), **_JPEG},
    )
    def item_preview(item_id: ItemId, at: Seconds = 0.0) -> Response:
        """Return 12 frames around a moment, side by side, each of 240x135 pixels."""
        current = state.library.current
        proxy = proxy_of(current, item_id)
        with state.drawing.taken(), _missing():
            content = preview(current.catalog_folder, proxy, at)
        headers = {"cache-control": _PICTURE_CACHE}
        return Response(content, headers=headers, media_type="image/jpeg")

    def media(request: Request, item_id: ItemId) -> Response:
        """Return the file of an item, or a range of it."""
        current = state.library.current
        found = item_of(current, item_id)
        try:
            descriptor, _ = open_source(current.root, found)
        except RefusedSourceError as error:
            raise HTTPException(404, _plain(str(error))) from error
        mime, _ = playable_mime(descriptor, found)
        return file_response(request, descriptor, mime=mime or "application/octet-stream")

    media_answers: dict[int | str, dict[str, Any]] = {
        **_problems(404, 416),
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
        with state.encoding.taken(), _missing():
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


@contextlib.contextmanager
def _missing() -> Iterator[None]:
    """Answer that there is no picture where a proxy is missing or damaged."""
    try:
        yield
    except (CatalogError, MediaError) as error:
        raise HTTPException(404, _plain(str(error))) from error


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
        reason=None if reason is None else _plain(reason),
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


def _add_overviews(app: FastAPI, state: State) -> None:
    @app.get("/api/map", responses=_problems(404, 429))
    def moment_map(encoder: _EncoderName = None, modality: Modality = "video") -> MapModel:
        """Return a map of the moments. The first request for it takes seconds."""
        with state.searching.taken(), _nothing():
            return state.overviews.map(state.library.current, encoder, modality)[0]

    @app.get(
        "/api/map/points",
        response_class=Response,
        responses={**_problems(404, 429), 200: {"content": {"application/octet-stream": {}}}},
    )
    def map_points(number: Annotated[int, Query(ge=0, le=1000)], modality: Modality) -> Response:
        """Return the points of a map: x, y, seconds (float32), item, title (uint32)."""
        current = state.library.current
        names = [*current.index.encoders]
        if number >= len(names):
            raise HTTPException(404, "there is no such map")
        with state.searching.taken(), _nothing():
            _, points = state.overviews.map(current, names[number], modality)
        return Response(points, media_type="application/octet-stream")

    @app.get("/api/similar-titles", responses=_problems(404))
    def similar(
        title: ItemId, modality: Modality = "video", encoder: _EncoderName = None
    ) -> list[SimilarTitleModel]:
        """Return the titles that resemble a title most."""
        with _nothing():
            return find_similar_titles(state.library.current, title, modality, encoder)

    @app.get("/api/recurring", responses=_problems())
    def recurring() -> list[RecurringModel]:
        """Return the scenes that several items have, such as openings."""
        return find_recurring(state.library.current)


@contextlib.contextmanager
def _nothing() -> Iterator[None]:
    """Answer that there is nothing where the engine finds nothing."""
    try:
        yield
    except SearchError as error:
        raise HTTPException(404, _plain(str(error))) from error
