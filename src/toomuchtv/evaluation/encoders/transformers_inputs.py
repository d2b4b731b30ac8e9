"""How models of the `transformers` library want frames and texts, from the settings beside them.

The library's own processors work on one picture at a time. `FrameTransform` computes the same from
their settings, for a batch of frames and on any device.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from toomuchtv.evaluation.benchmark import Modality
from toomuchtv.evaluation.encoders.interface import TextEncoder
from toomuchtv.evaluation.errors import EncoderError

_RESAMPLING = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")


def read_settings(folder: Path, part: str) -> dict[str, Any]:
    """Return the settings of one processor of a folder; empty if there are none.

    Version 5 of the library writes all processors to `processor_config.json`. Version 4 writes each
    to a file of its own.

    Args:
        folder: A folder that `save_pretrained` wrote.
        part: `image_processor`, `video_processor` or `feature_extractor`.

    Raises:
        EncoderError: A file is no JSON object.
    """
    own = "video_preprocessor_config.json" if part == "video_processor" else ""
    for name, key in (
        ("processor_config.json", part),
        (own, None),
        ("preprocessor_config.json", None),
    ):
        path = folder / name
        if not name or not path.is_file():
            continue
        found = read_object(path)
        settings = found if key is None else found.get(key)
        if isinstance(settings, dict):
            return settings
    return {}


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        EncoderError: The file cannot be read, or has something else.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(f"cannot read {str(path)!r}: {error}") from error
    if not isinstance(found, dict):
        raise EncoderError(f"{str(path)!r} has a {type(found).__name__}, not a JSON object")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTransform:
    """Resizing, center crop and normalization of frames, as the library's processors do them.

    The result differs from theirs by at most one of 256 levels, where Pillow's fixed-point weights
    round the other way.

    Attributes:
        resize: Height and width in pixels, or the length of the shorter side, or None.
        crop: Height and width of the center crop, or None.
        mode: `bilinear` or `bicubic`.
        scale: Factor of the levels 0..255.
        mean: Mean of each channel, which is subtracted after scaling.
        std: Standard deviation of each channel, by which the result is divided.
    """

    resize: tuple[int, int] | int | None
    crop: tuple[int, int] | None
    mode: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_settings(
        cls, settings: Mapping[str, Any], defaults: Mapping[str, Any]
    ) -> FrameTransform:
        """Read the settings of an image or video processor.

        Args:
            settings: What the folder has.
            defaults: Settings of the same kind of model, for those that the folder does not have.

        Raises:
            EncoderError: The settings are none that this class computes.
        """
        given = {**defaults, **{key: one for key, one in settings.items() if one is not None}}
        try:
            resize, crop = given["size"], given.get("crop_size")
            normalize = given.get("do_normalize", True)
            return cls(
                resize=_sides(resize) if given.get("do_resize", True) else None,
                crop=_box(crop) if given.get("do_center_crop", False) else None,
                mode=_RESAMPLING[int(given["resample"])],
                scale=float(given.get("rescale_factor", 1 / 255))
                if given.get("do_rescale", True)
                else 1.0,
                mean=tuple(map(float, given["image_mean"])) if normalize else (0.0, 0.0, 0.0),
                std=tuple(map(float, given["image_std"])) if normalize else (1.0, 1.0, 1.0),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise EncoderError(
                f"the folder's image settings are not supported ({type(error).__name__}: {error}); "
                "supported are a size, a center crop, the resampling 2 (bilinear) or 3 (bicubic), "
                "and a mean and standard deviation"
            ) from error

    @property
    def size(self) -> int:
        """Return the side of the square result in pixels.

        Raises:
            EncoderError: The result is not always such a square.
        """
        box = self.crop or self.resize
        if not isinstance(box, tuple) or box[0] != box[1]:
            raise EncoderError(f"the folder's image settings must give squares, and give {box}")
        return box[0]

    def __call__(self, frames: Tensor) -> Tensor:
        """Return the model's input, float32 `[N, 3, H, W]`, of RGB frames, uint8 `[N, H, W, 3]`."""
        pixels = frames.permute(0, 3, 1, 2).float()
        height, width = pixels.shape[2:]
        target = self.resize or (height, width)
        if isinstance(target, int):
            shorter = min(height, width)
            target = (target * height // shorter, target * width // shorter)
        # Pillow resizes first the rows and then the columns, and rounds after each to 0..255, which
        # bicubic weights overshoot.
        for size in ((height, target[1]), target):
            if size != pixels.shape[2:]:
                pixels = F.interpolate(pixels, size=size, mode=self.mode, antialias=True)
                pixels = pixels.round().clamp(0, 255)
        if self.crop is not None:
            top, left = (target[0] - self.crop[0]) // 2, (target[1] - self.crop[1]) // 2
            if min(top, left) < 0:
                raise EncoderError(f"cannot crop {self.crop} from frames of {target} pixels")
            pixels = pixels[..., top : top + self.crop[0], left : left + self.crop[1]]
        mean, std = (pixels.new_tensor(one)[:, None, None] for one in (self.mean, self.std))
        return (pixels * self.scale - mean) / std


def _sides(size: Any) -> tuple[int, int] | int:
    """Return height and width, or the shorter side, of a `size` in settings of any version."""
    if isinstance(size, dict) and "shortest_edge" in size:
        return int(size["shortest_edge"])
    return int(size) if isinstance(size, int) else _box(size)


def _box(size: Any) -> tuple[int, int]:
    if isinstance(size, dict):
        return int(size["height"]), int(size["width"])
    return int(size), int(size)


class TokenizedTexts(TextEncoder):
    """A text tower with the tokenizer of its folder.

    Args:
        tokenizer: A tokenizer of the library.
        heads: For each modality, the function from the tokenizer's output to vectors `[N, D]` in
            the space of that modality.
        max_tokens: The most tokens that the model reads, with special ones. Longer texts are
            truncated.
        num_tokens: Size of the model's vocabulary.
        is_padded: True if every text is padded to `max_tokens` and padding is not masked, as SigLIP
            was trained; False if a batch is padded to its longest text, and padding is masked.
        device: Where the model is.
    """

    def __init__(
        self,
        tokenizer: Any,
        heads: Mapping[Modality, Callable[..., Tensor]],
        *,
        max_tokens: int,
        num_tokens: int,
        is_padded: bool = False,
        device: torch.device,
    ) -> None:
        self.modalities = tuple(heads)
        self._tokenizer = tokenizer
        self._heads = heads
        self._max_tokens = min(max_tokens, int(tokenizer.model_max_length))
        self._num_tokens = num_tokens
        self._is_padded = is_padded
        self._device = device

    @torch.inference_mode()
    def features(self, texts: list[str], modality: Modality) -> Tensor:
        """Tokenize and embed.

        Raises:
            EncoderError: The tokenizer is of another model.
        """
        tokens = self._tokenizer(
            texts, padding="max_length" if self._is_padded else True, truncation=True,
            max_length=self._max_tokens, return_tensors="pt",
        )  # fmt: skip
        given = {"input_ids": tokens["input_ids"]}
        if not self._is_padded:
            given["attention_mask"] = tokens["attention_mask"]
        if given["input_ids"].max() >= self._num_tokens:
            raise EncoderError(
                f"the tokenizer gives token {int(given['input_ids'].max())}, and the model has "
                f"{self._num_tokens}: the folder has the tokenizer of another model"
            )
        head = self._heads[modality]
        return head(**{name: one.to(self._device) for name, one in given.items()}).float().cpu()


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a folder; None if the folder has none.

    Raises:
        EncoderError: The tokenizer cannot be loaded.
    """
    import transformers

    present = [name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    if not present:
        return None
    for name in present:
        if name.endswith(".json"):
            read_object(folder / name)
    try:
        return transformers.AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        raise EncoderError(f"cannot load the tokenizer in {str(folder)!r}: {error}") from error
