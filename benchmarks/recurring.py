"""What recurs: how much is found, how exactly, how fast, and nothing that is not there.

Studio series with known openings of 20, 45 and 90 s, as rendered (AAC at 64 kbit/s) and with the
sound of every episode encoded once more at 64 kbit/s, at another gain and offset; then the real
library; then shots against the studio's truth and against PySceneDetect, where one is given; then
the time that 200 episodes take. Every part goes through `prepare`'s own functions.

Figures by time, of all studio episodes together: recall is the share of the true openings' seconds
that lies in segments of kind `opening`, precision the share of those segments' that is true.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.figures import Figures, parser, spread
from benchmarks.recurring_load import time_200_episodes
from benchmarks.recurring_recode import recode_library
from experiments.rendered_tv import RenderedTVConfig, render_library
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.records import Item, Segment
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.detection.detect import detect_segments
from toomuchtv.detection.features_on_disk import StoredFingerprints, features_path
from toomuchtv.detection.frame_features import compute_frame_features
from toomuchtv.detection.recurrence import Episode, detect_recurring

#: Opening and length of an episode, seconds and minutes.
SERIES = {20.0: 1.5, 45.0: 2.0, 90.0: 3.0}
SHOWS, EPISODES = 2, 4
#: The second generation's sound comes so much later, a third of a word off the grid.
DELAY_SECONDS = 0.26


def main() -> None:
    """Run every part and print the figures."""
    arguments = parser(__doc__)
    arguments.add_argument("--library", type=Path, required=True, help="the real library")
    arguments.add_argument("--scenedetect", type=Path, help="a Python that has PySceneDetect")
    arguments.add_argument("--episodes", type=int, default=200, help="of the load test")
    parts = ("studio", "real", "load")
    arguments.add_argument("--parts", nargs="+", choices=parts, default=parts)
    arguments.add_argument("--seed", type=int, default=11)
    arguments.add_argument("--workers", type=int, default=2)
    options = arguments.parse_args()
    values: dict[str, float] = {}
    if "studio" in options.parts:
        values |= studio_series(options)
    if "real" in options.parts:
        values |= real_library(options)
    if "load" in options.parts:
        with prepared(options.library, options.out / "real", options.workers) as catalog:
            video = catalog.folder / catalog.proxies()[1].video_path
        values |= picture_speed(video)
        values |= time_200_episodes(
            options.library, video, options.out / "load", options.episodes, options.workers
        )
    Figures(benchmark="recurring", values=values).publish(options.json)


def studio_series(options: Any) -> dict[str, float]:
    """Openings of three lengths, as rendered and in a second generation; and the shots."""
    first, second = Tally(), Tally()
    shots = {"ours": Cuts(), "adaptive": Cuts(), "content": Cuts()}
    for seconds, minutes in SERIES.items():
        studio = options.out / f"studio{seconds:.0f}"
        config = RenderedTVConfig(
            movies=0, shows=SHOWS, episodes=EPISODES, minutes=minutes, opening_seconds=seconds,
            width=128, height=72, transfer_clips_per_kind=0, seed=options.seed,
        )  # fmt: skip
        render_library(studio, config, num_workers=options.workers)
        recode_library(
            studio / "library", studio / "recoded", delay_seconds=DELAY_SECONDS, gain=0.6
        )
        with prepared(studio / "library", studio / "cat", options.workers) as catalog:
            first.add(catalog, studio / "ground_truth", 0.0)
        with prepared(studio / "recoded", studio / "cat_recoded", options.workers) as catalog:
            second.add(catalog, studio / "ground_truth", DELAY_SECONDS)
        print(f"to openings of {seconds:g} s:", *first.figures(""), *second.figures("recoded_"),
              sep="\n  ", flush=True)  # fmt: skip
        with open_catalog(studio / "cat") as catalog:
            count_studio_shots(catalog, studio, options.scenedetect, shots)
    values = dict(first.figures("")) | dict(second.figures("recoded_"))
    return values | {
        k: v for name, cuts in shots.items() for k, v in cuts.figures(f"studio_{name}")
    }


class prepared:  # noqa: N801 - reads as a verb in `with`
    """A library scanned, prepared and searched; the open catalog."""

    def __init__(self, library: Path, folder: Path, num_workers: int) -> None:
        scan_library(library, folder, num_workers=num_workers)
        self._catalog = open_catalog(folder)
        prepare_catalog(self._catalog, num_workers=num_workers)
        self.result = detect_segments(self._catalog, num_workers=num_workers)

    def __enter__(self) -> Catalog:
        return self._catalog

    def __exit__(self, *_: object) -> None:
        self._catalog.close()


@dataclass
class Tally:
    """Seconds true, found, and both, by kind; and how far off the edges of openings are."""

    true: dict[str, float] = field(default_factory=dict)
    found: dict[str, float] = field(default_factory=dict)
    both: dict[str, float] = field(default_factory=dict)
    edges: list[float] = field(default_factory=list)
    others: int = 0

    def add(self, catalog: Catalog, truth: Path, delay: float) -> None:
        """Compare a catalog with the truth beside its studio."""
        segments = catalog.segments()
        self.others += sum(one.kind in ("recap", "recurring") for one in segments)
        for item in catalog.items():
            known = json.loads((truth / item.path.with_suffix(".json")).read_text())
            for kind in ("opening", "credits"):
                found = [
                    (one.start_seconds, one.stop_seconds)
                    for one in segments
                    if one.item_id == item.id and one.kind == kind
                ]
                span = known[kind] and [min(x + delay, known["duration_seconds"])
                                        for x in known[kind]]  # fmt: skip
                self._count(kind, span, found)

    def _count(self, kind: str, true: list[float] | None, found: list[tuple[float, float]]) -> None:
        def add(to: dict[str, float], seconds: float) -> None:
            to[kind] = to.get(kind, 0.0) + seconds

        add(self.found, sum(stop - start for start, stop in found))
        if not true:
            return
        add(self.true, true[1] - true[0])
        add(self.both, sum(max(0.0, min(b, true[1]) - max(a, true[0])) for a, b in found))
        if kind == "opening" and len(found) == 1:
            self.edges += [abs(found[0][0] - true[0]), abs(found[0][1] - true[1])]

    def figures(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Recall and precision by kind, and the edges."""
        for kind in ("opening", "credits"):
            yield f"{prefix}{kind}_recall", self.both[kind] / self.true[kind]
            yield f"{prefix}{kind}_precision", self.both[kind] / max(self.found[kind], 1e-9)
        yield f"{prefix}opening_edge_error_seconds", statistics.median(self.edges)
        yield f"{prefix}opening_edge_error_seconds_largest", max(self.edges)
        yield f"{prefix}openings_with_one_segment", len(self.edges) / 2
        yield f"{prefix}other_recurring_segments", self.others


