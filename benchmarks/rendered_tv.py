"""Speed of the renderer in times real time, at 160x96 and 16 frames per second.

Renders the same small library of films and one series in each repetition, without transfer sets.
The seconds of one core are those of all processes together. On a machine that is also used for
other work, they show what the time would be without it.
"""

from __future__ import annotations

import shutil
import time

from benchmarks.figures import Figures, core_seconds, parser, spread
from experiments.rendered_tv import RenderedTVConfig, render_library


def main() -> None:
    """Render, and print the speed by wall-clock time and by core time."""
    arguments = parser(__doc__)
    arguments.add_argument("--repetitions", type=int, default=3)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--minutes", type=float, default=2.0, help="minutes of each of 8 items")
    options = arguments.parse_args()
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
    Figures(
        benchmark="rendered_tv",
        values={
            "workers": options.workers,
            "film_seconds": summary.library_seconds,
            **spread("times_real_time", by_clock),
            **spread("times_real_time_of_one_core", by_core),
        },
    ).publish(options.json)


if __name__ == "__main__":
    main()
