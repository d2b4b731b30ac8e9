"""Procedural films and series, as media files, with everything about them known."""

from toomuchtv.studio.config import StudioConfig
from toomuchtv.studio.render import StudioSummary, render_studio

__all__ = ["StudioConfig", "StudioSummary", "render_studio"]
