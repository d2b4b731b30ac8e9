"""One command for each published figure. Every command takes --json FILE and --out DIR."""
