"""What the paper's collection costs in hours of cores and GPUs, and in bytes.

    python -m benchmarks.cost

The sheet of docs/how_it_works/cost.md is what this command prints. It is arithmetic: pass other
rates, hours or items for a sheet of your own. docs/how_it_works/cost.md says by which command each
rate was measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields

from benchmarks.paper_collection import EPISODES, HOURS, MOVIES

_WINDOW_BYTES = 2 * 2 * 256  # of look and sound, 256 numbers of 16 bits each


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What the sheet is computed from. The defaults are those of docs/how_it_works/cost.md.

    Attributes:
        library_mb_per_hour: Size of the films, which is assumed: 8 Mbit/s.
        scan_core_seconds_per_item: Processor time of a first scan.
        scan_mb_per_item: What a scan reads of a file: eight blocks of 64 kB, and about as much to
            open and probe it.
        prepare_times_real_time: Speed of one core that makes proxies and features.
        proxy_mb_per_hour: Size of proxies.
        features_mb_per_hour: Size of the features of detection.
        duplicates_core_hours: Processor time of the search of duplicates. It grows with the square
            of the hours.
        training_clips: Clips of a run: 100,000 steps of 1,024 in the presets.
        base_clips_per_second: Of one H200, synthetic, video tower only.
        vit_base_clips_per_second: Likewise.
        loader_clips_per_second: Clips that one core decodes for training.
        clip_mb: What is read from proxies for a clip of 2 s, with a second before its keyframe.
        embed_times_real_time: Speed of one core with the preset `tiny`.
        search_core_seconds: Processor time of a search by look over a million windows.
    """

    library_mb_per_hour: float = 3600.0
    scan_core_seconds_per_item: float = 0.018
    scan_mb_per_item: float = 1.0
    prepare_times_real_time: float = 11.9
    proxy_mb_per_hour: float = 119.0
    features_mb_per_hour: float = 1.2
    duplicates_core_hours: float = 0.07
    training_clips: float = 100_000 * 1024
    base_clips_per_second: float = 1102.0
    vit_base_clips_per_second: float = 1635.0
    loader_clips_per_second: float = 198.0
    clip_mb: float = 0.1
    embed_times_real_time: float = 34.0
    search_core_seconds: float = 0.198


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A row of the sheet.

    Attributes:
        stage: What is done.
        core_hours: Hours of one core.
        gpu_hours: Hours of one H200; None if it needs none.
        stored_tb: What it leaves on disk, in terabytes.
        network_tb: What it reads and writes over the network if storage is shared, in terabytes.
    """

    stage: str
    core_hours: float
    gpu_hours: float | None
    stored_tb: float
    network_tb: float


def cost_sheet(
    rates: Rates, *, hours: float = HOURS, num_items: int = MOVIES + EPISODES
) -> list[Cost]:
    """Return the costs of a collection, one row for each stage.

    Args:
        rates: What a unit of work costs.
        hours: Duration of the collection.
        num_items: Number of its films and episodes.
    """
    library, proxies, features = (
        1e-6 * hours * rate
        for rate in (
            rates.library_mb_per_hour, rates.proxy_mb_per_hour, rates.features_mb_per_hour
        )
    )  # fmt: skip
    decoding = rates.training_clips / rates.loader_clips_per_second / 3600
    clips = 1e-6 * rates.training_clips * rates.clip_mb
    windows = 3600 * hours
    index = 1e-12 * windows * _WINDOW_BYTES

    def training(preset: str, clips_per_second: float) -> Cost:
        gpu_hours = rates.training_clips / clips_per_second / 3600
        return Cost(
            stage=f"pretrain, `{preset}`", core_hours=decoding, gpu_hours=gpu_hours, stored_tb=0.0,
            network_tb=clips,
        )  # fmt: skip

    return [
        Cost(
            stage="scan",
            core_hours=num_items * rates.scan_core_seconds_per_item / 3600,
            gpu_hours=None,
            stored_tb=0.0,
            network_tb=1e-6 * num_items * rates.scan_mb_per_item,
        ),
        Cost(
            stage="prepare",
            core_hours=hours / rates.prepare_times_real_time + rates.duplicates_core_hours,
            gpu_hours=None,
            stored_tb=proxies + features,
            # A file is read for its digest and to be decoded; a proxy is written, and read for its
            # features, which are written and read again.
            network_tb=2 * library + 2 * proxies + 2 * features,
        ),
        training("base", rates.base_clips_per_second),
        training("vit-base", rates.vit_base_clips_per_second),
        Cost(
            stage="embed, `tiny` on cores",
            core_hours=hours / rates.embed_times_real_time,
            gpu_hours=None,
            stored_tb=index,
            network_tb=proxies + index,
        ),
        Cost(
            stage="search, 1,000 queries by look",
            core_hours=1000 * rates.search_core_seconds * windows / 1e6 / 3600,
            gpu_hours=None,
            stored_tb=0.0,
            # The vectors of one modality, once: they stay in memory if it is large enough.
            network_tb=index / 2,
        ),
    ]


def table(costs: Sequence[Cost]) -> str:
    """Return the sheet as a table in Markdown."""
    rows = [
        "| stage | core hours | GPU hours | stored, TB | over the network, TB |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for cost in costs:
        gpu_hours = "" if cost.gpu_hours is None else f"{cost.gpu_hours:,.3g}"
        core_hours = (
            f"{cost.core_hours:,.3g}" if cost.core_hours < 100 else f"{cost.core_hours:,.0f}"
        )
        rows.append(
            f"| {cost.stage} | {core_hours} | {gpu_hours} | "
            f"{cost.stored_tb:.3g} | {cost.network_tb:.3g} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Print the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=HOURS)
    parser.add_argument("--items", type=int, default=MOVIES + EPISODES)
    for field in fields(Rates):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, default=field.default)
    options = vars(parser.parse_args())
    hours, num_items = options.pop("hours"), options.pop("items")
    print(table(cost_sheet(Rates(**options), hours=hours, num_items=num_items)))


if __name__ == "__main__":
    main()
