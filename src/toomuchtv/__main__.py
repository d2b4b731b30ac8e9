"""`python -m toomuchtv`: the command line."""

from __future__ import annotations

from toomuchtv.cli import main

if __name__ == "__main__":
    main()
