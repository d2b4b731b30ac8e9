"""Self-supervised audio-visual representation learning from films and TV series.

    clip = toomuchtv.read_clip("film.mkv", start_seconds=61.0)
    catalog = toomuchtv.open_catalog("cat")
    plan = toomuchtv.draw_plan(catalog.snapshot(), policy, seed=0, step=17)
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
    from toomuchtv.config import Config, load_config
    from toomuchtv.evaluation.diagnosis import Diagnosis, diagnose
    from toomuchtv.evaluation.evaluate import evaluate
    from toomuchtv.evaluation.result import Evaluation
    from toomuchtv.media.clip import Clip, ClipFormat
    from toomuchtv.media.original import read_clip
    from toomuchtv.media.proxy import ProxyRecipe
    from toomuchtv.pretrained import Pretrained, load
    from toomuchtv.sampling.plan import ClipSpec, Plan, Planner, draw_plan
    from toomuchtv.sampling.policy import PolicyConfig
    from toomuchtv.studio import StudioConfig, render_studio
    from toomuchtv.training.pretrain import pretrain

__version__ = "0.1.0"

_HOMES = {
    "Catalog": "catalog.store",
    "Clip": "media.clip",
    "ClipFormat": "media.clip",
    "ClipSpec": "sampling.plan",
    "Config": "config",
    "Diagnosis": "evaluation.diagnosis",
    "Evaluation": "evaluation.result",
    "Plan": "sampling.plan",
    "Planner": "sampling.plan",
    "PolicyConfig": "sampling.policy",
    "Pretrained": "pretrained",
    "ProxyRecipe": "media.proxy",
    "StudioConfig": "studio",
    "diagnose": "evaluation.diagnosis",
    "draw_plan": "sampling.plan",
    "evaluate": "evaluation.evaluate",
    "load": "pretrained",
    "load_config": "config",
    "open_catalog": "catalog.store",
    "prepare_catalog": "catalog.prepare",
    "pretrain": "training.pretrain",
    "read_clip": "media.original",
    "render_studio": "studio",
    "scan_library": "catalog.scan",
}

__all__ = [
    "Catalog",
    "Clip",
    "ClipFormat",
    "ClipSpec",
    "Config",
    "Diagnosis",
    "Evaluation",
    "Plan",
    "Planner",
    "PolicyConfig",
    "Pretrained",
    "ProxyRecipe",
    "StudioConfig",
    "diagnose",
    "draw_plan",
    "evaluate",
    "load",
    "load_config",
    "open_catalog",
    "prepare_catalog",
    "pretrain",
    "read_clip",
    "render_studio",
    "scan_library",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'toomuchtv' has no attribute {name!r}")
    return getattr(importlib.import_module(f"toomuchtv.{_HOMES[name]}"), name)
