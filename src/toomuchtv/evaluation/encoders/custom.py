"""Encoders of the user: any object with `embed_video` or `embed_audio`.

`--encoder module:function` calls a function without arguments, which returns an object with

- `embed_video(video)`, which maps RGB frames, uint8 `[N, T, H, W, 3]`, to vectors `[N, D]`, and the
  attributes `frames`, `frame_rate` and `size`; or
- `embed_audio(waveform)`, which maps mono waveforms, float32 `[N, S]`, to vectors `[N, D]`, and the
  attributes `audio_seconds` and `sample_rate_hz`; or both.

Optional are `map_video` and `map_audio`, which take the same input and return a feature map
`[N, ..., C]`; the strings `name`, `pretraining` and `version`; `shares_space = True` if the vectors
of both methods share a space; and `embed_text(texts)`, which maps a list of strings to vectors
`[N, D]` in the space of the modalities in the tuple `text_modalities`, by default all of them.
docs/guide/external_encoders.md has complete examples.

Modules are put in evaluation mode before every call, and no gradients are recorded. Cached features
are found by a fingerprint of the source code, the weights, and the encoder's output for a fixed
input, which changes with anything that changes the features: a file of weights, a global variable,
a library. If two calls with this input differ, nothing is cached.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, get_args, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from toomuchtv.evaluation.benchmark import Modality
from toomuchtv.evaluation.encoders.interface import (
    AudioEncoder,
    AudioInput,
    Encoder,
    TextEncoder,
    VideoEncoder,
    VideoInput,
    state_digest,
    tensor_bytes,
)
from toomuchtv.evaluation.errors import EncoderError

_PACKAGE = Path(__file__).parents[2]
_NUM_PROBES = 2  # clips of the fixed input
_PROBE_TEXTS = ("a dog barks", "Zwei Züge 🚂, 列車; " * 8)


@runtime_checkable
class EmbedsVideo(Protocol):
    """An object with an `embed_video` method; see the module's docstring."""

    frames: int
    frame_rate: float
    size: int

    def embed_video(self, video: Tensor) -> Tensor:
        """Map uint8 `[N, T, H, W, 3]` to vectors `[N, D]`."""


@runtime_checkable
class EmbedsAudio(Protocol):
    """An object with an `embed_audio` method; see the module's docstring."""

    audio_seconds: float
    sample_rate_hz: int

    def embed_audio(self, waveform: Tensor) -> Tensor:
        """Map float32 `[N, S]` to vectors `[N, D]`."""


@runtime_checkable
class EmbedsText(Protocol):
    """An object with an `embed_text` method; see the module's docstring."""

    def embed_text(self, texts: list[str]) -> Tensor:
        """Map texts to vectors `[N, D]`."""


class CustomVideoEncoder(VideoEncoder):
    """A video encoder that calls `embed_video` and checks the result."""

    def __init__(self, model: EmbedsVideo) -> None:
        self._model = model
        self.input = VideoInput(
            frames=int(model.frames), frame_rate=float(model.frame_rate), size=int(model.size)
        )

    def features(self, video: Tensor) -> Tensor:
        """Return the vectors of `embed_video`."""
        return _vectors(self._model, "embed_video", video)

    def tokens(self, video: Tensor) -> Tensor:
        """Return the positions of `map_video`, or the vectors if there is no such method."""
        return _tokens(self._model, "video", video)


class CustomAudioEncoder(AudioEncoder):
    """An audio encoder that calls `embed_audio` and checks the result."""

    def __init__(self, model: EmbedsAudio) -> None:
        self._model = model
        self.input = AudioInput(
            seconds=float(model.audio_seconds), sample_rate_hz=int(model.sample_rate_hz)
        )

    def features(self, waveform: Tensor) -> Tensor:
        """Return the vectors of `embed_audio`."""
        return _vectors(self._model, "embed_audio", waveform)

    def tokens(self, waveform: Tensor) -> Tensor:
        """Return the positions of `map_audio`, or the vectors if there is no such method."""
        return _tokens(self._model, "audio", waveform)

    def feature_map(self, waveform: Tensor) -> Tensor:
        """Return the flattened map of `map_audio`, or the vectors if there is no such method."""
        return self.tokens(waveform).flatten(1)


class CustomTextEncoder(TextEncoder):
    """A text encoder that calls `embed_text` and checks the result."""

    def __init__(self, model: EmbedsText, modalities: tuple[Modality, ...]) -> None:
        self._model = model
        self.modalities = modalities

    def features(self, texts: list[str], modality: Modality) -> Tensor:
        """Return the vectors of `embed_text`, which are the same for each modality."""
        return _vectors(self._model, "embed_text", texts)


