"""Encoders from folders of `transformers`, against the library's own processors and models."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from tests.test_readme import execute, python_blocks
from toomuchtv.evaluation.encoders import Encoder, choose_encoder
from toomuchtv.evaluation.encoders.transformers_inputs import FrameTransform
from toomuchtv.evaluation.encoders.transformers_towers import Clap
from toomuchtv.evaluation.errors import EncoderError
from toomuchtv.inference.pretrained import PretrainedConfig, PretrainedEncoder
from toomuchtv.models import AudioEncoderConfig, ModelConfig, TwoTower, VideoEncoderConfig

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


def byte_tokenizer() -> Any:
    """A tokenizer with a token for each byte, after lowercase: `<s>`, the bytes, `</s>`."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = ["<s>", "<pad>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[]))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", pad_token="<pad>", eos_token="</s>"
    )


TEXT_TOWER = {
    **TOWER, "vocab_size": 259, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def texts_of_library(embed: Callable[..., Any], max_tokens: int, **options: object) -> Tensor:
    """The unit vectors of `TEXTS` by the library's model, one text at a time."""
    rows = []
    for text in VALID_TEXTS:
        tokens = byte_tokenizer()(
            text, truncation=True, max_length=max_tokens, return_tensors="pt", **options
        )
        if options:
            del tokens["attention_mask"]
        tokens.pop("token_type_ids", None)
        with torch.inference_mode():
            rows.append(pooled(embed(**tokens)))
    return torch.cat(rows)


def save_clip(folder: Path) -> Any:
    """Save a tiny random CLIP with its tokenizer, and return the model."""
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config={**TEXT_TOWER, "max_position_embeddings": 12},
        vision_config={**TOWER, "image_size": 32, "patch_size": 16},
        projection_dim=8,
    )
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
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


def test_the_code_of_the_guide_embeds_texts(
    clip: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "clip-vit-base-patch32").symlink_to(clip[0])
    monkeypatch.chdir(tmp_path)
    names = execute(python_blocks("docs/guide/external_encoders.md")[0])
    dogs, cars = names["dogs"], names["cars"]
    assert isinstance(dogs, torch.Tensor)
    assert isinstance(cars, torch.Tensor)
    assert dogs.shape == cars.shape
    assert not torch.equal(dogs, cars)


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
    means = torch.stack([one.mean(dim=0) for one in frames])
    torch.testing.assert_close(encoder.video.tokens(video), torch.stack(frames))
    torch.testing.assert_close(encoder.video.features(video), means)
    torch.testing.assert_close(encoder.video.embed(video), functional.normalize(means, dim=1))
    found = encoder.text.embed(TEXTS, "video")
    torch.testing.assert_close(found, texts_of_library(model.get_text_features, 12))
    torch.testing.assert_close(encoder.text.embed(TEXTS * 9, "video"), found.repeat(9, 1))
    assert (torch.cdist(found[:4], found[:4]) + torch.eye(4)).min() > 1e-3


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


