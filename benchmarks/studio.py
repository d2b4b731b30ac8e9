"""How fast the studio renders, in times real time: at 160x96, 16 frames a second, on all processes.

Renders the same small library of films and a series once a repetition, without transfer sets. The
seconds of a core are those of all processes together: on a machine that others use, they say what
the time would be.
"""

from __future__ import annotations

import shutil
import time

from benchmarks.figures import Figures, core_seconds, parser, spread
from experiments.rendered_tv import RenderedTVConfig, render_library


def main() -> None:
    """Render, and print times real time by the clock and by the core."""
    arguments = parser(__doc__)
    arguments.add_argument("--repetitions", type=int, default=3)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--minutes", type=float, default=2.0, help="of each of 8 items")
    options = arguments.parse_args()
    config = RenderedTVConfig(
        movies=4, shows=1, episodes=4, minutes=options.minutes, transfer_clips_per_kind=0
    )
    by_clock, by_core = [], []
    for repetition in range(options.repetitions):
        out = options.out / f"studio{repetition}"
        shutil.rmtree(out, ignore_errors=True)
        begun, used = time.monotonic(), core_seconds()
        summary = render_library(out, config, num_workers=options.workers)
        by_clock.append(summary.library_seconds / (time.monotonic() - begun))
        by_core.append(summary.library_seconds / (core_seconds() - used))
    Figures(
        benchmark="studio",
        values={
            "workers": options.workers,
            "film_seconds": summary.library_seconds,
            **spread("times_real_time", by_clock),
            **spread("times_real_time_of_one_core", by_core),
        },
    ).publish(options.json)


if __name__ == "__main__":
    main()
