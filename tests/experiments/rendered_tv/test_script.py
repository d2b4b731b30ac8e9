from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.rendered_tv import RenderedTVConfig
from experiments.rendered_tv.audio import AudioMixer
from experiments.rendered_tv.files import ground_truth
from experiments.rendered_tv.look import draw_look
from experiments.rendered_tv.names import (
    MAX_EPISODE_NAMES,
    MAX_TITLE_NAMES,
    episode_name,
    title_name,
)
from experiments.rendered_tv.script import (
    Script,
    cue_track,
    write_clip,
    write_episode,
    write_movie,
)
from experiments.rendered_tv.seeds import stream
from experiments.rendered_tv.sets import paint_backdrop
from experiments.rendered_tv.titles import draw_title
from experiments.rendered_tv.video import VideoRenderer


def written(config: RenderedTVConfig, group: str, index: int = 0) -> Script:
    title = draw_title(config, group, index)
    return write_episode(config, title, 0) if group == "show" else write_movie(config, title)


@given(
    st.sampled_from(("movie", "show")),
    st.integers(0, 10**6),
    st.floats(0.25, 6.0),
    st.integers(8, 30),
    st.floats(0, 1),
    st.floats(0, 1),
)
@settings(max_examples=40, deadline=None)
def test_scenes_and_shots_tile_the_film(
    group: str, seed: int, minutes: float, frame_rate: int, diversity: float, pairs: float
) -> None:
    config = RenderedTVConfig(
        seed=seed, minutes=minutes, frame_rate=frame_rate, diversity=diversity, pair_share=pairs
    )
    script = written(config, group)
    title = draw_title(config, group, 0)
    assert script.scenes[0].first_frame == 0
    assert script.scenes[-1].stop_frame == script.num_frames
    assert all(a.stop_frame == b.first_frame for a, b in pairwise(script.scenes))
    for scene in script.scenes:
        assert scene.shots[0].first_frame == scene.first_frame
        assert scene.shots[-1].stop_frame == scene.stop_frame
        assert all(a.stop_frame == b.first_frame for a, b in pairwise(scene.shots))
        cuts = {shot.first_frame for shot in scene.shots} | {scene.stop_frame}
        for cue in scene.cues:
            assert cue.kind in title.kinds
            assert {cue.first_frame, cue.stop_frame} <= cuts
            assert cue.first_frame < cue.stop_frame


def test_only_series_have_an_opening_and_credits() -> None:
    config = RenderedTVConfig()
    assert written(config, "movie").span("opening") is None
    script = written(config, "show")
    opening, ending = script.span("opening"), script.span("credits")
    assert opening is not None
    assert 10 <= (opening[1] - opening[0]) / config.frame_rate <= 20
    assert ending is not None
    assert ending[1] == script.num_frames


def test_openings_of_all_episodes_have_identical_pixels_and_samples() -> None:
    config = RenderedTVConfig(minutes=1.0, seed=3, width=64, height=48)
    title = draw_title(config, "show", 0)
    scripts = [write_episode(config, title, k) for k in range(6)]
    openings = [
        tuple(scene for scene in script.scenes if scene.role == "opening") for script in scripts
    ]
    assert len({opening[0].first_frame for opening in openings}) > 1, "no episode has a cold open"
    videos, audios = [], []
    for opening in openings:
        part = Script(num_frames=0, scenes=opening)
        videos.append(np.stack(list(VideoRenderer(config, title).render(part))))
        audios.append(AudioMixer(config, title).mix(part))
    for video, audio in zip(videos[1:], audios[1:], strict=True):
        np.testing.assert_array_equal(video, videos[0])
        np.testing.assert_array_equal(audio, audios[0])


def test_names_are_distinct() -> None:
    names = {title_name(1, k) for k in range(0, MAX_TITLE_NAMES, 7)}
    assert len(names) == len(range(0, MAX_TITLE_NAMES, 7))
    assert len({episode_name(1, 2, k) for k in range(MAX_EPISODE_NAMES)}) == MAX_EPISODE_NAMES


def test_ground_truth_is_within_bounds() -> None:
    config = RenderedTVConfig(minutes=2.0)
    title = draw_title(config, "show", 0)
    facts = ground_truth(config, title, write_episode(config, title, 0))
    assert facts["duration_seconds"] == 120.0
    for event in facts["events"]:
        assert 0 <= event["start_seconds"] < event["stop_seconds"] <= 120.0
        for hit in event["impacts"]:
            assert event["start_seconds"] <= hit <= event["stop_seconds"]
    assert facts["shots"][0]["start_seconds"] == 0.0
    assert facts["shots"][-1]["stop_seconds"] == 120.0


