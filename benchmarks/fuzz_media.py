"""Twenty thousand damaged files through probe, proxy and decoding: what they do to the process.

Each goes through what `scan` and `prepare` do and through `read_clip`, in worker processes as
theirs. The law: whatever a file holds, it is used or refused with a reason. Anything else, a
crash, 30 s without an end, 1 GB of memory, an exception that is no `MediaError`, is a failure,
listed in `failures.jsonl` by the file's number; `--only NUMBER` makes that file again, keeps it in
the folder and runs it alone.

    python -m benchmarks.fuzz_media --files 20000 --seed 0 --out /tmp/fuzz --json fuzz.json
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.figures import Figures, parser
from tests.media.fuzzing import FAILURES, fuzz, seed_bytes
from tests.media.mutants import SEEDS, mutant, write_seeds


def main() -> None:
    """Run the benchmark."""
    arguments = _arguments()
    seeds_folder: Path = arguments.out / "seeds"
    write_seeds(seeds_folder)
    numbers: Sequence[int] = range(arguments.first, arguments.first + arguments.files)
    if arguments.only:
        numbers = arguments.only
        for number in numbers:
            name, data = mutant(seed_bytes(seeds_folder), number, seed=arguments.seed)
            (arguments.out / name).write_bytes(data)
    counts: collections.Counter[str] = collections.Counter()
    reasons: collections.Counter[str] = collections.Counter()
    slowest, largest = (0.0, 0), (0, 0)
    begun = time.monotonic()
    with (arguments.out / "failures.jsonl").open("w") as log:
        for number, outcome in fuzz(
            numbers,
            seed=arguments.seed,
            seeds_folder=seeds_folder,
            num_workers=arguments.workers,
        ):
            counts[outcome.kind] += 1
            if outcome.kind == "refused":
                counts[f"refused by {outcome.stage}"] += 1
                reasons[f"{outcome.stage}: {_without_numbers(outcome.reason)}"] += 1
            if outcome.kind in FAILURES:
                line = {"number": number, "made_of": SEEDS[number % len(SEEDS)].name}
                log.write(json.dumps({**line, **asdict(outcome)}) + "\n")
                log.flush()
                last = outcome.reason.strip().splitlines()[-1]
                print(f"{number:6} {outcome.kind} in {outcome.stage}: {last}", flush=True)
            elif arguments.only:
                print(f"{number:6} {outcome}")
            slowest = max(slowest, (outcome.seconds, number))
            largest = max(largest, (outcome.peak_bytes, number))
            done = sum(counts[kind] for kind in ("used", "refused", *FAILURES))
            if done % 1000 == 0:
                print(f"{done} done, {done / (time.monotonic() - begun):.0f} a second", flush=True)
            if time.monotonic() - begun > 60 * arguments.minutes:
                break
    seconds = time.monotonic() - begun
    print("\nwhy files were refused:")
    for reason, count in reasons.most_common(25):
        print(f"  {count:6} {reason[:140]}")
    Figures(
        benchmark="fuzz_media",
        values={
            "files": done,
            "crashes_of_parent": 0,  # we are here
            **{figure: counts[kind] for kind, figure in FAILURES.items()},
            "used": counts["used"],
            "refused": counts["refused"],
            "refused_by_probe": counts["refused by probe"],
            "refused_by_proxy": counts["refused by proxy"],
            "refused_by_read_clip": counts["refused by read_clip"],
            "refused_by_proxy_reader": counts["refused by proxy_reader"],
            "files_per_second": done / seconds,
            "slowest_seconds": slowest[0],
            "slowest_number": slowest[1],
            "largest_mib": largest[0] / 2**20,
            "largest_number": largest[1],
        },
    ).publish(arguments.json)


def _without_numbers(reason: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "N", reason.splitlines()[0])


def _arguments() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--files", type=int, default=20_000)
    made.add_argument("--first", type=int, default=0, help="number of the first file")
    made.add_argument("--only", type=int, nargs="+", help="run these files and keep them")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    made.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    return made.parse_args()


if __name__ == "__main__":
    main()
