"""Memory of the process that makes a proxy, over films of 10 minutes, an hour and three hours.

The films are cheap to decode: small moving stripes and a tone, key frames and B-frames as x264 sets
them, MP4 and MPEG-TS. Memory is the highest resident size of a process that makes one proxy and
ends. Flat means: three hours need what ten minutes need.

    python -m benchmarks.prepare_memory --out DIR --json FILE
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import Figures, parser

MINUTES = (10, 60, 180)
SUFFIXES = (".mp4", ".ts")
MIB = 2**20


def make_film(out: Path, suffix: str, minutes: int) -> Path:
    """A film of ten minutes, repeated as it is coded."""
    part, film = out / f"part{suffix}", out / f"film_{minutes}{suffix}"
    if not part.exists():
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc=s=160x96:r=24:d=600",
             "-f", "lavfi", "-i", "sine=r=48000:d=600", "-c:v", "libx264", "-preset", "ultrafast",
             "-bf", "2", "-pix_fmt", "yuv420p", "-c:a", "aac", part],
            check=True,
        )  # fmt: skip
    if not film.exists():
        listing = out / "list.txt"
        listing.write_text(f"file '{part.resolve()}'\n" * (minutes // 10))
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", "-f", "concat", "-safe", "0", "-i", listing,
             "-c", "copy", film],
            check=True,
        )  # fmt: skip
    return film


# In a process that imports what `prepare`'s workers do and no more.
_MAKE_ONE = """
import re, sys
from pathlib import Path
from toomuchtv.media.proxy_writer import ProxyFormat, write_proxy
film, out = map(Path, sys.argv[1:])
facts = write_proxy(film, out / "video.mp4", out / "audio.mp4", ProxyFormat(short_side=64))
# Not ru_maxrss, which begins at the size of the process that this one was forked from.
peak = re.search("VmHWM: *\\t* *([0-9]+) kB", Path("/proc/self/status").read_text())
print(facts.num_frames, int(peak[1]) * 1024)
"""


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__).parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    values: dict[str, float] = {}
    for suffix in SUFFIXES:
        for minutes in MINUTES:
            film = make_film(arguments.out, suffix, minutes)
            begun = time.perf_counter()
            said = subprocess.run(
                [sys.executable, "-c", _MAKE_ONE, film, arguments.out],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            num_frames, peak = map(int, said.stdout.split())
            if abs(num_frames - minutes * 60 * 8) > minutes:
                raise SystemExit(f"{film.name} gave {num_frames} frames")
            name = f"prepare_{suffix[1:]}_{minutes}_minutes"
            values[f"{name}_peak_mib"] = peak / MIB
            values[f"{name}_seconds"] = time.perf_counter() - begun
            print(name, values[f"{name}_peak_mib"], flush=True)
    Figures(benchmark="prepare_memory", values=values).publish(arguments.json)


if __name__ == "__main__":
    main()
