"""The settings of a pretraining: one pydantic model per section, read from and written to TOML."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toomuchtv.data.augmentation import AugmentationConfig
from toomuchtv.data.clip_transform import TransformConfig
from toomuchtv.data.config import MAX_BATCH_SIZE, MAX_STEPS, SamplingConfig
from toomuchtv.data.pair_labels import PairLabelConfig
from toomuchtv.losses import InfoNCEConfig, LossConfig
from toomuchtv.media.clip import ClipFormat
from toomuchtv.models import ModelConfig

PRESETS = ("tiny", "small", "base", "vit-small", "vit-base")

#: Settings that only one optimizer uses. Setting one of them for another optimizer is an error.
_OPTIMIZER_SETTINGS = {"adamw": {"beta1", "beta2"}, "sgd": {"momentum", "nesterov"}}


class OptimizerConfig(BaseModel):
    """The optimizer and its learning rate: a linear warm-up, then a cosine or a constant.

    Attributes:
        name: "adamw" (Loshchilov and Hutter, ICLR 2019) or "sgd".
        learning_rate: Peak learning rate; above 0.
        schedule: What follows the warm-up: "cosine" is half a cosine from the peak down to
            `final_learning_rate_share` of it, "constant" stays at the peak.
        final_learning_rate_share: Learning rate at the end of the cosine, as a share of the peak;
            0 to 1.
        warmup_steps: Number of steps in which the learning rate rises linearly to the peak; 0 or
            more.
        weight_decay: Weight decay of matrices and kernels; 0 or more. Biases, norms and scalars
            are never decayed.
        max_gradient_norm: The gradient of all parameters together is scaled down to this norm if
            it is larger; 0 or more. 0 turns gradient clipping off.
        beta1: AdamW only: decay of the mean of the gradient; at least 0, below 1.
        beta2: AdamW only: decay of the mean of the squared gradient; at least 0, below 1.
        momentum: SGD only: momentum; at least 0, below 1.
        nesterov: SGD only: true for Nesterov momentum, which needs a `momentum` above 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0.0, le=1000.0)
    schedule: Literal["cosine", "constant"] = "cosine"
    final_learning_rate_share: float = Field(default=0.0, ge=0.0, le=1.0)
    warmup_steps: int = Field(default=100, ge=0, le=MAX_STEPS)
    weight_decay: float = Field(default=0.05, ge=0.0, le=1000.0)
    max_gradient_norm: float = Field(default=1.0, ge=0.0, le=1e9)
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    beta2: float = Field(default=0.98, ge=0.0, lt=1.0)
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0)
    nesterov: bool = False

    @model_validator(mode="after")
    def _refuse_unused_settings(self) -> OptimizerConfig:
        for owner, keys in _OPTIMIZER_SETTINGS.items():
            for key in keys if owner != self.name else ():
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise ValueError(
                        f"optimizer.{key} is a setting of {owner}, but optimizer.name is "
                        f"{self.name!r}"
                    )
        if self.nesterov and self.momentum == 0:
            raise ValueError("optimizer.nesterov needs a momentum above 0")
        return self


