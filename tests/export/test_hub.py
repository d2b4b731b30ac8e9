"""A folder for the hub gives the embeddings of the run, and its card states the run's facts."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import torch
from PIL import Image

from tests.media_files import write_film
from tests.prepared import FILMS, tiny_config
from tests.test_readme import execute, python_blocks
from toomuchtv import PretrainedEncoder, TwoTower, export_hub, load
from toomuchtv.errors import CheckpointError
from toomuchtv.evaluation.result import find_results
from toomuchtv.training.pretrain import pretrain

FILES = {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"}


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_hub(run, tmp_path_factory.mktemp("hub") / "model-a")


def random_clips(num_clips: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    video = torch.randint(0, 256, (num_clips, 2, 20, 30, 3), dtype=torch.uint8, generator=generator)
    return video, torch.rand(num_clips, 4000, generator=generator) - 0.5


def test_both_ways_to_load_give_the_embeddings_of_the_run(run: Path, exported: Path) -> None:
    assert {path.name for path in exported.iterdir()} == FILES
    video, waveform = random_clips()
    expected, loaded = load(run), load(exported)
    assert loaded.config == expected.config
    assert torch.equal(loaded.embed_video(video), expected.embed_video(video))
    assert torch.equal(loaded.embed_audio(waveform), expected.embed_audio(waveform))
    module = TwoTower.from_pretrained(exported)
    assert not module.training
    pixels, log_mel = torch.randn(3, 3, 2, 16, 16), expected.log_mel(waveform)
    with torch.inference_mode():
        for found, wanted in zip(
            module(pixels, log_mel), expected.model(pixels, log_mel), strict=True
        ):
            assert torch.equal(found, wanted)


def test_loading_in_a_fresh_process_imports_nothing_of_training(run: Path, exported: Path) -> None:
    code = (
        "import json, sys, torch, toomuchtv\n"
        "torch.set_num_threads(1)\n"
        "encoder = toomuchtv.load(sys.argv[1])\n"
        "toomuchtv.TwoTower.from_pretrained(sys.argv[1])\n"
        "waveform = torch.linspace(-1, 1, 4000)\n"
        "print(json.dumps([encoder.embed_audio(waveform).tolist(), list(sys.modules)]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(exported)], stdout=subprocess.PIPE, check=True
    )
    vector, modules = json.loads(done.stdout)
    assert vector == load(run).embed_audio(torch.linspace(-1, 1, 4000)).tolist()
    ours = {name for name in modules if name.startswith("toomuchtv.")}
    assert "toomuchtv.inference.pretrained" in ours
    assert not {name for name in ours if name.split(".")[1] in {"training", "losses", "export"}}


def contract(exported: Path) -> dict[str, Any]:
    content = json.loads((exported / "preprocessor_config.json").read_text())
    assert isinstance(content, dict)
    return content


def test_the_spectrogram_can_be_made_from_the_contract_alone(exported: Path) -> None:
    audio = contract(exported)["audio"]
    mel = audio["log_mel"]
    _, waveform = random_clips(1)
    assert waveform.shape[1] == audio["num_samples"]
    power = librosa.feature.melspectrogram(
        y=waveform[0].numpy(), sr=audio["sampling_rate_hz"], n_fft=mel["num_fft"],
        hop_length=mel["hop_samples"], win_length=mel["window_samples"], window="hann",
        center=mel["centered_frames"], pad_mode="constant", power=2.0, n_mels=mel["num_bands"],
        fmin=mel["low_hz"], fmax=mel["high_hz"], htk=False, norm=mel["mel_norm"],
    )  # fmt: skip
    expected = (np.log(power + mel["offset"]) - mel["mean"]) / mel["std"]
    found = load(exported).log_mel(waveform)
    assert found.shape == (1, 1, mel["num_bands"], mel["num_frames"])
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-4)


def test_the_pixels_can_be_made_from_the_contract_alone(exported: Path) -> None:
    video = contract(exported)["video"]
    frames, _ = random_clips(1)
    height, width = frames.shape[2:4]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    size = (video["size"]["width"], video["size"]["height"])
    prepared = []
    for frame in frames[0].numpy():
        # One color at a time, as floats: Pillow rounds the colors of an image of bytes.
        planes = [Image.fromarray(plane) for plane in frame.astype(np.float32).transpose(2, 0, 1)]
        squares = [plane.crop((left, top, left + side, top + side)) for plane in planes]
        resized = [np.asarray(one.resize(size, Image.Resampling.BILINEAR)) for one in squares]
        scaled = np.stack(resized, axis=2) * video["rescale_factor"]
        prepared.append((scaled - video["image_mean"]) / video["image_std"])
    pixels = torch.tensor(np.stack(prepared), dtype=torch.float32).permute(3, 0, 1, 2)
    model = load(exported).model
    with torch.inference_mode():
        expected = model.video_head(model.video_encoder(pixels[None]))
    torch.testing.assert_close(load(exported).embed_video(frames), expected, atol=1e-4, rtol=0)


def test_the_first_sample_of_the_contract_is_that_of_a_clip(exported: Path) -> None:
    audio, clip = contract(exported)["audio"], load(exported).config.clip
    offset = audio["start_seconds_after_first_frame"]
    assert clip.audio_start_sample(3.0) == round((3.0 + offset) * audio["sampling_rate_hz"])


def card_tables(card: str) -> dict[str, list[list[str]]]:
    """Return the rows of the first table under each heading of a card."""
    tables: dict[str, list[list[str]]] = {}
    for heading, body in re.findall(r"^#+ (.*?)\n(.*?)(?=^#|\Z)", card, re.MULTILINE | re.DOTALL):
        lines = re.findall(r"^\| (.*) \|$", body, re.MULTILINE)
        tables[heading] = [line.split(" | ") for line in lines]
    return tables


def test_the_card_states_the_facts_of_the_run(run: Path, exported: Path) -> None:
    card = (exported / "README.md").read_text()
    tables = card_tables(card)
    split = json.loads((run / "split.json").read_text())
    rows = {row[0]: row[1:] for row in tables["Data"]}
    seconds = {name.split("/")[0].split(" (")[0]: 0.0 for name in FILMS}
    for name, duration in FILMS.items():
        seconds[name.split("/")[0].split(" (")[0]] += duration
    for side, row in (("train", rows["trained on"]), ("held_out", rows["held out"])):
        titles = split[side]
        assert sum(int(number) for number in re.findall(r"\d+", row[0])) == len(titles)
        assert int(row[1]) == sum(len(title["files"]) for title in titles)
        hours = sum(seconds[title["name"]] for title in titles) / 3600
        assert float(row[2]) == pytest.approx(hours, rel=0.01)
    config = tiny_config()
    training = dict(tables["Training"])
    assert training["steps"] == str(config.training.steps)
    assert training["clips per step"] == str(config.sampling.batch_size)
    assert "hierarchical: 3 titles x 1 items x 2 clips" in training["sampling policy"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (held_out,) = [line["held_out_loss"] for line in lines if "held_out_loss" in line][-1:]
    assert float(training["loss on held-out titles"]) == pytest.approx(held_out, rel=1e-3)


def test_the_card_has_every_result_with_its_interval(run: Path, exported: Path) -> None:
    card = (exported / "README.md").read_text()
    rows = card_tables(card)["retrieval, protocol retrieval"]
    found = {tuple(row[:3]): row[3:] for row in rows}
    ((_, result),) = find_results(run)
    figures = result.metrics["train"]["all"]["video_to_audio"]
    value, interval, chance = found["train, all", "video to audio", "R@1"]
    assert float(value) == pytest.approx(figures["recall_at_1"], rel=0.01)
    low, high = (float(bound) for bound in interval.split(" to "))
    assert (low, high) == pytest.approx(figures["interval"]["recall_at_1"], rel=0.01)
    expected = result.chance["train"]["all"]["video_to_audio"]["recall_at_1"]
    assert float(chance) == pytest.approx(expected, rel=0.01)


def test_results_of_other_weights_are_left_out(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (file,) = copy.glob("evaluations/*/result.json")
    result = json.loads(file.read_text())
    result["identity"]["encoder_fingerprint"] = "0" * 64
    file.write_text(json.dumps(result))
    card = (export_hub(copy, tmp_path / "out") / "README.md").read_text()
    assert not [heading for heading in card_tables(card) if heading.startswith("retrieval")]


def test_names_of_titles_are_in_the_card_only_on_request(run: Path, tmp_path: Path) -> None:
    names = {name.split("/")[0].split(" (")[0] for name in FILMS}
    card = (export_hub(run, tmp_path / "without") / "README.md").read_text()
    assert not [name for name in names if name in card]
    card = (export_hub(run, tmp_path / "with", list_titles=True) / "README.md").read_text()
    assert all(name in card for name in names)


def test_no_file_names_a_place_or_host_of_this_machine(
    run: Path, exported: Path, prepared_catalog: Path
) -> None:
    private = [str(run.parent), str(prepared_catalog.parent), str(Path.home()), platform.node()]
    for path in exported.iterdir():
        if path.suffix == ".safetensors":
            length = int.from_bytes(path.read_bytes()[:8], "little")
            content = path.read_bytes()[8 : 8 + length].decode()
        else:
            content = path.read_text()
        for text in private:
            assert not re.search(rf"(?<!\w){re.escape(text)}(?!\w)", content)


def test_the_card_names_published_weights_and_not_their_place(
    prepared_catalog: Path, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    place = tmp_path / "others" / "ast"
    published = transformers.ASTConfig(
        num_mel_bins=48, max_length=32, hidden_size=64, num_hidden_layers=4,
        num_attention_heads=2, intermediate_size=256,
    )  # fmt: skip
    transformers.ASTModel(published).save_pretrained(place)
    audio = {
        "name": "vit", "size": "micro", "positions": "table", "position_grid": (4, 2),
        "prefix_tokens": 2, "stride_bands": 10, "stride_frames": 10, "init": str(place),
    }  # fmt: skip
    run = tmp_path / "run"
    pretrain(prepared_catalog, run, tiny_config(model={"audio": audio}))
    out = export_hub(run, tmp_path / "out")
    for path in out.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
    card = (out / "README.md").read_text()
    assert "The audio encoder started from the published weights ast." in card
    assert "The video encoder started from" not in card
    assert "random weights" not in card
    waveforms = torch.zeros(2, 4000)
    assert torch.equal(load(out).embed_audio(waveforms), load(run).embed_audio(waveforms))


def test_the_code_of_the_card_runs_as_it_is_printed(
    exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(exported, tmp_path / "model-a")
    write_film(tmp_path / "film.mkv", seconds=2.0)
    blocks = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.DOTALL)
    files, tensors = (execute(block) for block in blocks)
    expected = load(exported).embed_video("film.mkv", start_seconds=1.0)
    video, embeddings = files["video"], tensors["embeddings"]
    assert isinstance(video, torch.Tensor)
    assert torch.equal(video, expected)
    assert isinstance(embeddings, tuple)
    assert embeddings[0].shape == embeddings[1].shape == (1, 8)


def test_the_code_of_the_guide_runs_as_it_is_printed(
    exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "first-hub").symlink_to(exported)
    write_film(tmp_path / "film.mkv", seconds=2.0)
    names = execute(python_blocks("docs/guide/export.md")[0])
    encoder, model = names["encoder"], names["model"]
    assert isinstance(encoder, PretrainedEncoder)
    assert isinstance(model, TwoTower)
    for name, value in encoder.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_a_folder_with_files_is_refused_and_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("mine", "file"):
        with pytest.raises(ValueError, match=name):
            export_hub(run, tmp_path / name)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "file"}
    (tmp_path / "empty").mkdir()
    assert {path.name for path in export_hub(run, tmp_path / "empty").iterdir()} == FILES


def test_a_full_disk_leaves_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("toomuchtv.export.hub.write_text", write)
    with pytest.raises(OSError, match="No space"):
        export_hub(run, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model", "remove"),
        ("config.toml", "remove"),
        ("config.toml", "edit"),
        ("run.json", "remove"),
        ("split.json", "edit"),
        ("snapshot.json", "edit"),
        ("model/model.safetensors", "edit"),
        ("model/config.json", "edit"),
    ],
)
def test_a_damaged_or_unfinished_run_is_refused(
    run: Path, tmp_path: Path, name: str, damage: str
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    path = copy / name
    if damage == "edit":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(CheckpointError):
        export_hub(copy, tmp_path / "out")
    assert {one.name for one in tmp_path.iterdir()} == {"run"}


def test_the_verb_reports_what_it_wrote(run: Path, tmp_path: Path) -> None:
    def export(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "toomuchtv", "export", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    out = str(tmp_path / "out")
    done = export(str(run), "--to", "hub", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"folder": out, "to": "hub", "files": sorted(FILES)}
    again = export(str(run), "--to", "hub", "--out", out)
    assert again.returncode == 2
    assert out in again.stderr
