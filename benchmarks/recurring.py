"""Detection of recurring segments and shots: recall, precision, edges, speed, false detections.

    python -m benchmarks.recurring --library LIBRARY --out DIR --json FILE
        [--scenedetect PYTHON] [--parts rendered real load]

It takes 40 minutes on two cores. The parts are:

    rendered series with openings of 20, 45 and 90 s, once as rendered (AAC at 64 kbit/s) and once
             with the audio of every episode encoded again at another gain and offset; and shots,
             ours and those of PySceneDetect, against the ground truth
    real     a real library whose titles share nothing; our shots against PySceneDetect's
    load     the time that 200 episodes take

`--scenedetect` names a Python that has PySceneDetect. Over the time of all rendered episodes,
recall is the share of the true openings that lies in segments of kind `opening`, and precision is
the share of those segments that is true. All parts call the functions of `prepare`.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.catalogs import open_prepared
from benchmarks.figures import Figures, argument_parser, median_and_range
from benchmarks.recurring_audio import measure_200_episodes, recode_library
from experiments.rendered_tv import RenderedTVConfig, render_library
from toomuchtv.catalog.records import Item, Segment
from toomuchtv.catalog.store import Catalog
from toomuchtv.detection.detect import detect_segments
from toomuchtv.detection.features_on_disk import StoredFingerprints, features_path
from toomuchtv.detection.frame_features import compute_frame_features
from toomuchtv.detection.recurrence import Episode, detect_recurring

#: Seconds of the opening, and minutes of an episode.
SERIES = {20.0: 1.5, 45.0: 2.0, 90.0: 3.0}
SHOWS, EPISODES = 2, 4
#: Delay of the audio that is encoded again. It is no multiple of the fingerprints' hop.
DELAY_SECONDS = 0.26
DETECTORS = ("adaptive", "content")


def main() -> None:
    """Run the parts that were asked for."""
    parser = argument_parser(__doc__)
    parser.add_argument("--library", type=Path, required=True, help="the real library")
    parser.add_argument("--scenedetect", type=Path, help="a Python that has PySceneDetect")
    parser.add_argument("--episodes", type=int, default=200, help="episodes of the part load")
    parts = ("rendered", "real", "load")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    figures = Figures("recurring", options.json)
    if "rendered" in options.parts:
        figures.add(measure_rendered_series(options))
    if "real" in options.parts:
        figures.add(measure_real_library(options))
    if "load" in options.parts:
        with open_prepared(options.library, options.out / "real") as catalog:
            video = catalog.folder / catalog.proxies()[1].video_path
        figures.add(measure_frame_features(video))
        folder, episodes = options.out / "load", options.episodes
        figures.add(measure_200_episodes(options.library, video, folder, episodes, options.workers))


def measure_rendered_series(options: Any) -> dict[str, float]:
    """Compare openings, credits and shots of rendered series with the ground truth."""
    first, second = SegmentScores(), SegmentScores()
    shots = {name: CutScores() for name in ("ours", *DETECTORS)}
    for seconds, minutes in SERIES.items():
        folder = options.out / f"rendered{seconds:.0f}"
        config = RenderedTVConfig(
            movies=0, shows=SHOWS, episodes=EPISODES, minutes=minutes, opening_seconds=seconds,
            width=128, height=72, transfer_clips_per_kind=0, seed=options.seed,
        )  # fmt: skip
        render_library(folder, config, num_workers=options.workers)
        library, recoded = folder / "library", folder / "recoded"
        recode_library(library, recoded, delay_seconds=DELAY_SECONDS, gain=0.6)
        with open_prepared(library, folder / "cat", num_workers=options.workers) as catalog:
            detect_segments(catalog, num_workers=options.workers)
            first.add(catalog, folder / "ground_truth", 0.0)
            score_rendered_shots(catalog, folder / "ground_truth", options.scenedetect, shots)
        with open_prepared(recoded, folder / "cat_recoded", num_workers=options.workers) as catalog:
            detect_segments(catalog, num_workers=options.workers)
            second.add(catalog, folder / "ground_truth", DELAY_SECONDS)
    values = first.figures("") | second.figures("recoded_")
    for name, cuts in shots.items():
        values |= cuts.figures(f"studio_{name}")
    return values


class SegmentScores:
    """Seconds of true, found and correctly found segments, and errors of the openings' edges."""

    def __init__(self) -> None:
        self._true: defaultdict[str, float] = defaultdict(float)
        self._found: defaultdict[str, float] = defaultdict(float)
        self._common: defaultdict[str, float] = defaultdict(float)
        self._edge_errors: list[float] = []
        self._others = 0

    def add(self, catalog: Catalog, ground_truth: Path, delay_seconds: float) -> None:
        """Compare the segments of a catalog with the ground truth, whose audio is delayed."""
        segments = catalog.segments()
        self._others += sum(one.kind in ("recap", "recurring") for one in segments)
        for item in catalog.items():
            truth = json.loads((ground_truth / item.path.with_suffix(".json")).read_text())
            for kind in ("opening", "credits"):
                found = [
                    (one.start_seconds, one.stop_seconds)
                    for one in segments
                    if one.item_id == item.id and one.kind == kind
                ]
                true = [
                    min(edge + delay_seconds, truth["duration_seconds"])
                    for edge in truth[kind] or ()
                ]
                self._add_item(kind, true, found)

    def _add_item(self, kind: str, true: list[float], found: list[tuple[float, float]]) -> None:
        self._found[kind] += sum(stop - start for start, stop in found)
        if not true:
            return
        start, stop = true
        self._true[kind] += stop - start
        self._common[kind] += sum(max(0.0, min(b, stop) - max(a, start)) for a, b in found)
        if kind == "opening" and len(found) == 1:
            self._edge_errors += [abs(found[0][0] - start), abs(found[0][1] - stop)]

    def figures(self, prefix: str) -> dict[str, float]:
        """Return recall and precision of each kind, and the errors of the edges."""
        values: dict[str, float] = {}
        for kind in ("opening", "credits"):
            common = self._common[kind]
            values[f"{prefix}{kind}_recall"] = common / self._true[kind]
            values[f"{prefix}{kind}_precision"] = common / max(self._found[kind], 1e-9)
        return values | {
            f"{prefix}opening_edge_error_seconds": statistics.median(self._edge_errors),
            f"{prefix}opening_edge_error_seconds_largest": max(self._edge_errors),
            f"{prefix}openings_with_one_segment": len(self._edge_errors) / 2,
            f"{prefix}other_recurring_segments": self._others,
        }