def _vectors(model: object, method: str, given: Tensor | list[str]) -> Tensor:
    vectors = _call(model, method, given)
    if vectors is None or vectors.dim() != 2:
        raise _wrong_shape(method, "[{num}, D]", len(given), vectors)
    return vectors


def _tokens(model: object, modality: str, given: Tensor) -> Tensor:
    method = f"map_{modality}"
    if not hasattr(model, method):
        return _vectors(model, f"embed_{modality}", given)[:, None]
    found = _call(model, method, given)
    if found is None or found.dim() < 3:
        raise _wrong_shape(method, "[{num}, ..., C]", len(given), found)
    return found.flatten(1, -2)


def _wrong_shape(method: str, expected: str, num: int, got: Tensor | None) -> EncoderError:
    shape = "no tensor with a row for each input" if got is None else str(list(got.shape))
    return EncoderError(
        f"{method} must return a tensor {expected.format(num=num)} for {num} inputs, got {shape}"
    )


@torch.inference_mode()
def _call(model: object, method: str, given: Tensor | list[str]) -> Tensor | None:
    """Call a method of the user's object in evaluation mode; None if it returns no such tensor."""
    for module in modules_of(model):
        module.eval()
    found = getattr(model, method)(given)
    if not isinstance(found, Tensor) or found.dim() == 0 or len(found) != len(given):
        return None
    return found.float().cpu()


def modules_of(model: object) -> Iterator[nn.Module]:
    """Yield the torch modules that an object is or holds, also in lists and other objects."""
    for value in _reachable(model):
        if isinstance(value, nn.Module):
            yield value


def _reachable(model: object) -> Iterator[object]:
    """Yield an object and everything in its attributes, lists and dictionaries, each once.

    A torch module is yielded without its parts. The order depends on the names of attributes only.
    """
    waiting, seen = [model], set[int]()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, (type, ModuleType, Tensor, np.ndarray, str, bytes)):
            continue
        if isinstance(value, dict):
            waiting += [value[key] for key in sorted(value, key=repr, reverse=True)]
        elif isinstance(value, (list, tuple)):
            waiting += reversed(value)
        elif hasattr(value, "__dict__"):
            inside = vars(value)
            if isinstance(value, nn.Module):  # its parts are in its state, and follow its mode
                inside = {name: one for name, one in inside.items() if not name.startswith("_")}
            waiting += [inside[name] for name in sorted(inside, reverse=True)]


def custom_encoder(reference: str) -> Encoder:
    """Call `module:function` and wrap the object that it returns.

    Raises:
        EncoderError: There is no such function, or its object is not an encoder.
    """
    module_name, _, function_name = reference.partition(":")
    # As with `python -m`, modules in the current folder can be imported.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise EncoderError(
            f"--encoder {reference}: {error}; give module:function of a module that can be "
            "imported, for example from the current folder"
        ) from error
    return wrap_encoder(function(), name=reference)


def wrap_encoder(model: object, *, name: str) -> Encoder:
    """Wrap an object that has `embed_video` or `embed_audio`.

    Args:
        model: The object; see the module's docstring.
        name: Name for tables, if the object has no name.

    Raises:
        EncoderError: The object has neither method with its attributes, or it returns tensors of
            the wrong shape.
    """
    if not isinstance(model, (EmbedsVideo, EmbedsAudio)):
        raise EncoderError(
            f"{name} returns a {type(model).__name__}, not an encoder: it needs embed_video "
            "with frames, frame_rate and size, or embed_audio with audio_seconds and "
            "sample_rate_hz; see docs/guide/external_encoders.md"
        )
    video = CustomVideoEncoder(model) if isinstance(model, EmbedsVideo) else None
    audio = CustomAudioEncoder(model) if isinstance(model, EmbedsAudio) else None
    shares_space = bool(getattr(model, "shares_space", False))
    text = None
    if isinstance(model, EmbedsText):
        text = CustomTextEncoder(model, _text_modalities(model, video, audio, shares_space))
    outputs = [_outputs(video, audio, text) for _ in range(2)]
    for modality in () if text is None else text.modalities:
        widths = [outputs[0][name].shape[1] for name in ("text", modality)]
        if widths[0] != widths[1]:
            raise EncoderError(
                f"embed_text returns vectors of {widths[0]} numbers and embed_{modality} of "
                f"{widths[1]}, so that they share no space; see docs/guide/external_encoders.md"
            )
    digests = [_tensors_digest(output) for output in outputs]
    is_deterministic = digests[0] == digests[1]
    # The code is read after the calls, which may import more of it.
    version = str(getattr(model, "version", ""))
    parts = [name.encode(), version.encode(), _code_digest(model), _state_digest(model)]
    if is_deterministic:
        parts.append(digests[0])
    return Encoder(
        name=str(getattr(model, "name", name)),
        fingerprint=hashlib.sha256(b"".join(hashlib.sha256(p).digest() for p in parts)).hexdigest(),
        pretraining=str(getattr(model, "pretraining", "not stated")),
        video=video,
        audio=audio,
        text=text,
        shares_space=shares_space,
        weights="its own weights",
        is_deterministic=is_deterministic,
    )


