"""Experiments on rendered television; not part of the installed package."""
