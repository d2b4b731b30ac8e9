"""The root config: every package's own settings in one file, `RUN/config.toml`."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from toomuchtv.data.augmentation import AugmentationConfig
from toomuchtv.data.clip_transform import TransformConfig
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.pair_labels import PairLabelConfig
from toomuchtv.losses import InfoNCEConfig, LossConfig
from toomuchtv.media.clip import ClipFormat
from toomuchtv.models import ModelConfig
from toomuchtv.training.config import OptimizerConfig, TrainingConfig

PRESETS = ("tiny", "small", "base")


class Config(BaseModel):
    """All settings of a pretraining."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip: ClipFormat = ClipFormat()
    input: TransformConfig = TransformConfig()
    augment: AugmentationConfig = AugmentationConfig()
    sampling: SamplingConfig = SamplingConfig()
    roles: PairLabelConfig = PairLabelConfig()
    model: ModelConfig = ModelConfig()
    objective: LossConfig = InfoNCEConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _one_sample_rate(self) -> Config:
        if self.clip.sample_rate_hz != self.input.log_mel.sample_rate_hz:
            raise ValueError(
                f"clip.sample_rate_hz ({self.clip.sample_rate_hz}) and "
                f"input.log_mel.sample_rate_hz ({self.input.log_mel.sample_rate_hz}) must be equal"
            )
        return self

    def to_toml(self) -> str:
        """The settings as TOML; values that are not set are left out."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))


def load_config(
    *, preset: str | None = None, file: Path | None = None, settings: Iterable[str] = ()
) -> Config:
    """Compose a config: the preset, then the file over it, then single settings over both.

    Args:
        preset: One of `PRESETS`, or None for the defaults.
        file: A TOML file with some or all settings.
        settings: `section.key=value`, the value in TOML's notation (bare words are strings).

    Raises:
        ValueError: Something is unknown or out of range; the message names the nearest known.
    """
    values: dict[str, Any] = {}
    if preset is not None:
        if preset not in PRESETS:
            raise ValueError(f"unknown preset {preset!r}: choose one of {', '.join(PRESETS)}")
        text = (
            resources.files("toomuchtv.training")
            .joinpath(f"presets/{preset}.toml")
            .read_text("utf-8")
        )
        values = tomllib.loads(text)
    if file is not None:
        try:
            _merge(values, tomllib.loads(file.read_text("utf-8")))
        except OSError as error:
            raise ValueError(f"cannot read the config {str(file)!r}: {error.strerror}") from error
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"the config {str(file)!r} is not TOML: {error}") from error
    for setting in settings:
        _merge(values, _parse_setting(setting))
    return config_from(values)


def config_from(values: Mapping[str, Any]) -> Config:
    """Build a config from plain values.

    Raises:
        ValueError: As `load_config`.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ValueError(_explained(error)) from error


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _parse_setting(setting: str) -> dict[str, Any]:
    path, equals, text = setting.partition("=")
    if not equals or not path.strip():
        raise ValueError(f"a setting reads section.key=value, got {setting!r}")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for key in reversed(path.strip().split(".")):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def _explained(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        path, known = _place(problem["loc"])
        where = ".".join(path)
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown setting {where}: {_hint(path[-1], known)}")
        elif problem["type"] == "union_tag_invalid":
            names = [name.strip(" '") for name in problem["ctx"]["expected_tags"].split(",")]
            lines.append(
                f"{where}.name: must be one of {', '.join(names)}, got {problem['ctx']['tag']!r}"
            )
        elif problem["type"] == "union_tag_not_found":
            lines.append(f"{where}: must be a table of settings, got {problem['input']!r}")
        elif where:
            lines.append(f"{where}: {problem['msg']}, got {problem['input']!r}")
        else:
            lines.append(str(problem["msg"]))
    return "; ".join(lines)


def _hint(wrong: str, known: list[str]) -> str:
    near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.3)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"


def _place(loc: tuple[int | str, ...]) -> tuple[list[str], list[str]]:
    """What a person calls the place of an error, and the keys there are beside its last part.

    In a section that is one of several kinds, pydantic puts the kind's name into the place, where
    no person writes it.
    """
    path: list[str] = []
    known: list[str] = []
    kinds: list[type[BaseModel]] = [Config]
    for part in map(str, loc):
        if len(kinds) > 1:
            kinds = [kind for kind in kinds if kind.model_fields["name"].default == part]
            continue
        path.append(part)
        known = sorted(kinds[0].model_fields) if kinds else []
        kinds = _kinds(kinds[0].model_fields[part].annotation) if part in known else []
    return path, known


def _kinds(annotation: Any) -> list[type[BaseModel]]:
    """The sections that may stand at a field."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for argument in get_args(annotation) for kind in _kinds(argument)]
