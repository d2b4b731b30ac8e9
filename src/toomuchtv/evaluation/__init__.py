"""Transfer and retrieval: what encoders are good for, by protocols that have names."""
