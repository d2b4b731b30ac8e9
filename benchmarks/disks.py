"""Every verb on disks that are full, read-only or forbidden: is it one sentence, and is all kept?

    sudo python -m benchmarks.disks --out DIR --json FILE                     20 minutes

It needs root, because it mounts small file systems in memory under DIR. A verb starts from a folder
on such a disk that has everything the verb needs:

- full: the disk has room for so many more bytes, from none to what the verb needs;
- read-only: the disk is mounted so;
- forbidden: the folder belongs to another user.

The verb must end by itself with exit code 0, 1 or 2 and without a traceback. Then the fault is
removed, and the same command must end with 0.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figures, argument_parser
from tests.prepared import make_prepared_catalog, tiny_config

#: Room that is left on a full disk, in bytes.
ROOMS = (0, 4_096, 40_000, 150_000, 400_000, 1_000_000)
_DISK_BYTES = 64_000_000
_NOBODY = 65534


@dataclass(frozen=True)
class Case:
    """A verb.

    Attributes:
        name: Its name in the figures.
        arguments: Its command line. "LIBRARY" stands for a folder on a good disk, which must not
            change; other paths are relative to the faulty disk.
        needs: What the faulty disk holds at first, of the folder that was made before.
    """

    name: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()


_RESUME = ("pretrain", "--catalog", "catalog", "--run", "run", "--resume")
CASES = (
    Case("scan", ("scan", "LIBRARY", "--catalog", "new")),
    Case("prepare", ("prepare", "--catalog", "scanned", "--short-side", "32"), ("scanned",)),
    Case("pretrain", (*_RESUME, "--config", "tiny.toml"), ("catalog", "tiny.toml")),
    Case("pretrain_resume", _RESUME, ("catalog", "run")),
    Case("diagnose", ("diagnose", "done", "--catalog", "catalog", "--clips", "32"),
         ("catalog", "done")),
    Case("evaluate", ("evaluate", "done", "--benchmark", "retrieval", "--data", "catalog"),
         ("catalog", "done")),
    Case("embed", ("embed", "done", "--catalog", "catalog", "--index", "idx"), ("catalog", "done")),
    Case("search", ("search", "idx", "Alpha (2001)@00:01", "--catalog", "catalog", "--out",
                    "hits.csv", "--clips", "clips"), ("catalog", "idx")),
    Case("index_export", ("index", "export", "idx", "--catalog", "catalog", "--out", "vectors"),
         ("catalog", "idx")),
    Case("export", ("export", "done", "--to", "hub", "--out", "model"), ("done",)),
    Case("catalog_rename", ("catalog", "rename", "catalog", "Alpha (2001)", "--title", "Omega"),
         ("catalog",)),
    Case("catalog_segments", ("catalog", "segments", "catalog", "--out", "segments.json"),
         ("catalog",)),
    Case("catalog_show", ("catalog", "show", "catalog"), ("catalog",)),
    Case("render", ("experiments.rendered_tv", "rendered", "--movies", "1", "--shows", "0",
                    "--minutes", "0.25", "--set", "transfer_clips_per_kind=0")),
)  # fmt: skip


def run(
    case: Case, source: Path, disk: Path, *, obeys_permissions: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a verb with the faulty disk as its folder, with the rights of root or without."""
    arguments = [str(source / "library") if one == "LIBRARY" else one for one in case.arguments]
    if not arguments[0].startswith("experiments."):
        arguments.insert(0, "toomuchtv")
    paths = os.pathsep.join(map(str, [Path.cwd() / "src", Path.cwd()]))
    rights = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    return subprocess.run(
        [*(rights if obeys_permissions else []), sys.executable, "-m", *arguments],
        cwd=disk, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/tmp"},
        check=False, timeout=300,
    )  # fmt: skip


@contextmanager
def mounted(disk: Path) -> Iterator[None]:
    """Mount an empty file system in memory."""
    disk.mkdir(parents=True, exist_ok=True)
    _system("mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", disk)
    try:
        yield
    finally:
        _system("umount", "--lazy", disk)


