"""Models of the `transformers` library from a local folder.

VideoMAE (Tong et al., NeurIPS 2022), AST (Gong et al., Interspeech 2021), CLIP (Radford et al.,
ICML 2021), SigLIP (Zhai et al., ICCV 2023), CLAP (Wu et al., ICASSP 2023) and PE-AV (Vyas et al.,
arXiv 2512.19687). The folder has `config.json` and `model.safetensors`, as `save_pretrained` writes
them, and for texts the files of a tokenizer. Nothing is downloaded, and no pickled weights are
read. Input is computed here in batches, from the settings in the folder. The spectrogram of AST is
computed by the library's own extractor, which is slow.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from torch import Tensor

from toomuchtv.evaluation.benchmark import Modality
from toomuchtv.evaluation.encoders.interface import (
    AudioEncoder,
    Encoder,
    TextEncoder,
    VideoEncoder,
    state_digest,
)
from toomuchtv.evaluation.encoders.pe_av import (
    PeAvAudio,
    PeAvVideo,
    embed_pe_av_texts,
    pe_av_transform,
)
from toomuchtv.evaluation.encoders.transformers_inputs import (
    FrameTransform,
    TokenizedTexts,
    load_tokenizer,
    read_object,
    read_settings,
)
from toomuchtv.evaluation.encoders.transformers_towers import (
    Ast,
    Clap,
    FrameMean,
    VideoMae,
    device_of,
    pooled,
)
from toomuchtv.evaluation.errors import EncoderError
from toomuchtv.training.device import choose_device

if TYPE_CHECKING:
    from torch import nn

_VERSION = "2"  # of the code here; part of the fingerprints
_OLDEST, _FIRST_VERSIONS = "4.50", {"PeAudioVideoModel": "5.0"}  # of the library
_IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
_CLIP = {
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
}
_HALF = {"image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """The encoders of a folder; see `Encoder`."""

    model: nn.Module
    video: VideoEncoder | None = None
    audio: AudioEncoder | None = None
    text: TextEncoder | None = None
    shares_space: bool = False


def transformers_encoder(folder: Path) -> Encoder:
    """Load a model of `transformers` from a folder.

    Args:
        folder: A folder that `save_pretrained` wrote, with one of the models in the module's
            docstring. Without the files of a tokenizer, the encoder has no `text`.

    Raises:
        EncoderError: The library is missing or too old, the folder has another model, or it is
            incomplete.
    """
    kind = read_object(folder / "config.json").get("model_type")
    if kind not in _LOADERS:
        raise EncoderError(
            f"{str(folder)!r} has a model of the type {kind!r}; supported are "
            f"{', '.join(TRANSFORMERS_MODELS)}"
        )
    try:
        import transformers
    except ImportError as error:
        raise EncoderError("this needs the extra: pip install 'toomuchtv[transformers]'") from error
    parts = _LOADERS[kind](folder)
    digest = hashlib.sha256(f"{kind} {_VERSION} {transformers.__version__}".encode())
    digest.update(state_digest(parts.model))
    digest.update(_settings_digest(folder))
    return Encoder(
        name=f"{kind} ({folder.name})",
        fingerprint=digest.hexdigest(),
        pretraining="that of these weights",
        video=parts.video,
        audio=parts.audio,
        text=parts.text,
        shares_space=parts.shares_space,
    )


def _settings_digest(folder: Path) -> bytes:
    """Return a digest of the architecture, the processors' settings, and the tokenizer."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in {".json", ".txt", ".model"} and path.is_file():
            digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()


def _load_model(folder: Path, name: str) -> Any:
    """Return a model of a class of the library in evaluation mode, on the GPU if there is one.

    Raises:
        EncoderError: The class or a weight is missing, or the weights cannot be read.
    """
    import transformers

    kind = getattr(transformers, name, None)
    if kind is None:
        raise EncoderError(
            f"transformers {transformers.__version__} has no {name}: install "
            f"transformers>={_FIRST_VERSIONS.get(name, _OLDEST)}"
        )
    try:
        # The library prints about its docstrings when it makes some models. Standard output is for
        # results.
        with redirect_stdout(sys.stderr):
            model, report = kind.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except (OSError, SafetensorError, ValueError, RuntimeError, ImportError) as error:
        raise EncoderError(f"cannot load the model in {str(folder)!r}: {error}") from error
    # The library gives missing weights random values.
    missing = sorted(set(report["missing_keys"]) & {one for one, _ in model.named_parameters()})
    if missing:
        raise EncoderError(
            f"{len(missing)} weights are missing in {str(folder)!r}, for example {missing[0]}: "
            "copy the folder again, or save the whole model"
        )
    return model.float().eval().to(choose_device("auto"))


def _load_videomae(folder: Path) -> _Parts:
    model = _load_model(folder, "VideoMAEModel")
    size = int(model.config.image_size)
    transform = FrameTransform.from_settings(
        read_settings(folder, "image_processor"),
        {"size": size, "do_center_crop": True, "crop_size": size, "resample": 2, **_IMAGENET},
    )
    _check_size(transform, size)
    return _Parts(model=model, video=VideoMae(model, transform, int(model.config.num_frames)))


