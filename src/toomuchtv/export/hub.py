"""A model folder in the layout of the Hugging Face Hub, with a model card."""

from __future__ import annotations

import json
import os
from pathlib import Path

from toomuchtv._internal.files import creating_folder, write_text
from toomuchtv.export.model_card import CARD_NAME, code_block, model_card, quoted
from toomuchtv.export.preprocessing import PREPROCESSOR_NAME, preprocessor_config
from toomuchtv.export.run_facts import read_run_facts
from toomuchtv.inference.pretrained import PretrainedConfig


def export_hub(
    run: str | os.PathLike[str], out: str | os.PathLike[str], *, list_titles: bool = False
) -> Path:
    """Write a finished run as a folder for the Hugging Face Hub.

    The folder has `config.json` and `model.safetensors`, which `toomuchtv.load` and
    `TwoTower.from_pretrained` read, `preprocessor_config.json` with the numbers that another
    implementation needs, and a model card, `README.md`. Nothing is uploaded.

    Args:
        run: Folder of the run.
        out: Folder to write, which must not exist or be empty. It appears when it is complete.
        list_titles: Whether the card names the titles that the run trained on and held out.

    Returns:
        The folder.

    Raises:
        CheckpointError: There is no finished run, or one of its files was damaged or edited.
        BenchmarkError: A result of an evaluation cannot be read.
        ValueError: `out` is not empty, or the run's config cannot be used by this version.
        OSError: The folder cannot be written.
    """
    out = Path(out)
    with creating_folder(out) as folder:
        facts = read_run_facts(run)
        facts.encoder.save(folder)
        write_preprocessor_config(folder, facts.encoder.config)
        name = out.resolve().name
        use = _use(name, facts.encoder.config)
        card = model_card(name, facts, library="toomuchtv", use=use, list_titles=list_titles)
        write_text(folder / CARD_NAME, card)
    return out


def write_preprocessor_config(folder: Path, config: PretrainedConfig) -> None:
    """Write `preprocessor_config.json`."""
    text = json.dumps(preprocessor_config(config), indent=2)
    write_text(folder / PREPROCESSOR_NAME, text + "\n")


def _use(name: str, config: PretrainedConfig) -> list[str]:
    clip, transform = config.clip, config.transform
    spectrogram = (transform.log_mel.num_bands, transform.log_mel.num_frames(clip.num_samples))
    return [
        "## Use",
        "With the Python package toomuchtv, from media files:",
        code_block(f"""
import toomuchtv as tv

encoder = tv.load({quoted(name)})  # this folder
video = encoder.embed_video("film.mkv", start_seconds=1.0)  # [{config.model.embedding_dim}]
audio = encoder.embed_audio("film.mkv", start_seconds=1.0)  # [{config.model.embedding_dim}]
similarity = float(video @ audio)
"""),
        "As a plain PyTorch module, from tensors that you prepare as described below:",
        code_block(f"""
import torch
from toomuchtv import TwoTower

model = TwoTower.from_pretrained({quoted(name)})  # this folder; in evaluation mode
pixels = torch.zeros(1, 3, {clip.frames}, {transform.size}, {transform.size})  # normalized RGB
log_mel = torch.zeros(1, 1, {spectrogram[0]}, {spectrogram[1]})  # normalized log-mel
with torch.inference_mode():
    embeddings = model(pixels, log_mel)
embeddings.video, embeddings.audio  # [1, {config.model.embedding_dim}] each
"""),
    ]
