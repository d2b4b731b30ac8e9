"""Comparison of two results on the same clips: the difference, its interval and its p-value.

Results are paired by benchmark, protocol, modality and data. Each side may have several seeds, as
several results of one encoder or as several runs; the comparison is then of their means.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toomuchtv.evaluation.bootstrap import (
    ClipScores,
    Paired,
    compare_map,
    compare_means,
    compare_medians,
)
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.result import (
    Evaluation,
    FoldPredictions,
    Predictions,
    find_results,
    is_run,
    load_predictions,
)
from toomuchtv.evaluation.summary import (
    by_draw,
    correct_by_clip,
    ranking_values,
    squared_errors_by_clip,
)

_Path = str | os.PathLike[str]
_Key = tuple[str, str, str | None, str]
_Stored = tuple[Path, Evaluation]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two results of the same benchmark, protocol, modality and data.

    Attributes:
        benchmark: Name of the benchmark.
        protocol: Name of the protocol.
        modality: `video`, `audio`, or None if both take part.
        metric: `accuracy`, `map` or `mse`; for retrieval the ranking and its metric, such as
            `video_to_audio/recall_at_1`.
        encoder_a: Names of the encoders of the first side.
        encoder_b: Names of the encoders of the second side.
        a: Score of the first side, the mean over its seeds.
        b: Score of the second side.
        num_seeds: Number of pairs of results, each with other seeds or runs.
        paired: The difference b - a, its confidence interval and its p-value.
    """

    benchmark: str
    protocol: str
    modality: str | None
    metric: str
    encoder_a: str
    encoder_b: str
    a: float
    b: float
    num_seeds: int
    paired: Paired

    @property
    def subject(self) -> str:
        """What is compared: benchmark, protocol, modality, and numbers of sources and seeds."""
        names = ", ".join(filter(None, (self.benchmark, self.protocol, self.modality)))
        seeds = f", {self.num_seeds} seeds" if self.num_seeds > 1 else ""
        return f"{names} ({self.paired.num_sources:,} sources{seeds})"

    def row(self) -> list[object]:
        """Return the cells of a table row; see `COMPARISON_HEADER`."""
        interval = self.paired.interval
        return [
            self.metric.replace("_", " "),
            f"{self.a:.3f}",
            f"{self.b:.3f}",
            f"{self.paired.difference:+.3f}",
            "-" if interval is None else f"{interval[0]:+.3f} to {interval[1]:+.3f}",
            f"{self.paired.p_value:.3g} ({'exact' if self.paired.exact else 'random'})",
        ]


COMPARISON_HEADER = ["metric", "a", "b", "b - a", "95%", "p"]


def compare_results(a: _Path | Sequence[_Path], b: _Path | Sequence[_Path]) -> list[Comparison]:
    """Compare two results, or all results that two runs have in common.

    Args:
        a: A run, a folder of results, or the folder of one result. Several of them are several
            seeds of one method, and are compared with those of `b` in their order.
        b: What to compare it with. A single one is compared with each of several in `a`.

    Returns:
        One comparison for each metric of each benchmark, protocol, modality and data that both
        sides have.

    Raises:
        BenchmarkError: There is no result, it is not clear which of several results is meant, or
            the two sides have nothing in common; the message then lists what each side has.
    """
    sides = [_listed(a), _listed(b)]
    if len(sides[0]) != len(sides[1]) and min(map(len, sides)) > 1:
        raise BenchmarkError(
            f"{len(sides[0])} results cannot be compared with {len(sides[1])} in pairs: give as "
            "many for a as for b, or a single one for one of them"
        )
    num_pairs = max(map(len, sides))
    paths_a, paths_b = (side * num_pairs if len(side) == 1 else side for side in sides)
    pairs: dict[_Key, list[tuple[_Stored, _Stored]]] = defaultdict(list)
    for path_a, path_b in zip(paths_a, paths_b, strict=True):
        found_a, found_b = _results_by_key(path_a), _results_by_key(path_b)
        shared = [key for key in found_a if key in found_b]
        if not shared:
            raise BenchmarkError(_nothing_in_common((path_a, found_a), (path_b, found_b)))
        for key in shared:
            pairs[key] += _pairs_by_seed(found_a[key], found_b[key])
    compared = [one for of_key in pairs.values() for one in _compare(of_key)]
    if not compared:
        raise BenchmarkError(f"the results in {str(paths_a[0])!r} have no metric to compare")
    return compared


def _listed(paths: _Path | Sequence[_Path]) -> list[Path]:
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not given:
        raise BenchmarkError("got no result for one of the two sides: give at least one for each")
    return [Path(path) for path in given]


def _results_by_key(path: Path) -> dict[_Key, list[_Stored]]:
    """Return the results of one encoder under `path`, by what they can be compared on.

    An untrained result is never taken for that of a run. In another folder it is taken only if
    there is no other result with the same key.

    Raises:
        BenchmarkError: There are results of several encoders with the same key.
    """
    found = find_results(path)
    candidates: dict[_Key, list[_Stored]] = defaultdict(list)
    for stored in found:
        candidates[stored[1].identity.comparable].append(stored)
    chosen = {}
    for key, of_key in candidates.items():
        trained = [stored for stored in of_key if not stored[1].untrained]
        if trained or not is_run(path):
            chosen[key] = trained or of_key
    for of_key in chosen.values():
        seeds = {stored[1].identity.seed for stored in of_key}
        encoders = {_encoder_of(stored[1]) for stored in of_key}
        if len(seeds) < len(of_key) or len(encoders) > 1:
            places = ", ".join(str(place) for place, _ in of_key)
            raise BenchmarkError(
                f"{str(path)!r} has {len(of_key)} results of different encoders or weights on the "
                f"same benchmark and protocol: {places}. Give the folder of the one that you mean"
            )
    return chosen


