"""Playing moments on the page: from the hit, in a loop, from the source or from the proxy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.browser.conftest import PLAYABLE, UNPLAYABLE, until, wait_for_hits
from tests.media_files import BLACK, LEVEL_STEP, NUM_LEVELS

OpenPage = Callable[..., Any]
FRAME_RATE = 24

# The gray level and the time of each frame that the video element shows, in `window.frames`.
_WATCH = """() => {
    const video = document.querySelector("#video");
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [8, 8];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    window.seen = [];
    const look = (now, frame) => {
        // What precedes the hit is not visible.
        if (getComputedStyle(video).opacity === "1") {
            context.drawImage(video, 0, 0, 8, 8);
            const level = context.getImageData(5, 5, 1, 1).data[0];
            window.seen.push([frame.mediaTime, level, video.currentTime]);
        }
        video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);
}"""


def _open(page: Any, number: int = 0) -> tuple[float, float]:
    """Open a hit by a click, and return its start and stop."""
    page.evaluate(_WATCH)
    card = page.locator("#hits .card").nth(number)
    opened = parse_qs(urlsplit(card.locator(".thumb").get_attribute("href")).query)["open"][0]
    start, stop = opened.partition("@")[2].split("-")
    card.locator(".thumb").click()
    until(page, "window.seen.length > 3")
    return float(start), float(stop)


def _assert_gray_tells(seconds: float, level: float, first_frame: int) -> None:
    """Assert that a frame with this gray level is shown at this time of the film."""
    number = (level - BLACK) / LEVEL_STEP - first_frame
    away = (number - seconds * FRAME_RATE) % NUM_LEVELS
    assert min(away, NUM_LEVELS - away) <= 0.2 * FRAME_RATE


def test_a_film_plays_from_the_hit_and_loops_it(open_page: OpenPage) -> None:
    page = open_page(f"/?q={PLAYABLE}+%282005%29%4000%3A02&title={PLAYABLE}&all=1&by=look")
    wait_for_hits(page)
    with page.expect_response("**/media/*") as media:
        start, stop = _open(page, 2)
    assert media.value.status == 206
    until(page, "window.seen.at(-1)[0] > window.seen[0][0] + 0.3")
    seen = page.evaluate("window.seen")
    assert abs(seen[0][0] - start) < 0.2
    assert abs(seen[0][2] - start) < 0.2
    _assert_gray_tells(start, seen[0][1], first_frame=7)
    # The loop: time falls back to the start once it has reached the end.
    until(
        page,
        "window.seen.some(([time], i) => i && time < window.seen[i - 1][0] - 0.5)",
        timeout_seconds=12,
    )
    times = [time for time, *_ in page.evaluate("window.seen")]
    assert min(times) > start - 0.2
    assert max(times) < stop + 0.3
    assert page.locator("#player-note").is_hidden()
    page.get_by_label("Loop the hit").uncheck()
    until(page, f"document.querySelector('#video').currentTime > {stop + 0.3}")
    page.get_by_label("Close").click()
    until(page, "!location.search.includes('open=')")
    assert page.evaluate("document.querySelector('#video').paused")


def test_what_the_browser_cannot_play_is_played_from_its_proxy(open_page: OpenPage) -> None:
    page = open_page(f"/?q={UNPLAYABLE}+%282006%29%4000%3A02&title={UNPLAYABLE}&all=1&by=look")
    wait_for_hits(page)
    start, _ = _open(page, 1)
    assert "/excerpt?start=" in page.locator("#video").get_attribute("src")
    assert "small copy" in page.locator("#player-note").inner_text()
    until(page, "window.seen.at(-1)[0] > window.seen[0][0] + 0.3")
    time, level, _ = page.evaluate("window.seen")[0]
    # Time 0 of the excerpt is the start of the hit.
    assert time < 0.2
    _assert_gray_tells(start, level, first_frame=14)
    # A time outside of the excerpt, which is the first 9 s here, asks for another one.
    page.get_by_role("slider").focus()
    page.keyboard.press("Home")
    until(page, "document.querySelector('#video').src.includes('start=0.000')")
    until(page, "document.querySelector('.clock').textContent.startsWith('00:01')")


def test_the_timeline_leads_to_segments_hits_and_shots(open_page: OpenPage) -> None:
    page = open_page("/?q=Crooked+Village+S01E01%4000%3A02&title=Crooked+Village&by=look")
    hits = wait_for_hits(page)
    page.evaluate(_WATCH)
    page.locator("#hits .thumb").first.click()
    until(page, "window.seen.length > 3")
    name = page.locator("#player-title").inner_text()
    ticks = page.locator("#timeline .ticks button")
    assert ticks.count() == sum(hit[0] == name for hit in hits)
    assert page.locator("#timeline .ticks [aria-current]").count() == 1
    segment = page.get_by_role("button", name="Go to the recurring")
    start = segment.get_attribute("title").split()[1].split("–")[0]
    segment.click()
    until(page, "start => document.querySelector('.clock').textContent.startsWith(start)", start)
    shown = page.locator("#player-time").inner_text()
    page.keyboard.press("j")
    until(page, "shown => document.querySelector('#player-time').textContent !== shown", shown)
    assert page.locator("#player-time").inner_text() == hits[1][1]
    page.keyboard.press("k")
    assert page.locator("#player-time").inner_text() == hits[0][1]
    page.keyboard.press("s")
    wait_for_hits(page)
    assert page.locator("#player").is_hidden()
    assert "item%3A" in page.url


@pytest.mark.parametrize(("name", "is_playable"), [("Sintel", True), ("Kids Science", False)])
def test_real_films_play(
    open_page: OpenPage, media_root: Path, name: str, is_playable: bool
) -> None:
    assert media_root.is_dir()
    page = open_page()
    page.locator("#q").fill(f"{name} 00:10")
    page.get_by_role("option").first.wait_for()
    page.keyboard.press("Enter")
    wait_for_hits(page)
    title = page.locator(".chip").inner_text().removeprefix("like").strip()
    assert name in title
    page.goto(page.url + "&title=" + ("Sintel" if is_playable else "Kids+Science+News+Network"))
    wait_for_hits(page)
    start, _ = _open(page)
    until(page, "window.seen.at(-1)[0] > window.seen[0][0] + 0.2")
    offset = 0.0 if is_playable else start
    assert abs(page.evaluate("window.seen[0][0]") + offset - start) < 0.2
    assert page.locator("#player-note").is_visible() != is_playable