@dataclass
class Cuts:
    """Cuts true, found, and found within one frame of a true one."""

    true: int = 0
    found: int = 0
    both: int = 0

    def add(self, true: Iterable[int], found: Iterable[int]) -> None:
        """Count the cuts of one item, in frames of its proxy."""
        true, left = list(true), sorted(found)
        self.true += len(true)
        self.found += len(left)
        for cut in true:
            near = min(left, key=lambda frame: abs(frame - cut), default=None)
            if near is not None and abs(near - cut) <= 1:
                left.remove(near)
                self.both += 1

    def figures(self, name: str) -> Iterator[tuple[str, float]]:
        """Recall and precision, where anything was counted."""
        if self.true and self.found:
            yield f"{name}_shot_recall", self.both / self.true
            yield f"{name}_shot_precision", self.both / self.found


def frame_of(seconds: float, frame_rate: float) -> int:
    """The first frame of a proxy that shows what begins then."""
    return math.ceil(seconds * frame_rate - 1e-6)


def our_cuts(segments: Iterable[Segment], item: Item, frame_rate: float) -> list[int]:
    """The first frames of an item's shots but the first."""
    starts = [s.start_seconds for s in segments if s.item_id == item.id and s.kind == "shot"]
    return [round(start * frame_rate) for start in starts if start > 0]


