"""Identity of results, and which results `compare` pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toomuchtv.evaluation.benchmark import Benchmark, Fold, LabeledClip
from toomuchtv.evaluation.comparison import compare_results
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.identity import ResultIdentity, data_fingerprint
from toomuchtv.evaluation.result import (
    Evaluation,
    FoldPredictions,
    Predictions,
    QueryRanks,
    load_evaluation,
    load_predictions,
    save_evaluation,
)
from toomuchtv.evaluation.summary import ranking_figures

CLASSES = 3
NUM_CLIPS = 30
SOURCES = [f"s{row // 2}" for row in range(NUM_CLIPS)]


def identity(encoder: str = "e", **changes: Any) -> ResultIdentity:
    values: dict[str, Any] = {
        "benchmark": "esc10", "protocol": "linear", "modality": "audio", "untrained": False,
        "seed": 0, "data_fingerprint": "d", **changes,
    }  # fmt: skip
    return ResultIdentity(encoder_fingerprint=encoder, **values)


def hits(share: float, seed: int) -> list[bool]:
    return [bool(value < share) for value in np.random.default_rng(seed).random(NUM_CLIPS)]


def store(folder: Path, what: ResultIdentity, correct: list[bool], name: str = "one") -> Path:
    """Write a result whose classifier is right for some clips; return its folder."""
    labels = np.arange(NUM_CLIPS) % CLASSES
    guessed = np.where(correct, labels, (labels + 1) % CLASSES)
    fold = FoldPredictions(
        name="fold 1", clips=[f"{row}.wav" for row in range(NUM_CLIPS)], sources=SOURCES,
        scores=np.eye(CLASSES, dtype=np.float32)[guessed],
        targets=np.eye(CLASSES, dtype=np.bool_)[labels],
    )  # fmt: skip
    result = Evaluation(
        identity=what, metrics={"accuracy": {"mean": float(np.mean(correct)), "folds": []}},
        chance={"accuracy": 1 / CLASSES}, encoder={"name": name},
    )  # fmt: skip
    place = folder / result.label
    save_evaluation(place, result, Predictions(folds=[fold]))
    return place


def run_folder(path: Path) -> Path:
    return path / "evaluations"


def test_results_of_different_encoders_never_overwrite_each_other(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {}, {"encoder": "f"}, {"untrained": True}, {"seed": 1}, {"protocol": "knn"},
        {"modality": "video"}, {"data_fingerprint": "x"}, {"benchmark": "esc50"},
    ]  # fmt: skip
    places = [store(tmp_path, identity(**change), hits(0.5, 0)) for change in changes]
    assert len(set(places)) == len(changes)
    assert store(tmp_path, identity(), hits(0.5, 0)) == places[0]
    assert load_evaluation(places[3]).identity == identity(seed=1)


def test_an_untrained_result_is_never_taken_for_that_of_a_run(tmp_path: Path) -> None:
    """The one comparison that was wrong said -7.4 points where the truth was +4.4."""
    good, bad, baseline = hits(0.8, 0), hits(0.2, 1), hits(0.6, 2)
    run = tmp_path / "run"
    trained = store(run_folder(run), identity(), good)
    untrained = store(run_folder(run), identity("random", untrained=True), bad)
    other = store(tmp_path / "other", identity("log-mel"), baseline)
    (found,) = compare_results(other, run)
    assert found.paired.difference == pytest.approx(np.mean(good) - np.mean(baseline))
    assert [found.a, found.b] == pytest.approx([np.mean(baseline), np.mean(good)])
    (pretraining,) = compare_results(untrained, trained)
    assert pretraining.paired.difference == pytest.approx(np.mean(good) - np.mean(bad))
    for path in trained.iterdir():
        path.unlink()
    trained.rmdir()
    with pytest.raises(BenchmarkError, match="only results of untrained weights"):
        compare_results(other, run)


def test_results_of_two_encoders_in_one_folder_are_not_guessed_from(tmp_path: Path) -> None:
    both = tmp_path / "both"
    mine = store(both, identity("a"), hits(0.5, 0))
    store(both, identity("b"), hits(0.5, 1))
    with pytest.raises(BenchmarkError, match="different encoders") as refused:
        compare_results(both, mine)
    assert str(mine) in str(refused.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"data_fingerprint": "x"}, "other clips"), ({"protocol": "knn"}, "--protocol")],
)
def test_two_results_with_nothing_in_common_are_explained(
    change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    a = store(tmp_path / "a", identity(), hits(0.5, 0))
    b = store(tmp_path / "b", identity("f", **change), hits(0.5, 0))
    with pytest.raises(BenchmarkError, match=reason) as refused:
        compare_results(a, b)
    assert "esc10 linear audio" in str(refused.value)


def test_other_settings_under_the_same_name_are_refused(tmp_path: Path) -> None:
    a = store(tmp_path / "a", identity(), hits(0.5, 0))
    changed = replace(load_evaluation(a), protocol_config={"classifier": "other"})
    save_evaluation(tmp_path / "b", changed, load_predictions(a))
    with pytest.raises(BenchmarkError, match="other settings"):
        compare_results(a, tmp_path / "b")


def test_several_seeds_are_compared_by_their_mean(tmp_path: Path) -> None:
    values = {(side, seed): hits(0.5 + 0.2 * side, 10 * side + seed)
              for side in (0, 1) for seed in range(3)}  # fmt: skip
    runs = {key: tmp_path / f"{key}" for key in values}
    for (side, seed), correct in values.items():
        store(run_folder(runs[side, seed]), identity(f"{side}{seed}"), correct, f"r{seed}")
    sides = [[runs[side, seed] for seed in range(3)] for side in (0, 1)]
    (found,) = compare_results(*sides)
    means = [np.mean([values[side, seed] for seed in range(3)]) for side in (0, 1)]
    assert [found.a, found.b] == pytest.approx(means)
    assert found.paired.difference == pytest.approx(means[1] - means[0])
    assert found.num_seeds == found.paired.num_replicates == 3
    assert found.encoder_a == "r0, r1, r2"
    assert found.paired.interval is not None
    low, high = found.paired.interval
    assert low < found.paired.difference < high
    # A baseline without seeds is compared with each run.
    (against_one,) = compare_results(runs[0, 0], sides[1])
    assert against_one.num_seeds == 3
    assert against_one.a == pytest.approx(np.mean(values[0, 0]))
    with pytest.raises(BenchmarkError, match="2 results cannot be compared with 3"):
        compare_results(sides[0][:2], sides[1])


def test_seeds_of_one_encoder_are_paired_by_seed(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    for seed in (0, 1):
        store(a, identity("a", seed=seed), hits(0.5, seed))
    for seed in (1, 2):
        store(b, identity("b", seed=seed), hits(0.7, 10 + seed))
    (found,) = compare_results(a, b)
    assert found.num_seeds == 1
    assert found.paired.difference == pytest.approx(np.mean(hits(0.7, 11)) - np.mean(hits(0.5, 1)))


def store_ranking(folder: Path, encoder: str, ranks: list[float]) -> Path:
    ranking = QueryRanks(
        name="held_out/all/video_to_audio", clips=[f"{row}.mp4" for row in range(len(ranks))],
        sources=[f"s{row // 2}" for row in range(len(ranks))], ranks=np.array(ranks),
        precision=1 / np.array(ranks),
    )  # fmt: skip
    result = Evaluation(
        identity=identity(encoder, benchmark="retrieval", protocol="retrieval", modality=None),
        metrics={"held_out": {"num_clips": 9, "all": {"video_to_audio": ranking_figures(ranking)}}},
        chance={},
    )
    save_evaluation(folder / result.label, result, Predictions(rankings=[ranking]))
    return folder / result.label


def test_two_retrieval_results_are_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    good, bad = rng.integers(1, 6, 24).astype(float), rng.integers(1, 60, 24).astype(float)
    a = store_ranking(tmp_path, "a", bad.tolist())
    b = store_ranking(tmp_path, "b", good.tolist())
    found = {one.metric.split("/")[-1]: one for one in compare_results(a, b)}
    assert found.keys() == {
        "recall_at_1", "recall_at_5", "recall_at_10", "median_rank", "class_map",
    }  # fmt: skip
    assert all(one.metric.startswith("held_out/all/video_to_audio/") for one in found.values())
    recall, median = found["recall_at_5"], found["median_rank"]
    assert recall.paired.difference == pytest.approx(np.mean(good <= 5) - np.mean(bad <= 5))
    assert median.paired.difference == pytest.approx(np.median(good) - np.median(bad))
    assert (median.a, median.b) == (np.median(bad), np.median(good))
    assert median.paired.p_value < 0.01
    assert median.paired.num_sources == 12
    same = {one.paired.difference for one in compare_results(a, a)}
    assert same == {0.0}


def labeled(root: Path, contents: list[bytes], **changes: Any) -> Benchmark:
    root.mkdir(parents=True, exist_ok=True)
    for row, content in enumerate(contents):
        (root / f"{row}.wav").write_bytes(content)
    values: dict[str, Any] = {
        "labels": ["a", "b", "a", "b"], "train": (0, 1), "test": (2, 3), **changes,
    }  # fmt: skip
    return Benchmark(
        name="folder", root=root, task="single_label", modalities=("audio",), classes=("a", "b"),
        clips=tuple(
            LabeledClip(path=root / f"{row}.wav", labels=(label,), source=str(row), group=str(row))
            for row, label in enumerate(values["labels"])
        ),
        folds=(Fold(name="f", train=values["train"], test=values["test"]),),
    )  # fmt: skip


def test_the_data_fingerprint_covers_clips_labels_folds_and_contents(tmp_path: Path) -> None:
    contents = [bytes([row]) * 100 for row in range(4)]
    original = data_fingerprint(labeled(tmp_path / "x", contents))
    assert data_fingerprint(labeled(tmp_path / "moved", contents)) == original
    changed = [
        labeled(tmp_path / "1", [contents[0][:-1] + b"!", *contents[1:]]),
        labeled(tmp_path / "2", contents, labels=["a", "b", "b", "a"]),
        labeled(tmp_path / "3", contents, train=(1, 0), test=(3, 2)),
        labeled(tmp_path / "4", contents, train=(2, 3), test=(0, 1)),
        labeled(tmp_path / "5", contents).keep([0, 1, 2]),
    ]
    assert len({original, *map(data_fingerprint, changed)}) == 6


def test_a_result_of_an_earlier_format_is_named(tmp_path: Path) -> None:
    place = store(tmp_path, identity(), hits(0.5, 0))
    text = (place / "result.json").read_text().replace('"format": 3', '"format": 2')
    (place / "result.json").write_text(text)
    with pytest.raises(BenchmarkError, match="format 2"):
        compare_results(tmp_path, tmp_path)
