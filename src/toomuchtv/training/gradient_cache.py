"""Gradient caching: batches larger than memory, with the gradient of the whole batch.

Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP
2021, section 3.2. A contrastive loss needs every clip's embedding at once but not every clip's
activations:

    1. Embed chunk by chunk without a graph.
    2. Compute the loss of all embeddings and its gradient with respect to them: the cache.
    3. Embed chunk by chunk again, now with a graph, and backpropagate the cached gradient.

Both passes of a chunk see the same clips, the same augmentation (a function of the clip's seed) and
the same dropout (the random state is restored), so they give the same embeddings.

Batch norm takes its statistics from one chunk. Apart from that, the gradient is exactly that of the
whole batch. The running statistics are updated once per step, with the mean over the chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from toomuchtv.models import Embeddings


def chunks(num_clips: int, chunk_size: int) -> list[slice]:
    """Cut `num_clips` into slices of `chunk_size` clips, or into one slice if that is 0."""
    size = chunk_size or max(1, num_clips)
    starts = range(0, max(1, num_clips), size)
    return [slice(start, min(num_clips, start + size)) for start in starts]


class CachedEmbeddings:
    """Embeddings of a batch whose graph need not be in memory as a whole.

    A batch of one chunk keeps its graph and needs no second pass.

    Args:
        model: The model that `embed` runs.
        embed: A function that embeds some clips of the batch, each time with the same result.
        num_clips: Number of clips in this process's batch.
        chunk_size: Number of clips whose activations fit into memory; 0 for all of them.
        no_sync: Returns a context in which gradients only accumulate. Every pass with a graph but
            the last runs in it, so that processes exchange their gradients once.

    Attributes:
        embeddings: Embeddings of the whole batch: leaf tensors that collect the loss's gradient.
    """

    def __init__(
        self,
        model: nn.Module,
        embed: Callable[[slice], Embeddings],
        *,
        num_clips: int,
        chunk_size: int,
        no_sync: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._model, self._embed, self._no_sync = model, embed, no_sync
        self._chunks = chunks(num_clips, chunk_size)
        self._device = next(model.parameters()).device
        self._random_states: list[list[Tensor]] = []
        self._graph: Embeddings | None = None
        if len(self._chunks) == 1:
            self._graph = embed(self._chunks[0])
            found = [self._graph]
        else:
            found = [self._embed_without_graph(clips) for clips in self._chunks]
        self.embeddings = Embeddings(
            *(torch.cat(side).detach().requires_grad_() for side in zip(*found, strict=True))
        )

    def backward(self) -> None:
        """Backpropagate the gradient of the embeddings to the parameters of the model."""
        grads = [
            torch.zeros_like(side) if side.grad is None else side.grad for side in self.embeddings
        ]
        if self._graph is not None:
            torch.autograd.backward(list(self._graph), grads)
            return
        running = _RunningStatistics(self._model)
        for clips, state in zip(self._chunks, self._random_states, strict=True):
            self._restore_random_state(state)
            running.restore()
            with nullcontext() if clips is self._chunks[-1] else self._no_sync():
                local = self._embed(clips)
                running.add(share=(clips.stop - clips.start) / len(grads[0]))
                torch.autograd.backward(list(local), [grad[clips] for grad in grads])
        running.set_to_mean()

    @torch.no_grad()
    def _embed_without_graph(self, clips: slice) -> Embeddings:
        """Embed a chunk, and leave the running statistics as they were."""
        self._random_states.append(self._random_state())
        running = _RunningStatistics(self._model)
        found = self._embed(clips)
        running.restore()
        return found

    def _random_state(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._device))
        return states

    def _restore_random_state(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(states[1], self._device)


class _RunningStatistics:
    """A snapshot of the running statistics of a model's batch norms."""

    def __init__(self, model: nn.Module) -> None:
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        self._buffers = [buffer for norm in norms for buffer in norm.buffers()]
        self._before = [buffer.clone() for buffer in self._buffers]
        self._mean = [torch.zeros_like(buffer) for buffer in self._buffers]

    @torch.no_grad()
    def restore(self) -> None:
        """Restore the snapshot."""
        for buffer, before in zip(self._buffers, self._before, strict=True):
            buffer.copy_(before)

    @torch.no_grad()
    def add(self, share: float) -> None:
        """Add the current statistics to the mean, weighted by the chunk's share of the batch."""
        for buffer, mean in zip(self._buffers, self._mean, strict=True):
            if buffer.is_floating_point():
                mean.add_(buffer, alpha=share)
            else:
                mean.copy_(buffer)  # the number of batches: one more after any chunk

    @torch.no_grad()
    def set_to_mean(self) -> None:
        """Set the statistics to the mean over the chunks."""
        for buffer, mean in zip(self._buffers, self._mean, strict=True):
            buffer.copy_(mean)
