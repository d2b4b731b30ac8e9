"""Transfer and retrieval benchmarks for encoders, under protocols with fixed names."""
