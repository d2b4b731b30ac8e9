"""What a batch is, and how a plan becomes one: decoding, last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from toomuchtv._internal.random_numbers import uniforms
from toomuchtv.catalog.records import Proxy
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.data.clip_specs import SPEC_DTYPES, ClipBatch, ClipSpec, ClipSpecs
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.errors import MediaError
from toomuchtv.media.clip import ClipFormat, VideoArray, WaveformArray
from toomuchtv.media.proxy_reader import ProxyPool, ProxyReader

_REPLACEMENT_TRIES = 4
_CROP = 100  # a stream of random numbers, apart from those of plans


BatchArrays = dict[str, NDArray[Any]]


def batch_layout(
    num_clips: int, clip_format: ClipFormat, side: int
) -> dict[str, tuple[DTypeLike, tuple[int, ...]]]:
    """Return dtype and shape of each array of a batch that is being decoded, by name.

    The names are those of `ClipBatch` and of the columns of its `specs`.
    """
    return {
        "video": (np.uint8, (num_clips, clip_format.frames, side * 3 // 2, side)),
        "waveform": (np.float32, (num_clips, clip_format.num_samples)),
        "valid": (np.bool_, (num_clips,)),
        **{name: (dtype, (num_clips,)) for name, dtype in SPEC_DTYPES.items()},
    }


def batch_of_arrays(arrays: BatchArrays, step: int, failures: tuple[str, ...]) -> ClipBatch:
    """Return the batch that shares the memory of some arrays of `batch_layout`."""
    import torch

    return ClipBatch(
        specs=ClipSpecs(**{name: arrays[name] for name in SPEC_DTYPES}),
        valid=torch.from_numpy(arrays["valid"]),
        video=torch.from_numpy(arrays["video"]),
        waveform=torch.from_numpy(arrays["waveform"]),
        step=step,
        failures=failures,
    )


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
        self, clip: ClipSpec, across: float, video: VideoArray, waveform: WaveformArray
    ) -> None:
        """Read one clip. Clips of one item are cheapest one after the other, in order of time.

        Args:
            clip: Which moment.
            across: Where the square lies along the longer side, 0..1.
            video: Where its planes go, uint8 `[T, S * 3 / 2, S]`.
            waveform: Where its sound goes, float32 `[num_samples]`.

        Raises:
            MediaError: The proxy is missing, damaged or too short.
        """
        proxy = self._proxies[clip.item]
        reader = self._reader(proxy, clip.audio_track)
        clip_format = self.clip_format
        reader.planes(
            first_frame=round(clip.start_seconds * proxy.frame_rate),
            frames=clip_format.frames,
            stride=round(proxy.frame_rate / clip_format.frame_rate),
            across=across,
            out=video,
        )
        reader.waveform(
            first_sample=clip_format.audio_start_sample(clip.start_seconds),
            num_samples=clip_format.num_samples,
            out=waveform,
        )

    def rest(self) -> None:
        """Let what is read next follow from nothing read before."""
        self._pool.rest()

    def _reader(self, proxy: Proxy, audio_track: int) -> ProxyReader:
        audio_path = (
            self._catalog_path / proxy.audio_files[audio_track].path if proxy.audio_files else None
        )
        return self._pool.reader(
            self._catalog_path / proxy.video_path,
            audio_path,
            frame_rate=proxy.frame_rate,
            sample_rate_hz=proxy.sample_rate_hz,
        )

    def name(self, item: int) -> str:
        """What a person may call the proxy of an item."""
        return self._proxies[item].video_path.name

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


class _Into(NamedTuple):
    """Where one clip of a batch goes, and where its square lies along the longer side."""

    across: float
    video: VideoArray
    waveform: WaveformArray


class PlannedBatches:
    """The batches of a run by step number: `batches[step]`.

    A clip that cannot be decoded is replaced by another of its title where one can be had; else
    the sample is zeros and marked invalid. The batch's shape never changes.

    Args:
        reader: Of the planner's snapshot.
        planner: What is in each batch.
        seed: Of the run.
        rank: Of this process.
        world_size: Of the run.
        on_bad_clip: "stop" raises instead of replacing.
    """

    def __init__(
        self,
        reader: ClipReader,
        planner: ClipSampler,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        on_bad_clip: Literal["replace", "stop"] = "replace",
    ) -> None:
        self.reader = reader
        self._planner = planner
        self._seed = seed
        self._rank, self._world_size = rank, world_size
        self._on_bad_clip = on_bad_clip

    def __getitem__(self, step: int) -> ClipBatch:
        """Plan and decode the batch of one step.

        Raises:
            MediaError: A clip cannot be decoded and `on_bad_clip` is "stop".
        """
        arrays, failures = self.decode(step, self._new_arrays)
        return batch_of_arrays(arrays, step, failures)

    def _new_arrays(self, num_clips: int) -> BatchArrays:
        layout = batch_layout(num_clips, self.reader.clip_format, self.reader.side)
        return {name: np.empty(shape, dtype) for name, (dtype, shape) in layout.items()}

    def decode(
        self,
        step: int,
        allocate: Callable[[int], BatchArrays],
        *,
        may_read: Callable[[int], bool] = lambda item: True,
    ) -> tuple[BatchArrays, tuple[str, ...]]:
        """Plan and decode one step into arrays of the caller's.

        Args:
            step: The step.
            allocate: Makes the arrays of so many clips; what is in them does not matter.
            may_read: Asked just before each read of an item; an item that may not be read counts
                as damaged.

        Returns:
            The arrays, filled, and what could not be decoded.
        """
        specs = self._planner.draw(
            seed=self._seed, step=step, rank=self._rank, world_size=self._world_size
        )
        clips = list(specs)
        arrays = allocate(len(clips))
        failures: list[str] = []
        across = uniforms(specs.seed, _CROP)
        # Neighbors in time share an opened file and often a decoded group of frames. Nothing is
        # shared across steps: another worker may have done the one before.
        self.reader.rest()
        for index in np.lexsort((specs.start_seconds, specs.audio_track, specs.item)).tolist():
            into = _Into(float(across[index]), arrays["video"][index], arrays["waveform"][index])
            found = self._read(clips[index], into, failures, may_read)
            arrays["valid"][index] = found is not None
            if found is None:
                into.video[:], into.waveform[:] = 0, 0.0
            else:
                clips[index] = found
        read = ClipSpecs.from_clips(clips)
        for name in SPEC_DTYPES:
            arrays[name][:] = getattr(read, name)
        return arrays, tuple(failures)

    def _read(
        self,
        clip: ClipSpec,
        into: _Into,
        failures: list[str],
        may_read: Callable[[int], bool],
    ) -> ClipSpec | None:
        """Read a clip, or another of its title if it cannot be; gives the one that was read."""
        for attempt in range(1 + _REPLACEMENT_TRIES):
            if attempt:
                clip = self._planner.replacement(clip, attempt)
            try:
                if not may_read(clip.item):
                    raise MediaError(
                        f"reading the proxy {self.reader.name(clip.item)} crashed or stalled before"
                    )
                self.reader.read(clip, *into)
                return clip
            except MediaError as error:
                if self._on_bad_clip == "stop":
                    raise MediaError(
                        f"{error}; training.on_bad_clip is 'stop': run `toomuchtv prepare` to make "
                        "what is damaged again, then go on with --resume"
                    ) from error
                failures.append(str(error))
                self.reader.forget(clip.item)
        return None