def count_studio_shots(
    catalog: Catalog, studio: Path, scenedetect: Path | None, cuts: dict[str, Cuts]
) -> None:
    """Compare our cuts, and PySceneDetect's of the originals, with the studio's truth."""
    segments, proxies = catalog.segments(), catalog.proxies()
    items = catalog.items()
    theirs = scene_detect(scenedetect, [catalog.source_path(item) for item in items])
    for item in items:
        known = json.loads((studio / "ground_truth" / item.path.with_suffix(".json")).read_text())
        rate = proxies[item.id].frame_rate
        true = [
            frame_of(shot["start_seconds"], rate)
            for shot in known["shots"]
            if shot["start_seconds"] > 0
        ]
        cuts["ours"].add(true, our_cuts(segments, item, rate))
        for name, found in theirs.get(str(catalog.source_path(item)), {}).items():
            cuts[name].add(true, [frame_of(cut, rate) for cut in found])


def real_library(options: Any) -> dict[str, float]:
    """What is found in films that share nothing; and our cuts against PySceneDetect's."""
    run = prepared(options.library, options.out / "real", options.workers)
    values = {
        "real_recurring_things": float(run.result.recurring),
        "real_duplicates": float(run.result.duplicates),
        "real_logos": float(run.result.segments.get("logo", 0)),
    }
    with run as catalog:
        segments, proxies, items = catalog.segments(), catalog.proxies(), catalog.items()
        # Each title is one item here: as episodes of one show they still share nothing.
        prints = StoredFingerprints(
            [catalog.folder / features_path(proxies[item.id]) for item in items]
        )
        as_one_show = detect_recurring(
            [
                Episode(item_id=item.id, season=1, episode=number, fingerprint=one)
                for number, (item, one) in enumerate(zip(items, prints, strict=True), 1)
            ]
        )
        values["real_recurring_as_one_show"] = float(len(as_one_show))
        theirs = scene_detect(options.scenedetect, [catalog.source_path(item) for item in items])
        cuts = {"adaptive": Cuts(), "content": Cuts()}
        for item in items:
            rate = proxies[item.id].frame_rate
            for one in segments:
                if one.item_id == item.id and one.kind == "credits":
                    print(f"credits of {item.path.name}: {one.start_seconds:.2f} to "
                          f"{one.stop_seconds:.2f} s")  # fmt: skip
            for name, found in theirs.get(str(catalog.source_path(item)), {}).items():
                cuts[name].add(
                    [frame_of(cut, rate) for cut in found], our_cuts(segments, item, rate)
                )
    return values | {k: v for name, one in cuts.items() for k, v in one.figures(f"real_vs_{name}")}


def picture_speed(video: Path) -> dict[str, float]:
    """How fast one process looks at the frames of a real proxy."""
    rates = []
    for _ in range(3):
        begun = time.perf_counter()
        rates.append(
            len(compute_frame_features(video, frame_rate=8.0)) / (time.perf_counter() - begun)
        )
    return spread("picture_frames_a_second", rates)


_SCENE_DETECT = """
import json, sys
from scenedetect import AdaptiveDetector, ContentDetector, detect
found = {
    path: {
        name: [start.seconds for start, _ in detect(path, detector())[1:]]
        for name, detector in (("adaptive", AdaptiveDetector), ("content", ContentDetector))
    }
    for path in sys.argv[1:]
}
print(json.dumps(found))
"""


def scene_detect(python: Path | None, paths: list[Path]) -> dict[str, dict[str, list[float]]]:
    """The cuts in seconds that PySceneDetect's two detectors find, with their defaults."""
    if python is None:
        return {}
    command = [str(python), "-c", _SCENE_DETECT, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, dict[str, list[float]]] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
