"""The calibration of an index, against all pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.search.indexes import random_encoder
from toomuchtv.search.calibration import (
    calibrate,
    directions_of,
    read_calibration,
    write_calibration,
)
from toomuchtv.search.vector_files import ItemVectors


def _item(seed: int, num: int, center: float) -> ItemVectors:
    rng = np.random.default_rng(seed)
    video, audio = (torch.from_numpy(rng.normal(center, 1.0, size=(num, 8))) for _ in range(2))
    return ItemVectors.from_float(torch.arange(num), video, audio)


def _named(vectors: list[ItemVectors]) -> dict[str, ItemVectors]:
    return {f"file {number}": one for number, one in enumerate(vectors)}


def _unit(values: np.ndarray) -> np.ndarray:
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))


def test_against_all_pairs_of_different_titles() -> None:
    vectors = [_item(0, 60, 0.3), _item(1, 30, 0.3), _item(2, 90, 0.3)]
    titles = np.array([1, 1, 2])
    found = calibrate(random_encoder(), _named(vectors), titles).of("video", "audio")
    assert found is not None
    video = [item.video.double().numpy() for item in vectors if item.video is not None]
    audio = [item.audio.double().numpy() for item in vectors if item.audio is not None]
    one = np.concatenate(video[:2]) @ audio[2].T
    other = video[2] @ np.concatenate(audio[:2]).T
    pairs = np.concatenate([one.ravel(), other.ravel()])
    assert abs(found.mean - pairs.mean()) < 0.01
    assert abs(found.std - pairs.std()) < 0.01
    assert np.allclose(found.quantiles[50], np.median(pairs), atol=0.02)
    best = np.concatenate([one.max(axis=1), other.max(axis=1)])
    # Of 200 random queries.
    assert 0.05 < float((best >= found.threshold).mean()) < 0.17  # 0.1
    assert 0.9 < float((best >= found.outlier_threshold).mean()) < 0.99  # 0.95
    parts = (np.concatenate(video[:2]), video[2])
    assert found.centered_threshold is None
    found = calibrate(random_encoder(), _named(vectors), titles).of("video", "video")
    assert found is not None
    one, other = (_unit(values - values.mean(axis=0)) for values in parts)
    best = np.concatenate([(one @ other.T).max(axis=1), (other @ one.T).max(axis=1)])
    assert found.centered_threshold is not None
    assert 0.05 < float((best >= found.centered_threshold).mean()) < 0.17
    assert found.z_score(found.mean + 2 * found.std) == 2.0


def test_an_index_of_one_title_compares_items() -> None:
    items = _named([_item(0, 20, 0), _item(1, 20, 0)])
    found = calibrate(random_encoder(), items, np.array([1, 1]))
    assert found.group == "item"
    assert found.directions[0].centered_threshold is None
    assert len(found.directions) == 4
    alone = calibrate(random_encoder(), _named([_item(0, 20, 0)]), np.array([1]))
    assert alone.directions == ()


def test_directions() -> None:
    assert len(directions_of(random_encoder())) == 4
    assert directions_of(random_encoder(shares_space=False)) == [
        ("video", "video"), ("audio", "audio"),
    ]  # fmt: skip
    assert directions_of(random_encoder(video_dim=None)) == [("audio", "audio")]


def test_it_is_kept_while_the_index_changes_little(tmp_path: Path) -> None:
    titles = np.array([1, 2])
    measured = calibrate(random_encoder(), _named([_item(0, 50, 0), _item(1, 50, 0)]), titles)
    write_calibration(tmp_path / "c.json", measured)
    assert read_calibration(tmp_path / "c.json") == measured
    same = {"file 0": 50, "file 1": 50}
    assert measured.is_current(same, titles)
    assert measured.is_current({**same, "new": 5}, np.array([1, 2, 2]))
    assert not measured.is_current({**same, "new": 50}, np.array([1, 2, 2]))
    assert not measured.is_current({"file 0": 50, "other": 50}, titles)  # a film was replaced
    assert not measured.is_current(same, np.array([1, 1]))
    (tmp_path / "c.json").write_text("{}")
    assert read_calibration(tmp_path / "c.json") is None
