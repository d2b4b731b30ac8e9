"""Where the jobs of `prepare` and `embed` run: in processes of this machine, or on many machines.

An engine takes a function and its arguments, one for each film or episode, and yields results in
order of completion. Both engines run the same function in the same kind of worker process, so that
a result does not depend on the engine.
"""

from __future__ import annotations

from toomuchtv.engines.local import Engine, LocalEngine
from toomuchtv.engines.ray_engine import RayEngine

__all__ = ["Engine", "LocalEngine", "RayEngine"]
