"""Trained encoders give the same embeddings after saving, for tensors, clips and files."""

from __future__ import annotations

import errno
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.media_files import write_film
from toomuchtv.data.clip_transform import TransformConfig
from toomuchtv.errors import CheckpointError, MediaError
from toomuchtv.inference.pretrained import PretrainedConfig, PretrainedEncoder, load
from toomuchtv.media.clip import ClipFormat
from toomuchtv.media.clip_reader import read_clip
from toomuchtv.models import AudioEncoderConfig, ModelConfig, TwoTower, VideoEncoderConfig

CONFIG = PretrainedConfig(
    clip=ClipFormat(frames=4, frame_rate=8.0, audio_seconds=0.5),
    transform=TransformConfig(size=32),
    model=ModelConfig(
        video=VideoEncoderConfig(depth=10, width=0.125),
        audio=AudioEncoderConfig(depth=9, width=0.125),
        embedding_dim=16,
    ),
)


@pytest.fixture
def pretrained() -> PretrainedEncoder:
    """Return encoders whose batch norms have other statistics than initial ones."""
    model = TwoTower.from_config(CONFIG.model, seed=3)
    generator = torch.Generator().manual_seed(0)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.mul_(0.5 + torch.rand(buffer.shape, generator=generator))
    return PretrainedEncoder(model, CONFIG)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("film") / "film.mp4", seconds=3.0)


def random_clips(num_clips: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    video = torch.randint(0, 256, (num_clips, 4, 40, 50, 3), dtype=torch.uint8, generator=generator)
    return video, torch.rand(num_clips, 8000, generator=generator) - 0.5


def test_loaded_encoders_give_identical_embeddings(
    pretrained: PretrainedEncoder, tmp_path: Path
) -> None:
    pretrained.save(tmp_path / "run" / "model")
    names = {path.name for path in (tmp_path / "run" / "model").iterdir()}
    assert names == {"config.json", "model.safetensors"}
    video, waveform = random_clips()
    for folder in (tmp_path / "run", tmp_path / "run" / "model", str(tmp_path / "run")):
        loaded = load(folder)
        assert loaded.config == CONFIG
        assert torch.equal(loaded.embed_video(video), pretrained.embed_video(video))
        assert torch.equal(loaded.embed_audio(waveform), pretrained.embed_audio(waveform))
        assert torch.equal(loaded.video_features(video), pretrained.video_features(video))
        assert torch.equal(loaded.audio_features(waveform), pretrained.audio_features(waveform))


def test_file_and_its_decoded_clip_give_identical_embeddings(
    pretrained: PretrainedEncoder, film: Path
) -> None:
    clip = read_clip(
        film, start_seconds=1.25, frames=4, frame_rate=8.0, audio_seconds=0.5, sample_rate_hz=16_000
    )
    video = pretrained.embed_video(film, start_seconds=1.25)
    audio = pretrained.embed_audio(str(film), start_seconds=1.25)
    assert video.shape == audio.shape == (16,)
    assert torch.equal(video, pretrained.embed_video(torch.from_numpy(clip.video)))
    assert torch.equal(audio, pretrained.embed_audio(torch.from_numpy(clip.waveform)))
    assert not torch.equal(video, pretrained.embed_video(film, start_seconds=0.5))


def test_embeddings_are_unit_vectors(pretrained: PretrainedEncoder) -> None:
    video, waveform = random_clips()
    for vectors in (pretrained.embed_video(video), pretrained.embed_audio(waveform)):
        assert vectors.dtype == torch.float32
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3), rtol=1e-6, atol=1e-6)
    assert pretrained.embed_video(video[0]).shape == (16,)
    assert pretrained.embed_audio(waveform[0]).shape == (16,)
    assert pretrained.video_features(video).shape == (3, 64)
    assert pretrained.audio_features(waveform).shape == (3, 64)


