"""Detect what titles contain: openings, credits, shots, black, silence and duplicates."""
