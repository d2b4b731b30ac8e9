"""From a study's size and conditions to the settings of the renderer and of training."""

from __future__ import annotations

import math
from typing import Any

from experiments.rendered_tv import RenderedTVConfig
from experiments.study.conditions import (
    CHOSEN_CLIPS,
    DIVERSITY,
    LEVELS,
    SIGNATURE,
    Condition,
    Design,
    Library,
)
from experiments.study.size import CLIP_FRAME_RATE, TRANSFER_SECONDS, Detail, StudySize
from toomuchtv.evaluation.benchmark import Modality
from toomuchtv.evaluation.protocols import FinetuneProtocol
from toomuchtv.evaluation.views import AudioAugment, AudioViews, VideoAugment, VideoViews
from toomuchtv.media.proxy_writer import ProxyFormat
from toomuchtv.training.run_config import Config, load_config

#: Whatever recurs through a title is as strong as possible: scenes are always on its own sets, and
#: its music plays during everything.
_STRONGEST: dict[str, Any] = {"music_overlap": 1.0, "recurrence": 1.0, "event_share": 1.0}

#: Augmentation that is weaker than the default because the trainings are so short.
WEAK_AUGMENTATION = (
    "augmentation.min_crop_area=0.5",
    "augmentation.brightness=0.2",
    "augmentation.contrast=0.2",
    "augmentation.saturation=0.2",
    "augmentation.hue=0.0",
    "augmentation.grayscale=0.0",
)

#: Training settings of every condition of every size.
_COMMON = (
    *WEAK_AUGMENTATION,
    f"clip.frame_rate={CLIP_FRAME_RATE}",
    "model.embedding_dim=128",
    # Every hour is trained on, because the test titles come from the transfer sets.
    "training.held_out_share=0.0",
    "training.log_every=10",
)


def proxy_format(detail: Detail) -> ProxyFormat:
    """Return the proxy format, which has the resolution of the rendered films."""
    return ProxyFormat(
        short_side=min(detail.width, detail.height),
        frame_rate=float(detail.frame_rate),
        keyframe_every=4,
        sample_rate_hz=detail.sample_rate_hz,
    )


def _media(size: StudySize) -> dict[str, Any]:
    detail = size.detail
    names = ("width", "height", "frame_rate", "sample_rate_hz")
    return {
        **{name: getattr(detail, name) for name in names},
        "event_kinds": size.event_kinds,
        **_STRONGEST,
    }


