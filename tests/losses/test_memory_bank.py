"""NCE with a memory bank equals a reference whose memory is a plain dictionary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.losses.references import Avid, Float, Labels, numerical_gradient, unit
from toomuchtv.losses import MemoryBank, MemoryBankConfig, build_loss


@dataclass(frozen=True)
class Clips:
    """Where the clips of a batch come from; two items are one title."""

    item: list[int]
    start_seconds: list[float]
    valid: list[bool] | None = None

    def keys(self, loss: MemoryBank) -> Tensor:
        item = torch.tensor(self.item)
        start = torch.tensor(self.start_seconds, dtype=torch.float64)
        return loss.clip_keys(item // 2, item, start)


def build(**settings: object) -> MemoryBank:
    values = {"bank_size": 1024, "num_negatives": 1024, "learn_temperature": True, **settings}
    loss = build_loss(MemoryBankConfig.model_validate(values), embedding_dim=5)
    assert isinstance(loss, MemoryBank)
    return loss


def run(
    loss: MemoryBank, video: Float, audio: Float, labels: Labels, clips: Clips
) -> tuple[float, Float, Float]:
    sides = [torch.tensor(side, dtype=torch.float32, requires_grad=True) for side in (video, audio)]
    loss.zero_grad()
    valid = None if clips.valid is None else torch.tensor(clips.valid)
    value = loss(sides[0], sides[1], torch.tensor(labels), clip_keys=clips.keys(loss), valid=valid)
    torch.autograd.backward(value)
    gradients = [side.grad for side in sides]
    assert gradients[0] is not None
    assert gradients[1] is not None
    return value.item(), gradients[0].double().numpy(), gradients[1].double().numpy()


@pytest.mark.parametrize("temperature", [0.01, 0.07, 10.0])
@pytest.mark.parametrize("plain", [True, False], ids=["own pairs", "random labels"])
def test_loss_and_gradients_of_every_step_equal_the_reference(
    temperature: float, plain: bool
) -> None:
    loss = build(temperature=temperature, momentum=0.3)
    reference = Avid(bucket_seconds=2.0, momentum=0.3)
    draws = np.random.default_rng(7)
    for step in range(4):
        # Ten clips exist, so that many return; the six clips of a step are distinct.
        chosen = draws.permutation(10)[:6]
        item, start = [int(c) % 3 for c in chosen], [2.0 * (int(c) // 3) + 0.5 for c in chosen]
        labels = np.eye(6, dtype=np.int8)
        if not plain:
            labels = draws.integers(-1, 2, size=(6, 6)).astype(np.int8)
        video, audio = unit(100 + step, 6), unit(200 + step, 6)
        keys = [reference.key(*clip) for clip in zip(item, start, strict=True)]

        def loss_of(
            one: Float,
            two: Float,
            divisor: float = temperature,
            *,
            fresh: tuple[Float, Float] = (video, audio),
            labels: Labels = labels,
            keys: list[tuple[int, int]] = keys,
            write: bool = False,
        ) -> float:
            return reference.loss(one, two, labels, divisor, keys, fresh=fresh, write=write)

        if step == 0:
            # The first batch fixes Z; no gradient flows through it.
            loss_of(video, audio, write=True)
            reference.memory.clear()
        value, to_video, to_audio = run(loss, video, audio, labels, Clips(item, start))
        assert value == pytest.approx(loss_of(video, audio), rel=2e-5, abs=1e-5)
        for found, wanted in (
            (to_video, numerical_gradient(lambda values: loss_of(values, audio), video)),  # noqa: B023
            (to_audio, numerical_gradient(lambda values: loss_of(video, values), audio)),  # noqa: B023
        ):
            scale = max(1.0, np.abs(wanted).max())
            np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-4 * scale)
        divisors = [temperature * np.exp(change) for change in (1e-5, -1e-5)]
        ends = [loss_of(video, audio, divisor) for divisor in divisors]
        grad = loss.log_temperature.grad
        assert grad is not None
        assert grad.item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=2e-3, abs=2e-3)
        loss_of(video, audio, write=True)


def test_stored_embeddings_are_updated_with_momentum_and_replaced_on_collision() -> None:
    loss = build(bank_size=64, momentum=0.25)
    bank = loss.bank
    keys = Clips([3, 3], [0.0, 1.9]).keys(loss)  # one bucket, twice in a batch
    entries = bank.entries(keys)
    assert entries[0] == entries[1]
    one, two = (torch.tensor(unit(seed, 2), dtype=torch.float32) for seed in (1, 2))
    valid = torch.ones(2, dtype=torch.bool)
    bank.store(keys, entries, one, two, valid)
    assert torch.equal(bank.video[entries[0]], one[1])  # the last one stays
    assert torch.equal(bank.audio[entries[0]], two[1])
    bank.store(keys[:1], entries[:1], two[:1], one[:1], valid[:1])
    mixed = torch.nn.functional.normalize(0.25 * one[1] + 0.75 * two[0], dim=0)
    torch.testing.assert_close(bank.video[entries[0]], mixed)
    taken = torch.tensor([int(entries[0])])
    bank.store(Clips([4], [0.0]).keys(loss), taken, one[:1], two[:1], valid[:1])
    assert torch.equal(bank.video[taken], one[:1])  # nothing of the previous clip is left
    assert not bank.contains(keys[:1], entries[:1])


def test_invalid_clips_are_not_stored() -> None:
    loss = build()
    labels = np.eye(4, dtype=np.int8)
    labels[2, :] = labels[:, 2] = -1
    clips = Clips([0, 1, 2, 3], [0.0] * 4, valid=[True, True, False, True])
    video, audio = unit(1, 4), unit(2, 4)
    value, to_video, _ = run(loss, video, audio, labels, clips)
    assert not to_video[2].any()
    assert sorted(set(loss.bank.keys[:, 1].tolist())) == [-1, 0, 1, 3]
    kept = [0, 1, 3]
    rest = run(build(), video[kept], audio[kept], np.eye(3, dtype=np.int8), Clips(kept, [0.0] * 3))
    assert value == pytest.approx(rest[0], rel=1e-6)


@pytest.mark.parametrize(("exclude", "count"), [("clip", 5), ("item", 4), ("title", 3)])
def test_excluded_entries_are_not_negatives(exclude: str, count: int) -> None:
    """Six clips, two of item 0 and one each of items 1 to 4; items 0 and 1 are of one title."""
    loss = build(exclude=exclude)
    clips = Clips([0, 0, 1, 2, 3, 4], [0.0, 9.0, 0.0, 0.0, 0.0, 0.0])
    run(loss, unit(1, 6), unit(2, 6), np.eye(6, dtype=np.int8), clips)
    # With equal embeddings, P is K / (K + K Z), and the sums can be computed by hand.
    with torch.no_grad():
        loss.bank.video.copy_(torch.tensor(unit(3, 1)).expand(1024, 5))
        loss.bank.audio.copy_(loss.bank.video)
        loss.partition.fill_(1 / 0.07)
    same = unit(3, 1)
    value, _, _ = run(loss, same, same, np.eye(1, dtype=np.int8), Clips([0], [0.0]))
    assert value == pytest.approx(np.log1p(count) + count * np.log1p(1 / count), rel=1e-5)


def test_a_loaded_state_continues_with_identical_losses() -> None:
    one = build(num_negatives=3, bank_size=16)
    labels = np.eye(5, dtype=np.int8)

    def step(loss: MemoryBank, number: int) -> float:
        clips = Clips([number, number + 1, 7, 8, 9], [float(number)] * 5)
        return run(loss, unit(number, 5), unit(50 + number, 5), labels, clips)[0]

    for number in range(3):
        step(one, number)
    two = build(num_negatives=3, bank_size=16)
    two.load_state_dict({name: value.clone() for name, value in one.state_dict().items()})
    draws = set()
    for number in range(3, 8):
        assert step(one, number) == step(two, number)
        draws.add(tuple(one.bank.draw(3)[0].tolist()))
    assert len(draws) > 1
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name


def test_in_eval_mode_the_state_does_not_change_and_no_keys_are_needed() -> None:
    loss = build(bank_size=16)
    labels = np.eye(4, dtype=np.int8)
    clips = Clips([0, 1, 2, 3], [0.0] * 4)
    run(loss, unit(1, 4), unit(2, 4), labels, clips)
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    loss.eval()
    values = {run(loss, unit(3, 4), unit(4, 4), labels, clips)[0] for _ in range(2)}
    sides = [torch.tensor(unit(seed, 4), dtype=torch.float32) for seed in (3, 4)]
    assert values == {loss(sides[0], sides[1]).item()}
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())
    with pytest.raises(ValueError, match=r"needs clip_keys \[4, 3\] in training mode, got None"):
        loss.train()(sides[0], sides[1])


def test_the_hash_spreads_clips_evenly() -> None:
    loss = build(bank_size=1000, bucket_seconds=1.0)
    item = torch.arange(50).repeat_interleave(200)
    keys = loss.clip_keys(item, item, torch.arange(200.0, dtype=torch.float64).repeat(50))
    counts = torch.bincount(loss.bank.entries(keys), minlength=1000).double()
    assert len(counts) == 1000
    # 10,000 clips in 1,000 entries at random: chi-square has mean 999 and deviation 45.
    assert 999 - 6 * 45 < ((counts - 10) ** 2 / 10).sum() < 999 + 6 * 45


@pytest.mark.parametrize("training", [True, False])
def test_an_empty_bank_gives_a_loss_of_zero(training: bool) -> None:
    loss = build()
    loss.train(training)
    one = np.eye(1, dtype=np.int8)
    value, to_video, _ = run(loss, unit(1, 1), unit(2, 1), one, Clips([0], [0.0]))
    assert value == 0.0
    assert not to_video.any()


def test_a_draw_takes_used_entries_equally_often_and_marks_the_others() -> None:
    bank = build(bank_size=40).bank
    used = torch.arange(0, 40, 2)
    bank.keys[used] = torch.arange(60).reshape(20, 3)
    counts = torch.zeros(40)
    for step in range(2_000):
        bank.steps.fill_(step)
        drawn, is_used = bank.draw(5)
        assert is_used.all()
        assert len(set(drawn.tolist())) == 5
        counts[drawn] += 1
    assert not counts[1::2].any()
    # 10,000 draws of 20 entries, 5 at a time: the variance of a count is 500 * (1 - 5 / 20).
    assert ((counts[used] - 500) ** 2 / 375).sum() < 19 + 6 * 38**0.5
    drawn, is_used = bank.draw(1024)
    assert sorted(drawn.tolist()) == list(range(40))
    assert set(drawn[is_used].tolist()) == set(used.tolist())
