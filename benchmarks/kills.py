"""Verbs whose processes are killed with `kill -9` at random times: is anything lost or left behind?

    python -m benchmarks.kills --kills 60 --out DIR --json FILE               10 minutes

`scan`, `prepare`, `embed`, the renderer of films and a study run at small size. Each time, either
the main process or a worker of it is killed, at a time drawn uniformly over the duration of an
undisturbed call. Then:

- a call whose worker was killed must end by itself, without an error of the program;
- no process may be alive after the main process has died, and no process of a process either;
- the same call, repeated, must use every file and leave the state of undisturbed calls: the same
  items, the same proxies bit by bit, the same segments, the same embeddings, the same films, the
  same scores of each condition, and no partial file.

Further programs are added as a `Case`. `--only NAME` runs one of them.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from benchmarks.figures import Figures, argument_parser
from experiments.study.merge import COSTS
from tests.media_files import write_film
from tests.prepared import tiny_config
from tests.search.indexes import tiny_encoder
from toomuchtv.catalog.store import open_catalog

NUM_FILMS = 10
#: Time that the workers of a dead process may take to notice it.
GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class Case:
    """A program to kill.

    Attributes:
        name: Its name in the figures.
        command: The program; it works in one folder.
        before: Brings an empty folder to the state in which the program begins.
        state: Returns what must be equal after kills and without them.
    """

    name: str
    command: Callable[[Path], list[str]]
    before: Callable[[Path], None]
    state: Callable[[Path], object]


def verb(*arguments: str) -> list[str]:
    """Return the command of a verb."""
    return [sys.executable, "-m", "toomuchtv", *arguments]


def catalog_state(folder: Path) -> object:
    """Return the content of a catalog, and digests of its files. Times of writing are left out."""
    partial = [path.name for path in folder.rglob("*.partial")]
    files = {
        path.name: hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in (folder / "cat" / "proxies").rglob("*.mp4")
    }
    with open_catalog(folder / "cat") as catalog:
        titles = {title.id: title.name for title in catalog.titles()}
        items = [(titles[one.title_id], replace(one, title_id=0)) for one in catalog.items()]
        skipped, segments = catalog.skipped_files(), catalog.segments()
    return partial, files, items, skipped, [replace(one, recurrence=None) for one in segments]


def files_state(folder: Path) -> object:
    """Return digests of all files of a folder, but for locks and what has a time in it."""
    return {
        str(path.relative_to(folder)): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def study_state(folder: Path) -> object:
    """Return the scores of a study, without what they cost, and the names of partial files."""
    scores = {}
    for path in (folder / "study" / "results").glob("*.json"):
        values = json.loads(path.read_text())
        scores[path.name] = {k: v for k, v in values.items() if k not in COSTS}
    return scores, [path.name for path in folder.rglob("*.partial")]


#: A study of three conditions, as a file of a size.
_STUDY_SIZE = """
items = 4
minutes = 0.25
steps = 6
batch_size = 8
seeds = 1
side_seeds = 0
map_seeds = 0
contents = ["movies"]
clips_per_title = [2]
milestones = [0.5]
finetune_epochs = 1
transfer_clips_per_kind = 5
event_kinds = 3
"""


def cases(out: Path, library: Path) -> list[Case]:
    """Return the programs of the campaign."""
    ready = out / "ready"
    run(verb("scan", str(library), "--catalog", str(ready / "cat")))
    run(verb("prepare", "--catalog", str(ready / "cat"), "--short-side", "32"))
    tiny_encoder(tiny_config()).save(ready / "model")

    def scan(folder: Path) -> list[str]:
        return verb("scan", str(library), "--catalog", str(folder / "cat"), "--workers", "2")

    def prepare(folder: Path) -> list[str]:
        options = ["--workers", "2", "--short-side", "64"]
        return verb("prepare", "--catalog", str(folder / "cat"), *options)

    def scanned(folder: Path) -> None:
        subprocess.run(scan(folder), check=True, capture_output=True)

    def embed(folder: Path) -> list[str]:
        index = str(folder / "idx")
        source = [str(ready / "model"), "--catalog", str(ready / "cat")]
        return verb("embed", *source, "--index", index, "--workers", "2")

    def render(folder: Path) -> list[str]:
        options = ["--movies", "2", "--shows", "0", "--minutes", "0.25"]
        module = [sys.executable, "-m", "experiments.rendered_tv", str(folder / "films")]
        return [*module, *options, "--set", "transfer_clips_per_kind=0"]

    def study(folder: Path) -> list[str]:
        size = folder / "size.toml"
        size.parent.mkdir(parents=True, exist_ok=True)
        size.write_text(_STUDY_SIZE)
        options = ["--size", str(size), "--workers", "2"]
        for pattern in ("*untrained", "*uniform", "*k2"):
            options += ["--conditions", pattern]
        module = [sys.executable, "-m", "experiments.study", "run", "--out"]
        return [*module, str(folder / "study"), *options]

    return [
        Case("scan", scan, lambda folder: None, catalog_state),
        Case("prepare", prepare, scanned, catalog_state),
        Case("embed", embed, lambda folder: None, lambda folder: files_state(folder / "idx")),
        Case("render", render, lambda folder: None, lambda folder: files_state(folder / "films")),
        Case("study", study, lambda folder: None, study_state),
    ]


def run(command: list[str]) -> None:
    """Run a program to its end, which must be a good one."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")


