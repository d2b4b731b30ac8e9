"""Errors that evaluation raises about benchmarks and encoders."""

from __future__ import annotations

from toomuchtv.errors import ToomuchtvError


class BenchmarkError(ToomuchtvError):
    """The folder of a benchmark, or a stored result, is malformed or incomplete."""


class EncoderError(ToomuchtvError):
    """An encoder cannot be loaded, or it violates the interface of encoders."""
