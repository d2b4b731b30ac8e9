"""`python -m toomuchtv.cli`, for those who start processes themselves."""

from __future__ import annotations

from toomuchtv.cli import main

if __name__ == "__main__":
    main()
