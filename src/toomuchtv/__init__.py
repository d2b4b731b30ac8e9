"""Self-supervised audio-visual representation learning from films and TV series.

    clip = toomuchtv.read_clip("film.mkv", start_seconds=61.0)
    catalog = toomuchtv.open_catalog("cat")
    sampler = toomuchtv.HierarchicalBatchSampler(titles, batch_size=64, clips_per_title=16)
    loss = toomuchtv.losses.InfoNCE(temperature=0.07)
    encoder = toomuchtv.load("runs/first")

Names are imported when first used, so that the command line starts without PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toomuchtv import losses
    from toomuchtv.catalog.prepare import prepare_catalog
    from toomuchtv.catalog.scan import scan_library
    from toomuchtv.catalog.store import Catalog, open_catalog
    from toomuchtv.data.augmentation import AugmentationConfig
    from toomuchtv.data.batch_sampler import HierarchicalBatchSampler
    from toomuchtv.data.clip_specs import ClipBatch, ClipSpec, ClipSpecs
    from toomuchtv.data.clip_transform import ClipTransform, TransformConfig
    from toomuchtv.data.config import SamplingConfig
    from toomuchtv.data.dataset import CatalogDataset, ClipBatchSampler, ClipSample, collate_clips
    from toomuchtv.data.pair_labels import PairLabelConfig, PairLabels
    from toomuchtv.data.sampler import ClipSampler, draw_clips
    from toomuchtv.diagnosis import Diagnosis, diagnose
    from toomuchtv.evaluation.comparison import Comparison, compare_results
    from toomuchtv.evaluation.evaluate import evaluate
    from toomuchtv.evaluation.result import Evaluation
    from toomuchtv.export.hub import export_hub
    from toomuchtv.export.onnx_files import OnnxExport, export_onnx
    from toomuchtv.inference.pretrained import PretrainedEncoder, load
    from toomuchtv.inference.windows import WindowEmbeddings
    from toomuchtv.media.clip import Clip, ClipFormat
    from toomuchtv.media.clip_reader import read_clip
    from toomuchtv.media.proxy_writer import ProxyFormat
    from toomuchtv.models import AudioResNet, Embeddings, ModelConfig, TwoTower, VideoResNet
    from toomuchtv.search.clips import write_clips
    from toomuchtv.search.embedding import embed_catalog
    from toomuchtv.search.filters import Filters
    from toomuchtv.search.hits import Hit, Match
    from toomuchtv.search.index import SearchIndex, open_index
    from toomuchtv.search.queries import Moment, QueryText, QueryVector
    from toomuchtv.search.query_files import QueryFile
    from toomuchtv.search.results import write_results
    from toomuchtv.training.pretrain import PretrainResult, pretrain
    from toomuchtv.training.run_config import Config, load_config

__version__ = "0.2.0"

#: The module of each public name.
_HOMES = {
    name: module
    for module, names in {
        "catalog.prepare": "prepare_catalog",
        "catalog.scan": "scan_library",
        "catalog.store": "Catalog open_catalog",
        "data.augmentation": "AugmentationConfig",
        "data.batch_sampler": "HierarchicalBatchSampler",
        "data.clip_specs": "ClipBatch ClipSpec ClipSpecs",
        "data.clip_transform": "ClipTransform TransformConfig",
        "data.config": "SamplingConfig",
        "data.dataset": "CatalogDataset ClipBatchSampler ClipSample collate_clips",
        "data.pair_labels": "PairLabelConfig PairLabels",
        "data.sampler": "ClipSampler draw_clips",
        "diagnosis": "Diagnosis diagnose",
        "evaluation.comparison": "Comparison compare_results",
        "evaluation.evaluate": "evaluate",
        "evaluation.result": "Evaluation",
        "export.hub": "export_hub",
        "export.onnx_files": "OnnxExport export_onnx",
        "inference.pretrained": "PretrainedEncoder load",
        "inference.windows": "WindowEmbeddings",
        "media.clip": "Clip ClipFormat",
        "media.clip_reader": "read_clip",
        "media.proxy_writer": "ProxyFormat",
        "models": "AudioResNet Embeddings ModelConfig TwoTower VideoResNet",
        "search.embedding": "embed_catalog",
        "search.filters": "Filters",
        "search.clips": "write_clips",
        "search.hits": "Hit Match",
        "search.index": "SearchIndex open_index",
        "search.queries": "Moment QueryText QueryVector",
        "search.query_files": "QueryFile",
        "search.results": "write_results",
        "training.pretrain": "PretrainResult pretrain",
        "training.run_config": "Config load_config",
    }.items()
    for name in names.split()
}

__all__ = [
    "AudioResNet",
    "AugmentationConfig",
    "Catalog",
    "CatalogDataset",
    "Clip",
    "ClipBatch",
    "ClipBatchSampler",
    "ClipFormat",
    "ClipSample",
    "ClipSampler",
    "ClipSpec",
    "ClipSpecs",
    "ClipTransform",
    "Comparison",
    "Config",
    "Diagnosis",
    "Embeddings",
    "Evaluation",
    "Filters",
    "HierarchicalBatchSampler",
    "Hit",
    "Match",
    "ModelConfig",
    "Moment",
    "OnnxExport",
    "PairLabelConfig",
    "PairLabels",
    "PretrainResult",
    "PretrainedEncoder",
    "ProxyFormat",
    "QueryFile",
    "QueryText",
    "QueryVector",
    "SamplingConfig",
    "SearchIndex",
    "TransformConfig",
    "TwoTower",
    "VideoResNet",
    "WindowEmbeddings",
    "collate_clips",
    "compare_results",
    "diagnose",
    "draw_clips",
    "embed_catalog",
    "evaluate",
    "export_hub",
    "export_onnx",
    "load",
    "load_config",
    "losses",
    "open_catalog",
    "open_index",
    "prepare_catalog",
    "pretrain",
    "read_clip",
    "scan_library",
    "write_clips",
    "write_results",
]


def __getattr__(name: str) -> Any:
    if name == "losses":
        return importlib.import_module("toomuchtv.losses")
    if name not in _HOMES:
        raise AttributeError(f"module 'toomuchtv' has no attribute {name!r}")
    return getattr(importlib.import_module(f"toomuchtv.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
