"""A step launches its work and never asks the device for a value; bad steps change nothing."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.batches import SMALLEST, a_batch
from tests.prepared import tiny_config
from toomuchtv.catalog.store import open_catalog
from toomuchtv.data.augmentation import AugmentationConfig
from toomuchtv.data.batch_buffer import MappedBuffer, copy_batch
from toomuchtv.data.clip_transform import ClipTransform, TransformConfig
from toomuchtv.data.pair_labels import PairLabelConfig
from toomuchtv.losses import LossConfig, MemoryBankConfig, build_loss
from toomuchtv.losses.info_nce import InfoNCEConfig
from toomuchtv.losses.joint_nce import JointNCEConfig
from toomuchtv.losses.within_modal import WithinModalConfig
from toomuchtv.models import AudioVitConfig, ModelConfig, TwoTower, VideoVitConfig
from toomuchtv.training.device_batch import DeviceBatch, HostValues, Prefetcher
from toomuchtv.training.metrics import Stopwatch
from toomuchtv.training.nan_dump import NotFiniteError
from toomuchtv.training.optimizer import ModelEma, build_optimizer
from toomuchtv.training.pretrain import pretrain
from toomuchtv.training.run_config import OptimizerConfig
from toomuchtv.training.step import StepResult, TrainingStep

CPU = torch.device("cpu")
CLIPS = 8
VIT = ModelConfig(
    video=VideoVitConfig(size="micro", patch_frames=1, patch_pixels=8, patch_dropout=0.5),
    audio=AudioVitConfig(size="micro", patch_dropout=0.25),
    embedding_dim=8,
)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def a_step(
    model_config: ModelConfig = SMALLEST,
    loss_config: LossConfig | None = None,
    optimizer: str = "adamw",
    *,
    chunk_size: int = 0,
    device: torch.device = CPU,
) -> TrainingStep:
    loss_config = loss_config or InfoNCEConfig(learn_temperature=True)
    model = TwoTower.from_config(model_config, seed=0).to(device)
    loss = build_loss(loss_config, embedding_dim=8).to(device)
    return TrainingStep(
        model=model,
        loss=loss,
        transform=ClipTransform(TransformConfig(size=16), AugmentationConfig(blur=0.5)).to(device),
        optimizer=build_optimizer(
            [model, loss], OptimizerConfig.model_validate({"name": optimizer})
        ),
        pair_labels=PairLabelConfig(near_seconds=1.5),
        precision=torch.float32,
        max_gradient_norm=1.0,
        chunk_size=chunk_size,
        ema=ModelEma(model, 0.5),
    )


class RefuseToWait(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raises on every operation for which a GPU would keep the host waiting."""

    REFUSED = (
        "_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique",
        "repeat_interleave.Tensor", "argwhere",
    )  # fmt: skip

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = str(func).removeprefix("aten.")
        assert not name.startswith(self.REFUSED), name
        if name.startswith(("index.", "index_put")):
            # An index by a mask is an index by its nonzero entries.
            assert all(index is None or index.dtype != torch.bool for index in args[1]), name
        return func(*args, **kwargs or {})


CASES: dict[str, dict[str, Any]] = {
    "info_nce": {},
    "joint_nce": {"loss_config": JointNCEConfig(), "optimizer": "sgd"},
    "within_modal": {"loss_config": WithinModalConfig(learn_temperature=True)},
    "memory_bank": {"loss_config": MemoryBankConfig(num_negatives=5, bank_size=16)},
    "vit in chunks": {"model_config": VIT, "chunk_size": 3},
}


@pytest.mark.parametrize("case", CASES)
def test_no_operation_of_a_step_waits_for_the_device(case: str) -> None:
    step = a_step(**CASES[case])
    batches = [step.prepare(a_batch(CLIPS, step=number)) for number in range(2)]
    with RefuseToWait():  # type: ignore[no-untyped-call]
        results = [step(batch, 1e-3) for batch in batches]
    assert all(result.is_finite for result in results)
    assert results[0].loss != results[1].loss


def test_the_guard_above_sees_what_it_refuses() -> None:
    mask = torch.tensor([True, False])
    for wait in (
        lambda: mask.sum().item(), lambda: bool(mask.any()), mask.nonzero,
        lambda: torch.ones(2)[mask], lambda: torch.ones(2).__setitem__(mask, torch.zeros(1)),
        lambda: torch.equal(mask, mask), lambda: float(torch.ones(())),
    ):  # fmt: skip
        with RefuseToWait(), pytest.raises(AssertionError):  # type: ignore[no-untyped-call]
            wait()


@needs_gpu
@pytest.mark.parametrize("case", CASES)
def test_an_unlogged_step_on_a_gpu_does_not_synchronize(case: str) -> None:
    device = torch.device("cuda")
    step = a_step(**CASES[case], device=device)
    decoded = [a_batch(CLIPS, step=number) for number in range(6)]
    batches = Prefetcher(decoded, step.prepare, device)
    results = [step(next(batches), 1e-3) for _ in range(3)]  # kernels are chosen and loaded
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches:
            results.append(step(batch, 1e-3))
            results[-2].values.read()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(result.is_finite for result in results)


