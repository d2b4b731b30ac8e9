"""What requests and responses contain, as pydantic models. They make up the OpenAPI description."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from toomuchtv.catalog.records import TitleKind

#: Hits of one search, and of one export.
MAX_HITS = 200
MAX_QUERIES = 20
MAX_WITHIN_SECONDS = 600.0
MAX_EXCERPT_SECONDS = 120.0

_MODEL = ConfigDict(extra="forbid", allow_inf_nan=False)
Seconds = Annotated[float, Field(ge=0, le=1e7)]
ItemId = Annotated[int, Field(ge=1, le=2**53)]
Modality = Literal["video", "audio"]


class Problem(BaseModel):
    """Why a request was refused, in one sentence for people."""

    detail: str


# ---- Requests


class MomentQuery(BaseModel):
    """A moment of an item of the catalog."""

    model_config = _MODEL

    item_id: ItemId
    seconds: Seconds


class UploadQuery(BaseModel):
    """A file that was uploaded; the whole file, or the moment around a time of it."""

    model_config = _MODEL

    upload: str = Field(max_length=64)
    at_seconds: Seconds | None = None


#: A string is NAME@TIME, item:ID@TIME or text:WORDS, and never a path.
QueryInput = Annotated[str, Field(min_length=1, max_length=500)] | MomentQuery | UploadQuery
_Queries = Annotated[list[QueryInput], Field(max_length=MAX_QUERIES)]
_Moments = Annotated[list[MomentQuery], Field(max_length=MAX_QUERIES)]
_Names = Annotated[list[Annotated[str, Field(max_length=500)]], Field(max_length=1000)]


class FiltersInput(BaseModel):
    """Conditions that every hit meets; see `toomuchtv.Filters`."""

    model_config = _MODEL

    titles: _Names = []
    kinds: Annotated[list[TitleKind], Field(max_length=10)] = []
    seasons: Annotated[list[Annotated[int, Field(ge=0, le=100_000)]], Field(max_length=1000)] = []
    from_seconds: Seconds = 0.0
    to_seconds: Seconds | None = None
    in_segments: _Names = []
    not_in_segments: _Names = []


class SearchRequest(BaseModel):
    """A search; see `toomuchtv.SearchIndex.search`."""

    model_config = _MODEL

    query: QueryInput
    by: Literal["both", "look", "sound", "look-to-sound", "sound-to-look"] = "both"
    k: int = Field(default=24, ge=1, le=MAX_HITS)
    plus: _Queries = []
    minus: _Queries = []
    more_like: _Moments = []
    less_like: _Moments = []
    other_titles: bool = False
    centered: bool = True
    then: QueryInput | None = None
    within_seconds: float = Field(default=30.0, gt=0, le=MAX_WITHIN_SECONDS)
    filters: FiltersInput = FiltersInput()
    weights: Annotated[dict[str, Annotated[float, Field(ge=0, le=1e6)]], Field(max_length=100)] | (
        None
    ) = None
    per_title: int | None = Field(default=None, ge=1, le=MAX_HITS)
    collapse: bool = True


class OutliersRequest(BaseModel):
    """A search for moments that nothing in other items resembles."""

    model_config = _MODEL

    k: int = Field(default=24, ge=1, le=MAX_HITS)
    by: Literal["look", "sound"] = "look"
    encoder: str | None = Field(default=None, max_length=200)
    filters: FiltersInput = FiltersInput()


class MatchModel(BaseModel):
    """How one encoder found a moment; see `toomuchtv.Match`."""

    model_config = ConfigDict(allow_inf_nan=False)

    encoder: str = Field(max_length=200)
    query_modality: Literal["video", "audio", "text"]
    modality: Modality
    similarity: float
    z_score: float | None
    is_confident: bool
    rank: int


class HitModel(BaseModel):
    """A hit; see `toomuchtv.Hit`. `start` and `stop` are times for people."""

    model_config = ConfigDict(allow_inf_nan=False)

    rank: int = Field(ge=1, le=1_000_000)
    name: str
    title: str
    kind: TitleKind
    season: int | None
    episode: int | None
    item_id: ItemId
    start: str
    stop: str
    start_seconds: Seconds
    stop_seconds: Seconds
    center_seconds: Seconds
    similarity: float | None
    z_score: float | None
    is_confident: bool
    score: float
    encoder: str | None
    query_modality: Literal["video", "audio", "text"] | None
    modality: Modality | None
    num_collapsed: int
    then_seconds: Seconds | None
    matches: Annotated[list[MatchModel], Field(max_length=200)]


class ExportRequest(BaseModel):
    """Hits to write as a file. Names and paths come from the catalog, by `item_id`."""

    model_config = _MODEL

    format: Literal["otio", "edl", "fcpxml", "csv", "json", "png", "clips"]
    hits: Annotated[list[HitModel], Field(min_length=1, max_length=MAX_HITS)]
    name: str = Field(default="hits", min_length=1, max_length=200)
    handles_seconds: float = Field(default=0.0, ge=0, le=60)


# ---- Responses


class EncoderModel(BaseModel):
    """An encoder of the index."""

    name: str
    video: bool
    audio: bool
    text: list[str]
    window_seconds: float
    stride_seconds: float
    windows: int


class TitleModel(BaseModel):
    """A title of the index."""

    id: int
    name: str
    year: int | None
    kind: TitleKind
    num_items: int
    seconds: float


class FormatModel(BaseModel):
    """A format that hits can be exported to."""

    suffix: str
    name: str


class IndexModel(BaseModel):
    """What the index holds."""

    name: str
    version: str
    generation: str
    encoders: list[EncoderModel]
    num_items: int
    num_windows: int
    seconds: float
    titles: list[TitleModel]
    seasons: list[int]
    segment_kinds: list[str]
    problems: list[str]
    formats: list[FormatModel]
    max_upload_bytes: int
    has_text: bool


class GenerationModel(BaseModel):
    """Which state of the index is served. It changes when `embed` or `prepare` changed it."""

    generation: str


class CompletionModel(BaseModel):
    """An item whose name was typed. `query` is what a search accepts."""

    item_id: int
    name: str
    title: str
    kind: TitleKind
    season: int | None
    episode: int | None
    duration_seconds: float
    seconds: float
    query: str


class SearchedModel(BaseModel):
    """What was searched for."""

    name: str
    item_id: int | None = None
    seconds: float | None = None
    upload: str | None = None


class SearchResponse(BaseModel):
    """The hits of a search, best first."""

    hits: list[HitModel]
    confident: bool
    message: str | None
    query: SearchedModel | None
    took_ms: float
    problems: list[str]


class UploadModel(BaseModel):
    """A file that was uploaded."""

    upload: str
    name: str
    has_video: bool
    has_audio: bool
    duration_seconds: float


class PlayableModel(BaseModel):
    """A source that common browsers play.

    `offset_seconds` is where the item's timeline begins on that of the player: moment t is at
    `t + offset_seconds`.
    """

    url: str
    mime: str
    offset_seconds: float


class SegmentModel(BaseModel):
    """A segment of an item."""

    kind: str
    start_seconds: float
    stop_seconds: float
    recurrence: int | None


class ItemModel(BaseModel):
    """An item, and how it can be played."""

    item_id: int
    name: str
    title: str
    kind: TitleKind
    season: int | None
    episode: int | None
    duration_seconds: float
    width: int
    height: int
    frame_rate: float | None
    playable: PlayableModel | None
    reason: str | None
    excerpt: bool
    segments: list[SegmentModel]
    previous_id: int | None
    next_id: int | None


class NamedTitle(BaseModel):
    """A title and its number."""

    id: int
    name: str


class MapModel(BaseModel):
    """A map of moments. `points_url` has x, y and seconds (float32) and item and title (uint32)."""

    encoder: str
    modality: Modality
    count: int
    titles: list[NamedTitle]
    points_url: str


class PlaceModel(BaseModel):
    """Where a scene recurs."""

    item_id: int
    name: str
    start_seconds: float
    stop_seconds: float


class RecurringModel(BaseModel):
    """A scene that several items have."""

    recurrence: int
    kind: str
    seconds: float
    num_items: int
    title: str
    places: list[PlaceModel]


class SimilarTitleModel(BaseModel):
    """A title that resembles another one; see `toomuchtv.search.overview.SimilarTitle`."""

    title_id: int
    name: str
    similarity: float
