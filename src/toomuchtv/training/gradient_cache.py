"""Batches larger than memory, with the gradient of the large batch.

Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP
2021, section 3.2. A contrastive loss needs every clip's embedding at once but not every clip's
activations:

    1. embed chunk by chunk, keeping no graph
    2. loss of all embeddings, and its gradient with respect to them: the cache
    3. embed chunk by chunk again, now with a graph, and send the cached gradient through it

Both passes of a chunk see the same clips, the same augmentation (a function of the clip's seed) and
the same dropout (the random state is put back), so they give the same embeddings.

Batch norm takes its statistics from one chunk, as it would in a batch of that size: with it the
gradient is that of the large batch up to those statistics, without it exactly. The running
statistics move once a step, by the mean over the chunks; the pass without a graph leaves them.
With batch norm synchronized over processes, all must have as many chunks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from toomuchtv.models import Embeddings


def chunks(num_clips: int, chunk_size: int) -> list[slice]:
    """Cut `num_clips` into parts of `chunk_size`, the last one shorter; 0: one part of all."""
    size = chunk_size or max(1, num_clips)
    return [slice(start, min(num_clips, start + size)) for start in range(0, num_clips, size)] or [
        slice(0, 0)
    ]


class CachedEmbeddings:
    """Embeddings of a batch whose graph need not be in memory.

    One chunk keeps its graph and needs no second pass.

    Args:
        model: What `embed` runs; for its batch norms and its device.
        embed: Embeds some of the batch's clips; the same clips give the same embeddings.
        num_clips: Clips of this process's batch.
        chunk_size: Clips whose activations fit into memory; 0: all of them.

    Attributes:
        embeddings: Of the whole batch, leaves that gather the loss's gradient.
    """

    def __init__(
        self,
        model: nn.Module,
        embed: Callable[[slice], Embeddings],
        *,
        num_clips: int,
        chunk_size: int,
    ) -> None:
        self._model, self._embed = model, embed
        self._chunks = chunks(num_clips, chunk_size)
        self._device = next(model.parameters()).device
        self._random: list[list[Tensor]] = []
        self._graph: Embeddings | None = None
        if len(self._chunks) == 1:
            self._graph = embed(self._chunks[0])
            found = [self._graph]
        else:
            found = [self._glimpse(clips) for clips in self._chunks]
        self.embeddings = Embeddings(
            *(torch.cat(side).detach().requires_grad_() for side in zip(*found, strict=True))
        )

    def backward(self) -> None:
        """Send the gradient that the embeddings have gathered on to the model's parameters."""
        grads = [
            torch.zeros_like(side) if side.grad is None else side.grad for side in self.embeddings
        ]
        if self._graph is not None:
            torch.autograd.backward(list(self._graph), grads)
            return
        running = _RunningStatistics(self._model)
        for clips, state in zip(self._chunks, self._random, strict=True):
            self._set_random(state)
            running.restore()
            local = self._embed(clips)
            running.add(share=(clips.stop - clips.start) / len(grads[0]))
            torch.autograd.backward(list(local), [grad[clips] for grad in grads])
        running.set_to_mean()

    @torch.no_grad()
    def _glimpse(self, clips: slice) -> Embeddings:
        """Embed a chunk as if nobody had looked."""
        self._random.append(self._get_random())
        running = _RunningStatistics(self._model)
        found = self._embed(clips)
        running.restore()
        return found

    def _get_random(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._device))
        return states

    def _set_random(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(states[1], self._device)


class _RunningStatistics:
    """The running statistics of a model's batch norms as they were when this was made."""

    def __init__(self, model: nn.Module) -> None:
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        self._buffers = [buffer for norm in norms for buffer in norm.buffers()]
        self._before = [buffer.clone() for buffer in self._buffers]
        self._mean = [torch.zeros_like(buffer) for buffer in self._buffers]

    @torch.no_grad()
    def restore(self) -> None:
        """Put them back."""
        for buffer, before in zip(self._buffers, self._before, strict=True):
            buffer.copy_(before)

    @torch.no_grad()
    def add(self, share: float) -> None:
        """Note how one chunk, a share of the batch, moved them."""
        for buffer, mean in zip(self._buffers, self._mean, strict=True):
            if buffer.is_floating_point():
                mean.add_(buffer, alpha=share)
            else:
                mean.copy_(buffer)  # how many batches there were: one more, by whichever chunk

    @torch.no_grad()
    def set_to_mean(self) -> None:
        """Move them once, by the mean over the chunks."""
        for buffer, mean in zip(self._buffers, self._mean, strict=True):
            buffer.copy_(mean)
