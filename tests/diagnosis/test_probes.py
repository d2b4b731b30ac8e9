"""Linear probes find what the vectors encode and nothing else; clips of events follow the rules."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from toomuchtv._internal.timecode import format_timecode
from toomuchtv.data.clip_specs import ClipSpec, ClipSpecs
from toomuchtv.diagnosis.probes import (
    Event,
    ProbeClips,
    clips_of_events,
    cross_validate,
    read_events,
)
from toomuchtv.evaluation.errors import BenchmarkError

RNG = np.random.default_rng(4)
TITLE, EVENT = RNG.integers(0, 4, 160), RNG.integers(0, 5, 160)


def probe_clips(label: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> ProbeClips:
    clips = [ClipSpec(item=item, title=0, start_seconds=0.0) for item in range(160)]
    return ProbeClips(
        clips=ClipSpecs.from_clips(clips), label=label.astype(str), fold=np.arange(160) % 2
    )


@pytest.mark.parametrize("known", ["title", "event"])
def test_probe_finds_what_the_vectors_encode_and_nothing_else(known: str) -> None:
    vectors = torch.eye(8)[torch.from_numpy(TITLE if known == "title" else EVENT)]
    vectors = vectors + 0.05 * torch.randn(160, 8, generator=torch.Generator().manual_seed(0))
    for name, label in (("title", TITLE), ("event", EVENT)):
        folds, chance = cross_validate(vectors, probe_clips(label))
        assert len(folds) == 2
        assert 0.1 < chance < 0.35
        if name == known:
            assert folds == (1.0, 1.0)
        else:
            assert abs(np.mean(folds) - 1 / len(set(label))) < 0.12


def test_chance_is_the_most_frequent_training_class() -> None:
    label = np.array([0] * 120 + [1] * 40)
    folds, chance = cross_validate(torch.zeros(160, 3), probe_clips(label))
    assert chance == pytest.approx(0.75)
    assert folds == pytest.approx(
        (0.75, 0.75)
    )  # without information, it predicts the most frequent class


def event(start: float, stop: float, kind: str) -> Event:
    return Event(start_seconds=start, stop_seconds=stop, kind=kind)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([event(4, 8, "bell")], [(5.0, "bell")]),
        ([event(0, 1.5, "bell")], [(0.0, "bell")]),  # shifted to the start of the file
        ([event(9, 10, "bell")], [(8.0, "bell")]),
        ([event(4, 4.5, "bell")], []),  # fills less than half of the clip
        ([event(4, 8, "bell"), event(6, 9, "saw")], []),  # both events are in both clips
        ([event(4, 8, "bell"), event(7, 9.5, "saw")], [(5.0, "bell")]),
        ([event(4, 8, "bell"), event(6, 9, "bell")], [(5.0, "bell"), (6.5, "bell")]),
        ([event(4.03, 8, "bell")], [(5.0, "bell")]),  # start times lie on a grid of half seconds
    ],
)
def test_clip_of_an_event(events: list[Event], expected: list[tuple[float, str]]) -> None:
    found = clips_of_events(events, span_seconds=2.0, last_start_seconds=8.0, frame_rate=2.0)
    assert found == expected


def test_events_are_read_from_the_json_file_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "Movies").mkdir()
    sidecar = tmp_path / "Movies" / "a film.json"
    events = [{"start_seconds": 1.0, "stop_seconds": 2.0, "kind": "bell", "scene": 3}]
    sidecar.write_text(json.dumps({"events": events, "title": "a film"}))
    assert read_events(tmp_path, Path("Movies/a film.mkv")) == [event(1.0, 2.0, "bell")]
    assert read_events(tmp_path, Path("Movies/another.mkv")) == []
    sidecar.write_text('{"events": [{"kind": "bell"}]}')
    with pytest.raises(BenchmarkError, match="is not a list of events"):
        read_events(tmp_path, Path("Movies/a film.mkv"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "00:00:00.0"), (61.25, "00:01:01.2"), (3599.99, "00:59:59.9"), (7322.5, "02:02:02.5"),
     (0.3, "00:00:00.3"), (360_000.0, "100:00:00.0")],
)  # fmt: skip
def test_timecode_is_rounded_down(seconds: float, text: str) -> None:
    assert format_timecode(seconds) == text
