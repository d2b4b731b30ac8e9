"""Evaluation protocols by name. Scores of different protocols are not comparable."""

from __future__ import annotations

from typing import Any

from toomuchtv.evaluation.protocols.config import (
    AttentiveConfig,
    FinetuneProtocol,
    KnnConfig,
    LogisticConfig,
    MlpConfig,
    ProbeProtocol,
    Protocol,
    RetrievalProtocol,
    SvmConfig,
)
from toomuchtv.evaluation.views import AudioAugment, AudioViews, VideoAugment, VideoViews

__all__ = [
    "PROTOCOLS",
    "FinetuneProtocol",
    "ProbeProtocol",
    "Protocol",
    "RetrievalProtocol",
    "choose_protocol",
]

_REPEATED = "if a video is shorter than a view, its last frame is repeated; theirs starts over"
_RESIZED = "an encoder with a smaller input than the crop resizes the crop"
_FRAME_RATE = (
    "the originals are assumed to have 25 frames per second; in a sample of UCF101, 18 of 54 clips "
    "have 29.97"
)

_MEAN_OF_VIEWS: dict[str, Any] = {
    **dict.fromkeys(("video_train", "video_test"), VideoViews(times=4, mean=True)),
    **dict.fromkeys(("audio_train", "audio_test"), AudioViews(times=5, mean=True)),
}
_AVID_AUGMENT = VideoAugment(min_area=0.08, max_aspect=4 / 3, color=1.0, grayscale=0.0)
_AVID_8 = FinetuneProtocol(
    name="avid-8",
    source="Morgado et al., CVPR 2021, and its configs ucf/8at16, hmdb51/8at16",
    departures=(_REPEATED, _RESIZED),
    train=VideoViews(
        frames=8, frame_rate=16.0, short_side=256, crop=224, times=10, augment=_AVID_AUGMENT
    ),
    test=VideoViews(frames=8, frame_rate=16.0, short_side=256, crop=224, times=10),
    optimizer="adam",
    learning_rate=1e-4,
    body_learning_rate=1e-4,
    epochs=16,
    head_epochs=5,
    milestones=(6, 10, 14),
    gamma=0.3,
    batch_size=64,
    dropout=0.5,
    by_benchmark={"hmdb51": {"epochs": 10, "milestones": (3, 6, 8)}},
)

_FEW_SHOT_DRAWS = 10
_SHOTS = (1, 5, 10)

_FEW_SHOT: tuple[Protocol, ...] = tuple(
    ProbeProtocol(
        name=f"linear-{shots}-shot",
        source="this project's own, after the few-shot linear probes of CLIP (Radford et al., ICML "
        "2021)",
        departures=("C is fixed, because nothing can be held out; theirs is chosen",),
        **_MEAN_OF_VIEWS,
        classifier=LogisticConfig(candidates=(1.0,)),
        selection="fixed",
        shots=shots,
        draws=_FEW_SHOT_DRAWS,
    )
    for shots in _SHOTS
)

