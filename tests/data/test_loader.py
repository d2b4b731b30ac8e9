"""The loader gives the same batches with any number of workers, and replaces bad clips."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from toomuchtv.catalog.records import Proxy
from toomuchtv.catalog.store import open_catalog
from toomuchtv.data.augmentation import AugmentationConfig
from toomuchtv.data.batches import PlannedBatches
from toomuchtv.data.clip_reader import ClipReader
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.data.clip_transform import ClipTransform, TransformConfig
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.loader import iterate_batches
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.errors import CatalogError
from toomuchtv.media.clip import ClipFormat

FORMAT = ClipFormat(frames=3, frame_rate=4.0, audio_seconds=0.5)
POLICY = SamplingConfig(batch_size=8, items_per_title=1, clips_per_item=2, min_gap_seconds=0.25)


def batches_of(
    catalog_path: Path,
    rank: int = 0,
    world_size: int = 1,
    *,
    on_bad_clip: Literal["replace", "stop"] = "replace",
    reader: Callable[..., ClipReader] = ClipReader,
) -> PlannedBatches:
    with open_catalog(catalog_path) as catalog:
        snapshot, proxies = catalog.snapshot(), catalog.proxies()
    return PlannedBatches(
        reader(catalog_path, snapshot, proxies, FORMAT),
        ClipSampler(snapshot, POLICY, FORMAT),
        seed=6,
        rank=rank,
        world_size=world_size,
        on_bad_clip=on_bad_clip,
    )


def assert_equal(one: ClipBatch, two: ClipBatch) -> None:
    assert list(one.specs) == list(two.specs)
    assert (one.step, one.failures) == (two.step, two.failures)
    for name in ("valid", "video", "waveform"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name


def was_replaced(batch: ClipBatch, good: ClipBatch) -> torch.Tensor:
    """Return which clips differ from those of an undamaged catalog, bool `[N]`."""
    pairs = zip(batch.specs, good.specs, strict=True)
    return torch.tensor([one != two for one, two in pairs])


def proxies_of(catalog_path: Path, title: str) -> list[Proxy]:
    with open_catalog(catalog_path) as catalog:
        wanted = {item.id for item in catalog.items() if title in str(item.path)}
        return [proxy for item_id, proxy in catalog.proxies().items() if item_id in wanted]


def test_any_number_of_workers_gives_the_same_batches(prepared_catalog: Path) -> None:
    batches = batches_of(prepared_catalog)
    here = [batches[step] for step in range(4, 8)]
    for num_workers in (0, 1, 2):
        # The same object, whose proxies are open already.
        found = list(iterate_batches(batches, start=4, stop=8, num_workers=num_workers))
        assert [batch.step for batch in found] == [4, 5, 6, 7]
        for one, two in zip(here, found, strict=True):
            assert_equal(one, two)


def test_batches_are_the_memory_of_the_workers_which_is_used_again(prepared_catalog: Path) -> None:
    batches = batches_of(prepared_catalog)
    stream = iterate_batches(batches, start=0, stop=14, num_workers=1)
    places = set()
    for batch in stream:
        places.add(batch.video.data_ptr())
        assert_equal(batch, batches[batch.step])
    assert len(places) <= 5  # three ahead, and two in use


def test_a_batch_that_is_kept_never_changes(prepared_catalog: Path) -> None:
    batches = batches_of(prepared_catalog)
    stream = iterate_batches(batches, start=0, stop=9, num_workers=1)
    kept = next(stream)
    for batch in stream:
        assert_equal(batch, batches[batch.step])
        assert_equal(kept, batches[0])
    assert_equal(kept, batches[0])  # although the workers and their files are gone


def test_a_view_keeps_the_memory_of_its_batch(prepared_catalog: Path) -> None:
    batches = batches_of(prepared_catalog)
    stream = iterate_batches(batches, start=0, stop=9, num_workers=1)
    views = [next(stream).video[3:5] for _ in range(2)]
    rest = sum(len(batch) for batch in stream)
    assert rest == 7 * 8
    for step, view in enumerate(views):
        assert torch.equal(view, batches[step].video[3:5])


@pytest.mark.parametrize("num_workers", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_any_number_of_workers_gives_the_same_augmented_input(
    prepared_catalog: Path, num_workers: int
) -> None:
    """Augmentation is drawn from the clip's seed and not from a generator of the worker."""
    batches = batches_of(prepared_catalog)
    to_input = ClipTransform(TransformConfig(size=24), AugmentationConfig(blur=0.5))

    def inputs(num_workers: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        found = iterate_batches(batches, start=0, stop=9, num_workers=num_workers)
        return [to_input(b.video, b.waveform, b.specs.seed) for b in found]

    for one, two in zip(inputs(0), inputs(num_workers), strict=True):
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])


def test_a_batch_contains_the_drawn_clips(prepared_catalog: Path) -> None:
    batches = batches_of(prepared_catalog)
    with open_catalog(prepared_catalog) as catalog:
        specs = ClipSampler(catalog.snapshot(), POLICY, FORMAT).draw(seed=6, step=2)
    batch = batches[2]
    assert len(batch) == 8
    assert batch.video.shape == (8, 3, 48, 32)
    assert batch.video.dtype == torch.uint8
    assert batch.waveform.shape == (8, 8000)
    assert batch.waveform.dtype == torch.float32
    assert batch.specs.item.tolist() == specs.item.tolist()
    assert batch.specs.title.tolist() == specs.title.tolist()
    assert batch.specs.start_seconds.tolist() == specs.start_seconds.tolist()
    assert batch.specs.seed.tolist() == specs.seed.tolist()
    assert batch.valid.all()
    assert not batch.failures
    # The films' audio is a tone throughout: no clip is silent.
    assert (batch.waveform.abs().amax(dim=1) > 0.1).all()


