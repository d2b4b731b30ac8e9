"""A module that `TiedProcess` runs in a test: it says what it got, and waits for ever."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

said = Path(os.environ["TIED_CHILD_FILE"])
said.with_suffix(".new").write_text(" ".join([__name__, *sys.argv[1:]]))
said.with_suffix(".new").rename(said)
time.sleep(60)
