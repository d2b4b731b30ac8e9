"""From what a study says of a world or an arm to the settings of the engine."""

from __future__ import annotations

from typing import Any

from experiments.rendered_tv import RenderedTVConfig
from experiments.study.condition import DIVERSITY, SIGNATURE, Condition, Library
from experiments.study.design import CHOSEN_CLIPS, LEVELS
from experiments.study.scale import CLIP_FRAME_RATE, TRANSFER_SECONDS, Detail, Scale
from toomuchtv.evaluation.benchmark import Modality
from toomuchtv.evaluation.protocols import FinetuneProtocol
from toomuchtv.evaluation.views import AudioAugment, AudioViews, VideoAugment, VideoViews
from toomuchtv.media.proxy import ProxyFormat
from toomuchtv.training.run_config import Config, load_config

#: What recurs through a title is as strong as can be: always its own sets, and its music under
#: everything.
_STRONGEST: dict[str, Any] = {"music_overlap": 1.0, "recurrence": 1.0, "event_share": 1.0}

#: The same for every arm of every size.
_COMMON = (
    f"clip.frame_rate={CLIP_FRAME_RATE}",
    "model.embedding_dim=128",
    # Milder than the default, for so short a training.
    "augmentation.min_crop_area=0.5",
    "augmentation.brightness=0.2",
    "augmentation.contrast=0.2",
    "augmentation.saturation=0.2",
    "augmentation.hue=0.0",
    "augmentation.grayscale=0.0",
    # Titles to test on are of the transfer sets; here every hour is trained on.
    "training.held_out_share=0.0",
    "training.log_every=10",
)


def proxy_recipe(detail: Detail) -> ProxyFormat:
    """Proxies of the size and rate of the films: what is read costs no more than it must."""
    return ProxyFormat(
        short_side=min(detail.width, detail.height),
        frame_rate=float(detail.frame_rate),
        keyframe_every=4,
        sample_rate_hz=detail.sample_rate_hz,
    )


def _media(detail: Detail) -> dict[str, Any]:
    return {
        "width": detail.width,
        "height": detail.height,
        "frame_rate": detail.frame_rate,
        "sample_rate_hz": detail.sample_rate_hz,
        **_STRONGEST,
    }


def _seen(detail: Detail) -> tuple[str, ...]:
    """Settings of what encoders see and hear: spectra of 25 ms, one every 20."""
    rate = detail.sample_rate_hz
    window = rate // 40
    return (
        f"clip.frames={detail.clip_frames}",
        f"clip.audio_seconds={detail.clip_audio_seconds}",
        f"clip.sample_rate_hz={rate}",
        f"transform.log_mel.sample_rate_hz={rate}",
        f"transform.log_mel.num_fft={1 << (window - 1).bit_length()}",
        f"transform.log_mel.window_samples={window}",
        f"transform.log_mel.hop_samples={rate // 50}",
        f"transform.log_mel.num_bands={detail.num_bands}",
        f"transform.size={detail.crop}",
        f"training.num_workers={detail.loader_workers}",
        f"training.precision={detail.precision}",
    )