class TrainingConfig(BaseModel):
    """Length, precision, memory, fault handling and logging of a run.

    Attributes:
        steps: Number of optimizer steps; 1 or more.
        seed: Seed of the initial weights, the sampling, the augmentation and the split into
            training and held-out titles; 0 to 2**31 - 1.
        precision: "bfloat16" for autocast, "float32", or "auto": bfloat16 where the hardware
            multiplies it natively.
        device: "cpu", "cuda", or "auto": a GPU if PyTorch finds one.
        num_threads: Number of threads of CPU kernels; 0 to 1024, 0 leaves it to PyTorch. Another
            number adds floats in another order, so set it for a run that must be repeated to the
            bit.
        compile: Whether `torch.compile` compiles the model and the transform of the video. "auto"
            does it on a GPU, if a trial of the run's own model succeeds, and not together with
            `activation_checkpointing`.
        activation_checkpointing: True if the encoders' blocks are computed again in the backward
            pass instead of being kept: identical gradients, less memory, about a third more time.
        sync_batch_norm: True if batch norm takes its statistics over all processes.
        ema_decay: Decay of the exponential moving average of the weights; at least 0, below 1. If
            it is above 0, the average is what is validated and saved as the model. 0 turns it off.
        num_workers: Number of processes that decode; 0 to 256. With 0 the training process decodes.
        on_worker_death: "restart" replaces a decoding process that died or stalled and repeats its
            batches with the same result. "stop" ends the run with an error.
        max_worker_restarts: Number of decoding processes that may be replaced before the run ends
            with an error; 1 or more.
        loader_timeout_seconds: Seconds to wait for a batch before its decoding process counts as
            stalled; above 0. Not used with `num_workers` 0.
        distributed_timeout_seconds: Seconds to wait for another training process before the run
            ends with an error; 1 or more. It must exceed the time of a validation and a
            checkpoint.
        on_bad_clip: "replace" takes another clip of the same title for a clip that cannot be
            decoded. "stop" ends the run with an error.
        chunk_size: Number of clips per process whose activations are in memory at once (gradient
            caching); 0 or more, 0 for all clips of the process. The gradient stays that of the
            whole batch, except that batch norm takes its statistics from one chunk.
        held_out_share: Share of the titles that are held out of training for validation; at least
            0, below 1.
        log_every: Number of steps between two logged lines of metrics; 1 or more.
        validate_every: Number of steps between two validations; 0 or more, 0 validates at the end
            only.
        validation_clips: Number of held-out clips in the validation batch; 2 to 4096.
        checkpoint_every: Number of steps between two checkpoints; 0 or more, 0 saves at the end
            only.
        keep_checkpoints: Number of newest checkpoints to keep; 1 or more.
        keep_checkpoints_every: Checkpoints of steps that are a multiple of this number are never
            deleted; 0 or more, 0 protects none.
        wandb_project: Weights & Biases project that also receives the metrics; empty for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: int = Field(default=1000, ge=1, le=MAX_STEPS)
    seed: int = Field(default=0, ge=0, lt=2**31)
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    num_threads: int = Field(default=0, ge=0, le=1024)
    compile: bool | Literal["auto"] = "auto"
    activation_checkpointing: bool = False
    sync_batch_norm: bool = False
    ema_decay: float = Field(default=0.0, ge=0.0, lt=1.0)
    num_workers: int = Field(default=1, ge=0, le=256)
    on_worker_death: Literal["restart", "stop"] = "restart"
    max_worker_restarts: int = Field(default=100, ge=1, le=1_000_000)
    loader_timeout_seconds: float = Field(default=300.0, gt=0.0, le=1e6)
    distributed_timeout_seconds: float = Field(default=600.0, ge=1.0, le=1e6)
    on_bad_clip: Literal["replace", "stop"] = "replace"
    chunk_size: int = Field(default=0, ge=0, le=MAX_BATCH_SIZE)
    held_out_share: float = Field(default=0.2, ge=0.0, lt=1.0)
    log_every: int = Field(default=10, ge=1, le=MAX_STEPS)
    validate_every: int = Field(default=0, ge=0, le=MAX_STEPS)
    validation_clips: int = Field(default=128, ge=2, le=4096)
    checkpoint_every: int = Field(default=200, ge=0, le=MAX_STEPS)
    keep_checkpoints: int = Field(default=2, ge=1, le=MAX_STEPS)
    keep_checkpoints_every: int = Field(default=0, ge=0, le=MAX_STEPS)
    wandb_project: str = ""

    def compiles_on(self, device_type: str) -> bool:
        """Return whether a run on "cpu" or "cuda" is compiled, or with "auto" tries to be."""
        if self.compile == "auto":
            return device_type == "cuda" and not self.activation_checkpointing
        return self.compile


class Config(BaseModel):
    """All settings of a pretraining; `RUN/config.toml` holds them.

    Attributes:
        clip: Frames and audio of one clip.
        transform: Frame size and log-mel spectrogram: what the encoders receive.
        augmentation: Random augmentation of training clips.
        sampling: How the clips of a batch are drawn.
        pair_labels: Which pairs of a batch are positive, negative or ignored.
        model: The two encoders and their projection heads.
        loss: The loss and its settings.
        optimizer: The optimizer and its learning rate.
        training: Length, precision, memory, fault handling and logging.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    clip: ClipFormat = ClipFormat()
    transform: TransformConfig = TransformConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    sampling: SamplingConfig = SamplingConfig()
    pair_labels: PairLabelConfig = PairLabelConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = InfoNCEConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _require_one_sample_rate(self) -> Config:
        if self.clip.sample_rate_hz != self.transform.log_mel.sample_rate_hz:
            raise ValueError(
                f"clip.sample_rate_hz ({self.clip.sample_rate_hz}) and "
                f"transform.log_mel.sample_rate_hz ({self.transform.log_mel.sample_rate_hz}) "
                "must be equal"
            )
        return self

    def to_toml(self) -> str:
        """Return the settings as TOML, without those whose value is None."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))


def load_config(
    *,
    preset: str | None = None,
    file: str | os.PathLike[str] | None = None,
    settings: Iterable[str] = (),
) -> Config:
    """Compose a config from a preset, a file that overrides it, and single settings over both.

    Args:
        preset: One of `PRESETS`, or None for the defaults.
        file: A TOML file with some or all settings.
        settings: `section.key=value` each, the value in TOML notation (bare words are strings).

    Raises:
        ValueError: A setting is unknown or out of range. The message names the closest known key.
    """
    values: dict[str, Any] = {}
    if preset is not None:
        if preset not in PRESETS:
            raise ValueError(f"unknown preset {preset!r}: choose one of {', '.join(PRESETS)}")
        presets = resources.files("toomuchtv.training").joinpath("presets")
        values = tomllib.loads(presets.joinpath(f"{preset}.toml").read_text("utf-8"))
    if file is not None:
        _merge(values, read_toml(Path(file)))
    for setting in settings:
        _merge(values, _parse_setting(setting))
    return config_from(values)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of settings.

    Raises:
        ValueError: The file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read the config {str(path)!r}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the config {str(path)!r} is not TOML: {error}") from error


def config_from(values: Mapping[str, Any]) -> Config:
    """Build a config from nested plain values; missing keys take their defaults.

    Raises:
        ValueError: As for `load_config`.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ValueError(_describe_errors(error)) from error


