"""What a protocol says: what is shown, what is fitted, how its one free number is chosen."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from toomuchtv.evaluation.benchmark import Modality
from toomuchtv.evaluation.views import AudioViews, VideoViews

#: How C or k is chosen: `fixed`; `inner`, by cross-validation inside the training set (or on the
#: official validation set); `test`, by peeking at the test set, as some releases do.
Selection = Literal["fixed", "inner", "test"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SvmConfig(_Frozen):
    """One-vs-rest linear SVM with squared hinge loss: scikit-learn's `LinearSVC`."""

    kind: Literal["svm"] = "svm"
    standardize: bool = False
    unit_length: bool = False
    candidates: tuple[float, ...] = (1e-3,)


class LogisticConfig(_Frozen):
    """Multinomial logistic regression; one-vs-rest where clips have several labels."""

    kind: Literal["logistic"] = "logistic"
    standardize: bool = True
    unit_length: bool = False
    candidates: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


class KnnConfig(_Frozen):
    """Nearest neighbors by cosine, weighted by exp(similarity / temperature) (Wu et al., 2018)."""

    kind: Literal["knn"] = "knn"
    standardize: bool = False
    unit_length: bool = True
    candidates: tuple[float, ...] = (1.0, 5.0, 10.0, 20.0)
    temperature: float = 0.07


class MlpConfig(_Frozen):
    """The shallow network of the HEAR evaluation kit (Turian et al., 2022).

    Each of the grid is trained with early stopping on held-out groups of the training set, and the
    best of them is kept as it is.
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


ClassifierConfig = Annotated[
    SvmConfig | LogisticConfig | KnnConfig | MlpConfig, Field(discriminator="kind")
]


class _Named(_Frozen):
    """What every protocol says of itself."""

    name: str
    source: str
    departures: tuple[str, ...] = ()


class ProbeProtocol(_Named):
    """Features are taken once, and a classifier is fitted to them.

    Attributes:
        output: Which output of an audio encoder: features, or the flattened last map.
        video_train: Views to train on; None: this protocol does not judge video.
        video_test: Views to test on, over which the classifier's scores are averaged.
        audio_train: The same of sound.
        audio_test: The same of sound.
        classifier: What is fitted.
        selection: How its free number is chosen.
        inner_folds: Folds that the training set's groups are cut into for `inner`.
        selection_views: Of the views to train on, how many are looked at while selecting.
    """

    way: Literal["frozen"] = "frozen"
    output: Literal["features", "feature_map"] = "features"
    video_train: VideoViews | None = None
    video_test: VideoViews | None = None
    audio_train: AudioViews | None = None
    audio_test: AudioViews | None = None
    classifier: ClassifierConfig
    selection: Selection = "inner"
    inner_folds: int = Field(default=4, ge=2)
    selection_views: int | None = Field(default=None, ge=1)


class FinetuneProtocol(_Named):
    """The whole network of one sense is trained with a linear classifier on top.

    Attributes:
        train: Views drawn each epoch, `times` of each clip; of which sense says which network.
        test: Views over which softmax is averaged, of the same sense.
        head_epochs: Epochs before the others in which only the classifier is trained.
        body_learning_rate: Of the network; `learning_rate` is the classifier's.
        warmup_epochs: Over which both rise from 1 / `warmup_factor` of theirs.
        milestones: Epochs at which both are multiplied by `gamma`.
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
    by_benchmark: dict[str, dict[str, float | int | tuple[int, ...]]] = {}

    @model_validator(mode="after")
    def _one_sense(self) -> Self:
        if type(self.train) is not type(self.test):
            raise ValueError("views to train and to test on are of different senses")
        return self

    @property
    def modality(self) -> Modality:
        """The sense whose network is trained."""
        return "video" if isinstance(self.train, VideoViews) else "audio"

    def on(self, benchmark: str) -> FinetuneProtocol:
        """The protocol with what its authors changed for one benchmark."""
        return self.model_copy(update=self.by_benchmark.get(benchmark, {}))


class RetrievalProtocol(_Named):
    """Does a picture find its own sound, and back?

    Attributes:
        video: Views whose mean embedding stands for the picture.
        audio: The same of sound.
        per_class: Pairs of each class that are drawn, by a hash of their names; 0 takes all.
    """

    way: Literal["retrieval"] = "retrieval"
    video: VideoViews = VideoViews(mean=True)
    audio: AudioViews = AudioViews(mean=True)
    per_class: int = Field(default=0, ge=0)


Protocol = ProbeProtocol | FinetuneProtocol | RetrievalProtocol
