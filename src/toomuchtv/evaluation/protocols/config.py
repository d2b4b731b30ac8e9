"""Settings of protocols: the views, the classifier, and the selection of its hyperparameter."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from toomuchtv.evaluation.benchmark import Modality
from toomuchtv.evaluation.views import AudioViews, Config, VideoViews

#: How C or k is selected: `fixed`; `inner`, by cross-validation inside the training set or on the
#: official validation set; or `test`, on the test set, as in some releases.
Selection = Literal["fixed", "inner", "test"]


class SvmConfig(Config):
    """A one-vs-rest linear SVM with squared hinge loss, as scikit-learn's `LinearSVC`."""

    kind: Literal["svm"] = "svm"
    standardize: bool = False
    unit_length: bool = False
    candidates: tuple[float, ...] = (1e-3,)

    def describe(self) -> str:
        """Return the classifier in words."""
        return f"one-vs-rest linear SVM {_prepared(self)}, {_one_of('C', self.candidates)}"


class LogisticConfig(Config):
    """Multinomial logistic regression; one-vs-rest for multi-label tasks."""

    kind: Literal["logistic"] = "logistic"
    standardize: bool = True
    unit_length: bool = False
    candidates: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

    def describe(self) -> str:
        """Return the classifier in words."""
        return f"linear (logistic regression) {_prepared(self)}, {_one_of('C', self.candidates)}"


class KnnConfig(Config):
    """k nearest neighbors by cosine, weighted by exp(similarity / temperature) (Wu et al., 2018).

    The candidates are values of k.
    """

    kind: Literal["knn"] = "knn"
    standardize: bool = False
    unit_length: bool = True
    candidates: tuple[float, ...] = (1.0, 5.0, 10.0, 20.0)
    temperature: float = 0.07

    def describe(self) -> str:
        """Return the classifier in words."""
        return (
            f"k nearest neighbors by cosine, {_one_of('k', self.candidates)}, temperature "
            f"{self.temperature:g}"
        )


class MlpConfig(Config):
    """The shallow network of the HEAR evaluation kit (Turian et al., 2022).

    Every combination of `hidden_layers` and `learning_rates` is trained with early stopping on
    held-out groups of the training set, which are checked every `check_every` epochs. The best
    network is used without further training.
    """

    kind: Literal["mlp"] = "mlp"
    standardize: bool = False
    unit_length: bool = False
    hidden_layers: tuple[int, ...] = (1, 2)
    learning_rates: tuple[float, ...] = (3.2e-3, 1e-3, 3.2e-4, 1e-4)
    hidden_dim: int = 1024
    dropout: float = 0.1
    batch_size: int = 1024
    max_epochs: int = 500
    check_every: int = 3
    patience: int = 20

    def describe(self) -> str:
        """Return the classifier in words."""
        layers = " or ".join(map(str, self.hidden_layers))
        rates = _one_of("learning rate", self.learning_rates)
        return f"network with {layers} hidden layers of {self.hidden_dim}, {rates}"


class AttentiveConfig(Config):
    """An attentive probe: one learned query attends to all tokens of a clip (Assran et al., 2025).

    A cross-attention block, as in V-JEPA (Bardes et al., TMLR 2024, and its attentive_pooler.py):
    with tokens x, query q and class weights W, z = q + attention(q, norm(x)), then z + MLP(norm(z))
    and the logits W z. It is trained with AdamW; the learning rate follows a cosine to zero. Every
    combination of `learning_rates` and `weight_decays` is a candidate.

    Attributes:
        max_heads: Largest number of heads; it is halved until it divides the width of the tokens.
        mlp_ratio: Width of the hidden layer of the MLP, as a multiple of that of the tokens.
        epochs: Number of passes over the training set.
        min_steps: Smallest number of optimizer steps, for small training sets.
    """

    kind: Literal["attentive"] = "attentive"
    max_heads: int = 16
    mlp_ratio: float = 4.0
    learning_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    weight_decays: tuple[float, ...] = (0.01, 0.4)
    batch_size: int = 64
    epochs: int = 20
    min_steps: int = 300

    @property
    def candidates(self) -> tuple[dict[str, float], ...]:
        """The combinations to choose from, the most regularized one first."""
        return tuple(
            {"learning_rate": rate, "weight_decay": decay}
            for rate in self.learning_rates
            for decay in reversed(self.weight_decays)
        )

    def describe(self) -> str:
        """Return the classifier in words."""
        return (
            "attentive probe: one learned query with cross-attention over the tokens, "
            f"{_one_of('learning rate', self.learning_rates)}, "
            f"{_one_of('weight decay', self.weight_decays)}"
        )