def kill_one(command: list[str], seconds: float, rng: random.Random) -> tuple[str, list[str]]:
    """Run a program, kill the main process or a worker, and return which one, and faults."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    time.sleep(seconds)
    workers = psutil.Process(process.pid).children() if process.poll() is None else []
    family = psutil.Process(process.pid).children(recursive=True) if workers else []
    is_worker = bool(workers) and rng.random() < 0.5
    if process.poll() is not None:
        process.communicate()
        return "none: it had ended", []
    if is_worker:
        rng.choice(workers).kill()
        output, _ = process.communicate(timeout=600)
        is_wrong = process.returncode not in (0, 1) or "Traceback" in output
        return "worker", [f"exit code {process.returncode}: {output}"] if is_wrong else []
    process.kill()
    process.communicate(timeout=600)
    _, alive = psutil.wait_procs(family, timeout=GRACE_SECONDS)
    alive = [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
    return "main process", [f"{len(alive)} workers outlived it"] if alive else []


def main() -> None:
    """Run the campaign."""
    parser = argument_parser(__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="name of one program")
    options = parser.parse_args()
    out: Path = options.out
    shutil.rmtree(out, ignore_errors=True)
    library = out / "library"
    for number in range(NUM_FILMS):
        name = f"Film {number} ({2000 + number}).mp4"
        write_film(library / name, seconds=4.0 + number / 2, first_frame=3 * number)
    rng = random.Random(options.seed)
    figures = Figures("kills", options.json)
    num_faults = 0
    all_cases = [one for one in cases(out, library) if options.only in (None, one.name)]
    for case in all_cases:
        case.before(out / case.name / "whole")
        begun = time.monotonic()
        run(case.command(out / case.name / "whole"))
        run_seconds = time.monotonic() - begun
        expected = case.state(out / case.name / "whole")
        counts: Counter[str] = Counter()
        for number in range(options.kills // len(all_cases)):
            folder = out / case.name / f"killed_{number}"
            case.before(folder)
            command = case.command(folder)
            target, faults = kill_one(command, rng.uniform(0.0, run_seconds), rng)
            run(command)
            if case.state(folder) != expected:
                faults.append("the state differs from that of an undisturbed call")
            counts[target] += 1
            num_faults += bool(faults)
            print(f"{case.name}, kill {number + 1}: {target}; {faults or 'no fault'}", flush=True)
            shutil.rmtree(folder)
        names = {target.replace(" ", "_").replace(":", ""): n for target, n in counts.items()}
        figures.add({f"{case.name}_{target}": count for target, count in names.items()})
    figures.add({"faults": num_faults})
    if num_faults:
        raise SystemExit(f"{num_faults} kills had a lasting effect")


if __name__ == "__main__":
    main()
