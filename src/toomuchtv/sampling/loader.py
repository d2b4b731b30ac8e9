"""From plans to batches: decoding, last, in worker processes."""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from toomuchtv.catalog.records import Proxy
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.errors import MediaError
from toomuchtv.media.clip import ClipFormat, VideoArray, WaveformArray
from toomuchtv.media.proxy_reader import ProxyPool, ProxyReader
from toomuchtv.randomness import UInt64Array, uniforms
from toomuchtv.sampling.plan import ClipSpec, Planner

_log = logging.getLogger(__name__)

_REPLACEMENT_TRIES = 4
_WORKER_TIMEOUT_SECONDS = 300.0
_CROP, _REPLACE = 100, 101  # streams of random numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One decoded batch of one process.

    Pair roles are not in it: they reach across processes, so they are worked out after the gather
    from `title`, `item` and `start_seconds`.

    Attributes:
        video: uint8 `[N, T, S * 3 / 2, S]`, YUV 4:2:0 planes; see `media.proxy_reader`.
        waveform: float32 `[N, num_samples]`, -1..1.
        title: int64 `[N]`.
        item: int64 `[N]`, rows of the snapshot.
        start_seconds: float64 `[N]`.
        valid: bool `[N]`; false where no clip of the title could be decoded.
        seed: uint64 `[N]`, what augmentation draws from.
        step: The step it was planned for.
        failures: What could not be decoded, in words.
    """

    video: Tensor
    waveform: Tensor
    title: Tensor
    item: Tensor
    start_seconds: Tensor
    valid: Tensor
    seed: UInt64Array
    step: int
    failures: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.waveform)


class ClipReader:
    """Reads planned clips of a catalog from its proxies.

    Args:
        catalog_path: The catalog's folder, which proxy paths are relative to.
        snapshot: The rows that plans speak of.
        proxies: By item id.
        clip_format: Frames and sound of a clip.
        max_open: Proxies kept open at once.

    Raises:
        ValueError: A proxy's frame rate is no multiple of the clip's, or its sample rate or
            size differs from the others'.
    """

    def __init__(
        self,
        catalog_path: Path,
        snapshot: CatalogSnapshot,
        proxies: dict[int, Proxy],
        clip_format: ClipFormat,
        *,
        max_open: int = 64,
    ) -> None:
        self.snapshot = snapshot
        self.clip_format = clip_format
        self._catalog_path = catalog_path
        self._proxies = [proxies[item_id] for item_id in snapshot.item_id.tolist()]
        self.side = _common_side(self._proxies, clip_format)
        self._max_open = max_open
        self._pool = ProxyPool(max_open)

    def __getstate__(self) -> dict[str, object]:
        # Open files stay with the process that opened them; a worker opens its own.
        return {**self.__dict__, "_pool": ProxyPool(self._max_open)}

    def read(
        self, item: int, start_seconds: float, across: float
    ) -> tuple[VideoArray, WaveformArray]:
        """Read one clip: planes uint8 `[T, S * 3 / 2, S]` and float32 `[num_samples]`.

        Args:
            item: Row of the snapshot.
            start_seconds: When frame 0 is shown.
            across: Where the square lies along the longer side, 0..1.

        Raises:
            MediaError: The proxy is missing, damaged or too short.
        """
        proxy = self._proxies[item]
        reader = self._reader(proxy)
        clip_format = self.clip_format
        planes = reader.planes(
            first_frame=round(start_seconds * proxy.frame_rate),
            frames=clip_format.frames,
            stride=round(proxy.frame_rate / clip_format.frame_rate),
            across=across,
        )
        waveform = reader.waveform(
            first_sample=clip_format.audio_start_sample(start_seconds),
            num_samples=clip_format.num_samples,
        )
        return planes, waveform

    def _reader(self, proxy: Proxy) -> ProxyReader:
        audio_path = None if proxy.audio_path is None else self._catalog_path / proxy.audio_path
        return self._pool.reader(
            self._catalog_path / proxy.video_path,
            audio_path,
            frame_rate=proxy.frame_rate,
            sample_rate_hz=proxy.sample_rate_hz,
        )

    def forget(self, item: int) -> None:
        """Close the proxy of an item, for it may have changed on disk."""
        self._pool.forget(self._catalog_path / self._proxies[item].video_path)


def _common_side(proxies: list[Proxy], clip_format: ClipFormat) -> int:
    kinds = {
        (min(proxy.width, proxy.height), proxy.frame_rate, proxy.sample_rate_hz)
        for proxy in proxies
    }
    if len(kinds) != 1:
        raise ValueError(
            "the proxies were made by different recipes (short side, frame rate, sample rate: "
            f"{sorted(kinds)}): run `toomuchtv prepare` again to make them alike"
        )
    side, frame_rate, sample_rate_hz = kinds.pop()
    stride = frame_rate / clip_format.frame_rate
    if abs(stride - round(stride)) > 1e-6 or round(stride) < 1:
        raise ValueError(
            f"the proxies have {frame_rate:g} frames a second, which is no multiple of the "
            f"clip's {clip_format.frame_rate:g}: set clip.frame_rate, or prepare with "
            f"--frame-rate {clip_format.frame_rate:g}"
        )
    if sample_rate_hz != clip_format.sample_rate_hz:
        raise ValueError(
            f"the proxies' sound has {sample_rate_hz} Hz, the clip wants "
            f"{clip_format.sample_rate_hz}: set clip.sample_rate_hz, or prepare with "
            f"--sample-rate {clip_format.sample_rate_hz}"
        )
    return side


class PlannedBatches(Dataset[Batch]):
    """The batches of a run by step number: `batches[step]`.

    A clip that cannot be decoded is replaced by another of its title where one can be had; else
    the sample is zeros and marked invalid. The batch's shape never changes.
    """

    def __init__(
        self,
        reader: ClipReader,
        planner: Planner,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._reader = reader
        self._planner = planner
        self._seed = seed
        self._rank, self._world_size = rank, world_size

    def __getitem__(self, step: int) -> Batch:
        """Plan and decode the batch of one step."""
        plan = self._planner.plan(
            seed=self._seed, step=step, rank=self._rank, world_size=self._world_size
        )
        clips = plan.clips()
        num_clips, clip_format, side = len(clips), self._reader.clip_format, self._reader.side
        video = np.zeros((num_clips, clip_format.frames, side * 3 // 2, side), np.uint8)
        waveform = np.zeros((num_clips, clip_format.num_samples), np.float32)
        valid = np.ones(num_clips, dtype=bool)
        failures: list[str] = []
        across = uniforms(plan.seed, _CROP)
        for index, clip in enumerate(clips):
            read = self._read(clip, float(across[index]), failures)
            valid[index] = read is not None
            if read is not None:
                clips[index], video[index], waveform[index] = read
        title = torch.tensor([clip.title for clip in clips])
        item = torch.tensor([clip.item for clip in clips])
        start = torch.tensor([clip.start_seconds for clip in clips], dtype=torch.float64)
        return Batch(
            video=torch.from_numpy(video),
            waveform=torch.from_numpy(waveform),
            title=title,
            item=item,
            start_seconds=start,
            valid=torch.from_numpy(valid),
            seed=plan.seed,
            step=step,
            failures=tuple(failures),
        )

    def _read(
        self, clip: ClipSpec, across: float, failures: list[str]
    ) -> tuple[ClipSpec, VideoArray, WaveformArray] | None:
        for attempt in range(1 + _REPLACEMENT_TRIES):
            if attempt:
                clip = self._replacement(clip, attempt)
            try:
                return clip, *self._reader.read(clip.item, clip.start_seconds, across)
            except MediaError as error:
                failures.append(str(error))
                self._reader.forget(clip.item)
        return None

    def _replacement(self, clip: ClipSpec, attempt: int) -> ClipSpec:
        """Another clip of the same title: any of its items, anywhere in it."""
        groups = self._planner.groups
        first, stop = int(groups.offsets[clip.title]), int(groups.offsets[clip.title + 1])
        draws = uniforms(np.array([clip.seed], np.uint64), _REPLACE, attempt, np.arange(2))
        place = first + int(draws[0] * (stop - first))
        frame = int(draws[1] * groups.starts[place])
        return replace(
            clip,
            item=int(groups.rows[place]),
            start_seconds=frame / float(groups.frame_rate[place]),
        )


def iterate_batches(
    batches: PlannedBatches, *, start: int, stop: int, num_workers: int
) -> Iterator[Batch]:
    """Yield the batches of steps `start` to `stop`, in order, decoded ahead by `num_workers`.

    With 0 workers they are decoded here. The result is the same with any number.

    Raises:
        MediaError: The workers died or gave nothing for five minutes.
    """
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=range(start, stop),
        num_workers=num_workers,
        prefetch_factor=3 if num_workers else None,
        timeout=_WORKER_TIMEOUT_SECONDS if num_workers else 0.0,
        # A forked child of a process with threads can hang; a fresh one cannot.
        multiprocessing_context="forkserver" if num_workers else None,
        worker_init_fn=_begin_worker,
    )
    others = set(multiprocessing.active_children())
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader" in str(error):
            for worker in set(multiprocessing.active_children()) - others:
                worker.kill()  # one that hangs would keep this process from ending
            raise MediaError(f"the loader's workers failed: {error}") from error
        raise


def _begin_worker(worker: int) -> None:
    # Ctrl-C and schedulers signal the whole group: the run that these work for decides what to do,
    # and needs its workers until it has saved.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
    _log.debug("loader worker %d is up", worker)