def test_embedding_depends_on_neither_batch_nor_training_mode(
    pretrained: PretrainedEncoder,
) -> None:
    video, waveform = random_clips()
    together = pretrained.embed_video(video)
    torch.testing.assert_close(together[1], pretrained.embed_video(video[1]), rtol=1e-4, atol=1e-5)
    before = {name: value.clone() for name, value in pretrained.model.state_dict().items()}
    pretrained.model.train()
    assert torch.equal(pretrained.embed_video(video), together)
    pretrained.embed_planes(torch.zeros(2, 4, 48, 32, dtype=torch.uint8), waveform[:2])
    assert pretrained.model.training
    for name, value in pretrained.model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_planes_and_rgb_give_equal_embeddings(pretrained: PretrainedEncoder) -> None:
    """Mid-gray in limited-range planes is mid-gray in RGB."""
    planes = torch.full((1, 4, 48, 32), 128, dtype=torch.uint8)
    planes[:, :, :32] = 16 + round(128 / 255 * 219)
    video, _ = pretrained.embed_planes(planes, torch.zeros(1, 8000))
    gray = torch.full((1, 4, 32, 32, 3), 128, dtype=torch.uint8)
    torch.testing.assert_close(video, pretrained.embed_video(gray), rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    "video",
    [
        torch.zeros(4, 32, 32, 3),
        torch.zeros(32, 32, 3, dtype=torch.uint8),
        torch.zeros(2, 4, 3, 32, 32, dtype=torch.uint8),
    ],
)
def test_video_of_other_shapes_or_types_is_rejected(
    pretrained: PretrainedEncoder, video: torch.Tensor
) -> None:
    with pytest.raises(ValueError, match=r"expected .* got"):
        pretrained.embed_video(video)


@pytest.mark.parametrize(
    "waveform", [torch.zeros(8000, dtype=torch.float64), torch.zeros(1, 1, 8000)]
)
def test_audio_of_other_shapes_or_types_is_rejected(
    pretrained: PretrainedEncoder, waveform: torch.Tensor
) -> None:
    with pytest.raises(ValueError, match=r"expected torch.float32 waveform \[N, S\], .* got"):
        pretrained.embed_audio(waveform)


