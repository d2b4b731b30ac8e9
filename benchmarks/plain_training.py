"""The same training in a plain implementation, like most releases of the field.

It uses float32, contiguous tensors, `nn.Conv3d`, video decoded to RGB by PyAV in the process of the
training loop, augmentation clip by clip, cross-entropy over a dense matrix of similarities, and
AdamW. The model has the same layers and the same initial weights as ours. Decoders stay open, which
is not so in most releases.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.video_readers import open_pyav
from toomuchtv.catalog.store import Catalog
from toomuchtv.data.clip_transform import RGB_MEAN, RGB_STD
from toomuchtv.data.log_mel import LogMel
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.media.clip import WaveformArray
from toomuchtv.media.proxy_reader import ProxyPool
from toomuchtv.models import TwoTower
from toomuchtv.models.convolutions import FullConv, ShortcutConv, SpatialConv, TemporalConv
from toomuchtv.training.run_config import Config


def build_plain_model(config: Config) -> nn.Module:
    """Build our model with `nn.Conv3d` in place of our convolutions."""
    model = TwoTower.from_config(config.model, seed=config.training.seed)
    _replace_convolutions(model)
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return model


def _replace_convolutions(module: nn.Module) -> None:
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
            _replace_convolutions(child)


class PlainReader:
    """A reader of batches from proxies that decodes and augments clip by clip."""

    def __init__(self, catalog: Catalog, config: Config) -> None:
        self._config = config
        snapshot, proxies = catalog.snapshot(), catalog.proxies()
        self._sampler = ClipSampler(snapshot, config.sampling, config.clip)
        self._folder = catalog.folder
        self._proxies = [proxies[item_id] for item_id in snapshot.item_id.tolist()]
        paths = [catalog.folder / proxy.video_path for proxy in self._proxies]
        self._read_video = open_pyav(paths, self._proxies[0].frame_rate, config.clip)
        self._audio_pool = ProxyPool(64)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return normalized video `[N, 3, T, H, W]` and waveforms `[N, S]` of one step."""
        rng = np.random.default_rng(step)
        video, waveform = [], []
        for spec in self._sampler.draw(seed=self._config.training.seed, step=step):
            frames = self._read_video(spec.item, spec.start_seconds)
            video.append(self._augment(torch.from_numpy(frames), rng))
            waveform.append(self._read_waveform(spec.item, spec.start_seconds))
        return torch.stack(video), torch.from_numpy(np.stack(waveform))

    def _read_waveform(self, item: int, start_seconds: float) -> WaveformArray:
        proxy, clip_format = self._proxies[item], self._config.clip
        assert proxy.audio_path is not None
        return self._audio_pool.get(
            self._folder / proxy.video_path,
            self._folder / proxy.audio_path,
            frame_rate=proxy.frame_rate,
            sample_rate_hz=proxy.sample_rate_hz,
        ).read_waveform(
            first_sample=clip_format.audio_start_sample(start_seconds),
            num_samples=clip_format.num_samples,
        )

    def _augment(self, frames: Tensor, rng: np.random.Generator) -> Tensor:
        """Apply a random resized crop, flip and color jitter: `[3, T, size, size]`."""
        video = frames.permute(0, 3, 1, 2).float() / 255.0
        height, width = video.shape[2:]
        side = min(height, width) * math.sqrt(rng.uniform(0.3, 1.0))
        top, left = rng.uniform(0, height - side), rng.uniform(0, width - side)
        crop = video[:, :, int(top) : int(top + side), int(left) : int(left + side)]
        size = self._config.transform.size
        video = F.interpolate(crop, (size, size), mode="bilinear", antialias=True)
        if rng.random() < 0.5:
            video = video.flip(-1)
        video = (video * rng.uniform(0.6, 1.4)).clamp(0.0, 1.0)
        gray = video.mean(dim=1, keepdim=True)
        video = (gray + (video - gray) * rng.uniform(0.6, 1.4)).clamp(0.0, 1.0)
        mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (RGB_MEAN, RGB_STD))
        return ((video - mean) / std).transpose(0, 1).contiguous()


def train_plain(
    catalog: Catalog, config: Config, *, steps: int, is_over: Callable[[int], bool]
) -> list[float]:
    """Train, and return the seconds of each step, decoding included.

    Args:
        catalog: A prepared catalog.
        config: Config of the run that this training is compared with.
        steps: Maximum number of steps.
        is_over: Called with the number of finished steps; training stops if it returns True.
    """
    reader, model = PlainReader(catalog, config), build_plain_model(config)
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
        if is_over(len(seconds)):
            break
    return seconds