_CRISSCROSS_COSTS = (1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 1.0)
_CRISSCROSS_SVM = ProbeProtocol(
    name="crisscross-svm",
    source="Sarkar and Etemad, AAAI 2023, and its config esc50/config_fold1_2s",
    departures=(
        "C is selected inside the training folds, on 10 of the 100 views; the release selects on "
        "the test fold, as crisscross-svm-peeking does",
        "training views have a random start and gain; theirs also have masked and warped "
        "spectrograms, which encoders of waveforms cannot apply",
        "the release adds an untrained batch norm after the last feature map; it is left out",
    ),
    output="feature_map",
    audio_train=AudioViews(seconds=2.0, times=100, augment=AudioAugment()),
    audio_test=AudioViews(seconds=2.0, times=10),
    classifier=SvmConfig(unit_length=True, candidates=_CRISSCROSS_COSTS),
    selection="inner",
    selection_views=10,
)

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        ProbeProtocol(
            name="linear",
            source="this project's own",
            **_MEAN_OF_VIEWS,
            classifier=LogisticConfig(),
        ),
        ProbeProtocol(
            name="knn",
            source="this project's own, after Wu et al., CVPR 2018",
            **_MEAN_OF_VIEWS,
            classifier=KnnConfig(),
        ),
        ProbeProtocol(
            name="knn-200",
            source="Wu et al., CVPR 2018, and DINO (Caron et al., ICCV 2021, eval_knn.py)",
            departures=(
                "the views of a clip are averaged; theirs are single images",
                "samples that are as similar as the 200th one share its place",
                "k is the size of the training set where that is smaller",
            ),
            **_MEAN_OF_VIEWS,
            classifier=KnnConfig(candidates=(200.0,)),
            selection="fixed",
        ),
        *_FEW_SHOT,
        ProbeProtocol(
            name="attentive",
            source="V-JEPA 2 (Assran et al., arXiv 2506.09985) and V-JEPA (Bardes et al., TMLR "
            "2024, attentive_pooler.py)",
            departures=(
                "one cross-attention block, as in V-JEPA; V-JEPA 2 has three self-attention blocks "
                "before it",
                "two views of the encoder's own length, whose tokens form one sequence; theirs "
                "average the softmax over crops",
                "six combinations of learning rate and weight decay, selected inside the training "
                "set; theirs are twenty",
                "no augmentation and a constant weight decay",
            ),
            output="tokens",
            video_train=VideoViews(times=2),
            video_test=VideoViews(times=2),
            audio_train=AudioViews(times=2),
            audio_test=AudioViews(times=2),
            classifier=AttentiveConfig(),
        ),
        ProbeProtocol(
            name="brave-svm",
            source="Recasens et al., ICCV 2021, and its evaluate_video_embedding.py",
            departures=(
                _REPEATED,
                _FRAME_RATE,
                _RESIZED,
                "its code does not set frames, stride and size; 32, 2 and 224 are those of MMV",
            ),
            video_train=VideoViews(
                frames=32, frame_rate=12.5, short_side=256, crop=224, times=10,
                augment=VideoAugment(min_area=0.3, max_aspect=2.0, flip=0.5, color=0.8),
            ),
            video_test=VideoViews(
                frames=32, frame_rate=12.5, short_side=256, crop=224, times=10, crops=3
            ),
            classifier=SvmConfig(standardize=True, candidates=(1e-4,)),
            selection="fixed",
        ),
        ProbeProtocol(
            name="mmv-svm",
            source="Alayrac et al., NeurIPS 2020, and its eval_ucf101.py",
            departures=(
                _REPEATED,
                _FRAME_RATE,
                _RESIZED,
                "training views are random resized crops of at least 0.7 of the frame; theirs "
                "are random crops of 224 pixels from frames with a shorter side of 224",
            ),
            video_train=VideoViews(
                frames=32, frame_rate=12.5, short_side=224, crop=224, times=10,
                augment=VideoAugment(min_area=0.7, max_aspect=4 / 3, flip=0.5, color=0.0),
            ),
            video_test=VideoViews(frames=32, frame_rate=12.5, short_side=224, crop=224, times=10),
            classifier=SvmConfig(standardize=True, candidates=(1e-3,)),
            selection="fixed",
        ),
        _CRISSCROSS_SVM,
        _CRISSCROSS_SVM.model_copy(
            update={
                "name": "crisscross-svm-peeking",
                "departures": _CRISSCROSS_SVM.departures[1:],
                "selection": "test",
                "selection_views": None,
            }
        ),
        ProbeProtocol(
            name="hear",
            source="Turian et al., PMLR 176, 2022, and the HEAR evaluation kit",
            departures=(
                "all eight points of the grid are tried with one initialization; the kit draws "
                "eight points from twice as many",
                "one fold of the training set is used for selection and early stopping",
            ),
            audio_train=AudioViews(times=0, mean=True),
            audio_test=AudioViews(times=0, mean=True),
            classifier=MlpConfig(),
        ),
        _AVID_8,
        _AVID_8.model_copy(
            update={
                "name": "avid-32",
                "source": "Morgado et al., CVPR 2021, and its configs ucf/32at16, hmdb51/32at16",
                "train": _AVID_8.train.model_copy(update={"frames": 32}),
                "test": _AVID_8.test.model_copy(update={"frames": 32}),
                "batch_size": 32,
            }
        ),
        FinetuneProtocol(
            name="gdt-32x3",
            source="Patrick et al., ICCV 2021, and its eval_video.py",
            departures=(
                _REPEATED,
                _RESIZED,
                "the last epoch is tested; the release reports the best epoch on the test set",
            ),
            train=VideoViews(
                frames=32, frame_rate=30.0, short_side=128, crop=128, times=10,
                augment=VideoAugment(min_area=0.3, max_aspect=4 / 3, color=0.0),
            ),
            test=VideoViews(
                frames=32, frame_rate=30.0, short_side=128, crop=128, times=10, crops=3
            ),
            optimizer="sgd",
            learning_rate=8 * 2.5e-3,
            body_learning_rate=8 * 2.5e-4,
            weight_decay=5e-3,
            epochs=12,
            warmup_epochs=2,
            warmup_factor=8.0,
            milestones=(6, 10),
            gamma=0.05,
            batch_size=32,
        ),
        FinetuneProtocol(
            name="crisscross-32",
            source="Sarkar and Etemad, AAAI 2023, and its configs ucf101/kinetics400/full_ft_32f",
            departures=(_REPEATED, _RESIZED, "no cutout; theirs removes a square of 20 pixels"),
            train=VideoViews(
                frames=32, frame_rate=16.0, short_side=256, crop=224, times=10,
                augment=VideoAugment(min_area=0.08, max_aspect=4 / 3, color=1.0, grayscale=0.2),
            ),
            test=VideoViews(frames=32, frame_rate=16.0, short_side=256, crop=224, times=10),
            optimizer="sgd",
            learning_rate=7e-5,
            body_learning_rate=7e-5,
            epochs=20,
            warmup_epochs=2,
            warmup_factor=10.0,
            milestones=(8, 12, 16),
            gamma=0.3,
            batch_size=32,
            by_benchmark={"hmdb51": {"learning_rate": 1e-4, "body_learning_rate": 1e-4}},
        ),
        FinetuneProtocol(
            name="finetune-audio",
            source="this project's own; published protocols fine-tune video encoders",
            train=AudioViews(times=5, augment=AudioAugment()),
            test=AudioViews(times=10),
            optimizer="adam",
            learning_rate=1e-3,
            body_learning_rate=2e-4,
            epochs=20,
            milestones=(12, 16),
            gamma=0.3,
            batch_size=64,
            dropout=0.5,
        ),
        RetrievalProtocol(
            name="cavmae-retrieval",
            source="Gong et al., ICLR 2023",
            departures=(
                "one view of the encoder's own length from the middle of the clip; theirs sees "
                "single frames of ten seconds",
                "the five clips of a class are drawn by a hash of their names; theirs are a list",
            ),
            per_class=5,
        ),
        RetrievalProtocol(name="retrieval", source="this project's own; all pairs"),
    )
}  # fmt: skip


def choose_protocol(name: str) -> Protocol:
    """Return the protocol with a name.

    Raises:
        ValueError: There is no protocol with this name.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}: choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
