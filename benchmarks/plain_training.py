"""The same training written the plain way, as most releases of the field have it.

Float32, contiguous tensors, `nn.Conv3d` as it comes, pictures decoded to RGB by PyAV in the loop's
own process, cropped and resized clip by clip, cross entropy over a matrix of similarities, AdamW as
it comes. The model has the same layers, and its weights are the same at the start. Decoders are
kept open, which most releases do not do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from toomuchtv.catalog.store import Catalog
from toomuchtv.data.clip_specs import ClipSpec
from toomuchtv.data.clip_transform import RGB_MEAN, RGB_STD
from toomuchtv.data.log_mel import LogMel
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.media.proxy_reader import ProxyPool
from toomuchtv.models import TwoTower
from toomuchtv.models.convolutions import FullConv, ShortcutConv, SpatialConv, TemporalConv
from toomuchtv.training.run_config import Config


def plain_model(config: Config) -> nn.Module:
    """Our model with every convolution computed as torch's own three-dimensional one."""
    model = TwoTower.from_config(config.model, seed=config.training.seed)
    _replace(model)
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return model


def _replace(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, SpatialConv | TemporalConv | FullConv | ShortcutConv):
            plain = nn.Conv3d(
                child.in_channels,
                child.out_channels,
                child.kernel_size,  # type: ignore[arg-type]
                child.stride,  # type: ignore[arg-type]
                child.padding,  # type: ignore[arg-type]
                bias=False,
            )
            plain.weight = nn.Parameter(child.weight.detach().contiguous())
            setattr(module, name, plain)
        else:
            _replace(child)


class PlainReader:
    """Reads clips from proxies to float RGB, augmented one by one."""

    def __init__(self, catalog: Catalog, config: Config) -> None:
        self._config = config
        self._folder = catalog.folder
        self._snapshot = catalog.snapshot()
        self._proxies = catalog.proxies()
        self._planner = ClipSampler(self._snapshot, config.sampling, config.clip)
        self._containers: dict[Path, av.container.InputContainer] = {}
        self._pool = ProxyPool(64)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Video `[N, 3, T, H, W]`, normalized, and waveforms `[N, S]` of a step's plan."""
        rng = np.random.default_rng(step)
        clips = [
            self._clip(spec, rng)
            for spec in self._planner.draw(seed=self._config.training.seed, step=step)
        ]
        video, waveform = zip(*clips, strict=True)
        return torch.stack(video), torch.from_numpy(np.stack(waveform))

    def _clip(self, spec: ClipSpec, rng: np.random.Generator) -> tuple[Tensor, NDArray[np.float32]]:
        clip_format = self._config.clip
        proxy = self._proxies[int(self._snapshot.item_id[spec.item])]
        assert proxy.audio_path is not None
        sound = self._pool.get(
            self._folder / proxy.video_path,
            self._folder / proxy.audio_path,
            frame_rate=proxy.frame_rate,
            sample_rate_hz=proxy.sample_rate_hz,
        ).read_waveform(
            first_sample=clip_format.audio_start_sample(spec.start_seconds),
            num_samples=clip_format.num_samples,
        )
        frames = self._frames(self._folder / proxy.video_path, spec.start_seconds)
        return self._augmented(torch.from_numpy(frames), rng), sound

    def _frames(self, path: Path, start_seconds: float) -> NDArray[np.uint8]:
        """RGB uint8 `[T, H, W, 3]`."""
        if path not in self._containers:
            opened = av.open(str(path))
            opened.streams.video[0].thread_type = "NONE"
            self._containers[path] = opened
        container, clip_format = self._containers[path], self._config.clip
        stream = container.streams.video[0]
        tick = float(stream.time_base or 1)
        container.seek(int(start_seconds / tick), stream=stream)
        images: list[NDArray[np.uint8]] = []
        for frame in container.decode(stream):
            wanted = start_seconds + len(images) / clip_format.frame_rate
            if frame.time is not None and frame.time >= wanted - 1e-3:
                images.append(frame.to_ndarray(format="rgb24").astype(np.uint8))
                if len(images) == clip_format.frames:
                    break
        while len(images) < clip_format.frames:
            images.append(images[-1])
        return np.stack(images)

    def _augmented(self, frames: Tensor, rng: np.random.Generator) -> Tensor:
        """Random resized crop, flip and jitter: `[3, T, size, size]`."""
        video = frames.permute(0, 3, 1, 2).float() / 255.0
        height, width = video.shape[2:]
        side = min(height, width) * math.sqrt(rng.uniform(0.3, 1.0))
        top, left = rng.uniform(0, height - side), rng.uniform(0, width - side)
        box = video[:, :, int(top) : int(top + side), int(left) : int(left + side)]
        size = self._config.transform.size
        video = F.interpolate(box, (size, size), mode="bilinear", antialias=True)
        if rng.random() < 0.5:
            video = video.flip(-1)
        video = (video * rng.uniform(0.6, 1.4)).clamp(0.0, 1.0)
        gray = video.mean(dim=1, keepdim=True)
        video = (gray + (video - gray) * rng.uniform(0.6, 1.4)).clamp(0.0, 1.0)
        mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (RGB_MEAN, RGB_STD))
        return ((video - mean) / std).transpose(0, 1).contiguous()


def train_plainly(
    catalog: Catalog, config: Config, *, steps: int, enough: Callable[[int], bool]
) -> list[float]:
    """Train until that is enough; returns the seconds of each step, decoding included.

    Args:
        catalog: A prepared catalog.
        config: Of the run that it is compared with.
        steps: At most.
        enough: Asked with the number of steps done whether to stop.
    """
    reader, model = PlainReader(catalog, config), plain_model(config)
    log_mel = LogMel(config.transform.log_mel)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    seconds = []
    for step in range(steps):
        begun = time.perf_counter()
        video, waveform = reader.batch(step)
        embeddings = model(video, log_mel(waveform))
        logits = embeddings.video @ embeddings.audio.T / 0.07
        target = torch.arange(len(logits))
        loss = 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        float(loss.detach())
        seconds.append(time.perf_counter() - begun)
        if enough(len(seconds)):
            break
    return seconds
