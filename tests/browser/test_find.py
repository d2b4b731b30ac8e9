"""Finding moments on the page."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.browser.conftest import MARKUP, PLAYABLE, hits_of, until, wait_for_hits

OpenPage = Callable[..., Any]
QUERY = "/?q=Fading+Cellar%4000%3A05"


def _answer(page: Any, action: Callable[[], object]) -> dict[str, Any]:
    """Return what the server answers to the search that an action begins."""
    with page.expect_response("**/api/search") as response:
        action()
    answer: dict[str, Any] = response.value.json()
    count = len(answer["hits"])
    until(page, "count => document.querySelectorAll('#hits .card').length === count", count)
    return answer


def test_a_typed_moment_is_completed_and_found_and_its_link_finds_the_same(
    open_page: OpenPage,
) -> None:
    page = open_page()
    page.wait_for_selector("#examples .card")
    page.keyboard.press("/")
    page.keyboard.type("fading 00:05")
    # The list for the text without its last letters may come first.
    page.get_by_role("option").filter(has_text="00:05").first.wait_for()
    option = page.get_by_role("option").first
    assert "Fading Cellar" in option.inner_text()
    assert "00:05" in option.inner_text()
    page.keyboard.press("ArrowDown")
    assert page.locator("#q").get_attribute("aria-activedescendant") == option.get_attribute("id")
    page.keyboard.press("Enter")
    hits = wait_for_hits(page)
    assert len(hits) > 5
    assert "Fading Cellar (1986) 00:05" in page.locator(".chip").inner_text()
    again = open_page(page.url[page.url.index("/?") :])
    assert wait_for_hits(again) == hits
    assert "moments like Fading Cellar (1986) 00:05" in again.locator("#count").inner_text()


def test_an_example_is_a_search_and_back_leads_to_the_first_visit(open_page: OpenPage) -> None:
    page = open_page()
    page.locator("#examples .thumb").first.click()
    wait_for_hits(page)
    page.go_back()
    page.locator("#welcome").wait_for()
    assert page.locator("#hits .card:visible").count() == 0


def test_a_title_without_a_time_opens_the_item(open_page: OpenPage) -> None:
    page = open_page()
    page.locator("#q").fill("hollow")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#player-title').textContent")
    assert page.locator("#player-title").inner_text() == "Hollow Bridge (2017)"
    answer = _answer(page, lambda: page.locator("#here").click())
    assert answer["query"]["name"].startswith("Hollow Bridge (2017)")


@pytest.mark.parametrize("way", ["drop", "pick"])
def test_a_file_is_searched_with(open_page: OpenPage, library: Path, way: str) -> None:
    page = open_page("/?by=look")
    file = library / "Movies" / "Hollow Bridge (2017)" / "Hollow Bridge (2017).mp4"
    page.wait_for_selector("#examples .card")
    if way == "pick":
        answer = _answer(page, lambda: page.locator("#file").set_input_files(file))
    else:
        transfer = page.evaluate_handle(
            """text => {
                const transfer = new DataTransfer();
                const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
                transfer.items.add(new File([bytes], "Hollow Bridge (2017).mp4"));
                return transfer;
            }""",
            base64.b64encode(file.read_bytes()).decode(),
        )
        drop = {"dataTransfer": transfer}
        answer = _answer(page, lambda: page.dispatch_event("body", "drop", drop))
    assert answer["hits"]
    assert file.name in page.locator(".chip").inner_text()
    if way == "pick":
        return
    at = page.get_by_label(f"Time in {file.name}")
    at.fill("00:06")
    found = _answer(page, lambda: at.press("Enter"))["hits"]
    # The film of the file is in the library, so that the moment itself is among the hits.
    itself = [hit for hit in found if hit["name"] == "Hollow Bridge (2017)"]
    assert any(abs(hit["center_seconds"] - 6) < 2 for hit in itself)
    assert max(hit["similarity"] for hit in itself) > 0.98
    # Back leads to the file, which the server still has; a link cannot carry it.
    assert _answer(page, page.go_back)["hits"] == answer["hits"]
    stranger = open_page(page.url[page.url.index("/?") :])
    stranger.locator(".error-line", has_text="which a link cannot carry").wait_for()


def test_what_is_no_media_and_what_is_no_title_is_refused_in_a_sentence(
    open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(may_refuse=True)
    page.wait_for_selector("#examples .card")
    (tmp_path / "notes.mp4").write_bytes(b"no film at all" * 100)
    page.locator("#file").set_input_files(tmp_path / "notes.mp4")
    page.locator("#errors .error-line").wait_for()
    page.get_by_label("Close this message").click()
    page.locator("#q").fill("No Such Film 00:01")
    page.keyboard.press("Enter")
    page.locator("#errors .error-line").wait_for()
    assert "No Such Film" in page.get_by_role("alert").inner_text()


def test_more_like_and_less_like_refine_a_search(open_page: OpenPage) -> None:
    page = open_page(QUERY)
    first = wait_for_hits(page)
    third = page.locator("#hits .card").nth(2)
    key = third.get_attribute("data-key")
    _answer(page, lambda: third.get_by_role("button", name="More like").click())
    assert parse_qs(urlsplit(page.url).query)["more"] == [key]
    assert hits_of(page) != first
    less = page.locator("#hits .card").nth(4).get_by_role("button", name="Less")
    _answer(page, less.click)
    words = page.locator(".chip .word").all_inner_texts()
    assert words == ["like", "more like", "less like"]
    _answer(page, lambda: page.get_by_role("button", name="Remove: less like").click())
    _answer(page, lambda: page.get_by_role("button", name="Remove: more like").click())
    assert hits_of(page) == first


def test_filters_restrict_the_hits(open_page: OpenPage) -> None:
    page = open_page(QUERY)
    wait_for_hits(page)
    answer = _answer(page, lambda: page.get_by_label("Other titles only").check())
    assert "Fading Cellar" not in {hit["title"] for hit in answer["hits"]}
    page.get_by_role("button", name="Filters").click()
    answer = _answer(page, lambda: page.locator("[data-key=kinds][value=show]").check(force=True))
    assert {hit["kind"] for hit in answer["hits"]} == {"show"}
    answer = _answer(page, lambda: page.locator("[data-key=seasons][value='1']").check(force=True))
    assert {hit["season"] for hit in answer["hits"]} == {1}
    page.get_by_label("From this time of the item").fill("00:04")
    answer = _answer(page, lambda: page.keyboard.press("Enter"))
    assert min(hit["center_seconds"] for hit in answer["hits"]) >= 4
    assert page.locator("#toggle-filters").inner_text() == "Filters (3)"
    _answer(page, lambda: page.get_by_role("button", name="Remove: kind show").click())
    page.get_by_label("Only this title").fill("Crooked Village")
    answer = _answer(page, lambda: page.keyboard.press("Tab"))
    assert {hit["title"] for hit in answer["hits"]} == {"Crooked Village"}
    answer = _answer(page, lambda: page.locator("#by").get_by_text("Sound", exact=True).click())
    assert {match["modality"] for hit in answer["hits"] for match in hit["matches"]} == {"audio"}


def test_a_sequence_is_found(open_page: OpenPage) -> None:
    page = open_page(QUERY)
    wait_for_hits(page)
    page.get_by_role("button", name="Filters").click()
    page.get_by_label("Seconds until the second moment").fill("6")
    page.get_by_label("Then a moment like").fill("Hollow Bridge 00:07")
    page.get_by_role("option").first.wait_for()
    answer = _answer(page, lambda: page.keyboard.press("Enter"))
    assert answer["hits"]
    for hit in answer["hits"]:
        assert hit["start_seconds"] < hit["then_seconds"] <= hit["stop_seconds"] + 6
    assert "then 0" in page.locator("#hits .card").first.inner_text()


def test_what_a_score_means_is_shown_and_doubt_is_never_hidden(open_page: OpenPage) -> None:
    page = open_page()
    page.wait_for_selector("#examples .card")
    answer = _answer(page, lambda: page.goto(page.url + QUERY[1:] + "&k=200"))
    unsure = [hit for hit in answer["hits"] if not hit["is_confident"]]
    assert page.locator("#hits .card.unsure .tag").count() == len(unsure)
    assert page.locator("#doubt").is_visible() == (not answer["confident"])
    best = answer["hits"][0]
    text = page.locator("#hits .card").first.inner_text()
    assert f"z {best['z_score']:.1f}" in text
    assert f"similarity {best['similarity']:.2f}" in text
    assert "tiny" in text


def test_titles_are_text_wherever_they_appear(open_page: OpenPage) -> None:
    page = open_page()
    page.locator("#q").fill("quoted 00:03")
    assert MARKUP in page.get_by_role("option").first.inner_text()
    page.keyboard.press("Enter")
    wait_for_hits(page)
    page.get_by_role("button", name="Filters").click()
    page.get_by_label("Only this title").fill(MARKUP)
    _answer(page, lambda: page.keyboard.press("Tab"))
    assert MARKUP in page.locator(".chips").inner_text()
    assert MARKUP in page.locator("#hits h3").first.inner_text()
    page.locator("#hits .thumb").first.click()
    until(page, "document.querySelector('#player-title').textContent")
    assert page.locator("#player-title").inner_text().startswith(MARKUP)
    assert page.locator("img[src=x]").count() == 0


def test_hovering_plays_a_silent_preview_unless_motion_is_unwanted(open_page: OpenPage) -> None:
    page = open_page(f"/?q={PLAYABLE}%4000%3A05&by=look")
    wait_for_hits(page)
    page.locator("#hits .thumb").first.hover()
    page.wait_for_selector("#hits .strip.playing")
    image = page.locator("#hits .strip.playing").evaluate("strip => strip.style.backgroundImage")
    assert "/preview?at=" in image
    still = open_page(f"/?q={PLAYABLE}%4000%3A05", reduced_motion="reduce")
    wait_for_hits(still)
    still.locator("#hits .thumb").first.hover()
    still.wait_for_timeout(500)
    assert still.locator(".strip.playing").count() == 0
