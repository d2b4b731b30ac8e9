"""Bytes to arrays: clips from originals, proxies, and what the encoders are fed."""