def _encoder_of(result: Evaluation) -> str:
    """Return what identifies the encoder over seeds: random weights change with the seed."""
    if result.untrained:
        return str((result.encoder or {}).get("name"))
    return result.identity.encoder_fingerprint


def _pairs_by_seed(a: list[_Stored], b: list[_Stored]) -> list[tuple[_Stored, _Stored]]:
    """Pair the results of two encoders by seed; single results are paired whatever their seeds."""
    if len(a) == len(b) == 1:
        return [(a[0], b[0])]
    if len(a) == 1 or len(b) == 1:
        return [(one, other) for one in a for other in b]
    by_seed = {stored[1].identity.seed: stored for stored in b}
    pairs = [
        (stored, by_seed[stored[1].identity.seed])
        for stored in a
        if stored[1].identity.seed in by_seed
    ]
    if not pairs:
        raise BenchmarkError(
            f"{a[0][1].benchmark}: a has the seeds {_seeds(a)} and b has {_seeds(b)}, none of them "
            "in common: evaluate both with the same --seed"
        )
    return pairs


def _seeds(stored: list[_Stored]) -> str:
    return ", ".join(str(result.identity.seed) for _, result in stored)


def _nothing_in_common(*sides: tuple[Path, dict[_Key, list[_Stored]]]) -> str:
    """Describe what two sides have, and in what the closest results differ."""
    lines = []
    for path, found in sides:
        listed = "; ".join(" ".join(filter(None, key[:3])) for key in found)
        what = listed or "only results of untrained weights (to use one, give its own folder)"
        lines.append(f"{str(path)!r} has {what}")
    (_, a), (_, b) = sides
    same_but_data = sorted({key[:3] for key in a} & {key[:3] for key in b}, key=str)
    if same_but_data:
        names = "; ".join(" ".join(filter(None, key)) for key in same_but_data)
        reason = (
            f"{names}: both have it, but on other clips, labels, folds or file contents. Evaluate "
            "both on the same folder (and, for retrieval, with the same seed, titles and length of "
            "clips)"
        )
    else:
        reason = "Evaluate both with the same --benchmark, --protocol and --modality"
    return f"there is nothing to compare: {'; '.join(lines)}. {reason}"


def _compare(pairs: Sequence[tuple[_Stored, _Stored]]) -> Iterator[Comparison]:
    """Compare the mean of the first results of all pairs with the mean of the second ones."""
    first = pairs[0][0][1]
    for (_, one), (_, other) in pairs:
        if one.protocol_config != other.protocol_config:
            raise BenchmarkError(
                f"{one.benchmark}: the protocol {one.protocol} had other settings for one of the "
                "two results, so they are of different versions: evaluate both again"
            )
    stored = [(load_predictions(a[0]), load_predictions(b[0])) for a, b in pairs]
    for one_side, other_side in stored:
        _check_same_clips(first.benchmark, one_side, other_side)
    names = [
        ", ".join(sorted({str((pair[side][1].encoder or {}).get("name", "?")) for pair in pairs}))
        for side in (0, 1)
    ]
    for metric, paired in _compared_metrics(first, stored):
        scores = [
            float(np.mean([_score(pair[side][1], metric) for pair in pairs])) for side in (0, 1)
        ]
        yield Comparison(
            benchmark=first.benchmark,
            protocol=first.protocol,
            modality=first.modality,
            metric=metric,
            encoder_a=names[0],
            encoder_b=names[1],
            a=scores[0],
            b=scores[1],
            num_seeds=len(pairs),
            paired=paired,
        )


def _check_same_clips(benchmark: str, a: Predictions, b: Predictions) -> None:
    listed = [
        [(fold.name, fold.draw, list(fold.clips)) for fold in side.folds]
        + [(one.name, 0, list(one.clips)) for one in side.rankings]
        for side in (a, b)
    ]
    if listed[0] != listed[1]:
        raise BenchmarkError(
            f"{benchmark}: the two results are not of the same clips in the same folds: evaluate "
            "both on the same folder"
        )


def _compared_metrics(
    result: Evaluation, stored: Sequence[tuple[Predictions, Predictions]]
) -> Iterator[tuple[str, Paired]]:
    """Yield the comparison of each metric, over all pairs of predictions."""
    if result.primary is None:
        for number, ranking in enumerate(stored[0][0].rankings):
            a, b = (
                [ranking_values(pair[side].rankings[number]) for pair in stored] for side in (0, 1)
            )
            for metric in a[0]:
                compare = compare_medians if metric == "median_rank" else compare_means
                sides = ([[values[metric]] for values in side] for side in (a, b))
                yield f"{ranking.name}/{metric}", compare(*sides)
        return
    # Drawn training sets are replicates like seeds.
    draws = [[draw for pair in stored for draw in by_draw(pair[side].folds)] for side in (0, 1)]
    if result.primary == "map":
        yield "map", compare_map(*draws)
        return
    by_clip: Callable[[Sequence[FoldPredictions]], list[ClipScores]] = (
        correct_by_clip if result.primary == "accuracy" else squared_errors_by_clip
    )
    yield result.primary, compare_means(*([by_clip(draw) for draw in side] for side in draws))


def _score(result: Evaluation, metric: str) -> float:
    """Return the score of a metric in the nested metrics of a result."""
    found: object = result.metrics
    for name in metric.split("/"):
        assert isinstance(found, dict)
        found = found[name]
    value = found["mean"] if isinstance(found, dict) else found
    assert isinstance(value, float | int)
    return float(value)
