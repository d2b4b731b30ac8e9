"""A trained model applied to files: load it, then embed video and audio."""
