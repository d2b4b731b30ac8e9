"""Sentences on what a protocol does with a certain encoder, for pages and result.json."""

from __future__ import annotations

from toomuchtv.evaluation.benchmark import Modality
from toomuchtv.evaluation.encoders.interface import AudioEncoder, Encoder, VideoEncoder
from toomuchtv.evaluation.protocols.config import (
    FinetuneProtocol,
    ProbeProtocol,
    Protocol,
    RetrievalProtocol,
)
from toomuchtv.evaluation.views import AudioViews, VideoViews

_Side = VideoEncoder | AudioEncoder | None


def describe_settings(
    protocol: Protocol, encoder: Encoder, modality: Modality | None
) -> dict[str, str]:
    """Return the views and the classifier of a protocol, by their names on the page.

    Args:
        protocol: The protocol.
        encoder: The encoder, whose input fills the values that the protocol leaves open.
        modality: The modality that is evaluated; None for both.
    """
    if isinstance(protocol, RetrievalProtocol):
        both = (protocol.video, encoder.video), (protocol.audio, encoder.audio)
        return {"views": "; ".join(describe_views(views, side) for views, side in both)}
    side = encoder.video if modality == "video" else encoder.audio
    if isinstance(protocol, FinetuneProtocol):
        train: VideoViews | AudioViews | None = protocol.train
        test: VideoViews | AudioViews | None = protocol.test
        classifier = (
            f"a linear layer on the network, which is trained with it for {protocol.epochs} epochs "
            f"({protocol.optimizer}, batches of {protocol.batch_size})"
        )
    else:
        train, test = (
            (protocol.video_train, protocol.video_test)
            if modality == "video"
            else (protocol.audio_train, protocol.audio_test)
        )
        classifier = describe_classifier(protocol)
    assert train is not None
    assert test is not None
    return {
        "training views": describe_views(train, side),
        "test views": describe_views(test, side),
        "classifier": classifier,
    }


def describe_classifier(protocol: ProbeProtocol) -> str:
    """Return the classifier and its training set in words."""
    text = protocol.classifier.describe()
    if protocol.shots is None:
        return text
    return (
        f"{text}, fitted to {protocol.shots} clips of each class; {protocol.draws} training sets "
        "are drawn for each fold"
    )


def describe_views(views: VideoViews | AudioViews, side: _Side = None) -> str:
    """Return the number and the shape of views in words.

    Args:
        views: The views.
        side: The encoder that sees them. Without it, values that follow the encoder are named so.
    """
    own = "the encoder's"
    if isinstance(views, VideoViews):
        shown = views.of(side.input) if isinstance(side, VideoEncoder) else views
        text = (
            f"{shown.times} x {shown.crops} views of {shown.frames or own} frames at "
            f"{_number(shown.frame_rate) or own} frames per second, crop {shown.crop or own}"
            f"{' pixels' if shown.crop else ''}"
        )
    else:
        heard = views.of(side.input) if isinstance(side, AudioEncoder) else views
        count = "covering views" if heard.times == 0 else f"{heard.times} views"
        text = f"{count} of {_number(heard.seconds) or own} seconds of audio"
        if isinstance(side, AudioEncoder):
            text += f" at {side.input.sample_rate_hz} Hz"
    if views.augment is not None:
        text += ", augmented"
    return text + (", features averaged" if views.mean else "")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
