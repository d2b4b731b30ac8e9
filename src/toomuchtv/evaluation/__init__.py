"""Transfer and retrieval: what the encoders are good for."""
