"""Retrieval at scale: seconds and memory of ranking N pairs both ways, and of the class's mAP.

Random unit vectors: what they hold does not matter to the time. Memory is the growth of the
process's peak over what it held with the vectors in it.
"""

from __future__ import annotations

import resource
import time

import numpy as np
import torch

from benchmarks.figures import Figures, parser
from toomuchtv.evaluation.retrieval import class_precision, pair_ranks


def peak_megabytes() -> float:
    """The most memory this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Rank and print the figures."""
    arguments = parser(__doc__)
    arguments.add_argument("--pairs", type=int, default=100_000)
    arguments.add_argument("--dim", type=int, default=256)
    arguments.add_argument("--classes", type=int, default=300)
    arguments.add_argument("--skip-classes", action="store_true")
    options = arguments.parse_args()
    generator = torch.Generator().manual_seed(0)
    video, audio = (
        torch.nn.functional.normalize(
            torch.randn(options.pairs, options.dim, generator=generator), dim=1
        )
        for _ in range(2)
    )
    before = peak_megabytes()
    begun = time.perf_counter()
    ranks = pair_ranks(video, audio)
    values = {
        "pairs": float(options.pairs),
        "dimensions": float(options.dim),
        "both_ways_seconds": time.perf_counter() - begun,
        "both_ways_extra_megabytes": peak_megabytes() - before,
        "median_rank_over_pairs": float(np.median(ranks.video_to_audio) / options.pairs),
    }
    if not options.skip_classes:
        classes = np.arange(options.pairs) % options.classes
        members = np.eye(options.classes, dtype=np.bool_)[classes]
        before, begun = peak_megabytes(), time.perf_counter()
        precision = class_precision(video, audio, members, members)
        values |= {
            "class_map_one_way_seconds": time.perf_counter() - begun,
            "class_map_extra_megabytes": peak_megabytes() - before,
            "class_map": float(precision.mean()),
            "class_map_chance": 1.0 / options.classes,
        }
    Figures(benchmark="retrieval", values=values).publish(options.json)


if __name__ == "__main__":
    main()
