"""CatalogDataset under PyTorch's DataLoader: the same clips with any number of workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

import toomuchtv as tv
from tests.data.test_loader import FORMAT, POLICY, batches_of
from toomuchtv.catalog.store import open_catalog
from toomuchtv.data.clip_reader import ClipReader
from toomuchtv.data.clip_specs import ClipSpec
from toomuchtv.errors import MediaError


def loader_of(
    catalog_path: Path, num_workers: int, start_step: int = 0
) -> DataLoader[tv.ClipSample]:
    dataset = tv.CatalogDataset(catalog_path, FORMAT)
    # The files that this process has open must not disturb the workers.
    dataset[tv.ClipBatchSampler(dataset, POLICY).batch(0)[0]]
    sampler = tv.ClipBatchSampler(dataset, POLICY, seed=6, num_batches=4, start_step=start_step)
    return DataLoader(
        dataset, batch_sampler=sampler, collate_fn=tv.collate_clips, num_workers=num_workers
    )


@pytest.mark.parametrize("num_workers", [0, 1, pytest.param(8, marks=pytest.mark.slow)])
def test_any_number_of_workers_gives_the_same_clips(
    prepared_catalog: Path, num_workers: int
) -> None:
    expected = batches_of(prepared_catalog)
    found = list(loader_of(prepared_catalog, num_workers))
    assert len(found) == 4
    for step, batch in enumerate(found):
        assert isinstance(batch, tv.ClipBatch)
        assert list(batch.specs) == list(expected[step].specs)
        assert torch.equal(batch.video, expected[step].video)
        assert torch.equal(batch.waveform, expected[step].waveform)
        assert batch.valid.all()


def test_a_clip_alone_is_the_clip_of_the_batch(prepared_catalog: Path) -> None:
    with open_catalog(prepared_catalog) as catalog:
        dataset = tv.CatalogDataset(catalog, clip=FORMAT)
    (batch,) = list(loader_of(prepared_catalog, 0, start_step=3))
    for index, spec in reversed(list(enumerate(batch.specs))):
        sample = dataset[spec]
        assert sample.spec == spec
        assert torch.equal(sample.video, batch.video[index])
        assert torch.equal(sample.waveform, batch.waveform[index])


def test_audio_is_shifted_by_a_function_of_the_seed_and_stays_inside_the_item(
    prepared_catalog: Path,
) -> None:
    """The shifted audio of a clip is found in the whole audio of its item, near the clip."""
    limit, rate = 0.75, FORMAT.sample_rate_hz
    with open_catalog(prepared_catalog) as catalog:
        snapshot, proxies = catalog.snapshot(), catalog.proxies()
        plain, shifted = (
            ClipReader(prepared_catalog, snapshot, proxies, FORMAT, audio_shift_seconds=seconds)
            for seconds in (0.0, limit)
        )
    proxy = proxies[int(snapshot.item_id[0])]
    # From before the item to after its end.
    longest = FORMAT.model_copy(update={"audio_seconds": 2 * proxy.num_samples / rate + 2})
    whole = ClipReader(prepared_catalog, snapshot, proxies, longest)

    def waveform_of(reader: ClipReader, clip: ClipSpec) -> Tensor:
        video = np.empty(reader.video_shape, np.uint8)
        waveform = np.empty(reader.clip_format.num_samples, np.float32)
        reader.read(clip, video, waveform)
        return torch.from_numpy(waveform)

    everything = waveform_of(whole, ClipSpec(item=0, title=0, start_seconds=0.0))
    zero, most = -longest.audio_start_sample(0.0), round(limit * rate)
    shifts = []
    for start_seconds in (0.0, 2.0, (proxy.num_frames - 8) / proxy.frame_rate):
        at = FORMAT.audio_start_sample(start_seconds)
        for seed in range(4):
            clip = ClipSpec(item=0, title=0, start_seconds=start_seconds, seed=seed)
            found = waveform_of(shifted, clip)
            assert torch.equal(found, waveform_of(shifted, clip))
            # Find the shift by every 37th sample, then compare all of them.
            near = everything[zero + at - most : zero + at + most + len(found)]
            apart = near.unfold(0, len(found), 1)[:, ::37] - found[::37]
            shifts.append(int(apart.abs().amax(dim=1).argmin()) - most)
            expected = everything[zero + at + shifts[-1] :][: len(found)]
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
            assert 0 <= at + shifts[-1] <= proxy.num_samples - len(found)
        assert torch.equal(waveform_of(plain, clip), everything[zero + at :][: len(found)])
    assert len(set(shifts[4:8])) == 4
    assert min(shifts[4:8]) < 0 < max(shifts[4:8])


def test_a_dataset_of_some_titles_draws_only_those(prepared_catalog: Path) -> None:
    with open_catalog(str(prepared_catalog)) as catalog:
        title_ids = [title.id for title in catalog.titles()][:2]
        part = catalog.snapshot().of_titles(title_ids)
        dataset = tv.CatalogDataset(catalog, FORMAT, snapshot=part)
    sampler = tv.ClipBatchSampler(dataset, POLICY)
    rows = [spec.item for step in range(20) for spec in sampler.batch(step)]
    assert set(dataset.snapshot.title_id[rows].tolist()) == set(title_ids)


def test_default_epochs_visit_each_title_once(prepared_catalog: Path) -> None:
    dataset = tv.CatalogDataset(prepared_catalog, FORMAT)
    policy = POLICY.model_copy(update={"batch_size": 2})  # one title in a batch
    sampler = tv.ClipBatchSampler(dataset, policy)
    titles = [batch[0].title for batch in sampler]
    assert sorted(titles) == list(range(len(np.unique(dataset.snapshot.title_id))))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_missing_proxy_is_an_error(own_catalog: Path, num_workers: int) -> None:
    loader = loader_of(own_catalog, num_workers)
    for path in own_catalog.rglob("*.mp4"):
        path.unlink()
    with pytest.raises(MediaError):
        list(loader)
