"""The HTTP interface: routes that compose the engine, and nothing else.

All routes that read are GET; a POST searches or writes a file for the client. No route writes to
the library, the catalog or the index. A plain `def` route runs in a thread of a pool.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import fastapi
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from toomuchtv.server.exports import EXPORT_FORMATS, MIME_TYPES, attachment_headers, export_hits
from toomuchtv.server.item_routes import JPEG, PICTURE_CACHE, add_items, add_overviews
from toomuchtv.server.library import Library
from toomuchtv.server.media_files import file_response
from toomuchtv.server.schemas import (
    CompletionModel,
    EncoderModel,
    ExportRequest,
    FormatModel,
    GenerationModel,
    IndexModel,
    OutliersRequest,
    SearchRequest,
    SearchResponse,
    TitleModel,
    UploadModel,
)
from toomuchtv.server.searches import run_outliers, run_search, to_hits
from toomuchtv.server.security import GUARD_HEADER, UPLOAD_PATH, Guard, Policy
from toomuchtv.server.state import State, plain, refusals, refusing
from toomuchtv.server.uploads import Upload, UploadError

PAGE_FOLDER = Path(__file__).parent / "page"
_MIME_BY_SUFFIX = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon",
    ".woff2": "font/woff2", ".json": "application/json", ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}  # fmt: skip
_PAGE_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")


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
    add_items(app, state)
    add_overviews(app, state)
    return app


async def _answer_invalid(_: Request, error: Exception) -> Response:
    """Describe values that are not valid in one sentence."""
    assert isinstance(error, RequestValidationError)
    parts = []
    for problem in error.errors()[:5]:
        where = ".".join(str(part) for part in problem["loc"][1:]) or str(problem["loc"][0])
        parts.append(f"{where}: {problem['msg']}")
    return JSONResponse({"detail": plain("; ".join(parts))}, 422)


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    """Turn errors of the engine, which are about the request, into answers."""
    try:
        with refusing(400):
            yield
    except LookupError as error:
        if type(error) is not LookupError:
            raise  # a bug, such as a KeyError
        raise HTTPException(404, plain(str(error))) from error
    except ValueError as error:
        raise HTTPException(400, plain(str(error))) from error


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
    @app.get("/api/index", responses=refusals())
    def index() -> IndexModel:
        """Return what the index holds."""
        return _index_model(state)

    @app.get("/api/generation", responses=refusals())
    def generation() -> GenerationModel:
        """Return which state of the index is served."""
        return GenerationModel(generation=state.library.current.name)

    @app.get("/api/complete", responses=refusals())
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
        problems=[plain(problem) for problem in state.library.problems],
        formats=[FormatModel(suffix=key, name=name) for key, name in EXPORT_FORMATS.items()],
        max_upload_bytes=state.uploads.max_bytes,
        has_text=any(encoder.text for encoder in encoders),
    )


# ---- Searching and exporting


def _add_search(app: FastAPI, state: State) -> None:
    @app.post("/api/search", responses=refusals(404, 408, 413, 429))
    def search(request: SearchRequest) -> SearchResponse:
        """Return the moments that are most like a query, best first."""
        problems = [plain(problem) for problem in state.library.problems]
        with state.searching.taken(), _sentences():
            return run_search(state.library.current, state.uploads, request, problems)

    @app.post("/api/outliers", responses=refusals(404, 408, 413, 429))
    def outliers(request: OutliersRequest) -> SearchResponse:
        """Return the moments that nothing in other items resembles, the most unusual first."""
        problems = [plain(problem) for problem in state.library.problems]
        with state.searching.taken(), _sentences():
            return run_outliers(state.library.current, request, problems)

    @app.post(
        "/api/export",
        response_class=Response,
        responses={
            **refusals(404, 408, 413, 429),
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
        responses=refusals(408, 413, 415, 429),
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
            raise HTTPException(error.status, plain(str(error)), headers) from error
        return UploadModel(
            upload=kept.id,
            name=kept.name,
            has_video=kept.content.has_video,
            has_audio=kept.content.has_audio,
            duration_seconds=kept.content.duration_seconds,
        )

    def add(path: Path, name: str) -> Upload:
        try:
            with state.encoding.taken():
                return state.uploads.add(path, name)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    @app.get(
        "/api/uploads/{upload}/thumbnail",
        response_class=Response,
        responses={**refusals(404), **JPEG},
    )
    def upload_thumbnail(upload: Annotated[str, PathParameter(max_length=64)]) -> Response:
        """Return a picture of an upload."""
        found = state.uploads.get(upload)
        if found is None or found.content.thumbnail is None:
            raise HTTPException(404, "there is no picture of this file")
        headers = {"cache-control": PICTURE_CACHE}
        return Response(found.content.thumbnail, headers=headers, media_type="image/jpeg")
