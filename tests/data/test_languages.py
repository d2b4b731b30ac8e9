"""Two clips with one start in two languages: the same video, different audio, positives."""

from __future__ import annotations

import pytest
import torch

from tests.media_files import write_film
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.data.batches import PlannedBatches
from toomuchtv.data.clip_reader import ClipReader
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.loader import iterate_batches
from toomuchtv.data.pair_labels import PairLabelConfig, PairLabels
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.media.clip import ClipFormat
from toomuchtv.media.proxy_writer import ProxyFormat

FORMAT = ClipFormat(frames=3, frame_rate=4.0, audio_seconds=0.5)
POLICY = SamplingConfig(batch_size=8, clips_per_item=4, min_gap_seconds=0.25, languages="pairs")


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> PlannedBatches:
    folder = tmp_path_factory.mktemp("languages")
    library, catalog_path = folder / "library", folder / "cat"
    write_film(library / "Dubbed (2001).mkv", seconds=6.0, languages=("eng", "fra"))
    write_film(library / "Plain (2002).mkv", seconds=6.0, first_frame=50, languages=("eng",))
    scan_library(library, catalog_path)
    with open_catalog(catalog_path) as catalog:
        prepare_catalog(catalog, ProxyFormat(short_side=32, languages=("eng", "fra")))
        snapshot, proxies = catalog.snapshot(), catalog.proxies()
    assert snapshot.num_tracks.tolist() == [2, 1]
    reader = ClipReader(catalog_path, snapshot, proxies, FORMAT)
    return PlannedBatches(reader, ClipSampler(snapshot, POLICY, FORMAT), seed=3)


def pairs_of(batch: ClipBatch) -> list[tuple[int, int]]:
    """Return the pairs of clips that share item and start."""
    starts = list(zip(batch.specs.item.tolist(), batch.specs.start_seconds.tolist(), strict=True))
    return [
        (one, two) for one in range(len(batch)) for two in range(one) if starts[one] == starts[two]
    ]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_pairs_share_the_video_and_differ_in_audio(
    batches: PlannedBatches, num_workers: int
) -> None:
    (batch,) = iterate_batches(batches, start=2, stop=3, num_workers=num_workers)
    assert batch.valid.all()
    pairs = pairs_of(batch)
    assert len(pairs) == 2  # of the dubbed film's four clips; the other film has one language
    for one, two in pairs:
        assert batch.specs.audio_track[one] != batch.specs.audio_track[two]
        assert not torch.equal(batch.waveform[one], batch.waveform[two])
        # The clips have different seeds, and so different crops of the same frames.
        video, other = (torch.zeros_like(batch.video[0]) for _ in range(2))
        for index, planes in ((one, video), (two, other)):
            waveform = torch.empty_like(batch.waveform[0]).numpy()
            batches.reader.read(batch.specs[index], planes.numpy(), waveform, crop_position=0.5)
        assert video.any()
        assert torch.equal(video, other)


def test_each_language_is_that_of_its_audio_track(batches: PlannedBatches) -> None:
    batch = batches[2]
    for one, two in pairs_of(batch):
        english, french = (one, two) if batch.specs.audio_track[one] == 0 else (two, one)
        # The second track of the file is half as loud.
        loud, quiet = batch.waveform[english], batch.waveform[french]
        assert (loud - 2 * quiet).abs().max() < 0.1 * loud.abs().max()


def test_pairs_are_positives_by_default(batches: PlannedBatches) -> None:
    batch = batches[2]
    labels = PairLabels(PairLabelConfig(), batch.spec_tensor()).dense()
    positives = {(i, j) for i, j in (labels == 1).nonzero().tolist() if i > j}
    assert positives == set(pairs_of(batch))
