"""Titles are probed on other moments, and on other bars of their music, than were learned."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from experiments.rendered_tv import RenderedTVConfig
from experiments.rendered_tv.audio import MUSIC_LEVEL
from experiments.rendered_tv.music import render_theme
from experiments.rendered_tv.titles import draw_title
from experiments.study.title_probes import PROBES, music_clips, probe_titles
from tests.prepared import tiny_config
from toomuchtv.inference.pretrained import PretrainedConfig, PretrainedEncoder
from toomuchtv.media.clip import ClipFormat
from toomuchtv.models.two_tower import TwoTower

RATE_HZ = 8000
RENDERED = RenderedTVConfig(movies=1, shows=2, sample_rate_hz=RATE_HZ)
CLIP = ClipFormat(audio_seconds=1.0, sample_rate_hz=RATE_HZ)


def test_music_clips_are_of_different_bars_of_the_titles_own_theme() -> None:
    titles = [("movie", 0), ("show", 0), ("show", 1)]
    starts: dict[int, list[float]] = defaultdict(list)
    seconds: list[float] = []
    for spec, waveform in music_clips(RENDERED, CLIP, seed=1):
        loop = render_theme(draw_title(RENDERED, *titles[spec.title]).theme, RATE_HZ)
        first = round(spec.start_seconds * RATE_HZ)
        np.testing.assert_allclose(waveform, MUSIC_LEVEL * loop[first : first + RATE_HZ])
        seconds.append(spec.start_seconds)
        starts[spec.title].append(spec.start_seconds / (len(loop) / RATE_HZ))
    assert sorted(starts) == [0, 1, 2]
    for shares in starts.values():
        # The loop repeats after half of its length, and a bar is an eighth of it.
        assert len(shares) == 12
        assert all(0.0 <= share < 0.25 for share in shares[:6])
        assert all(0.25 <= share < 0.5 for share in shares[6:])
    other = [spec.start_seconds for spec, _ in music_clips(RENDERED, CLIP, seed=2)]
    assert len(set(other) | set(seconds)) == 2 * len(seconds)


def test_every_probe_of_titles_is_measured(prepared_catalog: Path) -> None:
    config = tiny_config()
    contents = PretrainedConfig(clip=config.clip, transform=config.transform, model=config.model)
    encoder = PretrainedEncoder(TwoTower.from_config(config.model, seed=0), contents)
    found = probe_titles(encoder, prepared_catalog, config, RENDERED, seed=1)
    assert set(found) == set(PROBES) - {"actions", "sounds"}
    # The catalog has three films and a show, and longer titles have more clips. The rendered
    # library has a film and two shows.
    chances = {name: chance for name, (_, chance) in found.items()}
    assert chances.pop("title_music") == pytest.approx(1 / 3)
    assert len(set(chances.values())) == 1
    assert 1 / 4 <= chances["title_video"] < 1 / 2
    # Even random weights hear which of three themes is played.
    assert found["title_music"][0] > 0.6
    assert found == probe_titles(encoder, prepared_catalog, config, RENDERED, seed=1)
