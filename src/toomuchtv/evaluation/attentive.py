"""The attentive probe: one learned query that attends to the tokens of a clip.

The block is that of V-JEPA (Bardes et al., "Revisiting Feature Prediction for Learning Visual
Representations from Video", TMLR 2024); V-JEPA 2 (Assran et al., arXiv 2506.09985) puts three
self-attention blocks before it. With one query, the attention of H heads needs no projection of
every token: the score of token x in head h is (q_h W_h) . x, and the value of a head is the
projection of the mean token. That is exact and takes H / C of the time for tokens of width C.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toomuchtv.evaluation.benchmark import FeatureArray, ScoreArray, TargetArray
from toomuchtv.evaluation.protocols.config import AttentiveConfig

_CLIPS_PER_CALL = 256
_INIT_STD = 0.02
_GRADIENT_NORM = 1.0


class AttentivePooler(nn.Module):
    """Cross-attention of one learned query over tokens, with an MLP after it.

    Args:
        width: Width C of the tokens.
        num_heads: Number of heads; divides the width.
        mlp_ratio: Width of the hidden layer of the MLP, as a multiple of C.
    """

    def __init__(self, width: int, num_heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Parameter(torch.zeros(width))
        self.norm_tokens = nn.LayerNorm(width)
        self.to_query = nn.Linear(width, width)
        self.to_key = nn.Linear(width, width)
        self.to_value = nn.Linear(width, width)
        self.norm_pooled = nn.LayerNorm(width)
        hidden = round(mlp_ratio * width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        nn.init.trunc_normal_(self.query, std=_INIT_STD)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=_INIT_STD)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens `[N, P, C]` to vectors `[N, C]`."""
        tokens = self.norm_tokens(tokens)
        head_dim = len(self.query) // self.num_heads
        query = self.to_query(self.query).view(self.num_heads, head_dim)
        keys = self.to_key.weight.view(self.num_heads, head_dim, -1)
        # The bias of the keys adds the same to the scores of all tokens, which softmax ignores.
        scorer = torch.einsum("hd,hdc->hc", query, keys) / math.sqrt(head_dim)
        attention = (tokens @ scorer.T).softmax(dim=1)  # [N, P, H]
        mean = attention.transpose(1, 2) @ tokens  # [N, H, C]
        values = self.to_value.weight.view(self.num_heads, head_dim, -1)
        pooled = torch.einsum("nhc,hdc->nhd", mean, values).flatten(1) + self.to_value.bias
        pooled = self.query + pooled
        out: Tensor = pooled + self.mlp(self.norm_pooled(pooled))
        return out


class AttentiveProbe(nn.Module):
    """An attentive pooler with a linear classifier.

    Args:
        width: Width of the tokens.
        num_classes: Number of classes.
        config: Heads and MLP.
    """

    def __init__(self, width: int, num_classes: int, config: AttentiveConfig) -> None:
        super().__init__()
        self.pooler = AttentivePooler(width, _num_heads(width, config.max_heads), config.mlp_ratio)
        self.classifier = nn.Linear(width, num_classes)
        nn.init.trunc_normal_(self.classifier.weight, std=_INIT_STD)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens `[N, P, C]` to logits `[N, K]`."""
        logits: Tensor = self.classifier(self.pooler(tokens))
        return logits

    @torch.inference_mode()
    def scores(self, tokens: FeatureArray) -> ScoreArray:
        """Return the logits of clips, `[N, K]`, for tokens `[N, P, C]`."""
        parts = [
            self(torch.from_numpy(np.ascontiguousarray(tokens[start : start + _CLIPS_PER_CALL])))
            for start in range(0, len(tokens), _CLIPS_PER_CALL)
        ]
        found: ScoreArray = torch.cat(parts).numpy()
        return found


def fit_attentive(
    config: AttentiveConfig,
    tokens: FeatureArray,
    targets: TargetArray,
    *,
    learning_rate: float,
    weight_decay: float,
    multi_label: bool,
    seed: int,
) -> AttentiveProbe:
    """Train an attentive probe with AdamW and a cosine schedule.

    Args:
        config: Architecture and length of the training.
        tokens: Tokens of the training clips, `[N, P, C]`.
        targets: Multi-hot targets `[N, K]`.
        learning_rate: Learning rate of the first step.
        weight_decay: Decoupled weight decay.
        multi_label: True if a clip may have several classes.
        seed: Seed of the initial weights and of the batches.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        probe = AttentiveProbe(tokens.shape[2], targets.shape[1], config)
        given, wanted = torch.from_numpy(tokens), torch.from_numpy(targets)
        steps_per_epoch = math.ceil(len(tokens) / config.batch_size)
        num_epochs = max(config.epochs, math.ceil(config.min_steps / steps_per_epoch))
        optimizer = torch.optim.AdamW(
            probe.parameters(), lr=learning_rate, weight_decay=weight_decay
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, T_max=num_epochs * steps_per_epoch
        )
        for _ in range(num_epochs):
            for rows in torch.split(torch.randperm(len(given)), config.batch_size):
                loss = _loss(probe(given[rows]), wanted[rows], multi_label)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(probe.parameters(), _GRADIENT_NORM)
                optimizer.step()
                schedule.step()
    return probe.eval()


def _loss(logits: Tensor, targets: Tensor, multi_label: bool) -> Tensor:
    if multi_label:
        return F.binary_cross_entropy_with_logits(logits, targets.float())
    return F.cross_entropy(logits, targets.int().argmax(dim=1))


def _num_heads(width: int, largest: int) -> int:
    while width % largest:
        largest //= 2
    return largest
