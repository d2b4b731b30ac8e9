"""Uniting the results of a study that ran in slices, on one machine or on several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from experiments.study.conditions import Design, check_same_design, read_design, unite
from experiments.study.rates import read_timings, write_timings
from experiments.study.record import Record, read_record
from experiments.study.run import claim_folder
from experiments.study.scores import (
    ConditionScores,
    check_result,
    results_path,
    write_scores,
)

#: What may differ between two results of one condition: what it cost.
COSTS = ("core_seconds", "seconds", "seconds_per_step")


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What a merge has united.

    Attributes:
        design: The design with the conditions of all folders.
        num_results: Number of results in the merged folder.
        by_folder: Number of results that each folder has.
    """

    design: Design
    num_results: int
    by_folder: dict[str, int]


def merge_studies(folders: Sequence[Path], out: Path) -> Merged:
    """Unite the results and the measured times of several folders of one design.

    A folder needs only `design.json` and `results/`; `timings.jsonl` is used where it is. A
    `study.json` counts as a folder: a study can continue from what another has published. If `out`
    is a study already, it counts as one of the folders. Nothing is written if anything is refused.

    Raises:
        ValueError: If a folder is no study, if two designs differ, if a result is damaged or of
            another design, or if two results of one condition differ.
    """
    folders = list(dict.fromkeys([*([out] if (out / "design.json").exists() else []), *folders]))
    records = {path: read_record(path) for path in folders if path.is_file()}
    designs = [records[at].design if at in records else read_design(at) for at in folders]
    for (one, first), (other, second) in pairwise(zip(folders, designs, strict=True)):
        check_same_design(first, second, (one, other))
    found: dict[str, tuple[Path, ConditionScores]] = {}
    by_folder = {str(folder): 0 for folder in folders}
    # A result in a folder has more figures than the same result in a record.
    for folder, design in sorted(zip(folders, designs, strict=True), key=lambda x: x[0] in records):
        for path, scores in _results(folder, design, records.get(folder)):
            known = found.setdefault(scores.condition.name, (path, scores))
            _check_equal(known, (path, scores))
            by_folder[str(folder)] += 1
    united = unite(designs)
    claim_folder(out, united)
    for _, scores in found.values():
        write_scores(out, scores)
    timings = [timing for folder in folders for timing in read_timings(folder)]
    write_timings(out, dict.fromkeys(timings))
    return Merged(design=united, num_results=len(found), by_folder=by_folder)


def _results(
    folder: Path, design: Design, record: Record | None
) -> Iterator[tuple[Path, ConditionScores]]:
    """Yield the results of a folder or of a record, each with the path of its file."""
    if record is None:
        for path in sorted(results_path(folder).glob("*.json")):
            yield path, _read_result(path, folder, design)
        return
    for scores in record.conditions.values():
        check_result(folder, scores, folder, design)
        yield folder, scores


def _read_result(path: Path, folder: Path, design: Design) -> ConditionScores:
    try:
        scores = ConditionScores.model_validate_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} is not the result of a condition, or it is damaged: copy it again, or delete "
            "it and run the condition again"
        ) from error
    check_result(path, scores, folder, design)
    return scores


def _check_equal(one: tuple[Path, ConditionScores], other: tuple[Path, ConditionScores]) -> None:
    """Check that two results of one condition are equal except for what they cost."""
    pair = (one[1], other[1])
    if not all(score.sources for scores in pair for score in scores.scores):
        pair = (one[1].without_titles(), other[1].without_titles())
    sides = [scores.model_dump(exclude=set(COSTS)) for scores in pair]
    differ = [name for name in sides[0] if sides[0][name] != sides[1][name]]
    if not differ:
        return
    texts = []
    for _, scores in (one, other):
        accuracies = (f"{s.benchmark} {s.protocol} {s.accuracy:.4f}" for s in scores.scores)
        texts.append(", ".join(accuracies))
    raise ValueError(
        f"{one[0]} and {other[0]} contradict each other: they differ in {', '.join(differ)} "
        f"({texts[0]}; {texts[1]}). Delete the one that shall not count"
    )
