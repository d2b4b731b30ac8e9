"""The loss of a batch that is spread over several processes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toomuchtv._internal import distributed
from toomuchtv.losses.base import PairLabelsLike, PairLoss


class GatheredLoss(nn.Module):
    """A wrapper that computes a loss on the clips of all processes.

    Every process gathers the embeddings of all processes and computes the whole loss, so that the
    loss is the same everywhere and its formula needs no communication. N clips cost every process
    the full N x N matrix of similarities (in chunks; see `toomuchtv.losses.chunked`).

    The law of gradients: if every process calls `backward()` and parameter gradients are then
    summed over the processes, the sum is the gradient of one process that holds the whole batch.

    - Embeddings: the backward pass of the gather keeps the rows of this process. They are the exact
      gradient of the whole loss with respect to the embeddings of this process, and each clip's
      path through the encoder exists on one process only. Summing is right.
    - Parameters of the loss, such as a learned temperature: every process has their whole gradient.
      The wrapper divides it by the number of processes, so that summing is right here too.

    Args:
        loss: Any loss of this package, or another module with the same `forward`.
    """

    def __init__(self, loss: PairLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(
        self,
        video: Tensor,
        audio: Tensor,
        pair_labels: PairLabelsLike = None,
        **whole_batch: Tensor,
    ) -> Tensor:
        """Compute the loss of the whole batch. All processes must call this together.

        Args:
            video: Unit vectors `[n, D]` of the clips of this process; n is equal on all processes.
            audio: Unit vectors `[n, D]` of the same clips.
            pair_labels: Labels of all `[N, N]` pairs, N = n * number of processes, in the order
                of the ranks.
            **whole_batch: Further arguments of the loss, also of all N clips.

        Returns:
            The loss of the whole batch, the same on every process.
        """
        num_processes = distributed.world_size()
        if num_processes == 1:
            return torch.as_tensor(self.loss(video, audio, pair_labels, **whole_batch))
        parameters = {
            name: _scale_gradient(parameter, 1.0 / num_processes)
            for name, parameter in self.loss.named_parameters()
        }
        # One collective call for both: [n, 2, D] of every process.
        both = distributed.gather_with_gradient(torch.stack([video, audio], dim=1))
        loss: Tensor = torch.func.functional_call(
            self.loss, parameters, (*both.unbind(dim=1), pair_labels), whole_batch
        )
        return loss


def _scale_gradient(value: Tensor, factor: float) -> Tensor:
    """Return the same value to the bit, with a gradient multiplied by `factor`."""
    constant = value.detach()
    # The difference is exactly zero; only its derivative, `factor`, matters.
    return constant + factor * (value - constant)
