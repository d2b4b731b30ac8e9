"""The page as a whole: keyboard, accessibility, small screens, links and files to take away."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import hits_of, until, wait_for_hits

OpenPage = Callable[..., Any]
QUERY = "/?q=Fading+Cellar%4000%3A05"
VIEWS = {
    "first visit": "/",
    "find": QUERY,
    "map": "/?view=map",
    "recurring": "/?view=recurring",
    "unusual": "/?view=unusual",
}


def _settle(page: Any, view: str) -> None:
    """Wait until a view is complete."""
    ready = {
        "first visit": "#examples .card", "find": "#hits .card", "map": "#legend button",
        "recurring": "#recurring .place", "unusual": "#unusual .card",
    }[view]  # fmt: skip
    page.wait_for_selector(ready)


def _assert_accessible(page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.base")
    page.evaluate(Path(axe.AXE_FILE_PATH).read_text("utf-8"))
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        # Colors are all that differs between dark and light.
        rules = {"runOnly": ["color-contrast"]} if scheme == "light" else {}
        found = page.evaluate("rules => axe.run(rules)", rules)
        serious = [
            (scheme, one["id"], node["html"], node["failureSummary"])
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]
        assert not serious
        assert found["passes"]


def _assert_fits_a_small_screen(page: Any) -> None:
    page.set_viewport_size({"width": 375, "height": 700})
    page.wait_for_timeout(100)
    wide = page.evaluate(
        """[...document.querySelectorAll("body *")].filter(node => {
            const box = node.getBoundingClientRect();
            return box.width > 1 && box.right > innerWidth + 1 && !node.closest(".skip, .hidden");
        }).map(node => node.outerHTML.slice(0, 100))"""
    )
    assert wide == []


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_no_serious_violation_and_small_screens_suffice(
    open_page: OpenPage, view: str
) -> None:
    page = open_page(VIEWS[view] + ("&k=8" if view == "find" else ""), color_scheme="dark")
    _settle(page, view)
    if view == "find":
        page.get_by_role("button", name="Filters").click()
        page.locator("#hits input[type=checkbox]").first.check()
    _assert_accessible(page)
    if view == "find":
        page.keyboard.press("e")
        _assert_accessible(page)
        page.keyboard.press("Escape")
        page.locator("#hits .thumb").first.click()
        page.wait_for_selector("#timeline .ticks button")
        _assert_accessible(page)
    _assert_fits_a_small_screen(page)


def test_the_theme_button_overrides_the_system(open_page: OpenPage) -> None:
    page = open_page(color_scheme="dark")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(background)
    page.locator("#theme").click()
    assert page.evaluate(background) == dark
    page.locator("#theme").click()
    light = page.evaluate(background)
    assert light != dark
    page.reload()
    assert page.evaluate(background) == light


def test_everything_can_be_done_with_the_keyboard(open_page: OpenPage) -> None:
    page = open_page()
    keyboard = page.keyboard
    page.wait_for_selector("#examples .card")
    keyboard.press("/")
    keyboard.type("hollow 00:07")
    page.get_by_role("option").first.wait_for()
    keyboard.press("Enter")
    wait_for_hits(page)
    keyboard.press("Escape")
    keyboard.press("ArrowDown")
    focused = "document.activeElement.closest('.card')?.dataset.key"
    keys = page.eval_on_selector_all("#hits .card", "cards => cards.map(card => card.dataset.key)")
    assert page.evaluate(focused) == keys[0]
    keyboard.press("ArrowRight")
    assert page.evaluate(focused) == keys[1]
    keyboard.press("ArrowDown")
    columns = page.evaluate(
        "getComputedStyle(document.querySelector('#hits')).gridTemplateColumns.split(' ').length"
    )
    assert page.evaluate(focused) == keys[1 + columns]
    keyboard.press("ArrowUp")
    keyboard.press(" ")
    assert page.locator(".card.selected").get_attribute("data-key") == keys[1]
    keyboard.press("Enter")
    page.locator("#player").wait_for()
    until(page, "!document.querySelector('#video').paused")
    keyboard.press("Escape")
    page.locator("#player").wait_for(state="hidden")
    assert page.evaluate(focused) == keys[1]
    keyboard.press("e")
    assert page.locator("#take").is_visible()
    assert "1 hit" in page.locator("#take-title").inner_text()
    keyboard.press("Escape")
    with page.expect_response("**/api/search"):
        keyboard.press("m")
    page.locator(".chip .word", has_text="more like").wait_for()
    keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.get_by_label("Single keys are shortcuts").uncheck()
    keyboard.press("Escape")
    keyboard.press("?")
    assert page.locator("#keys").is_hidden()


def _export(page: Any, label: str) -> tuple[str, bytes]:
    page.locator("#formats label", has_text=label).click()
    with page.expect_download() as download:
        page.locator("#take-go").click()
    page.locator("#take-message", has_text="was saved").wait_for()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_selected_hits_are_taken_away(open_page: OpenPage) -> None:
    page = open_page(QUERY)
    hits = wait_for_hits(page)
    for number in (1, 3):
        page.locator("#hits .card").nth(number).get_by_label("Select").check()
    assert page.locator("#basket-count").inner_text() == "2 hits selected"
    page.locator("#basket-export").click()
    page.get_by_label("Name").fill("two hits")
    wanted = [hits[1][0], hits[3][0]]
    name, content = _export(page, "CSV")
    assert name.endswith(".csv")
    assert [row["name"] for row in csv.DictReader(io.StringIO(content.decode()))] == wanted
    name, content = _export(page, "OTIO")
    assert name.endswith(".otio")
    clips = re.findall(r'"OTIO_SCHEMA":\s*"Clip\.', content.decode())
    # Video and audio tracks have the same clips.
    assert len(clips) in (2, 4)
    name, content = _export(page, "JSON")
    assert [hit["name"] for hit in json.loads(content)["hits"]] == wanted
    name, content = _export(page, "EDL")
    assert b"TITLE:" in content
    name, content = _export(page, "FCPXML")
    assert b"<fcpxml" in content
    name, content = _export(page, "Contact sheet")
    assert content.startswith(b"\x89PNG")
    page.get_by_label("Handles, seconds").fill("1")
    name, content = _export(page, "MP4 clips")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert [file.rpartition(".")[2] for file in archive.namelist()] == ["mp4", "mp4"]


def test_the_link_is_copied(open_page: OpenPage) -> None:
    page = open_page(QUERY + "&by=look", permissions=["clipboard-read", "clipboard-write"])
    hits = wait_for_hits(page)
    page.locator("#copy-link").click()
    page.get_by_text("Copied", exact=True).wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    again = open_page(link[link.index("/?") :])
    assert wait_for_hits(again) == hits
    assert hits_of(page) == hits


def test_the_map_opens_the_moment_under_the_pointer(open_page: OpenPage) -> None:
    page = open_page("/?view=map")
    _settle(page, "map")
    page.locator("#map-canvas").focus()
    page.keyboard.press("+")
    page.keyboard.press("0")
    box = page.locator("#map-canvas").bounding_box()
    # A point that is drawn somewhere: the pixels of the canvas tell where.
    x, y = page.evaluate(
        """() => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(() => {
            const canvas = document.querySelector("#map-canvas");
            const { data, width, height } =
                canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            for (let y = 40; y < height - 40; y++)
                for (let x = 40; x < width - 40; x++)
                    if (data[4 * (y * width + x) + 3] === 255
                        && Math.hypot(x - width / 2, y - height / 2) > 30)
                        return resolve([x / devicePixelRatio, y / devicePixelRatio]);
        })))"""
    )
    page.mouse.move(box["x"] + x + 2, box["y"] + y + 2)
    page.locator("#map-card").wait_for()
    name = page.locator("#map-card b")
    until(page, "document.querySelector('#map-card b').textContent !== '…'")
    wanted = name.inner_text()
    page.mouse.click(box["x"] + x + 2, box["y"] + y + 2)
    until(page, "document.querySelector('#player-title').textContent")
    assert page.locator("#player-title").inner_text() == wanted
    page.keyboard.press("Escape")
    legend = page.locator("#legend button").first
    legend.click()
    page.locator("#similar li").first.wait_for()
    assert legend.get_attribute("aria-pressed") == "true"


def test_recurring_scenes_lead_to_their_places(open_page: OpenPage) -> None:
    page = open_page("/?view=recurring")
    _settle(page, "recurring")
    assert "Crooked Village" in page.locator("#recurring h2").first.inner_text()
    page.locator("#recurring .place").nth(1).click()
    until(page, "!document.querySelector('#video').paused")
    assert "S01E0" in page.locator("#player-title").inner_text()
    page.go_back()
    page.locator("#player").wait_for(state="hidden")


def test_the_page_weighs_little() -> None:
    page = files("toomuchtv.server") / "page"
    assert sum(len(file.read_bytes()) for file in page.iterdir()) <= 150_000