def state_of(step: TrainingStep) -> dict[str, Tensor]:
    """Return copies of parameters, EMA and optimizer state, without what forward passes change."""
    found = {name: value.clone() for name, value in step.model.named_parameters()}
    found |= {f"loss.{name}": value.clone() for name, value in step.loss.named_parameters()}
    assert step.ema is not None
    found |= {f"ema.{name}": value.clone() for name, value in step.ema.state_dict().items()}
    for number, state in enumerate(step.optimizer.state.values()):
        found |= {f"{number}.{name}": value.clone() for name, value in state.items()}
    return found


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_bad_step_and_those_launched_after_it_change_nothing(optimizer: str, what: str) -> None:
    step = a_step(optimizer=optimizer)
    for number in range(2):
        step(a_batch(CLIPS, step=number), 1e-3)
    before = state_of(step)
    bad = a_batch(CLIPS, step=2)
    handle = None
    if what == "loss":
        bad.waveform[0, 0] = torch.nan
    else:
        weights = next(step.model.parameters())
        handle = weights.register_hook(lambda grad: grad * torch.inf)  # type: ignore[no-untyped-call]
    result = step(bad, 1e-3)
    if handle is not None:
        handle.remove()
    assert not result.is_finite
    norms = torch.stack([*result.parameter_norms.values()])
    assert not norms.isfinite().all()
    assert step(a_batch(CLIPS, step=3), 1e-3).loss is not None  # launched before anybody knew
    after = state_of(step)
    assert before.keys() == after.keys()
    assert len(before) > 100
    for name, value in before.items():
        assert torch.equal(value, after[name]), name


def test_prefetched_batches_give_the_same_weights() -> None:
    plain, prefetched = a_step(VIT), a_step(VIT)
    batches = [a_batch(CLIPS, step=number) for number in range(4)]
    expected = [plain(batch, 1e-3).loss for batch in batches]
    found = [prefetched(batch, 1e-3).loss for batch in Prefetcher(batches, prefetched.prepare, CPU)]
    assert found == expected
    after = state_of(prefetched)
    for name, value in state_of(plain).items():
        assert torch.equal(value, after[name]), name


def test_a_batch_is_taken_only_when_the_step_before_was_launched() -> None:
    events: list[str] = []

    def decode() -> Iterator[Any]:
        for number in range(2):
            events.append(f"decode {number}")
            yield a_batch(CLIPS, step=number)

    step = a_step()
    for batch in Prefetcher(decode(), step.prepare, CPU):
        events.append(f"launch {batch.host.step}")
        assert {value.device for value in batch.tensors()} == {CPU}
    assert events == ["decode 0", "launch 0", "decode 1", "launch 1"]


@pytest.mark.parametrize("loss_name", ["info_nce", "memory_bank"])
def test_an_unlogged_bad_step_still_stops_the_run_with_its_dump(
    prepared_catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss_name: str
) -> None:
    launched: list[int] = []

    def break_it(self: TrainingStep, batch: DeviceBatch, rate: float) -> StepResult:
        launched.append(batch.host.step)
        if batch.host.step == 4:
            batch.waveform[0, 0] = torch.nan
        return original(self, batch, rate)

    original = TrainingStep.__call__
    monkeypatch.setattr(TrainingStep, "__call__", break_it)
    config = tiny_config(
        training={"log_every": 100, "validate_every": 0, "checkpoint_every": 0, "steps": 50},
        loss={"name": loss_name},
    )
    with open_catalog(prepared_catalog) as catalog, pytest.raises(NotFiniteError, match="step 4 "):
        pretrain(catalog, tmp_path, config)
    assert launched == [0, 1, 2, 3, 4, 5]
    dump = json.loads((tmp_path / "not_finite_step_00000004_rank_0.json").read_text())
    assert dump["loss"] == "nan"
    assert [clip["loudest_sample"] == "nan" for clip in dump["clips"]] == [True] + [False] * 5
    assert all(isinstance(value["norm"], float) for value in dump["parameters"].values())
    assert not (tmp_path / "checkpoints").exists()


def test_only_the_time_in_which_the_device_is_idle_is_waiting() -> None:
    def batches() -> Iterator[int]:
        for number in range(2):
            time.sleep(0.1)
            yield number

    for idle_seconds, lowest, highest in ((0.0, 0.0, 0.0), (0.02, 0.03, 0.4), (math.inf, 0.8, 1.0)):
        stopwatch = Stopwatch()
        list(stopwatch.time_waits(batches(), lambda idle=idle_seconds: idle))  # type: ignore[misc]
        assert lowest <= stopwatch.data_wait_share <= highest
    assert HostValues(torch.ones(2)).idle_seconds() == math.inf
    assert HostValues(torch.ones(2)).read() == [1.0, 1.0]


@needs_gpu
def test_batches_of_workers_are_pinned(prepared_catalog: Path) -> None:
    from toomuchtv._internal.subprocess_pool import memory_file
    from toomuchtv.data.batch_buffer import BatchBuffer
    from toomuchtv.data.batches import PlannedBatches
    from toomuchtv.data.clip_reader import ClipReader
    from toomuchtv.data.sampler import ClipSampler

    config = tiny_config()
    with open_catalog(prepared_catalog) as catalog:
        reader = ClipReader(catalog.folder, catalog.snapshot(), catalog.proxies(), config.clip)
        sampler = ClipSampler(catalog.snapshot(), config.sampling, config.clip)
        planned = PlannedBatches(reader, sampler, seed=0)
        file, excluded = memory_file(), memory_file()
        num_clips, num_bytes = BatchBuffer(file, planned, excluded).fill(0)
        mapped = MappedBuffer(file, pin_memory=True)
        lent = mapped.lend(0, num_clips, num_bytes, reader, lambda: None)
        copied = copy_batch(file, 0, num_clips, num_bytes, reader, pin_memory=True)
        assert lent is not None
        for found in (lent, copied):
            assert found.video.is_pinned()
            assert found.waveform.is_pinned()
            assert torch.equal(found.video, planned[0].video)
            assert torch.equal(found.waveform.cuda(non_blocking=True).cpu(), planned[0].waveform)
        mapped.unpin()
