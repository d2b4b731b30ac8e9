"""A renderer of procedural films and TV series, with ground truth for everything in them."""

from experiments.rendered_tv.config import RenderedTVConfig
from experiments.rendered_tv.render import RenderSummary, render_library

__all__ = ["RenderSummary", "RenderedTVConfig", "render_library"]
