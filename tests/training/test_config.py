"""The config: precedence of preset, file and settings, error messages, and TOML round trips."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from toomuchtv.losses import CustomLossConfig, MemoryBankConfig, build_loss
from toomuchtv.training.run_config import PRESETS, Config, _models, config_from, load_config


@pytest.mark.parametrize("preset", [None, *PRESETS])
def test_toml_round_trip(preset: str | None, tmp_path: Path) -> None:
    config = load_config(
        preset=preset,
        settings=[
            "sampling.window_seconds=12.5",
            "pair_labels.same_item=ignore",
            "optimizer.beta2=0.95",
        ],
    )
    path = tmp_path / "config.toml"
    path.write_text(config.to_toml())
    assert load_config(file=path) == config
    assert load_config(file=path).to_toml() == config.to_toml()


def test_toml_holds_every_section() -> None:
    values = tomllib.loads(Config().to_toml())
    assert set(values) == set(Config.model_fields)
    assert values["transform"]["log_mel"]["sample_rate_hz"] == 16_000


def test_settings_override_the_file_and_the_file_overrides_the_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[training]\nsteps = 77\nseed = 5\n[model.video]\nwidth = 0.5\n")
    tiny = load_config(preset="tiny")
    config = load_config(
        preset="tiny", file=path, settings=["training.seed=6", "model.video.depth=18"]
    )
    assert config.training.steps == 77
    assert config.training.seed == 6
    assert config.model.video == tiny.model.video.model_copy(update={"width": 0.5, "depth": 18})
    assert config.model.audio == tiny.model.audio
    assert config.clip == tiny.clip
    assert load_config(settings=["training.steps=1", "training.steps=2"]).training.steps == 2


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("training.steps=5", 5),
        ("training.steps = 5", 5),
        ("model.audio.width=0.5", 0.5),
        ("sampling.name=uniform", "uniform"),
        ('sampling.name="uniform"', "uniform"),
        ("loss.learn_temperature=true", True),
    ],
)
def test_values_are_parsed_as_toml(setting: str, value: object) -> None:
    found: object = load_config(settings=[setting])
    for key in setting.partition("=")[0].strip().split("."):
        found = getattr(found, key)
    assert found == value


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.step=5", "unknown setting training.step: did you mean 'steps'"),
        ("trainign.steps=5", "unknown setting trainign: did you mean 'training'"),
        ("model.video.widht=1", "unknown setting model.video.widht: did you mean 'width'"),
        ("sampling.zzz=1", "unknown setting sampling.zzz: known keys are batch_size, clips_"),
        ("training.steps=0", "training.steps: .*greater than or equal to 1, got 0"),
        ("training.steps=many", "training.steps: .*integer.*, got 'many'"),
        ("sampling.level=film", "sampling.level: .*'show', 'season' or 'episode', got 'film'"),
        ("sampling.batch_size=10", r"sampling: .*batch_size \(10\) must be a multiple"),
        ("clip.sample_rate_hz=8000", r"clip.sample_rate_hz \(8000\) and .* must be equal"),
        ("sampling=5", "sampling: .*got 5"),
        (
            "loss.name=siglip",
            "loss.name: must be one of info_nce, joint_nce, memory_bank, "
            "within_modal, module:Class, got 'siglip'",
        ),
        ("loss.name=my.losses:", r"^loss.name: .*pattern.*got 'my.losses:'"),
        ("loss.name=m:A:B", r"^loss.name: .*pattern.*got 'm:A:B'"),
        ("loss=5", "loss: must be a table of settings, got 5"),
        ("loss.temprature=1", "unknown setting loss.temprature: did you mean 'temper"),
        ("loss.temperature=0", "^loss.temperature: .*greater than 0, got 0"),
        ("loss.temperature=0.001", "^loss: .*must lie in .min_temperature, max_temp"),
        ("loss.bias=1", "^unknown setting loss.bias: "),
        ("training.steps", "a setting has the form section.key=value, got 'training.steps'"),
        ("=5", "a setting has the form section.key=value, got '=5'"),
    ],
)
def test_errors_name_the_wrong_setting(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_config(settings=[setting])


def test_the_loss_section_is_checked_by_its_name() -> None:
    config = load_config(settings=["loss.name=memory_bank", "loss.momentum=0.25"])
    assert isinstance(config.loss, MemoryBankConfig)
    assert config.loss.momentum == 0.25
    assert config_from(tomllib.loads(config.to_toml())) == config
    with pytest.raises(ValueError, match=r"loss\.momentun: did you mean .momentum.\?$"):
        load_config(settings=["loss.name=memory_bank", "loss.momentun=1"])
    with pytest.raises(ValueError, match=r"^loss\.momentum: .* got 1000"):
        load_config(settings=["loss.name=memory_bank", "loss.momentum=1000"])
    assert Config().loss.name == "info_nce"


def test_a_loss_of_ones_own_is_read_without_importing_it(tmp_path: Path) -> None:
    settings = [
        "loss.name=no.such_module:Loss",
        "loss.options.sizes=[1, 2.5]",
        "loss.temperature=1",
    ]
    config = load_config(preset="tiny", settings=["loss.within_weight=3", *settings])
    assert isinstance(config.loss, CustomLossConfig)
    assert config.loss.options == {"sizes": [1, 2.5]}
    (tmp_path / "config.toml").write_text(config.to_toml())
    more = load_config(file=tmp_path / "config.toml", settings=["loss.options.k=true"])
    assert more.loss.model_dump()["options"] == {"sizes": [1, 2.5], "k": True}
    for wrong, message in (
        ("loss.option=1", "unknown setting loss.option: did you mean 'options'"),
        ("loss.options=1", "^loss.options: .*dictionary, got 1"),
        ("loss.options.day=2000-01-01", "^loss.options.day: "),
        ("loss.options.temperature=1", "set loss.temperature instead"),
    ):
        with pytest.raises(ValueError, match=message):
            load_config(settings=[*settings, wrong])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("loss.name=no.such_module:Loss", "cannot be imported .No module named 'no'"),
        ("loss.name=math:Loss", "the module has no class Loss"),
        ("loss.name=torch.nn:Linear", "is no toomuchtv.losses.PairLoss"),
        ("loss.options.weight=1", "WithinModal does not take loss.options .*: weight: Extra"),
        ("loss.options.within_weight=x", "does not take loss.options .*: must be real number"),
    ],
)
def test_errors_of_a_loss_of_ones_own_are_one_sentence(setting: str, message: str) -> None:
    config = load_config(settings=["loss.name=toomuchtv.losses:WithinModal", setting])
    with pytest.raises(ValueError, match=message) as error:
        build_loss(config.loss, embedding_dim=4)
    assert "\n" not in str(error.value)


def test_all_errors_are_reported_at_once() -> None:
    with pytest.raises(ValueError, match=r"unknown setting model.vidoe.*; training.steps"):
        config_from({"training": {"steps": 0}, "model": {"vidoe": {}}})


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read the config .*none.toml.*No such file"):
        load_config(file=tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[training\nsteps = 5")
    with pytest.raises(ValueError, match=r"the config .*bad.toml' is not TOML"):
        load_config(file=tmp_path / "bad.toml")
    with pytest.raises(ValueError, match="unknown preset 'huge': choose one of tiny, small, base"):
        load_config(preset="huge")


def test_a_config_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Config().training = Config().training


def _number_fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        models = _models(field.annotation)
        for nested in models:
            yield from _number_fields(nested, f"{prefix}{name}.")
        is_number = {int, float} & {field.annotation, *get_args(field.annotation)}
        if not models and is_number and "tuple" not in str(field.annotation):
            yield prefix + name, field


def test_every_number_has_a_smallest_and_a_largest_value_which_the_page_states() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "config.md").read_text("utf-8")
    fields = list(_number_fields(Config))
    assert len(fields) > 60
    for key, field in fields:
        limits = {
            type(one).__name__: getattr(one, type(one).__name__.lower(), None)
            for one in field.metadata
        }
        assert {"Gt", "Ge"} & limits.keys(), key
        assert {"Lt", "Le"} & limits.keys(), key
        (row,) = {line for line in page.splitlines() if line.startswith(f"| `{key}` |")}
        words = {"Gt": "above", "Ge": "at least", "Lt": "below", "Le": "at most"}
        for limit, value in limits.items():
            if limit in words:
                assert f"{words[limit]} {value:.10g}" in row, key
        for wrong in ("1e999", "nan", "99999999999999999999999", "-99999999999999999999999"):
            with pytest.raises(ValueError, match=key.split(".")[-1]):
                load_config(settings=[f"{key}={wrong}", *_LOSS_OF.get(key, ())])


#: Settings that only one loss has.
_LOSS_OF = {
    **{
        f"loss.{key}": ["loss.name=memory_bank"]
        for key in ("num_negatives", "bank_size", "bucket_seconds", "momentum")
    },
    "loss.within_weight": ["loss.name=within_modal"],
}


@pytest.mark.parametrize(
    "setting",
    [
        "sampling.clips_per_item=99999999999999999999",
        "sampling.clips_per_item=[[0, 16], [99999999999999999999, 2]]",
        "sampling.window_seconds=nan",
        "sampling.window_seconds=[[0, nan]]",
        "training.steps=" + "9" * 5000,
        "training.steps=" + "[" * 100_000,
    ],
)
def test_absurd_settings_are_refused_at_once(setting: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"clips_per_item|window_seconds|steps"):
        load_config(settings=[setting])
    section, _, assignment = setting.partition(".")
    path = tmp_path / "a.toml"
    path.write_text(f"[{section}]\n{assignment}\n")
    with pytest.raises(ValueError, match=r"clips_per_item|window_seconds|steps|a\.toml"):
        load_config(file=path)


def test_a_config_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xff\xfe[training]")
    with pytest.raises(ValueError, match=r"a\.toml"):
        load_config(file=path)


def test_the_config_page_lists_every_key_with_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "config.md").read_text("utf-8")
    keys = list(_leaf_keys(Config))
    assert len(keys) > 80
    for key, default in keys:
        shown = "not set" if default is None else str(default)
        shown = shown.lower() if isinstance(default, bool) else shown
        if shown and not isinstance(default, tuple) and key != "loss.name":
            assert f"| `{key}` | `{shown}` |" in page, key
        else:
            assert f"`{key}`" in page, key


def _leaf_keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, field in model.model_fields.items():
        models = _models(field.annotation)
        for nested in models:
            yield from _leaf_keys(nested, f"{prefix}{name}.")
        if not models:
            yield prefix + name, field.get_default(call_default_factory=True)
