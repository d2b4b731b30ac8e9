"""Formats sizes of files and disks for people."""

from __future__ import annotations


def format_bytes(num_bytes: float) -> str:
    """Format a size with three digits and the unit that suits it: `3.52 GB`, `12 bytes`."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.3g} {unit}"
    return f"{num_bytes:.0f} bytes"
