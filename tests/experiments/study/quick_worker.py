"""A worker of the study that trains nothing: it copies results that a test has prepared.

OUT/prepared/NAME.json is the result of a condition, and OUT/seconds is the time that each takes.
OUT/events has a line for whatever begins and ends.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path


def main() -> int:
    out, kind, name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

    def note(what: str) -> None:
        with (out / "events").open("a") as file:
            file.write(f"{what} {kind} {name}\n")

    note("begin")
    if kind == "condition":
        time.sleep(float((out / "seconds").read_text()))
        prepared = out / "prepared" / f"{name}.json"
        if not prepared.exists():
            print("error: nothing was prepared")
            return 1
        (out / "results").mkdir(exist_ok=True)
        shutil.copy(prepared, out / "results")
    else:
        folder = f"transfer-seed{name}" if kind == "transfer" else name
        (out / "libraries" / folder / "ready").touch()
    note("end")
    return 0


if __name__ == "__main__":
    sys.exit(main())
