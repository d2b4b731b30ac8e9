"""Report pages are single files with escaped text, and charts are images with content."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from experiments.demo.page import draw_neighbors, draw_scores
from experiments.study.charts import draw_intervals, draw_map
from experiments.study.statistics import Estimate
from toomuchtv.diagnosis.results import PolicyNegatives, Summary, TitleConfusion
from toomuchtv.media.clip import Clip
from toomuchtv.reports.charts import (
    Curve,
    draw_clips,
    draw_confusion_matrix,
    draw_curves,
    draw_negative_mass,
    draw_title_lift,
    plain_text,
)
from toomuchtv.reports.page import ResultTable, Section, write_page


def made_clip(seed: int) -> Clip:
    rng = np.random.default_rng(seed)
    return Clip(
        video=rng.integers(0, 255, (8, 24, 40, 3), dtype=np.uint8),
        waveform=rng.standard_normal(16_000).astype(np.float32) * 0.1,
        start_seconds=1.0,
    )


def size_of(png: bytes) -> tuple[int, int]:
    with PIL.Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        # The image has several colors, so something was drawn.
        assert len(set(image.convert("L").resize((64, 64)).tobytes())) > 4
        return image.size


def test_charts_are_images() -> None:
    curve = Curve(name="a", x=[0, 1, 2], y=[3.0, 2.0, 1.0], color="#0072B2")
    single = Curve(name="b", x=[4], y=[2.0], color="#E69F00")
    charts = draw_curves({"loss": [curve, single], "other": [curve]}, x_label="step")
    assert [alt for _, alt in charts] == ["Curve of the loss by step", "Curve of the other by step"]
    for png, _ in charts:
        wide, high = size_of(png)
        assert wide > high
    size_of(
        draw_scores(
            {"video": {"a": (0.5, 0.4, 0.6), "b": (0.2, 0.2, 0.2)}}, chance=0.1, y_label="accuracy"
        )
    )
    clips = [made_clip(seed) for seed in range(3)]
    size_of(draw_clips(clips, ["one", "two", "three"], sample_rate_hz=16_000))
    size_of(draw_neighbors(clips[:1], [clips[1:]], [["query", "first", "second"]]))


def test_page_is_self_contained_and_escapes_names(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.html"
    png = draw_scores({"video": {"a": (0.5, 0.4, 0.6)}}, chance=0.1, y_label="accuracy")
    write_page(
        path,
        title="<Films> & more",
        lead="Lead \udcff.",
        sections=[
            Section(
                heading="First",
                text="Text.",
                how_to_read="Like this.",
                table=ResultTable(header=["a"], rows=[["<script>alert(1)</script>"]]),
                charts=[(png, "bars")],
            )
        ],
    )
    html = path.read_text(encoding="utf-8")
    assert "<Films>" not in html
    assert "&lt;Films&gt; &amp; more" in html
    assert "<script" not in html
    assert "How to read it" in html
    # Every image is embedded, so nothing is fetched.
    assert all(
        source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]+)"', html)
    )
    assert "http" not in html
    assert not path.with_suffix(".partial").exists()


def test_points_are_listed_and_details_are_collapsed(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    section = Section(
        heading="h",
        text="",
        points=["first <b>", "second"],
        details=ResultTable(header=["x"], rows=[["<7>"]]),
    )
    write_page(path, title="t", lead="l", sections=[section, Section(heading="i", text="j")])
    html = path.read_text("utf-8")
    assert re.findall(r"<li>(.*)</li>", html) == ["first &lt;b&gt;", "second"]
    folded = html[html.index("<details>") : html.index("</details>")]
    assert "<td>&lt;7&gt;</td>" in folded
    assert html.count("<ul>") == html.count("<details>") == html.count("<table>") == 1


def test_wide_table_names_its_cells_for_narrow_screens(tmp_path: Path) -> None:
    header = ["a", "b", "c", "d", "<e>"]
    table = ResultTable(header=header, rows=[["1", "2", "3", "4", "5"]])
    path = tmp_path / "page.html"
    write_page(path, title="t", lead="l", sections=[Section(heading="h", text="t", table=table)])
    assert '<table class="wide">' in path.read_text()
    assert '<td data-name="&lt;e&gt;">5</td>' in path.read_text()
    narrow = ResultTable(header=header[:4], rows=[["1", "2", "3", "4"]])
    write_page(path, title="t", lead="l", sections=[Section(heading="h", text="t", table=narrow)])
    assert "data-name=" not in path.read_text()


NAMES = [
    "A $x^{ frac$ bad N", "Rich: $50% to $60%", "Ca$h and Cre$t", r"\alpha_{", "😀 東京 العربية",
    "not \udce9 text", "\x1b[31m\x00", "W" * 5000, "", " ", "a\nb", "%s {0} \u202e",
]  # fmt: skip

# Drawing many clips takes seconds, and all charts treat text alike.
FEW_NAMES = [NAMES[0], NAMES[5], NAMES[6], NAMES[7]]

ESTIMATE = Estimate(mean=0.1, low=0.0, high=0.2, values=(0.0, 0.2))


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[Text]:
    """Every text of the figures that are drawn, after drawing."""
    found: list[Text] = []
    original = Figure.savefig

    def save(figure: Figure, *args: Any, **kwargs: Any) -> None:
        original(figure, *args, **kwargs)
        found.extend(figure.findobj(Text))

    monkeypatch.setattr(Figure, "savefig", save)
    return found


def test_names_are_never_markup(texts: list[Text]) -> None:
    """Every chart of the project with hostile names. Warnings are errors in these tests."""
    clips = [made_clip(seed) for seed in range(len(FEW_NAMES))]
    figures = dict.fromkeys(("mass_same_item", "mass_same_title"), Summary.from_values([0.4]))
    policy = PolicyNegatives(
        policy="$x^{$", num_clips=4, num_batches=1, trained_with=True, batch="",
        figures=figures, equal_embeddings=figures,
    )  # fmt: skip
    lift = np.ones((len(NAMES), len(NAMES)))
    charts: list[Callable[[], object]] = [
        lambda: draw_curves(
            {name: [Curve(name=one, x=[0, 1e-9], y=[1e9, 2e9], color="#0072B2") for one in NAMES]
             for name in NAMES[:3]}, x_label=NAMES[0],
        ),
        lambda: draw_clips(clips, FEW_NAMES, sample_rate_hz=16_000),
        lambda: draw_neighbors(clips[:1], [clips], [["query", *FEW_NAMES]]),
        lambda: draw_scores({name: dict.fromkeys(NAMES[:5], (0.5, 0.4, 0.6)) for name in NAMES[:2]},
                            chance=0.1, y_label=NAMES[0]),
        lambda: draw_confusion_matrix(np.eye(len(NAMES), dtype=int).tolist(), NAMES),
        lambda: draw_title_lift(TitleConfusion(titles=tuple(NAMES), lift=lift, pairs=())),
        lambda: draw_negative_mass([policy]),
        lambda: draw_intervals({name: dict.fromkeys(NAMES, ESTIMATE) for name in NAMES[:3]}),
        lambda: draw_map({NAMES[0]: {(0.2, 0.8): ESTIMATE}}, x_label=NAMES[0], y_label=NAMES[1]),
    ]  # fmt: skip
    for draw in charts:
        texts.clear()
        assert draw()
        assert texts
        for text in texts:
            assert not text.get_parse_math(), text.get_text()
            assert len(text.get_text()) <= 100
            text.get_text().encode()
    texts.clear()
    draw_curves({"loss": [Curve(name="a", x=[0, 2], y=[0.0, 4.0], color="red")]}, x_label="step")
    assert {"0", "2", "4"} <= {text.get_text() for text in texts}
    assert plain_text("A $x^{ frac$ bad N") == "A $x^{ frac$ bad N"
    assert plain_text("東京 \udce9\x1b") == r"東京 \xe9\x1b"
    assert plain_text("W" * 30, 18) == "W" * 17 + "…"
