"""Errors that users can meet.

Each message says what was received, what is allowed and what to do next. The command line prints
it and exits with code 2. Arguments with wrong values raise `ValueError` instead.
"""

from __future__ import annotations


class ToomuchtvError(Exception):
    """Base class of all errors that this package raises on purpose."""


class CatalogError(ToomuchtvError):
    """A catalog or its library cannot be used in the requested way."""


class MediaError(ToomuchtvError):
    """A media file cannot be read, decoded or written."""


class NoAudioError(MediaError):
    """Not one sample of a file's audio could be decoded in the requested range.

    It tells "there is nothing" from silence, whose samples are zero: the file has no audio,
    its audio ends before the range or begins after it, or all of its packets there are damaged.
    """


class CheckpointError(ToomuchtvError):
    """A run, checkpoint or model folder cannot be read or written."""


class DistributedError(ToomuchtvError):
    """A training process has lost the connection to the other processes."""


class SearchError(ToomuchtvError):
    """An index cannot be used in the requested way, or a query cannot be answered."""


class EngineError(ToomuchtvError):
    """The machines that should run the jobs of a command cannot do so."""
