"""The picture of a query, for a contact sheet."""

from __future__ import annotations

from toomuchtv._internal.timecode import format_timecode
from toomuchtv.catalog.item_names import item_name
from toomuchtv.catalog.store import Catalog
from toomuchtv.media.clip import ClipFormat
from toomuchtv.search.contact_sheet import QueryPicture
from toomuchtv.search.queries import Moment, Query
from toomuchtv.search.query_files import QueryFile, WindowFormat, read_query_file

_NUM_FRAMES, _SECONDS = 5, 2.0


def query_picture(catalog: Catalog, query: Query) -> QueryPicture | None:
    """Return five frames of a query with its name, or None if it has no picture.

    Args:
        catalog: The catalog of a moment.
        query: The query.

    Raises:
        CatalogError: The item of a moment has no proxy.
        MediaError: Its proxy is damaged.
        SearchError: The query file cannot be read.
    """
    if isinstance(query, Moment):
        item, proxy = catalog.item(query.item_id), catalog.proxy(query.item_id)
        name = item_name(catalog.title(item.title_id), item)
        # The proxy's own rate: a clip of the last second of an item begins before its middle.
        frames = min(round(_SECONDS * proxy.frame_rate), proxy.num_frames)
        latest = proxy.duration_seconds - frames / proxy.frame_rate
        start = min(max(0.0, query.seconds - _SECONDS / 2), latest)
        form = ClipFormat(
            frames=frames, frame_rate=proxy.frame_rate, sample_rate_hz=proxy.sample_rate_hz
        )
        clip = catalog.clip(query.item_id, start, form)
        return QueryPicture(name=f"{name} {format_timecode(query.seconds)}", frames=clip.video)
    if isinstance(query, QueryFile):
        window = WindowFormat(
            window_seconds=_SECONDS, frames=_NUM_FRAMES, audio_seconds=0.0, sample_rate_hz=16_000
        )
        read = read_query_file(query, window)
        if read.video is not None:
            return QueryPicture(name=query.path.name, frames=read.video[0])
    return None
