"""A batch in chunks has the gradient of the whole batch; batch norm sees one chunk at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.batches import SMALLEST, a_batch
from tests.processes import run_processes
from toomuchtv._internal import distributed
from toomuchtv.data.augmentation import AugmentationConfig
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.data.clip_transform import ClipTransform, TransformConfig
from toomuchtv.data.pair_labels import PairLabelConfig
from toomuchtv.losses import InfoNCEConfig, build_loss
from toomuchtv.models import Embeddings, TwoTower
from toomuchtv.training.gradient_cache import CachedEmbeddings, chunks
from toomuchtv.training.step import TrainingStep

CLIPS = 10


def gradients(batch: ClipBatch, chunk_size: int) -> dict[str, Tensor]:
    """Loss and gradients of one step of real encoders, batch norm by its running statistics."""
    model = TwoTower.from_config(SMALLEST, seed=0).eval()
    loss = build_loss(InfoNCEConfig(temperature=0.2, learn_temperature=True), embedding_dim=8)
    parameters = {**dict(model.named_parameters()), **dict(loss.named_parameters())}
    step = TrainingStep(
        model=model,
        loss=loss,
        transform=ClipTransform(TransformConfig(size=16), AugmentationConfig()),
        optimizer=torch.optim.SGD(parameters.values(), lr=0.0, fused=True),
        pair_labels=PairLabelConfig(),
        precision=torch.float32,
        max_gradient_norm=1e9,
        chunk_size=chunk_size,
    )
    found = {"loss": torch.tensor(step(batch, 0.0).loss)}
    for name, value in parameters.items():
        assert value.grad is not None
        found[name] = value.grad.clone().contiguous()
    return found


def assert_close(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """The gradient as a whole to 1e-6 of its length; each tensor, smaller and deeper, to 1e-5."""
    assert found.keys() == wanted.keys()
    off = {name: (found[name].double() - value.double()).norm() for name, value in wanted.items()}
    size = {name: value.double().norm() for name, value in wanted.items()}
    assert torch.stack([*off.values()]).norm() <= 1e-6 * torch.stack([*size.values()]).norm()
    assert all(off[name] <= 1e-5 * size[name] for name in wanted)


@pytest.fixture(scope="module")
def whole() -> dict[str, Tensor]:
    return gradients(a_batch(CLIPS), 0)


@pytest.mark.parametrize("chunk_size", [1, 3, 4, 9])
def test_chunks_have_the_gradient_of_the_whole(chunk_size: int, whole: dict[str, Tensor]) -> None:
    assert_close(gradients(a_batch(CLIPS), chunk_size), whole)


def test_one_chunk_is_the_whole_to_the_bit(whole: dict[str, Tensor]) -> None:
    for chunk_size in (CLIPS, 1000):
        for name, value in gradients(a_batch(CLIPS), chunk_size).items():
            assert torch.equal(value, whole[name]), name


def chunked_here(folder: Path) -> None:
    """Take the step of one of two processes, in chunks of unequal size."""
    with distributed.process_group(torch.device("cpu")):
        own = slice(0, 5) if distributed.rank() == 0 else slice(5, CLIPS)
        found = gradients(a_batch(CLIPS)[own], 2)
        save_file(found, folder / f"{distributed.rank()}.safetensors")


def test_chunks_on_two_processes_have_the_same_gradient(
    whole: dict[str, Tensor], tmp_path: Path
) -> None:
    run_processes(2, chunked_here, tmp_path)
    for rank in (0, 1):
        assert_close(load_file(tmp_path / f"{rank}.safetensors"), whole)


class Towers(nn.Module):
    """Two small towers in float64, optionally with batch norm and dropout."""

    def __init__(self, *, norm: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.outputs: list[Embeddings] = []
        self.towers = nn.ModuleList(
            nn.Sequential(
                nn.Linear(6, 7),
                nn.BatchNorm1d(7) if norm else nn.Identity(),
                nn.Dropout(dropout),
                nn.Linear(7, 4),
            )
            for _ in range(2)
        )
        self.double()

    def forward(self, values: Tensor) -> Embeddings:
        found = Embeddings(*(tower(values) for tower in self.towers))
        self.outputs.append(Embeddings(*(side.detach().clone() for side in found)))
        return found

    def norms(self) -> list[nn.BatchNorm1d]:
        return [module for module in self.modules() if isinstance(module, nn.BatchNorm1d)]


def values() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(CLIPS, 6, generator=generator, dtype=torch.float64)


def backward(model: Towers, chunk_size: int) -> None:
    """Backpropagate a loss in which every gradient depends on the embeddings of all chunks."""
    data = values()
    cached = CachedEmbeddings(
        model, lambda clips: model(data[clips]), num_clips=CLIPS, chunk_size=chunk_size
    )
    video, audio = cached.embeddings
    torch.autograd.backward(torch.logsumexp((video @ audio.T).flatten(), dim=0))
    cached.backward()


def test_in_float64_the_gradient_is_exact() -> None:
    one, two = Towers(), Towers()
    backward(one, 0)
    backward(two, 3)
    for left, right in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, rtol=1e-12, atol=1e-14)


def test_both_passes_see_the_same_dropout() -> None:
    model = Towers(norm=True, dropout=0.5)
    torch.manual_seed(11)
    backward(model, 4)
    end = torch.get_rng_state()
    first, second = model.outputs[:3], model.outputs[3:]
    for left, right in zip(first, second, strict=True):
        assert torch.equal(left.video, right.video)
        assert torch.equal(left.audio, right.audio)
    # The generator advances as by one pass, and no two chunks get the same random numbers.
    torch.manual_seed(11)
    again = Towers(norm=True, dropout=0.5)
    torch.manual_seed(11)
    for clips in chunks(CLIPS, 4):
        again(values()[clips])
    assert torch.equal(torch.get_rng_state(), end)


def test_batch_norm_uses_statistics_of_a_chunk_and_updates_once() -> None:
    model = Towers(norm=True)
    before = [norm.running_mean.clone() for norm in model.norms() if norm.running_mean is not None]
    inputs = [tower[0](values()).detach() for tower in model.towers]  # type: ignore[index]
    backward(model, 4)
    for norm, old, hidden in zip(model.norms(), before, inputs, strict=True):
        assert norm.num_batches_tracked is not None
        assert norm.num_batches_tracked.item() == 1
        assert norm.running_mean is not None
        assert norm.running_var is not None
        # The mean over clips of the chunks' means is the mean of the batch.
        torch.testing.assert_close(norm.running_mean, 0.9 * old + 0.1 * hidden.mean(dim=0))
        spread = torch.stack([hidden[clips].var(dim=0) for clips in chunks(CLIPS, 4)])
        share = torch.tensor([0.4, 0.4, 0.2], dtype=torch.float64)
        torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * (share[:, None] * spread).sum(0))
    with torch.no_grad():
        alone = Towers(norm=True)(values()[:4])
    assert torch.equal(model.outputs[0].video, alone.video)


def test_the_pass_without_a_graph_changes_no_statistics() -> None:
    model = Towers(norm=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    data = values()
    CachedEmbeddings(model, lambda clips: model(data[clips]), num_clips=CLIPS, chunk_size=4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("count", "size", "wanted"),
    [
        (5, 0, [(0, 5)]),
        (5, 2, [(0, 2), (2, 4), (4, 5)]),
        (4, 2, [(0, 2), (2, 4)]),
        (0, 2, [(0, 0)]),
        (0, 0, [(0, 0)]),
    ],
)
def test_slices_of_chunks(count: int, size: int, wanted: list[tuple[int, int]]) -> None:
    assert [(part.start, part.stop) for part in chunks(count, size)] == wanted
