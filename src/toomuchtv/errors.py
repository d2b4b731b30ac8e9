"""The errors a user can meet.

Each message says what came, what is allowed and what to do next; the command line prints it
and exits with 2. Plain wrong values raise `ValueError`.
"""

from __future__ import annotations


class ToomuchtvError(Exception):
    """Base of every error this package raises on purpose."""


class CatalogError(ToomuchtvError):
    """A catalog or the library behind it cannot be used as asked."""


class MediaError(ToomuchtvError):
    """A media file cannot be read, decoded or written."""


class CheckpointError(ToomuchtvError):
    """A run, checkpoint or model folder cannot be read or written."""


class DistributedError(ToomuchtvError):
    """A process that trains with others has lost them."""