def test_siglip_reads_texts_that_are_padded_to_its_length(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.SiglipConfig(
        text_config={**TEXT_TOWER, "max_position_embeddings": 16, "projection_size": 16},
        vision_config={**TOWER, "image_size": 32, "patch_size": 16},
    )
    model = transformers.SiglipModel(config).eval()
    model.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    encoder = load(tmp_path)
    assert encoder.text is not None
    assert encoder.video is not None
    expected = texts_of_library(model.get_text_features, 16, padding="max_length")
    torch.testing.assert_close(encoder.text.embed(TEXTS, "video"), expected)
    with torch.inference_mode():
        pixels = processor("Siglip", **SQUARE)([FILM[0, 0].numpy()], return_tensors="pt")
        frame = pooled(model.get_image_features(**pixels))
    torch.testing.assert_close(encoder.video.embed(FILM[:1, :1]), frame, atol=0.02, rtol=0)


class Pictures(nn.Module):
    """In place of the picture encoder of PE-AV, which needs the library timm."""

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.project = nn.Linear(3 * 64, num_labels)

    @classmethod
    def from_config(cls, config: Any) -> Pictures:
        return cls(config.num_labels)

    def forward(self, pixels: Tensor) -> Any:
        cells = functional.adaptive_avg_pool2d(pixels, 8).flatten(1)
        return transformers.modeling_outputs.ImageClassifierOutput(logits=self.project(cells))


@pytest.fixture
def pe_av(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Save a tiny random PE-AV with its tokenizer and settings, and return the model."""
    if not hasattr(transformers, "PeAudioVideoModel"):
        pytest.skip("PE-AV is in transformers from version 5.0 on")
    from transformers.models.pe_video import modeling_pe_video

    monkeypatch.setattr(modeling_pe_video, "AutoModelForImageClassification", Pictures)
    torch.manual_seed(0)
    tower = {**TOWER, "head_dim": 8}
    labels = [str(number) for number in range(12)]
    dac = {"encoder_hidden_size": 4, "hidden_size": 32, "downsampling_ratios": [2, 4]}
    vision = {"model_type": "timm_wrapper", "num_classes": 12, "label_names": labels}
    config = transformers.PeAudioVideoConfig(
        text_config={
            **TEXT_TOWER, "hidden_size": 24, "max_position_embeddings": 20, "cls_token_id": 0,
            "sep_token_id": 2, "model_type": "modernbert",
        },
        audio_video_config={
            **tower,
            "audio_config": {**tower, "dac_config": {"model_type": "dac", **dac}},
            "video_config": {**tower, "vision_config": vision},
        },
    )  # fmt: skip
    model = transformers.PeAudioVideoModel(config).eval()
    model.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    pixels = {"size": {"height": 32, "width": 32}, "resample": 2, "num_frames": 3}
    mean = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    processors = {
        "video_processor": {**pixels, **mean},
        "feature_extractor": {"sampling_rate": 400, "hop_length": 8},
    }
    (tmp_path / "processor_config.json").write_text(json.dumps(processors))
    return model


def test_pe_av_embeds_as_the_librarys_forward_does(
    pe_av: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    encoder = load(tmp_path)
    assert not capsys.readouterr().out  # the library prints about its own docstrings
    assert encoder.video is not None
    assert encoder.audio is not None
    assert encoder.text is not None
    assert encoder.shares_space
    assert encoder.text.modalities == ("video", "audio")
    assert (encoder.video.input.frames, encoder.video.input.frame_rate) == (3, 1.5)
    assert (encoder.audio.input.seconds, encoder.audio.input.sample_rate_hz) == (2.0, 400)
    rng = np.random.default_rng(5)
    video = torch.from_numpy(rng.integers(0, 256, (len(TEXTS), 3, 32, 32, 3), np.uint8))
    waveform = rng.uniform(-0.5, 0.5, (len(TEXTS), 797)).astype(np.float32)
    tokens = byte_tokenizer()(
        VALID_TEXTS, padding=True, truncation=True, max_length=20, return_tensors="pt"
    )
    sounds = transformers.PeAudioFeatureExtractor(sampling_rate=400, hop_length=8)
    with torch.inference_mode():
        expected = pe_av(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            pixel_values_videos=video.permute(0, 1, 4, 2, 3) / 127.5 - 1,
            **sounds([*waveform], sampling_rate=400, return_tensors="pt"),
        )
    torch.testing.assert_close(encoder.video.embed(video), expected.video_embeds)
    sound = torch.from_numpy(waveform)
    torch.testing.assert_close(
        encoder.audio.embed(sound), expected.audio_embeds, atol=1e-4, rtol=1e-3
    )
    assert encoder.video.tokens(video).shape == (len(TEXTS), 3, 16)
    assert encoder.audio.tokens(sound).shape == (len(TEXTS), 100, 16)
    of_video = encoder.text.embed(TEXTS, "video")
    torch.testing.assert_close(of_video, functional.normalize(expected.text_video_embeds, dim=1))
    of_audio = encoder.text.embed(TEXTS, "audio")
    torch.testing.assert_close(of_audio, functional.normalize(expected.text_audio_embeds, dim=1))


def test_a_library_without_pe_av_is_refused_with_the_version_that_has_it(
    pe_av: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["transformers"], "PeAudioVideoModel", None)
    with pytest.raises(EncoderError, match=r"transformers>=5\.0"):
        load(tmp_path)


def damage(folder: Path, name: str) -> None:
    """Damage a copy of the folder of CLIP."""
    if name == "pickle":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif name == "other tokenizer":
        tokenizer = byte_tokenizer()
        tokenizer.add_tokens(["dog"])
        tokenizer.save_pretrained(folder)
    elif name == "missing weights":
        path = folder / "model.safetensors"
        state = load_file(path)
        del state["text_projection.weight"]
        save_file(state, path, metadata={"format": "pt"})
    elif name == "no model":
        (folder / "config.json").unlink()
    elif name == "other model":
        (folder / "config.json").write_text('{"model_type": "bert"}')
    elif name == "resampling":
        settings = json.loads((folder / "preprocessor_config.json").read_text())
        (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "resample": 1}))
    else:
        path = folder / name
        path.write_bytes(path.read_bytes()[:100])


def embed_dog(folder: Path) -> None:
    text = load(folder).text
    assert text is not None
    text.embed(["a dog"], "video")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pickle", "safetensors"),
        ("other tokenizer", "tokenizer of another model"),
        ("missing weights", "text_projection"),
        ("no model", "no model in"),
        ("other model", "'bert'.*clip"),
        ("resampling", "resampling"),
        ("tokenizer.json", r"tokenizer\.json"),
        ("model.safetensors", "cannot load the model"),
        ("config.json", r"config\.json"),
        ("preprocessor_config.json", "preprocessor_config"),
    ],
)
def test_incomplete_folders_are_refused_with_a_reason(
    name: str, reason: str, clip: tuple[Path, Any], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(clip[0], tmp_path / "clip"))
    damage(folder, name)
    with pytest.raises(EncoderError, match=reason):
        embed_dog(folder)


def test_a_folder_without_a_tokenizer_has_no_texts(clip: tuple[Path, Any], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(clip[0], tmp_path / "clip"))
    (folder / "tokenizer.json").unlink()
    encoder = load(folder)
    assert encoder.text is None
    assert encoder.video is not None


def test_the_folder_of_a_run_is_an_encoder(tmp_path: Path) -> None:
    config = PretrainedConfig(
        model=ModelConfig(
            video=VideoEncoderConfig(depth=10, width=0.125),
            audio=AudioEncoderConfig(depth=9, width=0.125),
        )
    )
    model = PretrainedEncoder(TwoTower.from_config(config.model, seed=0), config)
    model.save(tmp_path / "run" / "model")
    of_run, of_model = load(tmp_path / "run"), load(tmp_path / "run" / "model")
    assert of_run.fingerprint == of_model.fingerprint
    assert of_run.video is not None
    assert of_run.text is None
    torch.testing.assert_close(of_run.video.embed(FILM), model.embed_video(FILM))
    with pytest.raises(ValueError, match="neither a folder"):
        load(tmp_path / "nothing")


def test_transformers_models_load_from_a_folder(tmp_path: Path) -> None:
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
    torch.manual_seed(0)
    config = transformers.ClapConfig(
        text_config={**TEXT_TOWER, "max_position_embeddings": 14},
        audio_config={
            "hidden_size": 32, "patch_embeds_hidden_size": 16, "depths": [1, 1],
            "num_attention_heads": [2, 2], "num_hidden_layers": 2, "enable_fusion": fused,
        },
        projection_dim=8,
    )  # fmt: skip
    model = transformers.ClapModel(config).eval()
    model.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    loaded = choose_encoder(f"transformers:{tmp_path}")
    encoder, text = loaded.audio, loaded.text
    assert isinstance(encoder, Clap)
    assert text is not None
    assert text.modalities == ("audio",)
    words = texts_of_library(model.get_text_features, 12)  # two positions belong to padding
    torch.testing.assert_close(text.embed(TEXTS, "audio"), words)
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
    saved = transformers.ClapFeatureExtractor(
        frequency_min=300, truncation="rand_trunc", max_length_s=5
    )
    clap = Clap(nn.Identity(), saved)
    waveform = np.random.default_rng(3).normal(0, 0.1, (1, 240_000)).astype(np.float32)
    theirs = saved(list(waveform), sampling_rate=48_000, return_tensors="pt").input_features
    mel = clap.log_mel(torch.from_numpy(waveform))
    torch.testing.assert_close(mel, theirs.float(), rtol=1e-4, atol=1e-2)