def _prepared(config: SvmConfig | LogisticConfig) -> str:
    steps = ["unit vectors"] * config.unit_length + ["standardized features"] * config.standardize
    return f"on {' and '.join(steps) or 'features'}"


def _one_of(name: str, candidates: tuple[float, ...]) -> str:
    listed = [f"{value:g}" for value in candidates]
    tail = f" or {listed[-1]}" if len(listed) > 1 else listed[-1]
    return f"{name} = {', '.join(listed[:-1])}{tail}"


ClassifierConfig = Annotated[
    SvmConfig | LogisticConfig | KnnConfig | MlpConfig | AttentiveConfig,
    Field(discriminator="kind"),
]


class _NamedProtocol(Config):
    """Fields of every protocol.

    Attributes:
        name: Name of the protocol on the command line.
        source: Publication and code that the protocol follows.
        departures: Differences from the source.
    """

    name: str
    source: str
    departures: tuple[str, ...] = ()


class ProbeProtocol(_NamedProtocol):
    """A protocol that fits a classifier to frozen features.

    Attributes:
        output: Output of the encoder: features, the flattened last feature map (audio only), or
            the tokens of the last feature map, of all views together.
        video_train: Video views to train on; None if the protocol does not evaluate video.
        video_test: Video views to test on, over which the scores are averaged.
        audio_train: Audio views to train on; None if the protocol does not evaluate audio.
        audio_test: Audio views to test on, over which the scores are averaged.
        classifier: The classifier.
        selection: How its hyperparameter is selected.
        inner_folds: Number of folds of the training set's groups for the selection `inner`.
        selection_views: Number of training views that the selection uses; None uses all.
        shots: Number of training clips per class that are drawn; None takes all.
        draws: Number of training sets that are drawn for each fold.
    """

    way: Literal["frozen"] = "frozen"
    output: Literal["features", "feature_map", "tokens"] = "features"
    video_train: VideoViews | None = None
    video_test: VideoViews | None = None
    audio_train: AudioViews | None = None
    audio_test: AudioViews | None = None
    classifier: ClassifierConfig
    selection: Selection = "inner"
    inner_folds: int = Field(default=4, ge=2)
    selection_views: int | None = Field(default=None, ge=1)
    shots: int | None = Field(default=None, ge=1)
    draws: int = Field(default=1, ge=1)


class FinetuneProtocol(_NamedProtocol):
    """A protocol that trains the whole network of one modality with a linear classifier on top.

    Attributes:
        train: Views that are drawn in each epoch. Their modality is that of the network.
        test: Views over which the softmax is averaged, of the same modality.
        learning_rate: Learning rate of the classifier.
        body_learning_rate: Learning rate of the network.
        head_epochs: Number of epochs at the start in which only the classifier is trained.
        warmup_epochs: Number of epochs in which both learning rates rise from
            1 / `warmup_factor` of their values.
        milestones: Epochs at which both learning rates are multiplied by `gamma`.
        by_benchmark: Fields that the authors changed for a benchmark.
    """

    way: Literal["finetune"] = "finetune"
    train: VideoViews | AudioViews
    test: VideoViews | AudioViews
    optimizer: Literal["adam", "sgd"]
    learning_rate: float = Field(gt=0.0)
    body_learning_rate: float = Field(gt=0.0)
    momentum: float = 0.9
    weight_decay: float = 0.0
    epochs: int = Field(ge=1)
    head_epochs: int = 0
    warmup_epochs: int = 0
    warmup_factor: float = Field(default=1.0, ge=1.0)
    milestones: tuple[int, ...] = ()
    gamma: float = 1.0
    batch_size: int = Field(ge=1)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    by_benchmark: dict[str, dict[str, float | int | tuple[int, ...]]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_modality(self) -> Self:
        if type(self.train) is not type(self.test):
            raise ValueError("the views to train and to test on are of different modalities")
        return self

    @property
    def modality(self) -> Modality:
        """The modality whose network is trained."""
        return "video" if isinstance(self.train, VideoViews) else "audio"

    def on(self, benchmark: str) -> FinetuneProtocol:
        """Return the protocol with the changes for a benchmark applied."""
        return self.model_copy(update=self.by_benchmark.get(benchmark, {}))


class RetrievalProtocol(_NamedProtocol):
    """A protocol that retrieves the audio of a clip by its video, and the video by its audio.

    Attributes:
        video: Views whose mean embedding represents the video.
        audio: Views whose mean embedding represents the audio.
        per_class: Number of clips per class, drawn by a hash of their names; 0 takes all.
    """

    way: Literal["retrieval"] = "retrieval"
    video: VideoViews = VideoViews(mean=True)
    audio: AudioViews = AudioViews(mean=True)
    per_class: int = Field(default=0, ge=0)


Protocol = ProbeProtocol | FinetuneProtocol | RetrievalProtocol
