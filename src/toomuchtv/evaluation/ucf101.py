"""UCF101 and everything in its layout: short labeled videos in three official splits.

Soomro et al., "UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild", 2012.
Layout: `videos/<Class>/v_<Class>_g<NN>_c<MM>.avi` and `ucfTrainTestlist/trainlist0<S>.txt`,
`testlist0<S>.txt`. Clips of one group g<NN> are cut from one video.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.labeled import LabeledClip

NUM_SPLITS = 3
_GROUP = re.compile(r"_g(\d+)_c\d+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One official split, and how many of the files it names are not there."""

    train: list[LabeledClip]
    test: list[LabeledClip]
    num_missing: int


def read_ucf101(root: Path, *, allow_missing: bool = False) -> list[Split]:
    """Read the official splits.

    Args:
        root: The folder that holds `videos/` and `ucfTrainTestlist/`.
        allow_missing: Go on with the files that are there.

    Raises:
        BenchmarkError: A list is missing or malformed, or files are missing.
    """
    splits = []
    for number in range(1, NUM_SPLITS + 1):
        train, train_missing = _read_list(root, f"trainlist0{number}.txt")
        test, test_missing = _read_list(root, f"testlist0{number}.txt")
        missing = train_missing + test_missing
        if missing and not allow_missing:
            raise BenchmarkError(
                f"split {number} names {len(missing)} files that are not in "
                f"{str(root / 'videos')!r}, the first {missing[0]!r}: complete the folder, or pass "
                "--allow-missing to go on with what is there"
            )
        if not train or not test:
            raise BenchmarkError(f"split {number} has no {'training' if test else 'test'} videos")
        splits.append(Split(train=train, test=test, num_missing=len(missing)))
    return splits


def _read_list(root: Path, name: str) -> tuple[list[LabeledClip], list[str]]:
    path = root / "ucfTrainTestlist" / name
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BenchmarkError(
            f"no UCF101 at {str(root)!r}: {str(path)!r} cannot be read ({error.strerror})"
        ) from error
    clips, missing = [], []
    for line in lines:
        # Training lists give "path label-number", test lists the path alone.
        name = line.split(" ")[0].strip()
        if not name:
            continue
        group = _GROUP.search(Path(name).stem)
        if "/" not in name or group is None:
            raise BenchmarkError(
                f"{str(path)!r} has the line {line!r}; expected Class/v_Class_gNN_cMM.avi"
            )
        file = root / "videos" / name
        if file.is_file():
            clips.append(LabeledClip(path=file, label=name.split("/")[0], group=group[1]))
        else:
            missing.append(name)
    return clips, missing
