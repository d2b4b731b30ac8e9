"""Reading and writing media files: clips of originals, proxies, timestamps, audio and color."""
