"""Speed of the renderer in times real time, at 160x96 and 16 frames per second.

    python -m benchmarks.rendered_tv --out DIR --json FILE        five minutes on two cores

It renders the same small library of films and one series in each repetition, without transfer sets.
The core's seconds are those of all processes together.
"""

from __future__ import annotations

import shutil
import time

from benchmarks.figures import Figures, argument_parser, core_seconds, median_and_range
from experiments.rendered_tv import RenderedTVConfig, render_library


def main() -> None:
    """Render, and print the speed by wall-clock time and by core time."""
    parser = argument_parser(__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=2.0, help="minutes of each of 8 items")
    options = parser.parse_args()
    config = RenderedTVConfig(
        movies=4, shows=1, episodes=4, minutes=options.minutes, transfer_clips_per_kind=0
    )
    by_clock, by_core = [], []
    for repetition in range(options.repetitions):
        out = options.out / f"rendered{repetition}"
        shutil.rmtree(out, ignore_errors=True)
        begun, used = time.monotonic(), core_seconds()
        summary = render_library(out, config, num_workers=options.workers)
        by_clock.append(summary.library_seconds / (time.monotonic() - begun))
        by_core.append(summary.library_seconds / (core_seconds() - used))
    figures = Figures("rendered_tv", options.json)
    figures.add({"workers": options.workers, "film_seconds": summary.library_seconds})
    figures.add(median_and_range("times_real_time", by_clock))
    figures.add(median_and_range("times_real_time_of_one_core", by_core))


if __name__ == "__main__":
    main()
