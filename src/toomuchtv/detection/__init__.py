"""What a title contains: openings, credits, shots, black, silence and duplicates."""
