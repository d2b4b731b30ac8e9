"""Two losses of other methods, in their simplest published form, for comparison with InfoNCE.

A condition selects them with `loss.name=experiments.study.losses:Regression`. They compare no pairs
of different clips, so of the pair labels only one thing counts: a clip whose video has no positive
pair takes no part.
"""

from __future__ import annotations

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toomuchtv.losses import PairLabelsLike, PairLoss
from toomuchtv.losses.base import TemperatureOptions
from toomuchtv.losses.pair_matrix import PairMatrix, mean_where


class Regression(PairLoss):
    """Regression of the other modality's embedding, without negatives, as in BraVe.

    Recasens et al., "Broaden Your Views for Self-Supervised Video Learning", ICCV 2021, with the
    video as one view and the audio as the other. A predictor p of each modality, with one hidden
    layer, predicts the embedding of the other modality. With u(x) = x / |x| and no gradient through
    the targets:

        mean over clips of 1/2 (|u(p_video(video)) - audio|^2 + |u(p_audio(audio)) - video|^2)

    Departures: both views span the same time and have one augmentation each. The predictors
    receive unit vectors, because those are what our encoders return. The terms are averaged and not
    summed. The temperature is not used.

    Args:
        embedding_dim: D.
        hidden_dim: Size of the predictors' hidden layer.
        **options: See `PairLoss`.
    """

    def __init__(
        self, embedding_dim: int, *, hidden_dim: int = 512, **options: Unpack[TemperatureOptions]
    ) -> None:
        super().__init__(**options)
        self.from_video, self.from_audio = (
            nn.Sequential(
                nn.Linear(embedding_dim, hidden_dim),
                nn.BatchNorm1d(hidden_dim),
                nn.ReLU(),
                nn.Linear(hidden_dim, embedding_dim),
            )
            for _ in range(2)
        )

    def forward(self, video: Tensor, audio: Tensor, pair_labels: PairLabelsLike = None) -> Tensor:
        """Compute the loss; see `PairLoss.forward`."""
        pairs = PairMatrix(video, audio, pair_labels, self.temperature)
        terms = [
            (F.normalize(predict(known), dim=1) - target.detach()).square().sum(dim=1)
            for predict, known, target in (
                (self.from_video, pairs.video, pairs.audio),
                (self.from_audio, pairs.audio, pairs.video),
            )
        ]
        return mean_where(0.5 * (terms[0] + terms[1]), pairs.positives_per_row > 0)


class Clustering(PairLoss):
    """Prediction of the cluster that the other modality is assigned to, as in XDC and SeLaVi.

    Alwassel et al., "Self-Supervised Learning by Cross-Modal Audio-Video Clustering", NeurIPS 2020:
    the clusters of one modality are the labels of the other (XDC). As in Asano et al., "Labelling
    unlabelled videos from scratch with multi-modal self-supervision", NeurIPS 2020 (SeLaVi), the
    Sinkhorn-Knopp algorithm assigns clips to clusters of equal size. As in Caron et al.,
    "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", NeurIPS 2020
    (SwAV), this happens online: clusters are prototypes, which are learned, and a queue of earlier
    embeddings takes part in the assignment. With the scores s = embedding . prototype, the
    assignments q of a modality (no gradient), and the temperature t:

        mean over clips of 1/2 (sum_k -q_video,k log softmax_k(s_audio / t)
                                + sum_k -q_audio,k log softmax_k(s_video / t))

    Departures from XDC and SeLaVi: assignments are soft and computed in each step, not once per
    epoch; there is one set of clusters. From SwAV: the two views are the two modalities, each with
    prototypes of its own; prototypes are normalized in each forward pass and learn from the first
    step on.

    Args:
        embedding_dim: D.
        num_clusters: Number of clusters.
        queue_size: Number of earlier clips that take part in the assignment. It should exceed
            `num_clusters` by far if a batch does not.
        epsilon: Entropy regularization of the assignment; the larger, the softer.
        iterations: Number of Sinkhorn-Knopp iterations.
        **options: See `PairLoss`.
    """

    queue: Tensor

    def __init__(
        self,
        embedding_dim: int,
        *,
        num_clusters: int = 64,
        queue_size: int = 1024,
        epsilon: float = 0.05,
        iterations: int = 3,
        **options: Unpack[TemperatureOptions],
    ) -> None:
        super().__init__(**options)
        self._epsilon, self._iterations = epsilon, iterations
        # [video or audio, cluster, D]
        self.prototypes = nn.Parameter(torch.randn(2, num_clusters, embedding_dim))
        # [video or audio, clip, D], the newest clip first; zeros where there is none yet.
        self.register_buffer("queue", torch.zeros(2, queue_size, embedding_dim))

    def forward(self, video: Tensor, audio: Tensor, pair_labels: PairLabelsLike = None) -> Tensor:
        """Compute the loss of a batch. In training mode, also store its embeddings."""
        pairs = PairMatrix(video, audio, pair_labels, self.temperature)
        takes_part = pairs.positives_per_row > 0
        embeddings = torch.stack([pairs.video, pairs.audio])
        prototypes = F.normalize(self.prototypes, dim=2)
        targets = self._assign(embeddings.detach(), prototypes.detach(), takes_part)
        scores = embeddings @ prototypes.transpose(1, 2)
        log_shares = F.log_softmax(scores / self.temperature, dim=2)
        # The targets of one modality are those of the other.
        terms = -(targets.flip(0) * log_shares).sum(dim=2)
        return mean_where(terms.mean(dim=0), takes_part)

    @torch.no_grad()
    def _assign(self, embeddings: Tensor, prototypes: Tensor, takes_part: Tensor) -> Tensor:
        """Assign the clips of a batch to clusters, float32 `[2, N, K]`; each row sums to 1."""
        kept = embeddings * takes_part[:, None]
        known = torch.cat([kept, self.queue], dim=1)
        if self.training:
            self.queue.copy_(known[:, : self.queue.shape[1]])
        scores = known @ prototypes.transpose(1, 2)
        shares = ((scores - scores.amax()) / self._epsilon).double().exp()
        shares *= known.any(dim=2)[..., None]
        for _ in range(self._iterations):
            shares /= shares.sum(dim=1, keepdim=True).clamp(min=1e-300)  # clusters of equal size
            shares /= shares.sum(dim=2, keepdim=True).clamp(min=1e-300)  # each clip counts once
        return shares[:, : embeddings.shape[1]].float()
