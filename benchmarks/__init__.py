"""Commands that the figures in README and docs come from; each takes --json FILE."""
