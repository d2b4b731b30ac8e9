"""Thousands of damaged files through probing, proxy making and decoding.

    python -m benchmarks.fuzz_media --files 20000 --seed 0 --out DIR --json FILE     40 minutes

Besides damaged files, there are hostile ones: frames of a thousand million pixels in several codecs
and containers, containers written by hand, and playlists that name themselves, devices and URLs.
Each file goes through what `scan` and `prepare` do and through `read_clip`, in worker processes.
The law: every file is either used or refused with a reason. Everything else is a failure: a crash,
30 s without an end, 1 GB of memory, or an exception other than `MediaError`. Failures are listed in
`failures.jsonl` by the file's number. `--only NUMBER` makes that file again, keeps it in the folder
and runs it alone.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.figures import Figures, argument_parser
from tests.media.fuzzing import FAILURES, fuzz, seed_bytes
from tests.media.mutants import HOSTILE, SEEDS, mutant, write_seeds


def main() -> None:
    """Run the benchmark."""
    parser = argument_parser(__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--hostile", type=int, default=2000, help="number of hostile files")
    parser.add_argument("--only", type=int, nargs="+", help="run these files and keep them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    seeds_folder: Path = options.out / "seeds"
    write_seeds(seeds_folder)
    numbers: Sequence[int] = [*range(options.files), *range(HOSTILE, HOSTILE + options.hostile)]
    if options.only:
        numbers = options.only
        for number in numbers:
            name, data = mutant(seed_bytes(seeds_folder), number, seed=options.seed)
            (options.out / name).write_bytes(data)
    kinds: Counter[str] = Counter()
    stages: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    slowest, largest = (0.0, 0), (0, 0)
    begun = time.monotonic()
    with (options.out / "failures.jsonl").open("w") as log:
        for number, outcome in fuzz(
            numbers, seed=options.seed, seeds_folder=seeds_folder, num_workers=options.workers
        ):
            kinds[outcome.kind] += 1
            if outcome.kind == "refused":
                stages[outcome.stage] += 1
                reason = re.sub(r"\d+(\.\d+)?", "N", outcome.reason.splitlines()[0])
                reasons[f"{outcome.stage}: {reason}"] += 1
            if outcome.kind in FAILURES:
                made_of = "hand" if number >= HOSTILE else SEEDS[number % len(SEEDS)].name
                line = {"number": number, "made_of": made_of}
                log.write(json.dumps({**line, **asdict(outcome)}) + "\n")
                log.flush()
                last = outcome.reason.strip().splitlines()[-1]
                print(f"{number:6} {outcome.kind} in {outcome.stage}: {last}", flush=True)
            elif options.only:
                print(f"{number:6} {outcome}")
            slowest = max(slowest, (outcome.seconds, number))
            largest = max(largest, (outcome.peak_bytes, number))
            seconds = time.monotonic() - begun
            if kinds.total() % 1000 == 0:
                print(
                    f"{kinds.total()} files, {kinds.total() / seconds:.0f} per second", flush=True
                )
    print("\nreasons of refusals:")
    for reason, count in reasons.most_common(25):
        print(f"  {count:6} {reason[:140]}")
    Figures("fuzz_media", options.json).add(
        {
            "files": kinds.total(),
            "crashes_of_parent": 0,  # this line is reached only without one
            **{figure: kinds[kind] for kind, figure in FAILURES.items()},
            "used": kinds["used"],
            "refused": kinds["refused"],
            **{
                f"refused_by_{stage}": stages[stage]
                for stage in ("probe", "proxy", "read_clip", "proxy_reader")
            },
            "files_per_second": kinds.total() / (time.monotonic() - begun),
            "slowest_seconds": slowest[0],
            "slowest_number": slowest[1],
            "largest_mib": largest[0] / 2**20,
            "largest_number": largest[1],
        }
    )


if __name__ == "__main__":
    main()
