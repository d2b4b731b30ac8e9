"""The record of a library: scan and probe its files, store what they are, and prepare proxies."""
