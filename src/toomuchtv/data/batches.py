"""The batches of a run by step number, and the fixed batch that it is validated on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from toomuchtv.catalog.records import Proxy
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.data.clip_reader import ClipReader
from toomuchtv.data.clip_specs import SPEC_DTYPES, ClipBatch, ClipSpec, ClipSpecs
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.errors import MediaError
from toomuchtv.media.clip import ClipFormat, VideoArray, WaveformArray

_REPLACEMENT_TRIES = 4
_MIN_VALIDATION_CLIPS = 2

BatchArrays = dict[str, NDArray[Any]]


def batch_layout(
    num_clips: int, reader: ClipReader
) -> dict[str, tuple[DTypeLike, tuple[int, ...]]]:
    """Return dtype and shape of each array of a batch that is being decoded, by name.

    The names are those of `ClipBatch` and of the columns of its `specs`.
    """
    return {
        "video": (np.uint8, (num_clips, *reader.video_shape)),
        "waveform": (np.float32, (num_clips, reader.clip_format.num_samples)),
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


def blank_batch(num_clips: int, reader: ClipReader) -> ClipBatch:
    """Return a batch of zeros, each clip of an item of its own, to try a model on."""
    layout = batch_layout(num_clips, reader)
    arrays = {name: np.zeros(shape, dtype) for name, (dtype, shape) in layout.items()}
    arrays["item"][:] = arrays["title"][:] = np.arange(num_clips)
    arrays["recurrence"][:] = -1
    arrays["valid"][:] = True
    return batch_of_arrays(arrays, 0, ())


class PlannedBatches:
    """The batches of a run by step number: `batches[step]`.

    A clip that cannot be decoded is replaced by another one of its title. If none of several can
    be decoded, the sample is zeros and marked invalid. The shape of the batch never changes.

    Args:
        reader: Reads the clips. Its snapshot is that of the sampler.
        sampler: Draws the clips of each batch.
        seed: Seed of the run.
        rank: Number of this process.
        world_size: Number of processes of the run.
        on_bad_clip: "replace", or "stop" to raise an error for a clip that cannot be decoded.
    """

    def __init__(
        self,
        reader: ClipReader,
        sampler: ClipSampler,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        on_bad_clip: Literal["replace", "stop"] = "replace",
    ) -> None:
        self.reader = reader
        self._sampler = sampler
        self._seed = seed
        self._rank, self._world_size = rank, world_size
        self._on_bad_clip = on_bad_clip

    def __getitem__(self, step: int) -> ClipBatch:
        """Draw and decode the batch of one step.

        Raises:
            MediaError: A clip cannot be decoded and `on_bad_clip` is "stop".
        """
        arrays, failures = self.decode(step, self._new_arrays)
        return batch_of_arrays(arrays, step, failures)

    def _new_arrays(self, num_clips: int) -> BatchArrays:
        layout = batch_layout(num_clips, self.reader)
        return {name: np.empty(shape, dtype) for name, (dtype, shape) in layout.items()}

    def decode(
        self,
        step: int,
        allocate: Callable[[int], BatchArrays],
        *,
        is_readable: Callable[[int], bool] = lambda item: True,
    ) -> tuple[BatchArrays, tuple[str, ...]]:
        """Draw and decode one step into arrays of the caller.

        Args:
            step: The step.
            allocate: Returns the arrays of `batch_layout` for a number of clips; their content
                does not matter.
            is_readable: Called before each read of an item. An item for which it returns False is
                treated as damaged.

        Returns:
            The arrays, filled, and one message for each clip that could not be decoded.
        """
        specs = self._sampler.draw(
            seed=self._seed, step=step, rank=self._rank, world_size=self._world_size
        )
        clips = list(specs)
        arrays = allocate(len(clips))
        failures: list[str] = []
        # Nothing is shared across steps, because another worker may have decoded the last one.
        for index in self.reader.reading_order(specs):
            video, waveform = arrays["video"][index], arrays["waveform"][index]
            found = self._read(clips[index], video, waveform, failures, is_readable)
            arrays["valid"][index] = found is not None
            if found is None:
                video[:], waveform[:] = 0, 0.0
            else:
                clips[index] = found
        read = ClipSpecs.from_clips(clips)
        for name in SPEC_DTYPES:
            arrays[name][:] = getattr(read, name)
        return arrays, tuple(failures)

    def _read(
        self,
        clip: ClipSpec,
        video: VideoArray,
        waveform: WaveformArray,
        failures: list[str],
        is_readable: Callable[[int], bool],
    ) -> ClipSpec | None:
        """Read a clip, or if that fails another one of its title. Return the one that was read."""
        for attempt in range(1 + _REPLACEMENT_TRIES):
            if attempt:
                clip = self._sampler.replacement(clip, attempt)
            try:
                if not is_readable(clip.item):
                    raise MediaError(
                        f"reading the proxy {self.reader.name(clip.item)} crashed or stalled before"
                    )
                self.reader.read(clip, video, waveform)
                return clip
            except MediaError as error:
                if self._on_bad_clip == "stop":
                    raise MediaError(
                        f"{error}; training.on_bad_clip is 'stop': run `toomuchtv prepare` to make "
                        "damaged proxies again, then continue with --resume"
                    ) from error
                failures.append(str(error))
                self.reader.close_item(clip.item)
        return None


def draw_validation_batch(
    catalog_path: Path,
    snapshot: CatalogSnapshot,
    proxies: dict[int, Proxy],
    clip_format: ClipFormat,
    *,
    num_clips: int,
    seed: int,
) -> ClipBatch | None:
    """Draw and decode a fixed batch of clips that do not overlap, to measure a model on.

    The clips are uniform over the usable time, and fewer if the items are too short.

    Args:
        catalog_path: The catalog's folder.
        snapshot: The items to draw from.
        proxies: Proxy of each item, by item id.
        clip_format: Frames and audio of a clip; no two clips share any of either.
        num_clips: Number of clips, if they fit.
        seed: Seed of the draw.

    Returns:
        The batch, of between 2 and `num_clips` clips, or None if not even 2 fit.

    Raises:
        ValueError: The proxies do not fit the format.
    """
    span = max(clip_format.span_seconds, clip_format.audio_seconds)
    while num_clips >= _MIN_VALIDATION_CLIPS:
        policy = SamplingConfig(name="uniform", batch_size=num_clips, min_gap_seconds=span)
        try:
            sampler = ClipSampler(snapshot, policy, clip_format)
        except ValueError:
            num_clips = num_clips * 3 // 4
            continue
        reader = ClipReader(catalog_path, snapshot, proxies, clip_format)
        return PlannedBatches(reader, sampler, seed=seed)[0]
    return None