def test_every_clip_of_a_batch_equals_the_clip_read_alone(prepared_catalog: Path) -> None:
    """Clips of an item are read in order of time, and overlap. This must not change them."""
    with open_catalog(prepared_catalog) as catalog:
        sampler = ClipSampler(catalog.snapshot(), POLICY, FORMAT)
    for step in range(4):
        batch = batches_of(prepared_catalog)[step]
        specs = sampler.draw(seed=6, step=step)
        for row in range(len(batch)):
            alone = batches_of(prepared_catalog).reader
            video = np.empty(batch.video.shape[1:], np.uint8)
            waveform = np.empty(batch.waveform.shape[1:], np.float32)
            alone.read(specs[row], video, waveform)
            np.testing.assert_array_equal(batch.video[row].numpy(), video)
            np.testing.assert_array_equal(batch.waveform[row].numpy(), waveform)


def test_a_damaged_clip_does_not_depend_on_earlier_steps(own_catalog: Path) -> None:
    """A decoder conceals lost data with earlier frames; these must not be of another step."""
    rng = np.random.default_rng(0)
    with open_catalog(own_catalog) as catalog:
        paths = [own_catalog / proxy.video_path for proxy in catalog.proxies().values()]
    for path in paths:
        content = bytearray(path.read_bytes())
        for at in rng.integers(100, len(content) * 2 // 3, 12).tolist():
            content[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
    in_order = batches_of(own_catalog)
    for step in range(5):
        assert_equal(in_order[step], batches_of(own_catalog)[step])


def test_ranks_decode_their_own_part(prepared_catalog: Path) -> None:
    whole = batches_of(prepared_catalog)[3]
    parts = [batches_of(prepared_catalog, rank, 2)[3] for rank in (0, 1)]
    assert torch.equal(torch.cat([part.video for part in parts]), whole.video)
    assert torch.equal(torch.cat([part.waveform for part in parts]), whole.waveform)


def test_a_damaged_proxy_is_replaced_inside_its_title(own_catalog: Path) -> None:
    whole = batches_of(own_catalog)
    expected = [whole[step] for step in range(6)]
    bad = proxies_of(own_catalog, "E01")[0]
    path = own_catalog / bad.video_path
    path.write_bytes(path.read_bytes()[:200])
    found = list(iterate_batches(batches_of(own_catalog), start=0, stop=6, num_workers=0))
    failed = 0
    for good, batch in zip(expected, found, strict=True):
        assert np.array_equal(batch.specs.title, good.specs.title)
        assert batch.video.shape == good.video.shape
        moved = was_replaced(batch, good)
        failed += len(batch.failures)
        assert all(path.name in failure for failure in batch.failures)
        assert bool(batch.failures) == bool(moved.any() or not batch.valid.all())
        untouched = ~moved & batch.valid
        assert torch.equal(batch.video[untouched], good.video[untouched])
    assert failed
    assert sum(int((~batch.valid).sum()) for batch in found) <= 1


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_title_without_proxies_is_invalid(
    own_catalog: Path, spoil: Callable[[Path], object]
) -> None:
    good = batches_of(own_catalog)[0]
    lost = proxies_of(own_catalog, "Alpha")[0]
    spoil(own_catalog / lost.video_path)
    batch = batches_of(own_catalog)[0]
    assert np.array_equal(batch.specs.title, good.specs.title)
    assert batch.video.shape == good.video.shape
    # Titles are numbered in order of their names.
    of_title = torch.from_numpy(batch.specs.title == 0)
    assert of_title.sum() == 2
    assert torch.equal(batch.valid, ~of_title)
    assert not batch.video[of_title].any()
    assert not batch.waveform[of_title].any()
    assert torch.equal(batch.video[~of_title], good.video[~of_title])
    assert len(batch.failures) == 2 * 5


def read_with(catalog_path: Path, clip_format: ClipFormat, **changes: object) -> ClipReader:
    with open_catalog(catalog_path) as catalog:
        snapshot, proxies = catalog.snapshot(), catalog.proxies()
    first = min(proxies)
    proxies[first] = dataclasses.replace(proxies[first], **changes)  # type: ignore[arg-type]
    return ClipReader(catalog_path, snapshot, proxies, clip_format)


def test_proxies_that_do_not_fit_are_refused(prepared_catalog: Path) -> None:
    with pytest.raises(
        ValueError, match=r"8 frames a second, which is no multiple of the clip's 3"
    ):
        read_with(prepared_catalog, ClipFormat(frame_rate=3.0))
    with pytest.raises(ValueError, match=r"no multiple of the clip's 16: set clip.frame_rate"):
        read_with(prepared_catalog, ClipFormat(frame_rate=16.0))
    with pytest.raises(ValueError, match=r"16000 Hz, the clip wants 8000: .* --sample-rate 8000"):
        read_with(prepared_catalog, ClipFormat(sample_rate_hz=8000))
    with pytest.raises(ValueError, match=r"different formats .*: run `toomuchtv prepare` again"):
        read_with(prepared_catalog, FORMAT, width=64, height=64)


def test_a_snapshot_older_than_the_proxies_is_a_clear_error(prepared_catalog: Path) -> None:
    """A scan between the two queries may drop a proxy whose file has changed."""
    with open_catalog(prepared_catalog) as catalog:
        snapshot, proxies = catalog.snapshot(), catalog.proxies()
    dropped = int(snapshot.item_id[0])
    del proxies[dropped]
    with pytest.raises(CatalogError, match=rf"1 of the {len(snapshot)} items .*\[{dropped}\]"):
        ClipReader(prepared_catalog, snapshot, proxies, FORMAT)
