"""Vector files: what was written is read, and any damage is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from toomuchtv.search.vector_files import (
    DamagedVectorFileError,
    ItemVectors,
    read_vector_file,
    write_vector_file,
)

DESCRIPTION = {"encoder": "e", "content": "c"}


def _vectors(num: int = 7, dim: int = 5) -> ItemVectors:
    rng = np.random.default_rng(0)
    video = torch.from_numpy(rng.normal(size=(num, dim)))
    return ItemVectors.from_float(torch.arange(num) * 1.5, video, None)


def test_round_trip(tmp_path: Path) -> None:
    written = _vectors()
    write_vector_file(tmp_path / "a.vec", written, DESCRIPTION)
    read = read_vector_file(tmp_path / "a.vec", DESCRIPTION)
    assert read.video is not None
    assert written.video is not None
    assert torch.equal(read.video, written.video)
    assert torch.equal(read.times, torch.arange(7) * 1.5)
    assert read.audio is None
    assert read.audio_mean is None
    assert read.video_mean is not None
    assert torch.allclose(read.video_mean, written.video.float().mean(dim=0), atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["a.vec"]


def test_vectors_become_unit_vectors() -> None:
    video = torch.tensor([[3.0, 4.0], [0.0, -1e-6]])
    made = ItemVectors.from_float(torch.tensor([0.0, 1.0]), video, None)
    assert made.video is not None
    expected = torch.tensor([[0.6, 0.8], [0.0, -1.0]])
    assert torch.allclose(made.video.float(), expected, atol=1e-3)


@pytest.mark.parametrize("bad", [[[0.0, 0.0]], [[float("nan"), 1.0]], [[float("inf"), 1.0]]])
def test_vectors_without_direction_are_refused(bad: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="zero or not finite"):
        ItemVectors.from_float(torch.zeros(1), torch.tensor(bad), None)


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.vec"
    write_vector_file(path, _vectors(), DESCRIPTION)
    content = path.read_bytes()
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 0x10
        path.write_bytes(changed)
        with pytest.raises(DamagedVectorFileError):
            read_vector_file(path, DESCRIPTION)


def test_every_lost_end_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.vec"
    write_vector_file(path, _vectors(), DESCRIPTION)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedVectorFileError):
            read_vector_file(path, DESCRIPTION)
    path.write_bytes(content + b"x")
    with pytest.raises(DamagedVectorFileError):
        read_vector_file(path, DESCRIPTION)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.vec"
    write_vector_file(path, _vectors(), DESCRIPTION)
    with pytest.raises(DamagedVectorFileError):
        read_vector_file(path, {**DESCRIPTION, "content": "other"})
    with pytest.raises(FileNotFoundError):
        read_vector_file(tmp_path / "b.vec", DESCRIPTION)


def test_a_deleted_file_stays_readable_for_those_who_have_it(tmp_path: Path) -> None:
    path = tmp_path / "a.vec"
    written = _vectors()
    write_vector_file(path, written, DESCRIPTION)
    read = read_vector_file(path, DESCRIPTION)
    path.unlink()
    assert read.video is not None
    assert written.video is not None
    assert torch.equal(read.video, written.video)
