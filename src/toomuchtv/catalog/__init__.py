"""Which titles exist: scan, parse names, probe, store, split, prepare."""
