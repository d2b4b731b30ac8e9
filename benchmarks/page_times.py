"""The page in a browser: first paint, and from a click on a hit to its moving picture.

    python -m benchmarks.page_times --json FILE

The film is an hour of 1080p H.264 in MP4, which the `ffmpeg` command writes once. The browser is a
Chromium of this machine, steered by the extra `browser`; without one there are no figures. It runs
on the same cores as the server, in a new context for each measurement, so that it has cached
nothing.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.figures import Figures, argument_parser, median_and_range
from benchmarks.media import ffmpeg
from benchmarks.search import build_large_index
from benchmarks.serve import served
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.search.embedding import embed_catalog
from toomuchtv.search.index_folder import content_of, file_description
from toomuchtv.search.vector_files import ItemVectors, write_vector_file

_FILM_SECONDS = 3600
_NUM_MEASUREMENTS = 7

# From the click on a card to the first visible frame that lies in the hit.
_WATCH = """thumb => {
    const video = document.querySelector("#video");
    const open = new URL(thumb.href).searchParams.get("open");
    const [start, stop] = open.split("@")[1].split("-").map(Number);
    window.played = new Promise(resolve => thumb.addEventListener("click", () => {
        const begun = performance.now();
        const look = (now, { mediaTime }) => {
            const isShown = getComputedStyle(video).opacity === "1";
            if (isShown && mediaTime > start - 0.2 && mediaTime < stop)
                return resolve(performance.now() - begun);
            video.requestVideoFrameCallback(look);
        };
        video.requestVideoFrameCallback(look);
    }, { capture: true }));
}"""


def main() -> None:
    """Run the benchmark."""
    options = argument_parser(__doc__).parse_args()
    figures = Figures("page_times", options.json)
    figures.add(browser_figures(options.out))


def browser_figures(out: Path) -> dict[str, float]:
    """Return `first_paint_ms` and `play_ms`: medians, with the lowest and the highest value.

    Args:
        out: Folder for the film, its catalog and its index, about 2.5 GB. They are kept.

    Returns:
        Nothing if there is no Chromium or no Playwright.
    """
    program = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        import playwright.sync_api
    except ImportError:
        program = None
    if program is None:
        print("  no figures of a browser: this needs Chromium and the extra `browser`")
        return {}
    index = _index_of_an_hour(out / "hour")
    with served(index) as server, playwright.sync_api.sync_playwright() as playwright_:
        browser = playwright_.chromium.launch(executable_path=program)
        paints, plays = [], []
        # The first one starts processes of the browser.
        for number in range(_NUM_MEASUREMENTS + 1):
            page = browser.new_context().new_page()
            page.goto(f"{server.url}?q=Long+Film@{5 + 6 * number}:00&title=Long+Film&by=look")
            page.wait_for_selector("#hits[aria-busy=false] .card")
            if number:
                paints.append(_first_paint(page))
            play = _play(page, number)
            if number:
                plays.append(play)
            page.context.close()
        browser.close()
    return {**median_and_range("first_paint_ms", paints), **median_and_range("play_ms", plays)}


def _first_paint(page: Any) -> float:
    """Return when a page first painted text or a picture, in ms after its navigation began."""
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    return float(page.evaluate(paint))


def _play(page: Any, number: int) -> float:
    """Return how long a hit takes from the click to its moving picture, in ms.

    The pointer rests on the card for a moment before the click, as that of a person does.
    """
    thumb = page.locator("#hits .thumb").nth(number)
    thumb.evaluate(_WATCH)
    thumb.hover()
    page.wait_for_timeout(300)
    thumb.click()
    return float(page.evaluate("window.played"))


def _index_of_an_hour(folder: Path) -> Path:
    """Return an index with a film of an hour, whose proxy is on record only."""
    rng = np.random.default_rng(0)

    def random_vectors(count: int) -> ItemVectors:
        vectors = torch.from_numpy(rng.standard_normal((count, 256), dtype=np.float32))
        return ItemVectors.from_float(torch.arange(count), vectors, vectors)

    index = build_large_index(folder, 0, random_vectors)
    film = folder / "rendered" / "library" / "Movies" / "Long Film (2020)" / "Long Film (2020).mp4"
    if not film.exists():
        _write_film(film)
        scan_library(folder / "rendered" / "library", folder / "catalog")
    [record] = index.read().encoders
    with open_catalog(folder / "catalog") as catalog:
        proxies = catalog.proxies()
        [long] = [item for item in catalog.items() if item.path.name == film.name]
        if long.id not in proxies:
            with catalog.writing():
                proxy = replace(
                    next(iter(proxies.values())), item_id=long.id, fingerprint=long.fingerprint
                )
                num_frames = round(_FILM_SECONDS * proxy.frame_rate)
                catalog.record_proxy(replace(proxy, num_frames=num_frames))
        content = content_of(long, catalog.proxy(long.id))
        path = index.vector_file(record, content)
        if not path.exists():
            description = file_description(record, content)
            write_vector_file(path, random_vectors(_FILM_SECONDS), description)
    embed_catalog(folder / "model", folder / "catalog", folder / "index")
    return folder / "index"


def _write_film(path: Path) -> None:
    """Write an hour of 1080p at 24 frames and 5 Mb per second: a minute, sixty times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    minute = path.parents[3] / "minute.mp4"
    picture = "testsrc2=size=1920x1080:rate=24,noise=alls=12:allf=t"
    ffmpeg(
        *("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine=sample_rate=48000", "-t", "60"),
        *("-c:v", "libx264", "-preset", "veryfast", "-b:v", "5M", "-maxrate", "6M"),
        *("-bufsize", "10M", "-g", "120", "-pix_fmt", "yuv420p", "-c:a", "aac", minute),
    )
    partial = path.with_suffix(".part.mp4")
    ffmpeg("-stream_loop", "59", "-i", minute, "-c", "copy", "-movflags", "+faststart", partial)
    partial.rename(path)


if __name__ == "__main__":
    main()