class CutScores:
    """Numbers of true cuts, found cuts, and found cuts within one frame of a true one."""

    def __init__(self) -> None:
        self._true = self._found = self._common = 0

    def add(self, true: Iterable[int], found: Iterable[int]) -> None:
        """Add the cuts of one item, in frames of its proxy."""
        true, unmatched = list(true), sorted(found)
        self._true += len(true)
        self._found += len(unmatched)
        for cut in true:
            nearest = min(unmatched, key=lambda frame: abs(frame - cut), default=None)
            if nearest is not None and abs(nearest - cut) <= 1:
                unmatched.remove(nearest)
                self._common += 1

    def figures(self, name: str) -> dict[str, float]:
        """Return recall and precision, or nothing if there are no cuts."""
        if not self._true or not self._found:
            return {}
        return {
            f"{name}_shot_recall": self._common / self._true,
            f"{name}_shot_precision": self._common / self._found,
        }


def first_frame(seconds: float, frame_rate: float) -> int:
    """Return the first frame of a proxy that shows what begins at this time."""
    return math.ceil(seconds * frame_rate - 1e-6)


def our_cuts(segments: list[Segment], item: Item, frame_rate: float) -> list[int]:
    """Return the first frame of each shot of an item except the first."""
    starts = [
        one.start_seconds for one in segments if one.item_id == item.id and one.kind == "shot"
    ]
    return [round(start * frame_rate) for start in starts if start > 0]


def score_rendered_shots(
    catalog: Catalog, ground_truth: Path, scenedetect: Path | None, cuts: dict[str, CutScores]
) -> None:
    """Compare our cuts, and those of PySceneDetect on the originals, with the ground truth."""
    segments, proxies, items = catalog.segments(), catalog.proxies(), catalog.items()
    others = run_scenedetect(scenedetect, [catalog.source_path(item) for item in items])
    for item in items:
        truth = json.loads((ground_truth / item.path.with_suffix(".json")).read_text())
        rate = proxies[item.id].frame_rate
        starts = [shot["start_seconds"] for shot in truth["shots"]]
        true = [first_frame(start, rate) for start in starts if start > 0]
        cuts["ours"].add(true, our_cuts(segments, item, rate))
        for name, found in others.get(str(catalog.source_path(item)), {}).items():
            cuts[name].add(true, [first_frame(cut, rate) for cut in found])


def measure_real_library(options: Any) -> dict[str, float]:
    """Count what is detected in films that share nothing, and compare cuts with PySceneDetect's."""
    cuts = {name: CutScores() for name in DETECTORS}
    with open_prepared(options.library, options.out / "real") as catalog:
        result = detect_segments(catalog, num_workers=options.workers)
        segments, proxies, items = catalog.segments(), catalog.proxies(), catalog.items()
        # Each title has one item. If they were the episodes of one show, they still share nothing.
        paths = [catalog.folder / features_path(proxies[item.id]) for item in items]
        as_one_show = detect_recurring(
            [
                Episode(item_id=item.id, season=1, episode=number, fingerprint=fingerprint)
                for number, (item, fingerprint) in enumerate(
                    zip(items, StoredFingerprints(paths), strict=True), 1
                )
            ]
        )
        others = run_scenedetect(options.scenedetect, [catalog.source_path(item) for item in items])
        for item in items:
            rate = proxies[item.id].frame_rate
            for one in segments:
                if one.item_id == item.id and one.kind == "credits":
                    span = f"{one.start_seconds:.2f} to {one.stop_seconds:.2f} s"
                    print(f"credits of {item.path.name}: {span}")
            for name, found in others.get(str(catalog.source_path(item)), {}).items():
                frames = [first_frame(cut, rate) for cut in found]
                cuts[name].add(frames, our_cuts(segments, item, rate))
    values = {
        "real_recurring_things": float(result.recurring),
        "real_duplicates": float(result.duplicates),
        "real_logos": float(result.segments.get("logo", 0)),
        "real_recurring_as_one_show": float(len(as_one_show)),
    }
    for name, scores in cuts.items():
        values |= scores.figures(f"real_vs_{name}")
    return values


def measure_frame_features(video: Path) -> dict[str, float]:
    """Measure how fast one process computes the features of the frames of a real proxy."""
    rates = []
    for _ in range(3):
        begun = time.perf_counter()
        num_frames = len(compute_frame_features(video, frame_rate=8.0))
        rates.append(num_frames / (time.perf_counter() - begun))
    return median_and_range("picture_frames_a_second", rates)


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


def run_scenedetect(python: Path | None, paths: list[Path]) -> dict[str, dict[str, list[float]]]:
    """Return the cuts in seconds that two detectors of PySceneDetect find with their defaults."""
    if python is None:
        return {}
    command = [str(python), "-c", _SCENE_DETECT, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, dict[str, list[float]]] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