def _text_modalities(
    model: EmbedsText, video: VideoEncoder | None, audio: AudioEncoder | None, shares_space: bool
) -> tuple[Modality, ...]:
    """Return the modalities whose space the texts of an object share."""
    own = {"video": video, "audio": audio}
    stated = getattr(model, "text_modalities", None)
    names = [stated] if isinstance(stated, str) else stated
    found = tuple(
        one
        for one in get_args(Modality)
        if own[one] is not None and (names is None or one in names)
    )
    if names is not None and (not found or len(found) != len(names)):
        raise EncoderError(
            f"text_modalities is {stated!r}; it must name modalities that this encoder has, as "
            f"{tuple(one for one, encoder in own.items() if encoder is not None)}"
        )
    if len(found) > 1 and not shares_space:
        raise EncoderError(
            "embed_text can share a space with video and audio only if these share one: set "
            'shares_space = True, or text_modalities = ("video",) or ("audio",)'
        )
    return found


def _outputs(
    video: VideoEncoder | None, audio: AudioEncoder | None, text: TextEncoder | None
) -> dict[str, Tensor]:
    """Return the features and tokens of a fixed input."""
    rng = np.random.default_rng(0)
    found: dict[str, Tensor] = {}
    if video is not None:
        shape = (_NUM_PROBES, video.input.frames, video.input.size, video.input.size, 3)
        frames = torch.from_numpy(rng.integers(0, 256, shape, np.uint8))
        found |= {"video": video.features(frames), "video tokens": video.tokens(frames)}
    if audio is not None:
        num_samples = round(audio.input.seconds * audio.input.sample_rate_hz)
        noise = rng.uniform(-0.5, 0.5, (_NUM_PROBES, num_samples)).astype(np.float32)
        waveform = torch.from_numpy(noise)
        found |= {"audio": audio.features(waveform), "audio tokens": audio.tokens(waveform)}
    if text is not None:
        found["text"] = text.features(list(_PROBE_TEXTS), text.modalities[0])
    return found


def _tensors_digest(tensors: dict[str, Tensor]) -> bytes:
    digest = hashlib.sha256()
    for name, value in tensors.items():
        digest.update(name.encode() + tensor_bytes(value))
    return digest.digest()


def _state_digest(model: object) -> bytes:
    """Return a digest of all weights, arrays, numbers and strings that an object holds."""
    digest = hashlib.sha256()
    for value in _reachable(model):
        if isinstance(value, nn.Module):
            digest.update(state_digest(value))
        elif isinstance(value, Tensor):
            digest.update(tensor_bytes(value))
        elif isinstance(value, np.ndarray):
            digest.update(np.ascontiguousarray(value).tobytes())
        elif isinstance(value, (str, bytes, int, float, bool, type(None))):
            digest.update(repr(value).encode())
    return digest.digest()


def _code_digest(model: Any) -> bytes:
    """Return a digest of the source files of the object's package and of all user code.

    User code is every imported module that is neither installed nor part of Python or of this
    project. The versions of installed libraries act through the output, except that of torch.
    """
    files = {Path(str(file)) for file in map(_source_of, list(sys.modules.values())) if file}
    home = sys.modules[type(model).__module__.partition(".")[0]]
    for folder in getattr(home, "__path__", []):
        files |= set(Path(folder).rglob("*.py"))
    digest = hashlib.sha256(torch.__version__.encode())
    for file in sorted(files, key=lambda file: (file.name, str(file))):
        if file.is_file():
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.digest()


_INSTALLED = tuple(
    Path(sysconfig.get_path(name)).resolve()
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


@functools.cache
def _is_of_user(folder: str) -> bool:
    """Return whether a folder belongs neither to Python, nor to a library, nor to this project."""
    real = Path(folder).resolve()
    return not {_PACKAGE, *_INSTALLED} & {real, *real.parents}


def _source_of(module: ModuleType) -> Path | None:
    """Return the source file of a module of the user, or None for any other module."""
    name = getattr(module, "__file__", None)
    if not isinstance(name, str) or not name.endswith(".py"):
        return None
    return Path(name).resolve() if _is_of_user(os.path.dirname(name)) else None
