"""The running average of the weights, against its closed form."""

from __future__ import annotations

import torch

from toomuchtv.inference.pretrained import fresh_model
from toomuchtv.models import AudioEncoderConfig, ModelConfig, VideoEncoderConfig
from toomuchtv.training.averaged import AveragedModel

CONFIG = ModelConfig(
    video=VideoEncoderConfig(depth=10, width=0.0625),
    audio=AudioEncoderConfig(depth=9, width=0.0625),
    embedding_dim=4,
)


def test_it_is_the_exponential_average_of_all_that_was() -> None:
    model, decay = fresh_model(CONFIG, seed=0), 0.75
    averaged = AveragedModel(model, decay)
    path = [{key: value.double().clone() for key, value in model.state_dict().items()}]
    for seed in range(1, 4):
        model.load_state_dict(fresh_model(CONFIG, seed).state_dict())
        for name, buffer in model.named_buffers():
            buffer.fill_(seed) if name.endswith("num_batches_tracked") else buffer.add_(seed)
        averaged.update(model)
        path.append({key: value.double().clone() for key, value in model.state_dict().items()})
    for name, value in averaged.model.state_dict().items():
        # a_n = d^n w_0 + (1 - d) * sum over k of d^(n - k) w_k
        expected = decay**3 * path[0][name] + (1 - decay) * sum(
            decay ** (3 - k) * path[k][name] for k in (1, 2, 3)
        )
        if name.endswith("num_batches_tracked"):
            expected = path[3][name]
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6, msg=name)


def test_it_is_no_part_of_the_training() -> None:
    model = fresh_model(CONFIG, seed=0)
    averaged = AveragedModel(model, 0.9)
    assert not any(value.requires_grad for value in averaged.parameters())
    assert all(value.requires_grad for value in model.parameters())
    own = {value.data_ptr() for value in averaged.model.state_dict().values()}
    assert own.isdisjoint(value.data_ptr() for value in model.state_dict().values())
