"""What can be wrong with a benchmark's files."""

from __future__ import annotations

from toomuchtv.errors import ToomuchtvError


class BenchmarkError(ToomuchtvError):
    """A benchmark's folder is not laid out, or not complete, as it should be."""


class EncoderError(ToomuchtvError):
    """An encoder cannot be loaded, or does not do what evaluation asks of one."""
