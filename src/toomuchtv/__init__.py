"""Self-supervised audio-visual representation learning from films and TV series.

    clip = toomuchtv.read_clip("film.mkv", start_seconds=61.0)
    catalog = toomuchtv.open_catalog("cat")
    plan = toomuchtv.draw_clips(catalog.snapshot(), policy, seed=0, step=17)
    model = toomuchtv.load("runs/first")

Names are imported when first used, so that the command line starts without PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toomuchtv.catalog.prepare import prepare_catalog
    from toomuchtv.catalog.scan import scan_library
    from toomuchtv.catalog.store import Catalog, open_catalog
    from toomuchtv.data.clip_specs import ClipSpec, ClipSpecs
    from toomuchtv.data.config import SamplingConfig
    from toomuchtv.data.sampler import ClipSampler, draw_clips
    from toomuchtv.diagnosis import Diagnosis, diagnose
    from toomuchtv.evaluation.evaluate import evaluate
    from toomuchtv.evaluation.result import Evaluation
    from toomuchtv.inference.pretrained import PretrainedEncoder, load
    from toomuchtv.media.clip import Clip, ClipFormat
    from toomuchtv.media.original import read_clip
    from toomuchtv.media.proxy import ProxyFormat
    from toomuchtv.training.pretrain import pretrain
    from toomuchtv.training.run_config import Config, load_config

__version__ = "0.1.0"

_HOMES = {
    "Catalog": "catalog.store",
    "Clip": "media.clip",
    "ClipFormat": "media.clip",
    "ClipSpec": "data.clip_specs",
    "Config": "training.run_config",
    "Diagnosis": "diagnosis",
    "Evaluation": "evaluation.result",
    "ClipSpecs": "data.clip_specs",
    "ClipSampler": "data.sampler",
    "SamplingConfig": "data.config",
    "PretrainedEncoder": "inference.pretrained",
    "ProxyFormat": "media.proxy",
    "diagnose": "diagnosis",
    "draw_clips": "data.sampler",
    "evaluate": "evaluation.evaluate",
    "load": "inference.pretrained",
    "load_config": "training.run_config",
    "open_catalog": "catalog.store",
    "prepare_catalog": "catalog.prepare",
    "pretrain": "training.pretrain",
    "read_clip": "media.original",
    "scan_library": "catalog.scan",
}

__all__ = [
    "Catalog",
    "Clip",
    "ClipFormat",
    "ClipSampler",
    "ClipSpec",
    "ClipSpecs",
    "Config",
    "Diagnosis",
    "Evaluation",
    "PretrainedEncoder",
    "ProxyFormat",
    "SamplingConfig",
    "diagnose",
    "draw_clips",
    "evaluate",
    "load",
    "load_config",
    "open_catalog",
    "prepare_catalog",
    "pretrain",
    "read_clip",
    "scan_library",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'toomuchtv' has no attribute {name!r}")
    return getattr(importlib.import_module(f"toomuchtv.{_HOMES[name]}"), name)
