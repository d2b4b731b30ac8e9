"""Multi-label and pair benchmarks from their files through the command line to the scores."""

from __future__ import annotations

import json
import os
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from torch import Tensor

from tests.media_files import write_film
from tests.processes import run_toomuchtv
from toomuchtv.evaluation.evaluate import evaluate
from toomuchtv.evaluation.result import load_predictions
from toomuchtv.reports.evaluation_page import write_evaluation_page

RATE = 8_000
KINDS = {"High": 2_500.0, "Low": 300.0, "Middle": 900.0}


class TonesAndGrays:
    """An encoder of frequency bands and of the gray level of `write_film`."""

    frames, frame_rate, size = 2, 12.0, 16
    audio_seconds, sample_rate_hz = 0.2, RATE
    version, shares_space, name, pretraining = "1", True, "by hand", "nothing"

    def embed_video(self, video: Tensor) -> Tensor:
        gray = video[:, 0, 8, 8, 0].float() / 255
        return torch.stack([gray.cos(), gray.sin(), torch.zeros_like(gray)], dim=1)

    def embed_audio(self, waveform: Tensor) -> Tensor:
        power = torch.fft.rfft(waveform).abs().square()
        parts = torch.stack([part.sum(dim=1) for part in power.chunk(3, dim=1)], dim=1)
        return torch.log(parts + 1e-6)


def make() -> TonesAndGrays:
    return TonesAndGrays()