def library_config(size: StudySize, library: Library) -> RenderedTVConfig:
    """Return what is rendered for a library; its duration does not depend on the content."""
    clip_seconds, items = 6.0, library.scale * size.items
    series = items // LEVELS["show"]
    clips = round(items * size.minutes * 60 / clip_seconds)
    movies, shows, clips = {
        "movies": (items, 0, 0),
        "shows": (0, series, 0),
        "both": (items // 2, series // 2, 0),
        "clips": (0, 0, clips),
    }[library.content]
    return RenderedTVConfig(
        movies=movies,
        shows=shows,
        clips=clips,
        clip_seconds=clip_seconds,
        minutes=size.minutes,
        episodes=LEVELS["show"],
        seasons=LEVELS["show"] // LEVELS["season"],
        seed=library.seed,
        signature_picture=library.signature,
        signature_sound=library.signature,
        diversity=library.diversity,
        opening_seconds=library.opening_seconds,
        transfer_clips_per_kind=0,
        **_media(size),
    )


def transfer_config(size: StudySize, seed: int) -> RenderedTVConfig:
    """Return what is rendered as a seed's transfer sets, of titles that no library has."""
    return RenderedTVConfig(
        movies=0,
        shows=0,
        seed=seed,
        signature_picture=SIGNATURE,
        signature_sound=SIGNATURE,
        diversity=DIVERSITY,
        transfer_clips_per_kind=size.transfer_clips_per_kind,
        transfer_clip_seconds=TRANSFER_SECONDS,
        transfer_sound_seconds=TRANSFER_SECONDS,
        **_media(size),
    )


def condition_config(size: StudySize, condition: Condition) -> Config:
    """Return all settings of a condition's training."""
    detail = size.detail
    clips = condition.clips_per_title if condition.policy == "hierarchical" else CHOSEN_CLIPS
    milestones = "milestones" in condition.measures
    rate = detail.sample_rate_hz
    window = rate // 40  # spectrograms have windows of 25 ms, one every 20 ms
    return load_config(
        preset="tiny",
        settings=(
            *_COMMON,
            f"clip.frames={detail.clip_frames}",
            f"clip.audio_seconds={detail.clip_audio_seconds}",
            f"clip.sample_rate_hz={rate}",
            f"transform.log_mel.sample_rate_hz={rate}",
            f"transform.log_mel.num_fft={1 << (window - 1).bit_length()}",
            f"transform.log_mel.window_samples={window}",
            f"transform.log_mel.hop_samples={rate // 50}",
            f"transform.log_mel.num_bands={detail.num_bands}",
            f"transform.size={detail.crop}",
            f"model.video.width={size.width}",
            f"model.audio.width={size.width}",
            f"sampling.name={'uniform' if condition.policy == 'uniform' else 'hierarchical'}",
            f"sampling.batch_size={size.batch_size}",
            # Uniform training ignores these three, but the diagnosis of its negatives uses them.
            f"sampling.clips_per_item={clips // condition.items_per_title}",
            f"sampling.items_per_title={condition.items_per_title}",
            f"sampling.level={condition.level}",
            f"sampling.min_gap_seconds={_min_gap_seconds(size, condition)}",
            f"pair_labels.same_recurrence={condition.recurring}",
            f"loss.temperature={size.temperature}",
            f"optimizer.learning_rate={size.learning_rate}",
            f"optimizer.warmup_steps={max(size.steps // 10, 1)}",
            f"training.steps={size.steps}",
            f"training.seed={condition.library.seed}",
            f"training.num_workers={detail.loader_workers}",
            f"training.num_threads={size.threads}",
            f"training.precision={detail.precision}",
            f"training.checkpoint_every={_milestone_every(size) if milestones else 100}",
            f"training.keep_checkpoints_every={_milestone_every(size) if milestones else 0}",
            *(condition.variant.settings if condition.variant else ()),
        ),
    )


def _min_gap_seconds(size: StudySize, condition: Condition) -> float:
    """Return how far apart the clips of an item start: 2 seconds, or less if k would not fit.

    A film of half a minute has room for 15 clips that are 2 seconds apart. More clips of it would
    be drawn from other titles instead. The rule leaves room for skipped segments, such as credits.
    """
    episodes = LEVELS["show"] if condition.library.content == "shows" else 1
    clips_per_episode = -(-condition.clips_per_title // episodes)
    fits = 0.7 * size.minutes * 60 / clips_per_episode
    return min(2.0, math.floor(fits * CLIP_FRAME_RATE) / CLIP_FRAME_RATE)


def _milestone_every(size: StudySize) -> int:
    """Return the interval of checkpoints, such that every milestone is at a checkpoint."""
    return max(round(min(size.milestones, default=1.0) * size.steps), 1)


def milestone_steps(size: StudySize) -> list[int]:
    """Return the steps at which a condition is evaluated before its end."""
    every = _milestone_every(size)
    return [round(share * size.steps / every) * every for share in size.milestones]


def check_design(design: Design) -> None:
    """Check all settings of a study before any of it runs.

    Raises:
        ValueError: If a library cannot be rendered or a condition cannot be trained with this size.
    """
    for library in design.libraries:
        library_config(design.size, library)
    for seed in design.seeds:
        transfer_config(design.size, seed)
    for condition in design.conditions:
        condition_config(design.size, condition)


def finetune_protocol(size: StudySize, modality: Modality) -> FinetuneProtocol:
    """Return a short fine-tuning of one whole encoder, equal for both except for the views."""
    views: dict[Modality, tuple[VideoViews, VideoViews] | tuple[AudioViews, AudioViews]] = {
        "video": (
            VideoViews(augment=VideoAugment(min_area=0.5, color=0.0, grayscale=0.0)),
            VideoViews(times=4),
        ),
        "audio": (AudioViews(augment=AudioAugment()), AudioViews(times=4)),
    }
    train, test = views[modality]
    return FinetuneProtocol(
        name="study-finetune",
        source="this study's own, shortened to minutes on a CPU",
        train=train,
        test=test,
        optimizer="adam",
        learning_rate=2e-3,
        body_learning_rate=5e-4,
        epochs=size.finetune_epochs,
        batch_size=32,
    )