@contextmanager
def fault(kind: str, disk: Path, room: int) -> Iterator[None]:
    """Give the disk a fault within the block."""
    if kind == "full":
        usage = os.statvfs(disk)
        free = usage.f_bavail * usage.f_frsize
        (disk / "filler").write_bytes(bytes(max(0, free - room)))
        yield
        (disk / "filler").unlink()
    elif kind == "read-only":
        _system("mount", "-o", "remount,ro", disk)
        yield
        _system("mount", "-o", "remount,rw", disk)
    else:
        _system("chown", "-R", _NOBODY, disk)
        _system("chmod", "-R", "u=rwX,go=rX", disk)
        yield


def try_case(case: Case, source: Path, disk: Path, kind: str, room: int) -> list[str]:
    """Run a verb with a fault and again without it, and return what was wrong."""
    wrong = []
    with mounted(disk):
        for name in case.needs:
            copy = shutil.copytree if (source / name).is_dir() else shutil.copy
            copy(source / name, disk / name)
        with fault(kind, disk, room):
            done = run(case, source, disk, obeys_permissions=kind == "forbidden")
        if done.returncode not in (0, 1, 2) or "Traceback" in done.stderr:
            wrong.append(f"exit code {done.returncode}: {done.stderr[-1500:]}")
        elif done.returncode == 2 and len(re.findall("^error: ", done.stderr, re.MULTILINE)) != 1:
            wrong.append(f"not one sentence: {done.stderr[-1500:]}")
        if done.returncode:
            again = run(case, source, disk)
            if again.returncode:
                wrong.append(f"afterwards {again.returncode}: {again.stderr[-1500:]}")
        print(case.name, kind, room, done.returncode, done.stderr[-300:].strip(), flush=True)
    return wrong


def make_source(folder: Path) -> None:
    """Make what the verbs need, on a good disk."""
    from toomuchtv.catalog.scan import scan_library
    from toomuchtv.search.embedding import embed_catalog
    from toomuchtv.training.pretrain import pretrain

    make_prepared_catalog(folder)
    scan_library(folder / "library", folder / "scanned")
    config = tiny_config(training={"steps": 4, "checkpoint_every": 2})
    (folder / "tiny.toml").write_text(config.to_toml())
    pretrain(folder / "catalog", folder / "done", config)
    embed_catalog(folder / "done", folder / "catalog", folder / "idx")
    shutil.copytree(folder / "done", folder / "run")
    shutil.rmtree(folder / "run" / "model")
    (folder / "run" / "checkpoints" / "step_00000004.safetensors").unlink()


def main() -> None:
    """Run the campaign."""
    parser = argument_parser(__doc__)
    parser.add_argument("--only", help="name of one case")
    parser.add_argument("--rooms", type=int, nargs="+", default=ROOMS, help="bytes of room to try")
    options = parser.parse_args()
    source, disk = options.out.resolve() / "source", options.out.resolve() / "disk"
    shutil.rmtree(options.out, ignore_errors=True)
    source.mkdir(parents=True)
    make_source(source)
    tried: Counter[str] = Counter()
    wrong: list[str] = []
    for case in CASES:
        if options.only not in (None, case.name):
            continue
        faults = [*(("full", room) for room in options.rooms), ("read-only", 0), ("forbidden", 0)]
        for kind, room in faults:
            found = try_case(case, source, disk, kind, room)
            wrong += [f"{case.name}, {kind}, room for {room} bytes: {one}" for one in found]
            tried[kind] += 1
    for one in wrong:
        print("WRONG", one)
    Figures("disks", options.json).add(
        {**{f"tried_{kind}": num for kind, num in tried.items()}, "wrong": len(wrong)}
    )
    if wrong:
        raise SystemExit("a verb did not handle a fault")


def _system(*command: object) -> None:
    subprocess.run([str(one) for one in command], check=True)


if __name__ == "__main__":
    main()