def differing_keys(one: Config, other: Config) -> list[str]:
    """Return the dotted keys whose values differ between two configs, sorted."""
    left, right = _flatten(one.model_dump()), _flatten(other.model_dump())
    missing = object()
    return sorted(
        key
        for key in left.keys() | right.keys()
        if left.get(key, missing) != right.get(key, missing)
    )


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _merge(
    into: dict[str, Any], other: Mapping[str, Any], models: list[type[BaseModel]] | None = None
) -> None:
    """Merge settings over others.

    A name that selects another model (of losses, optimizers or encoders) keeps only those of the
    others that the new model has as well.
    """
    models = [Config] if models is None else models
    chosen = [model for model in models if _is_named(model, other.get("name", into.get("name")))]
    models = chosen or models
    if chosen and other.get("name") not in (None, into.get("name")):
        for key in set(into).difference(*(model.model_fields for model in chosen)):
            del into[key]
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            fields = (model.model_fields.get(key) for model in models)
            nested = [found for field in fields if field for found in _models(field.annotation)]
            _merge(into[key], value, nested)
        else:
            into[key] = value


def _parse_setting(setting: str) -> dict[str, Any]:
    path, equals, text = setting.partition("=")
    if not equals or not path.strip():
        raise ValueError(f"a setting has the form section.key=value, got {setting!r}")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()
    for key in reversed(path.strip().split(".")):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def _describe_errors(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        path, known = _locate(problem["loc"])
        where = ".".join(path)
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown setting {where}: {_suggestion(path[-1], known)}")
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


def _suggestion(wrong: str, known: list[str]) -> str:
    near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.3)
    return f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}"


def _locate(loc: tuple[int | str, ...]) -> tuple[list[str], list[str]]:
    """Return the dotted path of an error as users write it, and the keys known at its last part.

    For a section that can be one of several models (the loss), pydantic inserts the model's tag
    into the location. Users never write that tag, so it is dropped here.
    """
    path: list[str] = []
    known: list[str] = []
    models: list[type[BaseModel]] = [Config]
    for part in map(str, loc):
        if len(models) > 1:
            models = [model for model in models if _is_named(model, part)]
            continue
        path.append(part)
        known = sorted(models[0].model_fields) if models else []
        models = _models(models[0].model_fields[part].annotation) if part in known else []
    return path, known


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the config models that an annotation allows, each once."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    found = [model for argument in get_args(annotation) for model in _models(argument)]
    return list(dict.fromkeys(found))


def _is_named(model: type[BaseModel], name: Any) -> bool:
    """Return whether a name selects a model, which is one of several."""
    field = model.model_fields.get("name")
    if field is None:
        return False
    patterns = [found for rule in field.metadata if (found := getattr(rule, "pattern", None))]
    return name in get_args(field.annotation) or any(
        isinstance(name, str) and re.search(pattern, name) for pattern in patterns
    )
