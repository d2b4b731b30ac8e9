"""NCE with a memory bank against a reading whose memory is a plain dictionary."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.losses.papers import Avid, Float, Role, slope, unit
from toomuchtv.losses import DensePairLabels, MemoryBank, MemoryBankConfig, Moments, build_loss
from toomuchtv.losses.bank import MomentBank


def moments(
    item: list[int], start_seconds: list[float], *, valid: list[bool] | None = None
) -> Moments:
    return Moments(
        title=torch.tensor(item) // 2,
        item=torch.tensor(item),
        start_seconds=torch.tensor(start_seconds, dtype=torch.float64),
        audio_track=torch.zeros(len(item), dtype=torch.int64),
        valid=torch.tensor(valid or [True] * len(item)),
    )


def build(**settings: object) -> MemoryBank:
    values = {"bank_size": 1024, "num_negatives": 1024, "learn_temperature": True, **settings}
    objective = build_loss(MemoryBankConfig.model_validate(values), embedding_dim=5)
    assert isinstance(objective, MemoryBank)
    return objective


def run(
    objective: MemoryBank, video: Float, audio: Float, role: Role, where: Moments
) -> tuple[float, Float, Float]:
    sides = [torch.tensor(side, dtype=torch.float32, requires_grad=True) for side in (video, audio)]
    objective.zero_grad()
    loss = objective(sides[0], sides[1], DensePairLabels(torch.tensor(role)), where)
    torch.autograd.backward(loss)
    gradients = [side.grad for side in sides]
    assert gradients[0] is not None
    assert gradients[1] is not None
    return loss.item(), gradients[0].double().numpy(), gradients[1].double().numpy()


@pytest.mark.parametrize("temperature", [0.01, 0.07, 10.0])
@pytest.mark.parametrize("plain", [True, False], ids=["own moments", "random roles"])
def test_it_is_what_the_paper_says_step_after_step(temperature: float, plain: bool) -> None:
    objective = build(temperature=temperature, momentum=0.3)
    reading = Avid(bucket_seconds=2.0, momentum=0.3)
    draws = np.random.default_rng(7)
    for step in range(4):
        # Ten moments in all, so that many are met again; six clips a step, no moment twice.
        chosen = draws.permutation(10)[:6]
        item, start = [int(c) % 3 for c in chosen], [2.0 * (int(c) // 3) + 0.5 for c in chosen]
        role = np.eye(6, dtype=np.int8)
        if not plain:
            role = draws.integers(-1, 2, size=(6, 6)).astype(np.int8)
        video, audio = unit(100 + step, 6), unit(200 + step, 6)
        keys = [reading.key(*place) for place in zip(item, start, strict=True)]

        def loss_of(
            one: Float,
            two: Float,
            heat: float = temperature,
            *,
            fresh: tuple[Float, Float] = (video, audio),
            roles: Role = role,
            places: list[tuple[int, int]] = keys,
        ) -> float:
            return reading.loss(one, two, roles, heat, places, fresh=fresh, write=False)

        if step == 0:
            # Z is fixed by the first batch; no gradient goes through it.
            reading.loss(video, audio, role, temperature, keys, fresh=(video, audio), write=True)
            reading.memory.clear()
        loss, to_video, to_audio = run(objective, video, audio, role, moments(item, start))
        assert loss == pytest.approx(loss_of(video, audio), rel=2e-5, abs=1e-5)
        for found, wanted in (
            (to_video, slope(lambda values: loss_of(values, audio), video)),  # noqa: B023
            (to_audio, slope(lambda values: loss_of(video, values), audio)),  # noqa: B023
        ):
            scale = max(1.0, np.abs(wanted).max())
            np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-4 * scale)
        heats = [temperature * np.exp(change) for change in (1e-5, -1e-5)]
        ends = [loss_of(video, audio, heat) for heat in heats]
        grad = objective.log_temperature.grad
        assert grad is not None
        assert grad.item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=2e-3, abs=2e-3)
        reading.loss(video, audio, role, temperature, keys, fresh=(video, audio), write=True)


def test_what_is_remembered() -> None:
    bank = MomentBank(size=64, embedding_dim=5, bucket_seconds=2.0, momentum=0.25)
    where = moments([3, 3], [0.0, 1.9])  # one moment, seen twice in a batch
    keys = bank.keys(where)
    slots = bank.slots(keys)
    assert slots[0] == slots[1]
    one, two = (torch.tensor(unit(seed, 2), dtype=torch.float32) for seed in (1, 2))
    bank.remember(keys, slots, one, two, where.valid)
    assert torch.equal(bank.video[slots[0]], one[1])  # the last one stays
    assert torch.equal(bank.audio[slots[0]], two[1])
    bank.remember(keys[:1], slots[:1], two[:1], one[:1], where.valid[:1])
    mixed = torch.nn.functional.normalize(0.25 * one[1] + 0.75 * two[0], dim=0)
    torch.testing.assert_close(bank.video[slots[0]], mixed)
    other = moments([4], [0.0])
    taken = torch.tensor([int(slots[0])])
    bank.remember(bank.keys(other), taken, one[:1], two[:1], other.valid)
    assert torch.equal(bank.video[taken], one[:1])  # nothing of the former owner is left in it
    assert not bank.knows(keys[:1], slots[:1])


def test_invalid_clips_are_not_remembered() -> None:
    objective = build()
    role = np.eye(4, dtype=np.int8)
    role[2, :] = role[:, 2] = -1
    where = moments([0, 1, 2, 3], [0.0] * 4, valid=[True, True, False, True])
    video, audio = unit(1, 4), unit(2, 4)
    loss, to_video, _ = run(objective, video, audio, role, where)
    assert not to_video[2].any()
    assert sorted(set(objective.bank.owner[:, 1].tolist())) == [-1, 0, 1, 3]
    again = build()
    kept = [0, 1, 3]
    rest = run(again, video[kept], audio[kept], np.eye(3, dtype=np.int8), moments(kept, [0.0] * 3))
    assert loss == pytest.approx(rest[0], rel=1e-6)


@pytest.mark.parametrize(("exclude", "count"), [("moment", 5), ("item", 4), ("title", 3)])
def test_whose_memories_are_no_negatives(exclude: str, count: int) -> None:
    """Six moments, two of item 0 and one each of items 1 to 4; items 0 and 1 are of one title."""
    objective = build(exclude=exclude)
    run(
        objective,
        unit(1, 6),
        unit(2, 6),
        np.eye(6, dtype=np.int8),
        moments([0, 0, 1, 2, 3, 4], [0.0, 9.0, 0.0, 0.0, 0.0, 0.0]),
    )
    # With all embeddings alike P is K / (K + K Z) and every sum can be counted by hand.
    with torch.no_grad():
        objective.bank.video.copy_(torch.tensor(unit(3, 1)).expand(1024, 5))
        objective.bank.audio.copy_(objective.bank.video)
        objective.partition.fill_(1 / 0.07)
    same = unit(3, 1)
    loss, _, _ = run(objective, same, same, np.eye(1, dtype=np.int8), moments([0], [0.0]))
    assert loss == pytest.approx(np.log1p(count) + count * np.log1p(1 / count), rel=1e-5)


def test_saved_and_loaded_it_goes_on_the_same() -> None:
    """All state is in buffers: the same draws and losses, to the bit."""
    one = build(num_negatives=3, bank_size=16)
    role = np.eye(5, dtype=np.int8)

    def step(objective: MemoryBank, number: int) -> float:
        where = moments([number, number + 1, 7, 8, 9], [float(number)] * 5)
        return run(objective, unit(number, 5), unit(50 + number, 5), role, where)[0]

    for number in range(3):
        step(one, number)
    two = build(num_negatives=3, bank_size=16)
    two.load_state_dict({name: value.clone() for name, value in one.state_dict().items()})
    draws = set()
    for number in range(3, 8):
        assert step(one, number) == step(two, number)
        draws.add(tuple(one.bank.draw(3).tolist()))
    assert len(draws) > 1
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name


def test_evaluating_leaves_no_trace() -> None:
    objective = build(bank_size=16)
    role = np.eye(4, dtype=np.int8)
    where = moments([0, 1, 2, 3], [0.0] * 4)
    run(objective, unit(1, 4), unit(2, 4), role, where)
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    objective.eval()
    losses = {run(objective, unit(3, 4), unit(4, 4), role, where)[0] for _ in range(2)}
    assert len(losses) == 1
    assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items())


def test_the_hash_spreads_moments_evenly() -> None:
    bank = MomentBank(size=1000, embedding_dim=2, bucket_seconds=1.0, momentum=0.5)
    item = torch.arange(50).repeat_interleave(200)
    where = Moments(
        title=item,
        item=item,
        start_seconds=torch.arange(200.0, dtype=torch.float64).repeat(50),
        audio_track=torch.zeros_like(item),
        valid=item >= 0,
    )
    slots: Tensor = bank.slots(bank.keys(where))
    counts = torch.bincount(slots, minlength=1000).double()
    assert len(counts) == 1000
    # 10,000 moments in 1,000 slots by chance: chi-square has mean 999 and deviation 45.
    assert 999 - 6 * 45 < ((counts - 10) ** 2 / 10).sum() < 999 + 6 * 45


@pytest.mark.parametrize("training", [True, False])
def test_an_empty_bank_asks_nothing(training: bool) -> None:
    objective = build()
    objective.train(training)
    one = np.eye(1, dtype=np.int8)
    loss, to_video, _ = run(objective, unit(1, 1), unit(2, 1), one, moments([0], [0.0]))
    assert loss == 0.0
    assert not to_video.any()
