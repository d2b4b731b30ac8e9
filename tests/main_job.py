"""Run the main job once on a tiny library: scan to search, and read clips.

`make test-newest` and `make test-oldest` run this file in environments of their own, to test the
dependency bounds of pyproject.toml. It needs nothing but the package's own dependencies:

    python -m tests.main_job

It prints the versions of Python and of the dependencies, and exits with 0 if every step passed.
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

from tests.media_files import write_film
from tests.prepared import FILMS, tiny_config
from toomuchtv.media.clip_reader import iterate_audio, iterate_frames, read_clip
from toomuchtv.media.timestamps import read_timeline

STEPS = 2


def dependencies() -> list[str]:
    """Return the names of the package's dependencies, without those of its extras."""
    names = [re.split(r"[<>=!~;\[ ]", line)[0] for line in requires("toomuchtv") or ()
             if "extra ==" not in line]  # fmt: skip
    return sorted(names, key=str.lower)


def run_verb(*arguments: str | Path) -> dict[str, Any]:
    """Run a verb of the command line with --json, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "toomuchtv", *map(str, arguments), "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


def run_main_job(folder: Path) -> None:
    """Run every step in a folder, and check what each of them reports."""
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
    print(f"Python {platform.python_version()}")
    for name in dependencies():
        print(f"{name} {version(name)}")
    with tempfile.TemporaryDirectory() as folder:
        run_main_job(Path(folder))
    print("the main job passed")


if __name__ == "__main__":
    main()
