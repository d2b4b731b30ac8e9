"""The preprocessing contract: everything that turns a film into the input of the encoders."""

from __future__ import annotations

from typing import Any

from toomuchtv.data.clip_transform import RGB_MEAN, RGB_STD
from toomuchtv.inference.pretrained import PretrainedConfig

PREPROCESSOR_NAME = "preprocessor_config.json"


def preprocessor_config(config: PretrainedConfig) -> dict[str, Any]:
    """Return the content of `preprocessor_config.json`, as values of JSON.

    It has no defaults: every number that another implementation needs is there.
    """
    clip, size, log_mel = config.clip, config.transform.size, config.transform.log_mel
    high_hz = log_mel.sample_rate_hz / 2 if log_mel.high_hz is None else log_mel.high_hz
    return {
        "processor_class": "toomuchtv.PretrainedEncoder",
        "video": {
            "num_frames": clip.frames,
            "frames_per_second": clip.frame_rate,
            "color": "RGB",
            "crop": "centered square",
            "size": {"height": size, "width": size},
            "resample": "triangle filter with antialiasing",
            "rescale_factor": 1 / 255,
            "image_mean": list(RGB_MEAN),
            "image_std": list(RGB_STD),
            "layout": "N, 3, T, H, W",
        },
        "audio": {
            "sampling_rate_hz": clip.sample_rate_hz,
            "seconds": clip.audio_seconds,
            "num_samples": clip.num_samples,
            "num_channels": 1,
            "range": [-1.0, 1.0],
            "alignment": "centered on the middle of the span of the frames",
            "start_seconds_after_first_frame": (clip.span_seconds - clip.audio_seconds) / 2,
            "missing": "zeros",
            "layout": "N, 1, bands, frames",
            "log_mel": {
                "num_fft": log_mel.num_fft,
                "window": "hann, periodic",
                "window_samples": log_mel.window_samples,
                "hop_samples": log_mel.hop_samples,
                "centered_frames": True,
                "padding": "zeros",
                "spectrum": "power",
                "num_bands": log_mel.num_bands,
                "low_hz": log_mel.low_hz,
                "high_hz": high_hz,
                "mel_scale": "slaney",
                "mel_norm": "slaney",
                "logarithm": "natural",
                "offset": log_mel.offset,
                "mean": log_mel.mean,
                "std": log_mel.std,
                "num_frames": log_mel.num_frames(clip.num_samples),
            },
        },
    }


def describe_video_input(config: PretrainedConfig) -> str:
    """Describe in sentences which frames a clip has, and what is done to them."""
    clip, size = config.clip, config.transform.size
    mean, std = ("(" + ", ".join(f"{value:g}" for value in values) + ")"
                 for values in (RGB_MEAN, RGB_STD))  # fmt: skip
    return (
        f"A clip has {clip.frames} frames at {clip.frame_rate:g} frames per second. Frame `i` is "
        f"the frame that is displayed at `start_seconds + i / {clip.frame_rate:g}`. The centered "
        f"square of each frame is resized to {size} x {size} pixels by a triangle filter with "
        "antialiasing (that of Pillow's and torchvision's `antialias=True`). RGB values of 0 to "
        f"255 are divided by 255, then the mean {mean} is subtracted, and the result is divided "
        f"by {std}."
    )


def describe_audio_input(config: PretrainedConfig) -> str:
    """Describe in sentences which samples a clip has, and how the spectrogram is made."""
    clip, log_mel = config.clip, config.transform.log_mel
    high_hz = log_mel.sample_rate_hz / 2 if log_mel.high_hz is None else log_mel.high_hz
    return (
        f"The audio is mono at {clip.sample_rate_hz:,} Hz, with samples in -1 to 1. It lasts "
        f"{clip.audio_seconds:g} s, which are {clip.num_samples:,} samples, and it is centered on "
        f"the middle of the frames' span of {clip.span_seconds:g} s: the first sample is "
        f"`round((start_seconds + {clip.span_seconds / 2:g}) * {clip.sample_rate_hz}) - "
        f"{clip.num_samples // 2}`. Where a film has no audio, the samples are zeros. The log-mel "
        f"spectrogram has {log_mel.num_bands} bands from {log_mel.low_hz:g} to {high_hz:g} Hz "
        "(Slaney's scale and area normalization), from the power spectrum of periodic Hann windows "
        f"of {log_mel.window_samples} samples every {log_mel.hop_samples} samples, in a Fourier "
        f"transform of {log_mel.num_fft} samples. Frames are centered, and the ends are padded "
        f"with zeros. The input of the network is `(log(mel + {log_mel.offset:g}) - "
        f"({log_mel.mean:g})) / {log_mel.std:g}`, with the natural logarithm."
    )
