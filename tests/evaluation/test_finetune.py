"""Fine-tuning learns, starts from the pretrained weights, and resumes to the same end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from toomuchtv.data.clip_transform import normalize_rgb
from toomuchtv.evaluation.benchmark import Benchmark
from toomuchtv.evaluation.datasets import read_benchmark
from toomuchtv.evaluation.encoders import Encoder, VideoEncoder
from toomuchtv.evaluation.encoders.interface import VideoInput
from toomuchtv.evaluation.encoders.pretrained import RunAudioEncoder
from toomuchtv.evaluation.evaluate import finetune_key
from toomuchtv.evaluation.finetune import FineTuner, run_finetune
from toomuchtv.evaluation.metrics import top1_correct
from toomuchtv.evaluation.protocols import PROTOCOLS, FinetuneProtocol
from toomuchtv.evaluation.views import AudioViews, VideoAugment
from toomuchtv.inference.pretrained import PretrainedConfig, PretrainedEncoder
from toomuchtv.models import TwoTower, VideoEncoderConfig
from toomuchtv.models.video import VideoResNet
from toomuchtv.training.checkpoint import Checkpoints
from toomuchtv.training.run_config import load_config


class Small(VideoEncoder):
    """A tiny R(2+1)D at 16 pixels."""

    input = VideoInput(frames=4, frame_rate=8.0, size=16)

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = VideoResNet(VideoEncoderConfig(depth=10, width=0.125))

    def features(self, video: Tensor) -> Tensor:
        features: Tensor = self.network(self.prepare(video))
        return features

    def trunk(self) -> nn.Module:
        return self.network

    def prepare(self, video: Tensor) -> Tensor:
        return normalize_rgb(video, 16)


@pytest.fixture(scope="module")
def real(media_root: Path) -> Benchmark:
    """The first second of the clips of two classes of the real UCF101 sample, its first split."""
    whole = read_benchmark("ucf101", media_root / "ucf101")
    rows = [
        row for row, clip in enumerate(whole.clips) if clip.labels[0] in {"Archery", "HorseRace"}
    ]
    kept = whole.keep(rows)
    return Benchmark(
        name="ucf101", root=kept.root, task="single_label", modalities=("video",),
        clips=tuple(replace(clip, stop_seconds=1.0) for clip in kept.clips),
        folds=kept.folds[:1], classes=("Archery", "HorseRace"),
    )  # fmt: skip


def short(**changes: object) -> FinetuneProtocol:
    """avid-8 in small: 4 frames, 32 pixels, two views, few epochs."""
    full = PROTOCOLS["avid-8"]
    assert isinstance(full, FinetuneProtocol)
    mild = VideoAugment(min_area=0.8, max_aspect=1.1, color=0.0)
    size = {"frames": 4, "short_side": 36, "crop": 32, "times": 2}
    return full.model_copy(
        update={
            "train": full.train.model_copy(update={**size, "augment": mild}),
            "test": full.test.model_copy(update=size),
            "epochs": 1, "head_epochs": 1, "batch_size": 8, "dropout": 0.2,
            "body_learning_rate": 1e-3, "learning_rate": 1e-3, **changes,
        }
    )  # fmt: skip


def of_sound() -> FinetuneProtocol:
    protocol = PROTOCOLS["finetune-audio"]
    assert isinstance(protocol, FinetuneProtocol)
    return protocol


def encoder() -> Encoder:
    return Encoder(name="small", fingerprint="x", pretraining="nothing", video=Small())


def test_fine_tuning_fits_the_real_sample(real: Benchmark) -> None:
    """Six clips per class are too few to generalize, so the test requires only a good fit."""
    made = encoder()
    assert made.video is not None
    trunk = made.video.trunk()
    assert trunk is not None
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    fold = real.folds[0]
    recipe = short(epochs=7, learning_rate=5e-3, body_learning_rate=5e-3)
    tuning = FineTuner(made.video, real, fold, recipe, seed=0, folder=None)
    fresh = tuning.scores(fold.train)
    assert list(tuning.epochs())[-1] == 8
    tuned = tuning.scores(fold.train)
    np.testing.assert_allclose(tuned.sum(axis=1), 1.0, atol=1e-5)
    targets = real.label_matrix()[list(fold.train)]
    assert tuned[targets].mean() > fresh[targets].mean() + 0.1
    # The pretrained weights themselves do not change, because every fold starts from them.
    for name, value in trunk.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_head_epochs_do_not_change_the_network(real: Benchmark) -> None:
    made = encoder()
    assert made.video is not None
    tuning = FineTuner(made.video, real, real.folds[0], short(), seed=0, folder=None)
    before = [value.clone() for value in tuning._trunk.state_dict().values()]
    next(tuning.epochs())
    for value, old in zip(tuning._trunk.state_dict().values(), before, strict=True):
        torch.testing.assert_close(value, old)


def test_an_encoder_without_a_network_is_refused(real: Benchmark) -> None:
    deaf = Encoder(name="none", fingerprint="x", pretraining="nothing")
    with pytest.raises(ValueError, match="no video network"):
        run_finetune(deaf, real, short())
    with pytest.raises(ValueError, match="no audio network"):
        run_finetune(encoder(), real, of_sound())


def test_views_of_two_modalities_are_refused() -> None:
    values = short().model_dump() | {"test": AudioViews()}
    with pytest.raises(ValueError, match="different modalities"):
        FinetuneProtocol.model_validate(values)


def test_an_audio_encoder_learns(media_root: Path) -> None:
    whole = read_benchmark("esc10", media_root / "esc10")
    rows = [row for row, clip in enumerate(whole.clips) if clip.labels[0] in {"dog", "rain"}]
    kept = whole.keep(rows[::3])
    real = replace(kept, folds=kept.folds[:1], classes=("dog", "rain"))
    config = load_config(
        preset="tiny", settings=("model.audio.width=0.125", "clip.audio_seconds=1.0")
    )
    values = PretrainedConfig(clip=config.clip, transform=config.transform, model=config.model)
    side = RunAudioEncoder(PretrainedEncoder(TwoTower.from_config(values.model, seed=0), values))
    made = Encoder(name="small", fingerprint="x", pretraining="nothing", audio=side)
    recipe = of_sound().model_copy(
        update={"epochs": 6, "batch_size": 16, "body_learning_rate": 1e-3, "learning_rate": 5e-3}
    )
    before = {name: value.clone() for name, value in side.trunk().state_dict().items()}
    through = run_finetune(made, real, recipe)
    assert top1_correct(through[0].scores, through[0].targets > 0).mean() >= 0.75
    for name, value in side.trunk().state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_training_resumes_from_the_newest_undamaged_checkpoint(
    real: Benchmark, tmp_path: Path
) -> None:
    made, recipe = encoder(), short(epochs=2)
    assert made.video is not None
    whole = run_finetune(made, real, recipe)
    folder = tmp_path / "split-1"
    epochs = FineTuner(made.video, real, real.folds[0], recipe, seed=0, folder=folder).epochs()
    assert [next(epochs), next(epochs)] == [1, 2]
    newest = Checkpoints(folder, keep=2).path(2)
    newest.write_bytes(newest.read_bytes()[:-100])
    again = FineTuner(made.video, real, real.folds[0], recipe, seed=0, folder=folder)
    assert next(again.epochs()) == 1
    resumed = run_finetune(made, real, recipe, folder=tmp_path)
    np.testing.assert_allclose(resumed[0].scores, whole[0].scores, atol=1e-6)
    for path in folder.glob("*.safetensors"):
        path.write_bytes(b"damaged")
    restarted = FineTuner(made.video, real, real.folds[0], recipe, seed=0, folder=folder)
    assert next(restarted.epochs()) == 1  # all are damaged: it starts from the pretrained weights


def test_checkpoints_belong_to_labels_folds_and_contents(tmp_path: Path) -> None:
    def key(labels: str, sides: str, content: bytes) -> str:
        rows = ["path,label,split"]
        for name, label, side in zip("abcd", labels, sides, strict=True):
            (tmp_path / f"{name}.mp4").write_bytes(content)
            rows.append(f"{name}.mp4,{label},{'train' if side == '0' else 'test'}")
        (tmp_path / "labels.csv").write_text("\n".join(rows))
        return finetune_key(made, short(), read_benchmark("csv", tmp_path), 0)

    made = encoder()
    keys = [key("xyxy", "0011", b"1"), key("yxyx", "0011", b"1"), key("xyxy", "1100", b"1"),
            key("xyxy", "0011", b"2")]  # fmt: skip
    assert len({*keys}) == len(keys)
    assert key("xyxy", "0011", b"1") == keys[0]