def world_studio(scale: Scale, world: Library) -> RenderedTVConfig:
    """What is rendered for a world: the same seconds of film whatever its content."""
    clip_seconds = 6.0
    series = scale.items // LEVELS["show"]
    counts: dict[str, dict[str, int]] = {
        "movies": {"movies": scale.items, "shows": 0},
        "shows": {"movies": 0, "shows": series},
        "both": {"movies": scale.items // 2, "shows": series // 2},
        "clips": {
            "movies": 0,
            "shows": 0,
            "clips": round(scale.items * scale.minutes * 60 / clip_seconds),
        },
    }
    return RenderedTVConfig(
        **counts[world.content],
        **_media(scale.detail),
        clip_seconds=clip_seconds,
        minutes=scale.minutes,
        episodes=LEVELS["show"],
        seasons=LEVELS["show"] // LEVELS["season"],
        seed=world.seed,
        signature_picture=world.signature,
        signature_sound=world.signature,
        diversity=world.diversity,
        opening_seconds=world.opening_seconds,
        event_kinds=scale.event_kinds,
        transfer_clips_per_kind=0,
    )


def transfer_studio(scale: Scale, seed: int) -> RenderedTVConfig:
    """The transfer sets of a seed: the same for all its worlds, of titles that none of them has."""
    return RenderedTVConfig(
        movies=0,
        shows=0,
        **_media(scale.detail),
        seed=seed,
        signature_picture=SIGNATURE,
        signature_sound=SIGNATURE,
        diversity=DIVERSITY,
        event_kinds=scale.event_kinds,
        transfer_clips_per_kind=scale.transfer_clips_per_kind,
        transfer_clip_seconds=TRANSFER_SECONDS,
        transfer_sound_seconds=TRANSFER_SECONDS,
    )


def arm_config(scale: Scale, arm: Condition) -> Config:
    """All settings of an arm's training."""
    other = {arm.alternative: scale.alternatives[arm.alternative]} if arm.alternative else {}
    clips = arm.clips_per_title if arm.policy == "hierarchical" else CHOSEN_CLIPS
    steps = max(scale.steps_of(arm), 1)
    milestones = "milestones" in arm.measures
    return load_config(
        preset="tiny",
        settings=(
            *_COMMON,
            *_seen(scale.detail),
            f"model.video.width={scale.width}",
            f"model.audio.width={scale.width}",
            f"sampling.name={'uniform' if arm.policy == 'uniform' else 'hierarchical'}",
            f"sampling.batch_size={scale.batch_size}",
            # A uniform arm does not look at these: they say what its negatives are compared with.
            f"sampling.clips_per_item={clips // arm.items_per_title}",
            f"sampling.items_per_title={arm.items_per_title}",
            f"sampling.level={arm.level}",
            f"pair_labels.same_recurrence={arm.recurring}",
            f"loss.name={arm.loss}",
            f"loss.temperature={other.get('temperature', scale.temperature)}",
            f"optimizer.learning_rate={other.get('learning_rate', scale.learning_rate)}",
            f"optimizer.warmup_steps={max(scale.steps // 10, 1)}",
            f"training.steps={steps}",
            f"training.seed={arm.world.seed}",
            f"training.num_threads={scale.threads}",
            f"training.checkpoint_every={milestone_every(scale) if milestones else 100}",
            f"training.keep_checkpoints_every={milestone_every(scale) if milestones else 0}",
        ),
    )


def milestone_every(scale: Scale) -> int:
    """Steps between checkpoints of which each milestone is one."""
    return max(round(min(scale.milestones, default=1.0) * scale.steps), 1)


def milestone_steps(scale: Scale) -> list[int]:
    """Steps at which an arm is judged before its end."""
    every = milestone_every(scale)
    return [round(share * scale.steps / every) * every for share in scale.milestones]


def finetune_protocol(scale: Scale, sense: Modality) -> FinetuneProtocol:
    """A short fine-tuning of the whole encoder of one sense, the same for both but for views."""
    views: dict[Modality, tuple[VideoViews, VideoViews] | tuple[AudioViews, AudioViews]] = {
        "video": (
            VideoViews(augment=VideoAugment(min_area=0.5, color=0.0, grayscale=0.0)),
            VideoViews(times=4),
        ),
        "audio": (AudioViews(augment=AudioAugment()), AudioViews(times=4)),
    }
    train, test = views[sense]
    return FinetuneProtocol(
        name="study-finetune",
        source="this project's own, cut to minutes of a CPU",
        train=train,
        test=test,
        optimizer="adam",
        learning_rate=2e-3,
        body_learning_rate=5e-4,
        epochs=scale.finetune_epochs,
        batch_size=32,
    )
