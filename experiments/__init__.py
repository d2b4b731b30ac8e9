"""What is not part of the installed package: the renderer, the study and the demo."""

from __future__ import annotations

import sys

from toomuchtv._internal.interrupts import exit_on_signals

if sys.argv[0] == "-m":
    # `python -m experiments.study` and the like: the imports that follow take seconds.
    exit_on_signals()
