"""Encoders are measured on real media once, and compared with random weights of their seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.study.real_media import RealMedia, RealScores, Training, measure
from experiments.study.real_questions import along_the_way, policies
from experiments.study.scores import Score
from tests.prepared import tiny_config
from toomuchtv.evaluation.datasets import read_benchmark
from toomuchtv.inference.pretrained import PretrainedConfig, PretrainedEncoder
from toomuchtv.models.two_tower import TwoTower


def scored(kind: str, seed: int, accuracy: float, step: int = 80, **more: bool) -> RealScores:
    sources = {"a": (10 * accuracy, 10), "b": (10 * accuracy, 10)}
    score = Score(
        benchmark="sounds", protocol="linear", modality="audio", accuracy=accuracy,
        folds=(accuracy,), chance=0.1, sources=sources,
    )  # fmt: skip
    return RealScores(
        kind=kind, seed=seed, step=step, is_final=more.get("is_final", True), encoder="",
        data={"sounds": ""}, scores=(score,),
    )  # fmt: skip


def test_trainings_are_compared_with_random_weights_and_with_uniform_sampling() -> None:
    found = []
    for seed in range(4):
        noise = 0.01 * seed
        found += [
            scored("shows-untrained", seed, 0.2 + noise, step=0),
            scored("shows-uniform", seed, 0.3 + 1.1 * noise),
            scored("shows-uniform", seed, 0.25, step=40, is_final=False),
            scored("shows-k8", seed, 0.4),
            scored("shows-k32", seed, 0.7 + 1.1 * noise),
            scored("shows-hours-x4-uniform", seed, 0.3 + 1.2 * noise),
        ]
    findings = policies(found)
    means = {name: one.mean for name, one in findings.estimates.items()}
    assert means["shows-k32 minus shows-uniform, sounds"] == pytest.approx(0.4)
    assert means["shows-k32 minus shows-untrained, sounds"] == pytest.approx(0.5015)
    assert means["shows-hours-x4-uniform minus shows-uniform, sounds"] == pytest.approx(0.0015)
    judged = list(findings.p_holm)
    assert judged == [
        "shows-uniform minus shows-untrained, sounds",
        "shows-k32 minus shows-untrained, sounds",
        "shows-k32 minus shows-uniform, sounds",
    ]
    text = " ".join(findings.sentences)
    assert "shows-k32, real sounds, from audio scores higher: 0.717 against 0.317" in text
    growth = along_the_way(found)
    assert growth.draw_chart is not None
    assert growth.sentences == (
        "shows-uniform, real sounds, from audio: 0.215 after 0, 0.250 after 40, 0.317 after 80 "
        "steps (seeds: 4).",
    )
    assert growth.draw_chart().startswith(b"\x89PNG")
    assert along_the_way([one for one in found if one.is_final]).draw_chart is None


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A folder like that of a run, with random weights."""
    config, run = tiny_config(), tmp_path / "run"
    run.mkdir()
    (run / "config.toml").write_text(config.to_toml(), encoding="utf-8")
    contents = PretrainedConfig(clip=config.clip, transform=config.transform, model=config.model)
    model = TwoTower.from_config(config.model, seed=3)
    PretrainedEncoder(model, contents).save(run / "model")
    return run


def test_what_was_measured_is_kept_until_the_data_change(
    trained: Path, prepared_catalog: Path, media_root: Path, tmp_path: Path
) -> None:
    listed = read_benchmark("esc50", media_root / "esc10")
    part = listed.keep(range(0, len(listed.clips), 16))  # of all folds
    sounds = RealMedia(benchmarks={"sounds": part}, catalog=None, data={"sounds": "one"})
    training = Training("shows-uniform", 3, 80, trained, is_final=True)
    first = measure(tmp_path, training, sounds)
    score = first.score("sounds")
    assert score is not None
    assert 0.0 < score.accuracy <= 1.0
    assert sum(count for _, count in score.sources.values()) == len(part.clips)
    both = RealMedia(
        benchmarks={"sounds": part}, catalog=prepared_catalog,
        data={"sounds": "one", "retrieval": "films"},
    )  # fmt: skip
    second = measure(tmp_path, training, both)
    assert second.score("sounds") == score
    retrieval = second.score("retrieval")
    assert retrieval is not None
    hits, count = (sum(values) for values in zip(*retrieval.sources.values(), strict=True))
    assert retrieval.accuracy == pytest.approx(hits / count)
    assert retrieval.chance == pytest.approx(5 / (count / 2))
    path = tmp_path / "real" / "results" / "shows-uniform-seed3-step80.json"
    time = path.stat().st_mtime_ns
    assert measure(tmp_path, training, both) == second
    assert path.stat().st_mtime_ns == time
    fewer = {"sounds": listed.keep(range(0, len(listed.clips), 20))}
    less = RealMedia(benchmarks=fewer, catalog=None, data={"sounds": "two"})
    third = measure(tmp_path, training, less).score("sounds")
    assert third is not None
    assert sum(total for _, total in third.sources.values()) == 20
