"""Damaged files, made again from their numbers, are used or refused with a reason."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.media.fuzzing import fuzz, seed_bytes
from tests.media.mutants import HOSTILE, SEEDS, mutant, write_seeds
from toomuchtv.media.clip_reader import read_clip

# Numbers of files that once failed. Until a timestamp far ahead, silence or the displayed frame was
# written, which took gigabytes and minutes. A sample aspect ratio of thousands to one was accepted.
# PyAV raises IndexError if a stream appears in the middle of a file.
FAILED_ONCE = (
    71, 255, 589, 3630, 4207, 4582, 4956, 5176, 6130, 6455, 6621, 7080, 7930, 8138, 8662, 8729,
    8950, 9217, 10855, 12657, 13066, 13459, 13728, 13833, 13897, 14426, 15155, 15974, 16077,
    16107, 17445, 18173, 19270, 19457, 19834,
)  # fmt: skip
# A few more; `python -m benchmarks.fuzz_media` makes as many as you like.
# The hostile files 4, 8, 15 and 18 take seconds each.
OTHERS = (
    *range(20_000, 20_005),
    *(HOSTILE + number for number in range(20) if number not in {4, 8, 15, 18}),
)


@pytest.fixture(scope="module")
def seeds_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    write_seeds(folder)
    return folder


def test_a_damaged_file_is_used_or_refused(seeds_folder: Path) -> None:
    numbers = (*FAILED_ONCE, *OTHERS)
    outcomes = dict(
        fuzz(numbers, seed=0, seeds_folder=seeds_folder, num_workers=os.cpu_count() or 1)
    )
    assert sorted(outcomes) == sorted(numbers)
    assert not {
        number: outcome
        for number, outcome in outcomes.items()
        if outcome.kind not in ("used", "refused")
    }
    kinds = [outcome.kind for outcome in outcomes.values()]
    assert kinds.count("used") > 10
    assert kinds.count("refused") > 10


def test_bars_are_detected_in_a_file_with_a_stream_that_appears_later(
    seeds_folder: Path, tmp_path: Path
) -> None:
    name, data = mutant(seed_bytes(seeds_folder), 8729)
    (tmp_path / name).write_bytes(data)
    clips = [
        read_clip(tmp_path / name, frames=1, audio_seconds=0.1, letterbox=letterbox).video
        for letterbox in ("keep", "crop")
    ]
    np.testing.assert_array_equal(clips[0], clips[1])  # it has no bars


def test_a_number_always_gives_the_same_file(seeds_folder: Path, tmp_path: Path) -> None:
    first = [(seeds_folder / seed.name).read_bytes() for seed in SEEDS]
    again = write_seeds(tmp_path)
    assert first == again
    made = [mutant(first, number) for number in range(100)]
    assert made == [mutant(again, number) for number in range(100)]
    assert len({data for _, data in made}) == 100
    # Some damage changes nothing, such as zeros over zeros.
    whole = sum(data == first[number % len(SEEDS)] for number, (_, data) in enumerate(made))
    assert whole < 10
