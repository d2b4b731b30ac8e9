"""Regression tasks of LVU and the mIoU of MovieNet against their definitions."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.media_files import write_film
from toomuchtv.evaluation.classifiers import fit
from toomuchtv.evaluation.comparison import compare_results
from toomuchtv.evaluation.datasets import read_benchmark
from toomuchtv.evaluation.encoders import AudioEncoder, AudioInput, Encoder, VideoEncoder
from toomuchtv.evaluation.encoders.interface import VideoInput
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.evaluate import evaluate
from toomuchtv.evaluation.features import extract_features
from toomuchtv.evaluation.linear_probe import run_probe
from toomuchtv.evaluation.metrics import scene_coverage as coverage
from toomuchtv.evaluation.protocols import PROTOCOLS, ProbeProtocol
from toomuchtv.evaluation.protocols.config import KnnConfig, LogisticConfig
from toomuchtv.evaluation.result import load_evaluation, load_predictions

SIDES = {"train": 6, "val": 3, "test": 4}


def write_lvu(root: Path, task: str) -> dict[str, list[float]]:
    """Write a small LVU whose films have a gray level that follows the value; return the values."""
    values_of: dict[str, list[float]] = {}
    count = itertools.count(1)
    for side, num in SIDES.items():
        lines = ["like_count dislike_count youtube_id imdb_id"]
        values_of[side] = []
        for _ in range(num):
            number = next(count)
            video = f"v-_{number:02d}"
            likes, dislikes = 10 * number, 140 - 10 * number
            lines.append(f"{likes} {dislikes} {video} tt{number:07d}")
            values_of[side].append(10 * likes / (likes + dislikes))
            write_film(root / "videos" / f"{video}.mp4", seconds=0.25, first_frame=2 * number)
        if task == "view_count":
            lines = ["view_count youtube_id imdb_id"] + [
                " ".join(line.split()[:1] + line.split()[2:]) for line in lines[1:]
            ]
            values_of[side] = [math.log(int(line.split()[0])) for line in lines[1:]]
        path = root / "lvu_1.0" / task / f"{side}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    return values_of


class Gray(VideoEncoder):
    """Mean and standard deviation of the frames."""

    input = VideoInput(frames=2, frame_rate=12.0, size=16)

    def features(self, video: Tensor) -> Tensor:
        values = video.float().flatten(1) / 255
        return torch.stack([values.mean(dim=1), values.std(dim=1)], dim=1)


class Loudness(AudioEncoder):
    """The power of the audio."""

    input = AudioInput(seconds=0.1, sample_rate_hz=8_000)

    def features(self, waveform: Tensor) -> Tensor:
        return waveform.square().mean(dim=1, keepdim=True)


def encoder() -> Encoder:
    return Encoder(
        name="gray", fingerprint="gray", pretraining="nothing", video=Gray(), audio=Loudness()
    )


@pytest.mark.parametrize("task", ["like_ratio", "view_count"])
def test_lvu_values_follow_the_definitions_of_the_paper(task: str, tmp_path: Path) -> None:
    values_of = write_lvu(tmp_path, task)
    benchmark = read_benchmark(f"lvu-{task.replace('_', '-')}", tmp_path)
    (fold,) = benchmark.folds
    assert benchmark.task == "regression"
    for side, rows in (("train", fold.train), ("val", fold.validation), ("test", fold.test)):
        values = [benchmark.clips[row].value for row in rows]
        assert values == pytest.approx(values_of[side])
    assert benchmark.clips[0].source == "tt0000001"


@pytest.mark.parametrize("line", ["0 0 abc tt1", "12 abc tt1", "a 3 abc tt1", "1 2 3 abc tt1"])
def test_the_error_quotes_a_malformed_line_of_values(line: str, tmp_path: Path) -> None:
    write_lvu(tmp_path, "like_ratio")
    path = tmp_path / "lvu_1.0" / "like_ratio" / "val.csv"
    path.write_text(f"like_count dislike_count youtube_id imdb_id\n{line}\n")
    with pytest.raises(BenchmarkError, match=r"expected likes, dislikes"):
        read_benchmark("lvu-like-ratio", tmp_path)


def test_ridge_regression_equals_its_closed_form(tmp_path: Path) -> None:
    """The penalty is selected on the validation set."""
    values_of = write_lvu(tmp_path, "like_ratio")
    benchmark = read_benchmark("lvu-like-ratio", tmp_path)
    protocol = PROTOCOLS["linear"]
    assert isinstance(protocol, ProbeProtocol)
    run = run_probe(encoder(), benchmark, protocol, "video")
    assert protocol.video_test is not None
    features = (
        extract_features(encoder(), benchmark, protocol.video_test).values[:, 0].astype(np.float64)
    )
    train, val, test = features[:6], features[6:9], features[9:]
    mean, std = train.mean(axis=0), train.std(axis=0)

    def predict(asked: np.ndarray, cost: float) -> np.ndarray:
        x, y = (train - mean) / std, np.array(values_of["train"])
        weights = np.linalg.solve(x.T @ x + np.eye(2) / cost, x.T @ (y - y.mean()))
        found: np.ndarray = (asked - mean) / std @ weights + y.mean()
        return found

    assert isinstance(protocol.classifier, LogisticConfig)
    costs = protocol.classifier.candidates
    best = min(costs, key=lambda cost: ((predict(val, cost) - values_of["val"]) ** 2).mean())
    assert run.chosen == [{"chosen": best}]
    found = run.predictions[0].scores[:, 0]
    np.testing.assert_allclose(found, predict(test, best), rtol=1e-3)
    np.testing.assert_allclose(run.predictions[0].targets[:, 0], values_of["test"], rtol=1e-6)


def test_nearest_neighbors_predict_their_weighted_mean() -> None:
    rng = np.random.default_rng(0)
    features, values = rng.normal(0, 1, (8, 1, 3)).astype(np.float32), np.arange(8, dtype="f4")
    asked = rng.normal(0, 1, (5, 3)).astype(np.float32)
    config = KnnConfig()
    found = fit(config, features[:, 0], values[:, None], 3.0, "regression")(asked)[:, 0]
    known = features[:, 0] / np.linalg.norm(features[:, 0], axis=1, keepdims=True)
    for row, one in enumerate(asked / np.linalg.norm(asked, axis=1, keepdims=True)):
        similarity = known @ one
        nearest = np.argsort(-similarity)[:3]
        weight = np.exp(similarity[nearest] / config.temperature)
        assert found[row] == pytest.approx((weight * values[nearest]).sum() / weight.sum(), 1e-3)
    targets = 2 * features[:, 0, 1:2]
    exact = fit(LogisticConfig(), features[:, 0], targets, 1e6, "regression")(features[:, 0])
    np.testing.assert_allclose(exact[:, 0], 2 * features[:, 0, 1], atol=1e-3)


def make() -> Gray:
    """Return the encoder for `module:function`."""
    gray = Gray()
    gray.embed_video = gray.features  # type: ignore[attr-defined]
    for name in ("frames", "frame_rate", "size"):
        setattr(gray, name, getattr(Gray.input, name))
    gray.version = "1"  # type: ignore[attr-defined]
    return gray


def test_a_regression_result_is_written_read_and_compared(tmp_path: Path) -> None:
    values_of = write_lvu(tmp_path / "lvu", "like_ratio")
    results = {}
    for name in ("linear", "knn"):
        results[name] = evaluate(
            None, "lvu-like-ratio", tmp_path / "lvu", protocol=name,
            encoder="tests.evaluation.test_films:make", out=tmp_path / name,
        )  # fmt: skip
    result = results["linear"]
    folder = tmp_path / "linear" / result.label
    assert load_evaluation(folder).primary == "mse"
    (answer,) = load_predictions(folder).folds
    error = ((answer.scores[:, 0].astype(np.float64) - values_of["test"]) ** 2).mean()
    assert result.metrics["mse"]["mean"] == pytest.approx(error, rel=1e-5)
    guess = ((np.array(values_of["test"]) - np.mean(values_of["train"])) ** 2).mean()
    assert result.chance["mse"] == pytest.approx(guess, rel=1e-5)
    (same,) = compare_results(folder, folder)
    assert (same.metric, same.paired.difference, same.paired.num_sources) == ("mse", 0.0, 4)
    with pytest.raises(ValueError, match=r"has values to predict.*linear or knn"):
        evaluate(
            None, "lvu-like-ratio", tmp_path / "lvu", protocol="mmv-svm",
            encoder="tests.evaluation.test_films:make",
        )  # fmt: skip


cuts = st.sets(st.integers(1, 29), max_size=8)


@given(cuts, cuts)
def test_miou_equals_that_of_counted_frames(true: set[int], predicted: set[int]) -> None:
    """Count frames of a film of thirty frames."""

    def scenes(at: set[int]) -> list[set[int]]:
        edges = [0, *sorted(at), 30]
        return [set(range(low, high)) for low, high in itertools.pairwise(edges)]

    def best(of: list[set[int]], among: list[set[int]]) -> float:
        return float(np.mean([max(len(a & b) / len(a | b) for b in among) for a in of]))

    expected = (best(scenes(true), scenes(predicted)) + best(scenes(predicted), scenes(true))) / 2
    seconds = [cut / 10 for cut in true], [cut / 10 for cut in predicted]
    assert coverage(*seconds, 3.0) == pytest.approx(expected)


def test_miou_of_perfect_and_of_no_boundaries() -> None:
    assert coverage([1.0, 2.0], [1.0, 2.0], 3.0) == 1.0
    # One scene of 4 s is predicted. The true scenes of 1 and 3 s have an IoU of 1/4 and 3/4.
    assert coverage([1.0], [], 4.0) == pytest.approx(((0.25 + 0.75) / 2 + 0.75) / 2)


def test_movienet_scenes_have_average_precision_and_miou(tmp_path: Path) -> None:
    root = tmp_path / "movienet"
    films = {"train": ["tt1"], "val": ["tt2"], "test": ["tt3"]}
    (root / "meta").mkdir(parents=True)
    (root / "meta" / "split318.json").write_text(json.dumps(films))
    for (film,) in films.values():
        write_film(root / "videos" / f"{film}.mp4", seconds=8.0)
        for folder, lines in (
            ("label318", [f"{n:04d} {int(n in (1, 4))}" for n in range(7)]),
            ("shot_movie318", [f"{24 * n} {24 * n + 23} 1 2 3" for n in range(8)]),
        ):
            (root / folder).mkdir(exist_ok=True)
            (root / folder / f"{film}.txt").write_text("\n".join(lines) + "\n")
    result = evaluate(
        None, "movienet-scenes", root, encoder="tests.evaluation.test_films:make", out=tmp_path
    )
    assert read_benchmark("movienet-scenes", root).end_seconds == {
        "tt1": 8.0,
        "tt2": 8.0,
        "tt3": 8.0,
    }
    (answer,) = load_predictions(tmp_path / result.label).folds
    predicted = [n + 1.0 for n, score in enumerate(answer.scores[:, 0]) if score > 0]
    assert result.metrics["miou"] == pytest.approx(coverage([2.0, 5.0], predicted, 8.0))
    assert "map" in result.metrics
    neighbors = evaluate(
        None, "movienet-scenes", root, protocol="knn", encoder="tests.evaluation.test_films:make"
    )
    assert "miou" not in neighbors.metrics