def evaluated(*arguments: str | Path, cwd: Path) -> dict[str, Any]:
    done = run_toomuchtv("evaluate", *arguments, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


def write_wave(path: Path, sound: NDArray[np.float64]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((sound.clip(-1, 1) * 32_000).astype("<i2").tobytes())


@pytest.fixture(scope="module")
def fsd50k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty-eight sounds of one or two tones in noise, with the files of FSD50K."""
    root = tmp_path_factory.mktemp("fsd")
    rng = np.random.default_rng(0)
    time = np.arange(RATE) / RATE
    truth = root / "FSD50K.ground_truth"
    truth.mkdir()
    names = list(KINDS)
    rows = {"dev": ["fname,labels,mids,split"], "eval": ["fname,labels,mids"]}
    (truth / "vocabulary.csv").write_text(
        "".join(f"{row},{name},/m/{row}\n" for row, name in enumerate(names))
    )
    for number in range(48):
        side = "eval" if number >= 32 else "dev"
        own = sorted(rng.choice(names, size=rng.integers(1, 3), replace=False))
        sound = rng.normal(0, 0.25, RATE)
        for name in own:
            sound += rng.uniform(0.02, 0.2) * np.sin(2 * np.pi * KINDS[name] * time)
        write_wave(root / f"FSD50K.{side}_audio" / f"{number}.wav", sound)
        mids = ",".join(f"/m/{names.index(name)}" for name in own)
        split = "" if side == "eval" else ",val" if number % 4 == 0 else ",train"
        rows[side].append(f'{number},"{",".join(own)}","{mids}"{split}')
    for side, lines in rows.items():
        (truth / f"{side}.csv").write_text("\n".join(lines) + "\n")
    return root


# The network of `hear` is trained eight times: a minute and a half of one core.
@pytest.mark.parametrize("protocol", ["linear", pytest.param("hear", marks=pytest.mark.slow)])
def test_map_of_fsd50k_equals_scikit_learns(fsd50k: Path, tmp_path: Path, protocol: str) -> None:
    given = evaluated(
        "--encoder", "tests.evaluation.test_whole_runs:make", "--benchmark", "fsd50k",
        "--data", fsd50k, "--protocol", protocol, "--out", tmp_path, cwd=Path.cwd(),
    )  # fmt: skip
    folder = next(tmp_path.rglob("predictions.json")).parent
    (answer,) = load_predictions(folder).folds
    assert answer.scores.shape == (16, 3)
    expected = [
        average_precision_score(answer.targets[:, k], answer.scores[:, k]) for k in range(3)
    ]
    assert given["metrics"]["map"]["mean"] == pytest.approx(np.mean(expected), abs=1e-6)
    assert [given["per_class"][name] for name in sorted(KINDS)] == pytest.approx(expected, abs=1e-6)
    assert given["chance"]["map"] == pytest.approx(answer.targets.mean(), abs=1e-6)
    # The classes can be separated, but not perfectly.
    assert given["chance"]["map"] + 0.15 < given["metrics"]["map"]["mean"] <= 1.0
    low, high = given["metrics"]["map"]["interval"]
    assert low <= given["metrics"]["map"]["mean"] <= high
    assert "average precision" in (folder / "page.html").read_text()


def test_ranks_of_vggsound_pairs_equal_those_computed_by_hand(tmp_path: Path) -> None:
    root = tmp_path / "vgg"
    rows = []
    for number in range(9):
        name, label = f"clip_{number}", f"kind {number % 3}"
        rows.append(f'{name},{number},"{label}",test')
        write_film(root / "video" / f"{name}_{number:06d}.mp4", seconds=0.5, first_frame=5 * number)
    root.joinpath("vggsound.csv").write_text("\n".join(rows) + "\n")
    given = evaluated(
        "--encoder", "tests.evaluation.test_whole_runs:make", "--benchmark", "vggsound-pairs",
        "--data", root, "--out", tmp_path, cwd=Path.cwd(),
    )  # fmt: skip
    assert given["metrics"]["num_pairs"] == 9
    # All films have equal audio, so that for each video all nine candidates tie: the rank of its
    # partner is the middle, and a third of the candidates are of its class. The audio ranks the
    # nine videos in one order, so that each rank from 1 to 9 occurs once.
    to_audio, to_video = (given["metrics"][way] for way in ("video_to_audio", "audio_to_video"))
    assert (to_audio["median_rank"], to_audio["recall_at_1"]) == (5.0, 0.0)
    assert to_audio["recall_at_5"] == to_audio["recall_at_10"] == 1.0
    assert to_audio["class_map"] == pytest.approx(1 / 3)
    assert to_video["median_rank"] == 5.0
    assert to_video["recall_at_1"] == pytest.approx(1 / 9)
    assert to_video["recall_at_5"] == pytest.approx(5 / 9)
    assert given["chance"]["video_to_audio"]["recall_at_1"] == pytest.approx(1 / 9)
    assert given["chance"]["video_to_audio"]["class_map"] == pytest.approx(1 / 3)
    page = next(tmp_path.rglob("page.html"))
    assert "R@1" in page.read_text()
    with pytest.raises(ValueError, match="--modality"):
        evaluate(
            None, "vggsound-pairs", root, modality="audio",
            encoder="tests.evaluation.test_whole_runs:make",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("run", "options"),
    [
        ("run", {"protocol": "knn"}),
        ("run", {"modality": "audio"}),
        ("run", {"catalog": "cat"}),
        (None, {"encoder": "log-mel", "untrained": True}),
    ],
)
def test_options_that_would_have_no_effect_are_refused(
    run: str | None, options: dict[str, Any]
) -> None:
    benchmark = "esc50" if run is None else "retrieval"
    with pytest.raises(ValueError, match=r"omit --protocol|--encoder has its own"):
        evaluate(run, benchmark, "nowhere", **options)


def test_names_that_are_not_utf8_are_evaluated(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    root = tmp_path / "data"
    for name in (b"caf\xe9", b"bar"):
        for side in ("train", "test"):
            for number in range(2):
                folder = root / side / os.fsdecode(name)
                write_wave(folder / f"{number}.wav", rng.uniform(-0.5, 0.5, RATE))
    result = evaluate(
        None, "folder", root, encoder="log-mel", protocol="knn", modality="audio", out=tmp_path
    )
    write_evaluation_page(tmp_path / "page.html", result)
    assert result.classes == ("bar", os.fsdecode(b"caf\xe9"))
    assert [fold.clips for fold in load_predictions(tmp_path / result.label).folds] == [
        [f"test/{label}/{number}.wav" for label in result.classes for number in range(2)]
    ]
