"""The study's charts are images, and long whiskers do not hide short ones."""

from __future__ import annotations

import io
import math

import PIL.Image
import pytest

from experiments.study.charts import Band, _reach, draw_bands, draw_intervals, draw_map
from experiments.study.statistics import Estimate


def estimate(mean: float, low: float = math.nan, high: float = math.nan) -> Estimate:
    return Estimate(mean=mean, low=low, high=high, values=())


def check_image(png: bytes) -> None:
    with PIL.Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        # More than a few gray levels mean that something was drawn.
        assert len(set(image.convert("L").resize((64, 64)).tobytes())) > 4


def test_charts_are_images() -> None:
    sure, unsure = estimate(0.1, 0.05, 0.15), estimate(-0.1)
    check_image(draw_intervals({"gain": {"a": sure, "b": unsure}, "other": {"a": sure}}))
    check_image(
        draw_map(
            {
                "gain": {(0.2, 0.5): estimate(0.1, -0.1, 0.3)},
                "loss": {(0.2, 0.5): estimate(-0.1), (1.0, 0.5): estimate(0.0)},
            },
            x_label="x",
            y_label="y",
        )
    )
    line = Band(name="k=8", color="#0072B2", x=[0, 5, 9], mean=[0.1, 0.3, 0.5],
                low=[0.0, 0.2, 0.5], high=[0.2, 0.4, 0.5])  # fmt: skip
    check_image(draw_bands({"title": [line, line], "events": [line]}, x_label="step"))


def test_a_whisker_that_is_much_longer_than_the_others_is_cut() -> None:
    usual = {str(k): estimate(0.1, 0.0, 0.2) for k in range(5)}
    huge = {"two seeds": estimate(0.1, -9.0, 9.2)}
    assert _reach({"gain": usual}, 0.0) is None
    assert _reach({"gain": usual | huge}, 0.0) == pytest.approx(0.5)
    # Means are always within the axis.
    far = {"far": estimate(3.0, 2.0, 9.0)}
    assert _reach({"gain": usual | far}, 0.0) == pytest.approx(3.6)
    check_image(draw_intervals({"gain": usual | huge}))
