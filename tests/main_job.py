"""Run the main job once on a tiny library: scan to search, and read clips.

`make test-newest` and `make test-oldest` run this file in environments of their own, to test the
dependency bounds of pyproject.toml, and `make smoke` runs it on the installed wheel. It needs
nothing but the package's own dependencies:

    python -m tests.main_job
    python -m tests.main_job --installed    # refuse a package that lies in this repository

The verbs are those of the command `toomuchtv` of the same environment. The file prints the
versions of Python and of the dependencies, and exits with 0 if every step passed.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import toomuchtv
from tests.media_files import write_film
from tests.prepared import FILMS, tiny_config
from toomuchtv.media.clip_reader import iterate_audio, iterate_frames, read_clip
from toomuchtv.media.timestamps import read_timeline

STEPS = 2
ROOT = Path(__file__).resolve().parents[1]
#: The console script of this environment.
COMMAND = Path(sys.executable).with_name("toomuchtv")


def dependencies() -> list[str]:
    """Return the names of the package's dependencies, without those of its extras."""
    names = [re.split(r"[<>=!~;\[ ]", line)[0] for line in requires("toomuchtv") or ()
             if "extra ==" not in line]  # fmt: skip
    return sorted(names, key=str.lower)


def run_command(*command: str | Path) -> str:
    """Run a command outside the repository, and return what it printed on stdout."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=tempfile.gettempdir(),
    )
    return done.stdout


def run_verb(*arguments: str | Path) -> dict[str, Any]:
    """Run a verb of the command line with --json, and return what it printed."""
    result = json.loads(run_command(COMMAND, *arguments, "--json"))
    assert isinstance(result, dict)
    return result


def run_main_job(folder: Path) -> None:
    """Run every step in a folder, and check what each of them reports."""
    assert run_command(COMMAND, "--version") == f"{toomuchtv.__version__}\n"
    same = run_command(sys.executable, "-m", "toomuchtv", "--version")
    assert same == f"{toomuchtv.__version__}\n", same
    versions = run_verb("doctor")["libraries"]
    assert versions["torch"] == version("torch"), versions
    library, catalog, run = folder / "library", folder / "catalog", folder / "run"
    for number, (name, seconds) in enumerate(FILMS.items()):
        write_film(library / name, seconds=seconds, first_frame=7 * number)
    found = run_verb("scan", library, "--catalog", catalog)
    assert found["items"] == len(FILMS), found
    prepared = run_verb(
        "prepare", "--catalog", catalog, "--workers", "1",
        "--short-side", "32",
    )  # fmt: skip
    assert prepared["prepared"] == len(FILMS), prepared
    config = folder / "config.toml"
    config.write_text(tiny_config(training={"steps": STEPS}).to_toml(), "utf-8")
    trained = run_verb("pretrain", "--catalog", catalog, "--run", run, "--config", config)
    assert trained["steps"] == STEPS, trained
    scored = run_verb("evaluate", run, "--benchmark", "retrieval", "--data", catalog)
    assert scored["metrics"], scored
    index = folder / "index"
    embedded = run_verb("embed", run, "--catalog", catalog, "--index", index, "--workers", "1")
    assert embedded["embedded"] == len(FILMS), embedded
    found = run_verb("search", index, "Alpha (2001)@0:03", "--out", folder / "hits.edl")
    assert len(found["hits"]) == 10, found
    film = library / next(iter(FILMS))
    clip = read_clip(film, start_seconds=1.0, frames=8)
    assert clip.video.shape == (8, 48, 64, 3)
    assert abs(clip.waveform).max() > 0.1
    assert sum(1 for _ in iterate_frames(film, timeline=read_timeline(film))) == round(
        8 * FILMS[next(iter(FILMS))]
    )
    assert sum(map(len, iterate_audio(film, timeline=read_timeline(film)))) > 16_000


def main() -> None:
    """Print the versions and run the main job."""
    warnings.simplefilter("default")
    place = Path(toomuchtv.__file__).resolve()
    if "--installed" in sys.argv[1:] and place.is_relative_to(ROOT):
        sys.exit(f"{place} is not an installed package; unset PYTHONPATH and install the wheel")
    print(
        f"Python {platform.python_version()}, toomuchtv {toomuchtv.__version__} in {place.parent}"
    )
    for name in dependencies():
        print(f"{name} {version(name)}")
    with tempfile.TemporaryDirectory() as folder:
        run_main_job(Path(folder))
    print("the main job passed")


if __name__ == "__main__":
    main()
