"""A served library and a browser: Debian's Chromium, steered by Playwright."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from experiments.rendered_tv import RenderedTVConfig, render_library
from tests.media_files import write_film
from tests.prepared import tiny_config
from tests.search.indexes import tiny_encoder
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.detection.detect import detect_segments
from toomuchtv.media.proxy_writer import ProxyFormat
from toomuchtv.search.embedding import embed_catalog

#: A title that would be markup, if the page took it for markup.
MARKUP = "<img src=x onerror=alert(1)> \"Quoted\" & 'Co'"
#: A film whose gray level tells its time, as MP4, and one that no browser plays.
PLAYABLE, UNPLAYABLE = "Gray Hours", "Gray Days"
_REAL = ("Movies/Sintel (2010)/Sintel (2010).mp4",
         "TV/Kids Science News Network/Season 01/"
         "Kids Science News Network - s01e01 - Blastoff.wmv")  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


def _write_library(folder: Path) -> Path:
    """Render two films and a series, and add films with other names, codecs and real pictures."""
    config = RenderedTVConfig(
        movies=2, shows=1, episodes=2, minutes=0.4, opening_seconds=10, transfer_clips_per_kind=0
    )
    render_library(folder / "rendered", config)
    library = folder / "rendered" / "library"
    movies = library / "Movies"
    films = {f"{MARKUP} (2004)": "mp4", f"{PLAYABLE} (2005)": "mp4", f"{UNPLAYABLE} (2006)": "avi"}
    for number, (name, suffix) in enumerate(films.items()):
        path = movies / name / f"{name}.{suffix}"
        write_film(path, seconds=9.0, first_frame=7 * number, size=(160, 96))
    media = Path(
        os.environ.get("TOOMUCHTV_TEST_MEDIA", Path(__file__).parents[2] / ".." / "shared/media")
    )
    for name in _REAL:
        if (media / "library" / name).is_file():
            (library / name).parent.mkdir(parents=True)
            shutil.copy(media / "library" / name, library / name)
    return library


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a library whose index lies beside it, under the name `index`."""
    folder = tmp_path_factory.mktemp("served")
    library = _write_library(folder)
    scan_library(library, folder / "catalog")
    with open_catalog(folder / "catalog") as catalog:
        result = prepare_catalog(catalog, ProxyFormat(short_side=64, sample_rate_hz=16_000))
        assert not result.failed
        detect_segments(catalog)
    tiny_encoder(tiny_config()).save(folder / "tiny")
    embed_catalog(folder / "tiny", folder / "catalog", folder / "index", window_seconds=1.0)
    return library


@pytest.fixture(scope="session")
def address(library: Path) -> Iterator[str]:
    """The address of the page, as `toomuchtv serve` says it."""
    index = library.parents[1] / "index"
    command = [sys.executable, "-m", "toomuchtv", "serve", str(index), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        text = ""
        while not text.rstrip().endswith("}"):
            line = server.stdout.readline()
            assert line, "the server has ended"
            text += line
        yield str(json.loads(text)["url"]).rstrip("/")
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A running Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if program is None:
        # On CI too: it cannot install programs.
        pytest.skip("found no Chromium; install Debian's package chromium or set CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Return a function that opens the page at a path, in a context of its own.

    No page may report an error to its console or send a request to another origin. With
    `may_refuse`, the browser may report responses of the server that refuse a request.
    """
    contexts: list[Any] = []
    problems: list[str] = []

    def watch(request: Any) -> None:
        scheme, host, *_ = urlsplit(request.url)
        if scheme not in ("blob", "data") and f"{scheme}://{host}" != address:
            problems.append(f"a request left the origin: {request.url}")

    def open_page(path: str = "/", *, may_refuse: bool = False, **options: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1100, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: problems.append(str(error)))

        def listen(said: Any) -> None:
            is_refusal = said.text.startswith("Failed to load resource: the server responded")
            if said.type in ("error", "warning") and not (may_refuse and is_refusal):
                problems.append(said.text)

        page.on("console", listen)
        page.on("request", watch)
        page.goto(address + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


def hits_of(page: Any) -> list[tuple[str, str]]:
    """Return the name and the times of each card."""
    return page.eval_on_selector_all(  # type: ignore[no-any-return]
        "#hits .card",
        "cards => cards.map(card => [card.querySelector('h3').textContent,"
        " card.querySelector('.time').textContent])",
    )


def wait_for_hits(page: Any) -> list[tuple[str, str]]:
    """Wait until a search has ended, and return its hits."""
    page.wait_for_selector("#hits[aria-busy=false] .card")
    return hits_of(page)


def until(page: Any, expression: str, arg: object = None, *, timeout_seconds: float = 20.0) -> None:
    """Wait until an expression is true. Playwright's own way is against the policy of the page."""
    end = time.monotonic() + timeout_seconds
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, f"never true: {expression}"
        page.wait_for_timeout(30)