def _load_clip(folder: Path) -> _Parts:
    model = _load_model(folder, "CLIPModel")
    size = int(model.config.vision_config.image_size)
    transform = FrameTransform.from_settings(
        read_settings(folder, "image_processor"),
        {"size": size, "do_center_crop": True, "crop_size": size, "resample": 3, **_CLIP},
    )
    _check_size(transform, size)
    limit = int(model.config.text_config.max_position_embeddings)
    text = _text_of(model, folder, {"video": partial(_text_features, model)}, limit)
    return _Parts(model=model, video=FrameMean(model, transform), text=text)


def _load_siglip(folder: Path) -> _Parts:
    model = _load_model(folder, "SiglipModel")
    size = int(model.config.vision_config.image_size)
    transform = FrameTransform.from_settings(
        read_settings(folder, "image_processor"),
        {"size": {"height": size, "width": size}, "resample": 3, **_HALF},
    )
    _check_size(transform, size)
    limit = int(model.config.text_config.max_position_embeddings)
    heads: dict[Modality, Callable[..., Tensor]] = {"video": partial(_text_features, model)}
    text = _text_of(model, folder, heads, limit, is_padded=True)
    return _Parts(model=model, video=FrameMean(model, transform), text=text)


def _load_clap(folder: Path) -> _Parts:
    import transformers

    model = _load_model(folder, "ClapModel")
    fused = bool(model.config.audio_config.enable_fusion)
    # Without settings, those of the published weights.
    settings = read_settings(folder, "feature_extractor") or {
        "frequency_min": 50, "truncation": "fusion" if fused else "rand_trunc",
    }  # fmt: skip
    audio = Clap(model, transformers.ClapFeatureExtractor.from_dict(settings))
    # RoBERTa numbers positions from the padding token's number on.
    text_config = model.config.text_config
    limit = int(text_config.max_position_embeddings - text_config.pad_token_id - 1)
    text = _text_of(model, folder, {"audio": partial(_text_features, model)}, limit)
    return _Parts(model=model, audio=audio, text=text)


def _load_ast(folder: Path) -> _Parts:
    import transformers

    model = _load_model(folder, "ASTModel")
    settings = read_settings(folder, "feature_extractor") or {
        "max_length": model.config.max_length, "num_mel_bins": model.config.num_mel_bins,
    }  # fmt: skip
    extractor = transformers.ASTFeatureExtractor.from_dict(settings)
    seconds = model.config.max_length / 100
    return _Parts(model=model, audio=Ast(model, extractor, seconds=seconds))


def _load_pe_av(folder: Path) -> _Parts:
    model = _load_model(folder, "PeAudioVideoModel")
    settings = read_settings(folder, "video_processor")
    # 16 frames, as the weights named "16-frame" were trained. The other weights take any number.
    num_frames = int(settings.get("num_frames") or 16)
    video = PeAvVideo(model, pe_av_transform(settings), num_frames)
    sound = read_settings(folder, "feature_extractor")
    audio = PeAvAudio(
        model,
        sample_rate_hz=int(sound.get("sampling_rate", 48_000)),
        hop_length=int(sound.get("hop_length", 1_920)),
    )
    heads: dict[Modality, Callable[..., Tensor]] = {
        "video": partial(embed_pe_av_texts, model, "video"),
        "audio": partial(embed_pe_av_texts, model, "audio"),
    }
    limit = int(model.config.text_config.max_position_embeddings)
    text = _text_of(model, folder, heads, limit)
    return _Parts(model=model, video=video, audio=audio, text=text, shares_space=True)


_LOADERS: dict[str, Callable[[Path], _Parts]] = {
    "videomae": _load_videomae,
    "audio-spectrogram-transformer": _load_ast,
    "clip": _load_clip,
    "siglip": _load_siglip,
    "clap": _load_clap,
    "pe_audio_video": _load_pe_av,
}

#: The supported values of `model_type` in `config.json`.
TRANSFORMERS_MODELS = tuple(_LOADERS)


def _text_of(
    model: Any,
    folder: Path,
    heads: Mapping[Modality, Callable[..., Tensor]],
    max_tokens: int,
    *,
    is_padded: bool = False,
) -> TextEncoder | None:
    """Return the text tower of a model with its heads; None if the folder has no tokenizer."""
    tokenizer = load_tokenizer(folder)
    if tokenizer is None:
        return None
    return TokenizedTexts(
        tokenizer,
        heads,
        max_tokens=max_tokens,
        num_tokens=int(model.config.text_config.vocab_size),
        is_padded=is_padded,
        device=device_of(model),
    )


def _text_features(model: Any, **tokens: Tensor) -> Tensor:
    return pooled(model.get_text_features(**tokens))


def _check_size(transform: FrameTransform, size: int) -> None:
    if transform.size != size:
        raise EncoderError(
            f"the folder's image settings give {transform.size} pixels, and the model takes {size}"
        )