def test_zero_signature_gives_all_titles_the_same_look() -> None:
    def backdrops(strength: float) -> list[Any]:
        looks = [
            draw_look(stream(0, "test", k), strength, sector=3 * k % 8, unseen=bool(k % 2))
            for k in range(4)
        ]
        return [
            np.stack([paint_backdrop(stream(9, "set", n), look, 1.5, 48) for n in range(6)])
            for look in looks
        ]

    neutral = backdrops(0.0)
    for other in neutral[1:]:
        np.testing.assert_allclose(other, neutral[0], atol=0.5)
    strong = np.stack([each.mean(axis=(0, 1, 2)) for each in backdrops(1.0)])
    assert np.ptp(strong, axis=0).max() > 25


def test_zero_signature_gives_all_titles_the_same_acoustics() -> None:
    neutral = RenderedTVConfig(signature_sound=0.0)
    heard = [draw_title(neutral, "movie", k).acoustics for k in range(3)]
    for one in heard[1:]:
        assert replace(one, bell_hz=heard[0].bell_hz) == heard[0]
    assert not any(
        scene.music == -1 for k in range(3) for scene in written(neutral, "movie", k).scenes
    )
    loud = [
        draw_title(RenderedTVConfig(signature_sound=1.0), "movie", k).acoustics for k in range(3)
    ]
    assert len({one.pitch for one in loud}) == 3
    strong = written(RenderedTVConfig(signature_sound=1.0), "movie")
    assert {scene.music for scene in strong.scenes} <= {-1, None}


def test_diversity_limits_kinds_and_recurrence_selects_own_sets() -> None:
    poor, rich = RenderedTVConfig(diversity=0.1), RenderedTVConfig(diversity=1.0)
    assert len(draw_title(poor, "movie", 0).kinds) == 3
    assert len(draw_title(rich, "movie", 0).kinds) == len(rich.kinds)
    assert draw_title(poor, "movie", 0).num_sets < draw_title(rich, "movie", 0).num_sets
    assert len(draw_title(rich, "show", 0).kinds) < len(rich.kinds)
    never = written(RenderedTVConfig(recurrence=0.0), "movie")
    always = written(RenderedTVConfig(recurrence=1.0), "movie")
    assert not any(scene.set_recurs for scene in never.scenes)
    assert all(scene.set_recurs for scene in always.scenes)
    assert len({scene.set_path for scene in never.scenes}) == len(never.scenes)


def test_event_share_and_pair_share_set_the_number_of_cues() -> None:
    quiet = written(RenderedTVConfig(event_share=0.0), "movie")
    assert not any(scene.cues for scene in quiet.scenes)
    paired = written(RenderedTVConfig(event_share=1.0, pair_share=1.0), "movie")
    cues = [cue for scene in paired.scenes for cue in scene.cues]
    assert all(a.first_frame == b.first_frame for a, b in zip(cues[::2], cues[1::2], strict=True))


def test_music_overlap_changes_audio_only_during_events() -> None:
    def mixed(overlap: float) -> tuple[Any, Script]:
        config = RenderedTVConfig(music_overlap=overlap, minutes=1.0, seed=2)
        title = draw_title(config, "movie", 0)
        script = write_movie(config, title)
        return AudioMixer(config, title).mix(script), script

    (ducked, script), (full, _) = mixed(0.0), mixed(1.0)
    under = np.zeros(len(ducked), bool)
    near = np.zeros(len(ducked), bool)
    for scene in script.scenes:
        if scene.music is not None:
            for cue in scene.cues:
                under[cue.first_frame * 1000 + 4000 : cue.stop_frame * 1000 - 4000] = True
        for cue in scene.cues:
            near[max(cue.first_frame * 1000 - 4000, 0) : cue.stop_frame * 1000 + 4000] = True
    assert np.abs(full - ducked)[under].mean() > 0.01
    assert np.abs(full - ducked)[~near].max() < 1e-6


def test_the_look_changes_colors_but_not_motion() -> None:
    config = RenderedTVConfig(signature_picture=1.0, width=96, height=64)
    one, other = draw_title(config, "movie", 0), draw_title(config, "movie", 3)
    script = write_clip(config, one, "siren", 0, 2.0)
    plain = replace(one.look, letterbox=0.0, grain=0.0)
    dressed = replace(other.look, letterbox=0.0, grain=0.0)
    films = [
        np.stack(list(VideoRenderer(config, replace(one, look=look)).render(script))).astype(float)
        for look in (plain, dressed)
    ]
    motion = [np.abs(np.diff(film, axis=0)).mean(axis=(1, 2, 3)) for film in films]
    assert np.corrcoef(*motion)[0, 1] > 0.9
    assert np.abs(films[0].mean(axis=(0, 1, 2)) - films[1].mean(axis=(0, 1, 2))).max() > 10


def test_repeated_calls_return_equal_tracks() -> None:
    config = RenderedTVConfig()
    cue = written(config, "movie").scenes[0].cues[0]
    one, other = cue_track(config, cue), cue_track(config, cue)
    np.testing.assert_array_equal(one.channels["x"], other.channels["x"])
    np.testing.assert_array_equal(one.impacts, other.impacts)
