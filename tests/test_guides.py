"""The Python code of the guides from a library to a comparison runs in the order of a reader.

Where a guide would train for hours, its code runs with smaller settings. The code of the other
pages is executed by `test_readme.py` and by the tests of the package that the page is about.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch

import toomuchtv as tv
from tests.media_files import write_film
from tests.prepared import FILMS
from tests.test_readme import execute, python_blocks
from toomuchtv.catalog.description import CatalogDescription
from toomuchtv.diagnosis.results import PolicyNegatives

#: Settings that make the preset `tiny` a matter of seconds.
SMALL = [
    "clip.frames=2", "clip.audio_seconds=0.25", "transform.size=16",
    "model.video.depth=10", "model.video.width=0.0625",
    "model.audio.depth=9", "model.audio.width=0.0625",
    "sampling.batch_size=6", "sampling.clips_per_item=2", "sampling.min_gap_seconds=0.25",
    "training.steps=2", "training.device=cpu", "training.num_workers=0", "training.num_threads=1",
    "training.validation_clips=2", "training.held_out_share=0.25", "optimizer.warmup_steps=2",
]  # fmt: skip


def write_action_clips(folder: Path) -> None:
    """Write two classes of three clips in the layout of UCF101; split n tests group n."""
    names = [f"{label}/v_{label}_g0{group}_c01.avi" for label in ("Dive", "Run") for group in "123"]
    for number, name in enumerate(names):
        write_film(folder / "videos" / name, seconds=1.0, frame_rate=8, first_frame=5 * number)
    lists = folder / "ucfTrainTestlist"
    lists.mkdir()
    for split in "123":
        tested = [name for name in names if f"_g0{split}_" in name]
        trained = [name for name in names if name not in tested]
        (lists / f"testlist0{split}.txt").write_text("".join(f"{name}\n" for name in tested))
        (lists / f"trainlist0{split}.txt").write_text(
            "".join(f"{name} {1 + name.startswith('Run')}\n" for name in trained)
        )
    (lists / "classInd.txt").write_text("1 Dive\n2 Run\n")


def test_from_a_library_to_a_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, (name, seconds) in enumerate(FILMS.items()):
        write_film(tmp_path / "library" / name, seconds=seconds, first_frame=7 * number)

    (code,) = python_blocks("docs/guide/prepare_a_library.md")
    code = code.replace("/media/library", "library").replace("Sintel", "Alpha")
    names = execute(code)
    description = names["description"]
    assert isinstance(description, CatalogDescription)
    (title,) = description.titles
    assert (title.name, len(title.items)) == ("Alpha", 1)

    train, own_loss, published = python_blocks("docs/guide/train.md")
    assert '"training.steps=300"' in train
    trained = execute(train.replace('"training.steps=300"', f"*{SMALL}"))["result"]
    assert isinstance(trained, tv.PretrainResult)
    assert trained.steps == 2
    (tmp_path / "my_losses.py").write_text(own_loss)
    monkeypatch.syspath_prepend(tmp_path)
    settings = [*SMALL, "loss.name=my_losses:SigmoidLoss", "loss.options.bias=-5.0"]
    own = tv.load_config(preset="tiny", settings=settings)
    assert tv.pretrain("cat", "runs/own_loss", own).steps == 2
    (tmp_path / "my_losses.py").unlink()
    del sys.modules["my_losses"]
    assert (
        tv.load("runs/own_loss").config.model.embedding_dim == 256
    )  # without the class of the loss
    # Only the settings: the folders of published weights have hundreds of megabytes.
    config = execute(published.rpartition("result =")[0], tv=tv)["config"]
    assert isinstance(config, tv.Config)
    assert config.model.video.init == "weights/videomae-base"

    (code,) = python_blocks("docs/guide/read_a_diagnosis.md")
    diagnosis = execute(code)["diagnosis"]
    assert isinstance(diagnosis, tv.Diagnosis)
    assert isinstance(diagnosis.policies[0], PolicyNegatives)

    write_action_clips(tmp_path / "UCF101")
    evaluate, compare, compare_seeds = python_blocks("docs/guide/evaluate.md")
    result = execute(evaluate)["result"]
    assert isinstance(result, tv.Evaluation)
    assert result.chance == {"accuracy": 0.5}
    for name in ("a", "b", "u0", "u1", "h0", "h1"):
        shutil.copytree("results", Path("runs") / name / "evaluations")
    comparison = execute(compare, tv=tv)["comparison"]
    assert isinstance(comparison, tv.Comparison)
    assert comparison.paired.difference == 0
    execute(compare_seeds, tv=tv)


def test_the_losses_take_plain_tensors() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 4, 8, generator=generator)
    video, audio = torch.nn.functional.normalize(values, dim=2)
    names: dict[str, object] = {
        "video": video,
        "audio": audio,
        "pair_labels": torch.eye(4, dtype=torch.int8),
        "valid": torch.ones(4, dtype=torch.bool),
        "title": torch.tensor([0, 0, 1, 1]),
        "item": torch.tensor([0, 1, 2, 2]),
        "start_seconds": torch.tensor([0.0, 1.0, 2.0, 30.0]),
    }
    plain, bank, gathered = python_blocks("docs/how_it_works/losses.md")
    names = execute(plain, **names)
    expected = names["value"]
    names["loss"] = tv.losses.MemoryBank(embedding_dim=8)
    names = execute(bank, **names)
    keys = names["keys"]
    assert isinstance(keys, torch.Tensor)
    assert keys.shape == (4, 3)
    assert execute(gathered, **names)["value"] == expected
