"""Procedural films and series, as media files, with everything about them known."""

from experiments.rendered_tv.config import RenderedTVConfig
from experiments.rendered_tv.render import RenderSummary, render_library

__all__ = ["RenderSummary", "RenderedTVConfig", "render_library"]
