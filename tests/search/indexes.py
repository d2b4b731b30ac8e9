"""Indexes of random vectors over real, prepared catalogs, and a tiny model to embed with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from toomuchtv.catalog.store import open_catalog
from toomuchtv.data.clip_transform import TransformConfig
from toomuchtv.inference.pretrained import PretrainedConfig, PretrainedEncoder
from toomuchtv.media.clip import ClipFormat
from toomuchtv.models import TwoTower
from toomuchtv.search.calibration import calibrate, write_calibration
from toomuchtv.search.index_folder import (
    IndexDescription,
    IndexedEncoder,
    IndexFolder,
    content_of,
    file_description,
)
from toomuchtv.search.vector_files import ItemVectors, write_vector_file
from toomuchtv.training.run_config import Config


def random_encoder(name: str = "random", dim: int = 8, **changes: object) -> IndexedEncoder:
    """Return the record of an encoder that does not exist."""
    values = {
        "name": name,
        "source": "nowhere",
        "fingerprint": f"fingerprint of {name}",
        "window_seconds": 0.5,
        "stride_seconds": 0.5,
        "video_dim": dim,
        "audio_dim": dim,
        "shares_space": True,
    }
    return IndexedEncoder.model_validate({**values, **changes})


def random_vectors(num: int, dim: int, rng: np.random.Generator, stride: float) -> ItemVectors:
    """Return random embeddings of an item with `num` windows."""
    video, audio = (torch.from_numpy(rng.normal(size=(num, dim))) for _ in range(2))
    return ItemVectors.from_float(torch.arange(num) * stride, video, audio)


def write_random_index(
    catalog: Path, index: Path, *encoders: IndexedEncoder, seed: int = 0
) -> dict[str, dict[int, ItemVectors]]:
    """Write an index with random vectors for every item; return them by encoder and item."""
    folder = IndexFolder(index)
    rng = np.random.default_rng(seed)
    written: dict[str, dict[int, ItemVectors]] = {}
    with open_catalog(catalog) as opened:
        items, proxies = opened.items(), opened.proxies()
        for encoder in encoders:
            written[encoder.name] = {}
            for item in items:
                num = int(proxies[item.id].duration_seconds / encoder.stride_seconds)
                dim = encoder.video_dim or encoder.audio_dim or 0
                vectors = random_vectors(num, dim, rng, encoder.stride_seconds)
                content = content_of(item, proxies[item.id])
                write_vector_file(
                    folder.vector_file(encoder, content),
                    vectors,
                    file_description(encoder, content),
                )
                written[encoder.name][item.id] = vectors
            calibration = calibrate(
                encoder,
                {content_of(i, proxies[i.id]): written[encoder.name][i.id] for i in items},
                np.array([item.title_id for item in items]),
            )
            write_calibration(folder.calibration_of(encoder), calibration)
    folder.write(IndexDescription(catalog=str(catalog.resolve()), encoders=encoders))
    return written


def tiny_encoder(config: Config, seed: int = 0) -> PretrainedEncoder:
    """Return encoders with random weights, as a run with this config would save them."""
    pretrained = PretrainedConfig(
        clip=ClipFormat(**config.clip.model_dump()),
        transform=TransformConfig(size=config.transform.size),
        model=config.model,
    )
    return PretrainedEncoder(TwoTower.from_config(config.model, seed=seed), pretrained)
