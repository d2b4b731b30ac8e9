"""One small rendered library, shared by all tests that read files."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.rendered_tv import RenderedTVConfig, render_library

KINDS = ("bounce", "siren", "knock", "babble")


@pytest.fixture(scope="session")
def small_config() -> RenderedTVConfig:
    return RenderedTVConfig(
        movies=2,
        shows=1,
        episodes=2,
        minutes=0.4,
        seed=5,
        width=80,
        height=48,
        event_kinds=KINDS,
        transfer_titles=6,
        transfer_clips_per_kind=7,
        transfer_clip_seconds=1.0,
        transfer_sound_seconds=1.0,
    )


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory, small_config: RenderedTVConfig) -> Path:
    out = tmp_path_factory.mktemp("rendered_tv") / "out"
    render_library(out, small_config)
    return out
