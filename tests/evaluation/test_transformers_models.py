"""Encoders from folders of `transformers`, against the library's own processors and models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from toomuchtv.evaluation.encoders import Encoder, choose_encoder
from toomuchtv.evaluation.encoders.transformers_inputs import FrameTransform
from toomuchtv.evaluation.encoders.transformers_towers import Clap
from toomuchtv.evaluation.errors import EncoderError

transformers: Any = pytest.importorskip("transformers")

NOISE = torch.from_numpy(
    np.random.default_rng(0).uniform(-0.5, 0.5, (3, 16_000)).astype(np.float32)
)
FILM = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (2, 5, 16, 24, 3), np.uint8))
TEXTS = [
    "a dog", "", "x" * 100_000, "🎬🎥 two", "\u202eשלום עולם",
    "\x00\x07\x1b[31m\r\n", "\ud83c", " \u200b",
]  # fmt: skip
VALID_TEXTS = [text.encode("utf-8", "replace").decode() for text in TEXTS]
TOWER = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
}  # fmt: skip
CLIP_PIXELS = {
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711), "resample": 3,
}  # fmt: skip


def byte_tokens() -> list[str]:
    """The 256 bytes as byte-level tokenizers write them."""
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def clip_tokenizer() -> Any:
    """CLIP's tokenizer without merges: a token for each byte."""
    letters = byte_tokens()
    words = [*letters, *(one + "</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(
        vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=12
    )


def save_clip(folder: Path) -> Any:
    """Save a tiny random CLIP with its tokenizer, and return the model."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    text = {
        "vocab_size": len(tokenizer), "max_position_embeddings": 12,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    config = transformers.CLIPConfig(
        text_config={**TOWER, **text},
        vision_config={**TOWER, "image_size": 32, "patch_size": 16},
        projection_dim=8,
    )
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    settings = {
        "size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32},
        "do_center_crop": True, **CLIP_PIXELS,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return model


def load(folder: Path) -> Encoder:
    return choose_encoder(str(folder))


def pooled(given: Any) -> Tensor:
    found = given if isinstance(given, Tensor) else given.pooler_output
    assert isinstance(found, Tensor)
    return functional.normalize(found, dim=1)


def processor(name: str, **settings: object) -> Any:
    """The library's own image processor, which computes with Pillow."""
    made = getattr(transformers, f"{name}ImageProcessorPil", None)
    return (made or getattr(transformers, f"{name}ImageProcessor"))(**settings)


SQUARE = {"size": {"height": 32, "width": 32}}
CROPPED = {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}


@pytest.mark.parametrize("shape", [(32, 32), (40, 40), (90, 61), (17, 50), (200, 333)])
@pytest.mark.parametrize(
    ("name", "settings"), [("CLIP", CROPPED), ("Siglip", SQUARE), ("VideoMAE", CROPPED)]
)
def test_frames_are_prepared_as_by_the_librarys_processors(
    name: str, settings: dict[str, Any], shape: tuple[int, int]
) -> None:
    theirs = processor(name, **settings)
    rng = np.random.default_rng(2)
    frames = rng.integers(0, 256, (3, *shape, 3), np.uint8)
    frames[1:, :, : shape[1] // 2] = (0, 255, 128)  # an edge, at which bicubic weights overshoot
    ours = FrameTransform.from_settings(theirs.to_dict(), {})(torch.from_numpy(frames)).numpy()
    expected = np.stack(theirs([*frames], return_tensors="np")["pixel_values"]).reshape(ours.shape)
    levels = np.abs(ours - expected) * np.array(theirs.image_std)[:, None, None] * 255
    assert levels.max() < 1.01  # where weights of fixed point round the other way
    assert levels.mean() < 0.25
    assert ours.shape == (3, 3, 32, 32)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("clip")
    return folder, save_clip(folder)


def test_clip_embeds_frames_and_texts_as_the_library_does(clip: tuple[Path, Any]) -> None:
    folder, model = clip
    encoder = load(folder)
    assert encoder.video is not None
    assert encoder.text is not None
    assert encoder.audio is None
    assert not encoder.shares_space
    assert encoder.text.modalities == ("video",)
    wanted = encoder.video.input
    assert (wanted.frames, wanted.frame_rate, wanted.size) == (4, 2.0, 32)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    rng = np.random.default_rng(4)
    video = torch.from_numpy(rng.integers(0, 256, (3, 4, 32, 32, 3), np.uint8))
    theirs = processor("CLIP", **settings)
    with torch.inference_mode():
        frames = [
            pooled(model.get_image_features(**theirs([*clip.numpy()], return_tensors="pt")))
            for clip in video
        ]
        words = [
            model.get_text_features(
                **clip_tokenizer()(text, truncation=True, max_length=12, return_tensors="pt")
            )
            for text in VALID_TEXTS
        ]
    means = torch.stack([one.mean(dim=0) for one in frames])
    torch.testing.assert_close(encoder.video.tokens(video), torch.stack(frames))
    torch.testing.assert_close(encoder.video.features(video), means)
    torch.testing.assert_close(encoder.video.embed(video), functional.normalize(means, dim=1))
    found = encoder.text.embed(TEXTS, "video")
    torch.testing.assert_close(found, torch.cat([pooled(one) for one in words]))
    torch.testing.assert_close(encoder.text.embed(TEXTS * 9, "video"), found.repeat(9, 1))
    assert torch.cdist(found[:4], found[:4]).add(torch.eye(4)).min() > 1e-3


def test_the_fingerprint_covers_weights_settings_and_texts(
    clip: tuple[Path, Any], tmp_path: Path
) -> None:
    folder, model = clip
    found = [load(folder).fingerprint]

    def changed(name: str, old: str, new: str) -> None:
        text = (folder / name).read_text("utf-8")
        assert old in text
        copy = Path(shutil.copytree(folder, tmp_path / str(len(found))))
        (copy / name).write_text(text.replace(old, new, 1), "utf-8")
        found.append(load(copy).fingerprint)

    assert load(Path(shutil.copytree(folder, tmp_path / "copy"))).fingerprint == found[0]
    changed("preprocessor_config.json", "0.4814", "0.4815")
    changed("tokenizer.json", '"Lowercase"', '"NFKC"')
    changed("config.json", "quick_gelu", "gelu")
    copy = Path(shutil.copytree(folder, tmp_path / "weights"))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state["text_projection.weight"][0, 0] += 1
    model.save_pretrained(copy, state_dict=state)
    found.append(load(copy).fingerprint)
    assert len(set(found)) == len(found)


def test_transformers_models_load_from_a_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16,
    }  # fmt: skip
    video = transformers.VideoMAEConfig(image_size=32, patch_size=16, num_frames=4, **sizes)
    transformers.VideoMAEModel(video).save_pretrained(tmp_path / "videomae")
    encoder = choose_encoder(f"transformers:{tmp_path / 'videomae'}")
    assert encoder.video is not None
    assert encoder.video.input.frames == 4
    assert encoder.video.features(FILM[:, :4]).shape == (2, 16)
    with pytest.raises(EncoderError, match="takes 4 frames"):
        encoder.video.features(FILM)
    audio = transformers.ASTConfig(max_length=100, num_mel_bins=32, patch_size=16, **sizes)
    transformers.ASTModel(audio).save_pretrained(tmp_path / "ast")
    audio_encoder = choose_encoder(f"transformers:{tmp_path / 'ast'}")
    assert audio_encoder.audio is not None
    assert audio_encoder.audio.features(NOISE).shape == (3, 16)
    with pytest.raises(EncoderError, match=r"config\.json"):
        choose_encoder(f"transformers:{tmp_path}")


@pytest.mark.parametrize("fused", [False, True])
def test_the_input_of_clap_equals_that_of_the_librarys_extractor(
    fused: bool, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    tower = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.ClapConfig(
        text_config={**tower, "intermediate_size": 16, "vocab_size": 50},
        audio_config={
            "hidden_size": 32, "patch_embeds_hidden_size": 16, "depths": [1, 1],
            "num_attention_heads": [2, 2], "num_hidden_layers": 2, "enable_fusion": fused,
        },
        projection_dim=8,
    )  # fmt: skip
    model = transformers.ClapModel(config).eval()
    model.save_pretrained(tmp_path)
    encoder = choose_encoder(f"transformers:{tmp_path}").audio
    assert isinstance(encoder, Clap)
    assert (encoder.input.seconds, encoder.input.sample_rate_hz) == (10.0, 48_000)
    rng = np.random.default_rng(2)
    # Full length; a length that fits three times with zeros after it; a length that fits exactly.
    for samples in (480_000, 151_000, 96_000):
        waveform = rng.normal(0, 0.2, (2, samples)).astype(np.float32)
        waveform[1] *= np.sin(np.arange(samples) / 9_000).astype(np.float32)
        theirs = transformers.ClapFeatureExtractor(
            frequency_min=50, truncation="fusion" if fused else "rand_trunc"
        )(list(waveform), sampling_rate=48_000, return_tensors="pt")
        mel = encoder.log_mel(torch.from_numpy(waveform))
        torch.testing.assert_close(mel, theirs.input_features.float(), rtol=1e-4, atol=1e-2)
        with torch.inference_mode():
            given = model.get_audio_features(
                input_features=theirs.input_features.float(),
                is_longer=torch.zeros_like(theirs.is_longer),
            )
        expected = given if isinstance(given, Tensor) else given.pooler_output
        found = encoder.features(torch.from_numpy(waveform))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(found, encoder.features(torch.from_numpy(waveform)))
    with pytest.raises(EncoderError, match="at most 480000 samples"):
        encoder.features(torch.zeros(1, 480_001))


def test_clap_uses_the_settings_saved_beside_its_weights(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    saved = transformers.ClapFeatureExtractor(
        frequency_min=300, truncation="rand_trunc", max_length_s=5
    )
    clap = Clap(nn.Identity(), saved)
    waveform = np.random.default_rng(3).normal(0, 0.1, (1, 240_000)).astype(np.float32)
    theirs = saved(list(waveform), sampling_rate=48_000, return_tensors="pt").input_features
    mel = clap.log_mel(torch.from_numpy(waveform))
    torch.testing.assert_close(mel, theirs.float(), rtol=1e-4, atol=1e-2)