def test_untrained_weights_depend_only_on_the_seed(
    pretrained: PretrainedEncoder, tmp_path: Path
) -> None:
    pretrained.save(tmp_path)
    video, _ = random_clips()
    state = torch.random.get_rng_state()
    vectors = [load(tmp_path, untrained=True, seed=seed).embed_video(video) for seed in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.equal(vectors[0], vectors[2])
    assert not torch.equal(vectors[0], load(tmp_path).embed_video(video))


def test_error_names_the_file_that_cannot_be_loaded(
    pretrained: PretrainedEncoder, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="no model in"):
        load(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="no model in"):
        load(tmp_path / "file")
    pretrained.save(tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors' is damaged"):
        load(tmp_path / "cut")
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"cannot read .*model\.safetensors"):
        load(tmp_path / "cut")
    pretrained.save(tmp_path / "text")
    config = tmp_path / "text" / "config.json"
    text = config.read_text()
    config.write_text(text.replace('"format": 1', '"format": 2'))
    with pytest.raises(CheckpointError, match=r"(?s)config.json' is damaged .*format"):
        load(tmp_path / "text")
    config.write_text(text[:30])
    with pytest.raises(CheckpointError, match=r"config.json' is damaged"):
        load(tmp_path / "text")
    config.write_text(text.replace('"depth": 10', '"depth": 18'))
    with pytest.raises(CheckpointError, match=r"model\.safetensors' is damaged"):
        load(tmp_path / "text")
    # Weights of an older version, which have no checksum, must fit too.
    weights = tmp_path / "text" / "model.safetensors"
    save_file(load_file(weights), weights)
    with pytest.raises(CheckpointError, match=r"do not fit config\.json"):
        load(tmp_path / "text")
    config.write_text(text)
    assert load(tmp_path / "text").config == CONFIG


def test_no_flipped_bit_goes_unnoticed(pretrained: PretrainedEncoder, tmp_path: Path) -> None:
    pretrained.save(tmp_path)
    audio = pretrained.embed_audio(torch.ones(8000))
    rng = np.random.default_rng(0)
    for name in ("model.safetensors", "config.json"):
        whole = (tmp_path / name).read_bytes()
        header = 8 + int.from_bytes(whole[:8], "little") if "model" in name else 0
        places = [*rng.integers(0, len(whole), 30), *rng.integers(0, header + 1, 30)]
        for place in places:
            content = bytearray(whole)
            content[place] ^= 1 << int(rng.integers(8))
            (tmp_path / name).write_bytes(content)
            try:
                loaded = load(tmp_path)
            except CheckpointError:
                continue
            # The name of the checksum itself was hit. The weights are as they were.
            assert torch.equal(loaded.embed_audio(torch.ones(8000)), audio)
            assert b'"sha256"' not in content
        (tmp_path / name).write_bytes(whole)
    load(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(
    pretrained: PretrainedEncoder, tmp_path: Path, value: float
) -> None:
    with torch.no_grad():
        pretrained.model.audio_head.out.bias[3] = value
    pretrained.save(tmp_path)
    with pytest.raises(CheckpointError, match=r"audio_head\.out\.bias"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("", "[" * 100_000),
        ("", '{"a":' * 100_000),
        ("num_bands", "1000000"),
        ("num_fft", "1000000000"),
        ("window_samples", "1000000000"),
        ("hop_samples", "0"),
        ("frames", "1000000000"),
        ("size", "1000000000"),
        ("embedding_dim", "1000000000"),
        ("width", "1e9"),
        ("mean", "NaN"),
        ("audio_seconds", "Infinity"),
        ("sample_rate_hz", "9" * 5000),
    ],
)
def test_absurd_numbers_are_refused_at_once(
    pretrained: PretrainedEncoder, tmp_path: Path, key: str, value: str
) -> None:
    pretrained.save(tmp_path)
    text = (tmp_path / "config.json").read_text()
    changed = re.sub(rf'("{key}": )[^,\n]+', rf"\g<1>{value}", text) if key else value
    assert changed != text
    (tmp_path / "config.json").write_text(changed)
    for untrained in (False, True):
        begun = time.monotonic()
        with pytest.raises(CheckpointError, match=r"config\.json"):
            load(tmp_path, untrained=untrained)
        assert time.monotonic() - begun < 5


def test_a_model_is_readable_for_those_who_may_read_the_folder(
    pretrained: PretrainedEncoder, tmp_path: Path
) -> None:
    before = os.umask(0o027)
    try:
        pretrained.save(tmp_path)
    finally:
        os.umask(before)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o640


def test_a_model_that_may_not_be_read_is_not_called_missing(
    pretrained: PretrainedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrained.save(tmp_path / "model")
    original = Path.read_bytes
    for name in ("model.safetensors", "config.json"):
        for code in (errno.EACCES, errno.EIO, errno.ESTALE):

            def read(path: Path, name: str = name, code: int = code) -> bytes:
                if path.name == name:
                    raise OSError(code, os.strerror(code), str(path))
                return original(path)

            monkeypatch.setattr(Path, "read_bytes", read)
            with pytest.raises(CheckpointError, match=f"{name}.*{os.strerror(code)}"):
                load(tmp_path)


def test_error_names_the_file_that_is_no_film(
    pretrained: PretrainedEncoder, tmp_path: Path
) -> None:
    (tmp_path / "notes.mp4").write_bytes(np.arange(64, dtype=np.uint8).tobytes())
    with pytest.raises(MediaError, match=r"notes.mp4"):
        pretrained.embed_video(tmp_path / "notes.mp4")
