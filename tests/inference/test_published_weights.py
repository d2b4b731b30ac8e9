"""Folders of VideoMAE and AST load, and give the tokens that `transformers` gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from toomuchtv.errors import CheckpointError
from toomuchtv.inference.published_weights import audio_vit_of, video_vit_of

transformers: Any = pytest.importorskip("transformers")

SHAPE = {
    "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 256,
}  # fmt: skip


def randomized(model: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for value in model.parameters():
        value.data.copy_(0.2 * torch.randn(value.shape, generator=generator))


@pytest.mark.parametrize("kind", ["VideoMAEModel", "VideoMAEForVideoClassification"])
def test_videomae_gives_the_same_tokens(kind: str, tmp_path: Path) -> None:
    config = transformers.VideoMAEConfig(image_size=48, num_frames=4, **SHAPE)
    theirs = getattr(transformers, kind)(config).eval()
    randomized(theirs)
    theirs.save_pretrained(tmp_path)
    ours = video_vit_of(tmp_path).eval()
    clip = torch.randn(2, 3, 4, 48, 48)
    with torch.no_grad():
        base = getattr(theirs, "videomae", theirs)
        expected = base(pixel_values=clip.transpose(1, 2)).last_hidden_state
        tokens, grid = ours.tokens(clip)
        assert grid == (2, 3, 3)
        torch.testing.assert_close(tokens, expected, rtol=1e-4, atol=1e-4)
        if kind == "VideoMAEForVideoClassification":
            features = theirs.fc_norm(expected.mean(dim=1))
            torch.testing.assert_close(ours(clip), features, rtol=1e-4, atol=1e-4)
        assert ours(torch.randn(1, 3, 8, 32, 64)).shape == (1, 64)  # positions are interpolated


@pytest.mark.parametrize("kind", ["ASTModel", "ASTForAudioClassification"])
def test_ast_gives_the_same_features(kind: str, tmp_path: Path) -> None:
    config = transformers.ASTConfig(num_mel_bins=32, max_length=64, **SHAPE)
    theirs = getattr(transformers, kind)(config).eval()
    randomized(theirs)
    theirs.save_pretrained(tmp_path)
    ours = audio_vit_of(tmp_path).eval()
    spectrogram = torch.randn(2, 1, 32, 64)
    with torch.no_grad():
        base = getattr(theirs, "audio_spectrogram_transformer", theirs)
        expected = base(input_values=spectrogram[:, 0].transpose(1, 2)).pooler_output
        torch.testing.assert_close(ours(spectrogram), expected, rtol=1e-4, atol=1e-4)


def test_wrong_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read"):
        video_vit_of(tmp_path)
    config = transformers.VideoMAEConfig(image_size=32, num_frames=4, **SHAPE)
    transformers.VideoMAEModel(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="type 'videomae'"):
        audio_vit_of(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    for wrong in ({"hidden_size": 60}, {"patch_size": -1}, {"patch_size": 17}):
        (tmp_path / "config.json").write_text(json.dumps(values | wrong))
        with pytest.raises(CheckpointError):
            video_vit_of(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(values))
    state = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: value for name, value in state.items() if "layer.2.output" not in name},
        tmp_path / "model.safetensors",
    )
    with pytest.raises(CheckpointError, match=r"layer\.2"):
        video_vit_of(tmp_path)
